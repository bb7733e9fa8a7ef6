"""Group commit: the changes that come up while others are written are the next batch.

One hop into a thread for a batch, never for a change. What could not be written is told apart: submissions are refused
at once, for their clients know what to do; what has happened (a job's end) is tried again until it can be written.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from abraxas_py.broker import Amend, Broker, Load, Persist, Remove, Store
from abraxas_py.errors import JournalBroken, JournalError, JournalRefused
from abraxas_py.journal import Journal
from abraxas_py.nursery import open_nursery

__all__ = ["Report", "Writer"]

log = logging.getLogger("abraxas.journal")

# Seconds between two attempts to write what has happened, while it cannot be written.
RETRY_DELAY = 0.1
# Seconds that the end of the server waits for what is still to be written.
FAREWELL = 5.0


@dataclass(slots=True)
class Report:
    """What became of a batch."""

    persisted: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    reason: str = ""  # of the refusal
    asked: Sequence[int] = ()  # the rows whose payloads were wanted
    loaded: dict[int, bytes] | None = None  # None: they could not be read, where any were wanted


class Writer:
    """Gives a journal its batches, and `learn` the outcome of each."""

    def __init__(self, journal: Journal, learn: Callable[[Report], None]) -> None:
        self._journal = journal
        self._learn = learn
        self._changes: list[Persist] = []  # the next batch
        self._owed: list[Amend | Remove] = []  # what has happened and could not be written yet
        self._wanted: list[int] = []  # rows whose payloads are to be read
        self._wake = trio.Event()
        self._is_idle = trio.Event()
        self._is_refusing = False
        self._is_broken = False

    def put(self, effect: Persist | Load) -> None:
        """Have a change written, or payloads read, with the next batch."""
        if isinstance(effect, Load):
            self._wanted += effect.rows
        else:
            self._changes.append(effect)
        self._wake.set()

    async def settle(self) -> None:
        """Wait until all is written, or cannot be."""
        with trio.move_on_after(FAREWELL):
            while self._changes or self._owed or self._wanted or not self._is_idle.is_set():
                self._is_idle = trio.Event()
                self._wake.set()
                await self._is_idle.wait()

    @asynccontextmanager
    async def opened(self, broker: Broker, clock: Callable[[], float]) -> AsyncIterator[None]:
        """Give the broker what is kept; then write for the time of a block. Raises JournalError."""
        try:
            await self._restore(broker, clock)
            async with open_nursery() as nursery:
                nursery.start_soon(self._run)
                yield
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._end)

    async def _restore(self, broker: Broker, clock: Callable[[], float]) -> None:
        started = trio.current_time()
        broker.keep(await trio.to_thread.run_sync(self._journal.open))
        pieces = self._journal.records()
        had_gc = gc.isenabled()
        gc.disable()  # a million new objects, and no garbage among them: looking through them takes half of the time
        try:
            count = 0
            while records := await trio.to_thread.run_sync(next, pieces, ()):
                broker.restore(records, clock())
                count += len(records)
        finally:
            if had_gc:
                gc.enable()
        gc.freeze()
        log.info("queue restored jobs=%d seconds=%.2f", count, trio.current_time() - started)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            changes, self._changes = self._changes, []
            wanted, self._wanted = self._wanted, []
            try:
                report = await trio.to_thread.run_sync(self._perform, changes, wanted)
            except JournalBroken:
                self._is_broken = True
                raise
            self._learn(report)
            if self._owed:
                await trio.sleep(RETRY_DELAY)
                self._wake.set()
            self._is_idle.set()

    def _perform(self, changes: list[Persist], wanted: list[int]) -> Report:
        """One batch, in the thread. Raises JournalBroken."""
        report = Report(asked=wanted)
        if wanted:
            try:
                report.loaded = self._journal.load(wanted)
            except JournalBroken:
                raise
            except JournalError as error:
                log.error("payloads cannot be read error=%s", error)
        batch: list[Persist] = [*self._owed, *changes]
        try:
            if batch:
                self._journal.commit(batch)
        except JournalRefused as error:
            self._refuse(batch, report, error)
        else:
            report.persisted = [change.number for change in batch]
            self._owed = []
            if self._is_refusing and batch:
                self._is_refusing = False
                log.warning("jobs can be kept again")
        return report

    def _refuse(self, batch: list[Persist], report: Report, error: JournalRefused) -> None:
        """Nothing of the batch was written: what has happened may fit all the same, since it frees room."""
        if not self._is_refusing:
            self._is_refusing = True
            log.error("background jobs are refused error=%s", error)
        report.refused = [change.number for change in batch if isinstance(change, Store)]
        report.reason = str(error)
        self._owed = [change for change in batch if not isinstance(change, Store)]
        if self._owed and report.refused:
            try:
                self._journal.commit(self._owed)
            except JournalRefused:
                return
            report.persisted = [change.number for change in self._owed]
            self._owed = []

    def _end(self) -> None:
        """Write what is left; nobody hears of it any more. After a failure of the disk nothing is touched again."""
        if self._is_broken:
            return
        try:
            self._journal.commit([*self._owed, *self._changes])
        except JournalError as error:
            log.error("the last changes are lost error=%s", error)
        self._owed, self._changes = [], []
        self._journal.close()
