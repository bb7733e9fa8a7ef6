"""Group commit: the changes that come up while others are written are the next batch.

One hop into a thread for a batch, never for a change. What could not be written is told apart: submissions are refused
at once, for their clients know what to do; what has happened (a job's end) is tried again until it can be written.
Where the disk hangs, the submissions that wait behind the batch are refused as well.

A shared journal is watched all the time; what it takes over from a dead server comes in pieces between the batches. If
this server is the one that was declared dead, the broker forsakes what it kept, and the journal is opened anew.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

import trio

from abraxas_py.broker import Amend, Broker, Load, Persist, Record, Remove, Store
from abraxas_py.errors import JournalBroken, JournalError, JournalFenced, JournalRefused, JournalUncertain
from abraxas_py.hang import HangWatch
from abraxas_py.journal import Journal
from abraxas_py.journal.leases import HEARTBEAT
from abraxas_py.nursery import open_nursery

__all__ = ["Report", "Writer"]

log = logging.getLogger("abraxas.journal")
Outcome = TypeVar("Outcome")

# Seconds between two attempts to write what has happened, while it cannot be written.
RETRY_DELAY = 0.1
# Seconds that the end of the server waits for what is still to be written.
FAREWELL = 5.0


@dataclass(slots=True)
class Report:
    """What became of a batch."""

    persisted: list[int] = field(default_factory=list)
    refused: dict[str, list[int]] = field(default_factory=dict)  # by reason
    asked: Sequence[int] = ()  # the rows whose payloads were wanted
    loaded: dict[int, bytes] | None = None  # None: they could not be read, where any were wanted
    restored: Sequence[Record] = ()  # jobs that were taken over
    first_row: int = 0  # after this server was declared dead: of its new start
    is_fenced: bool = False  # it was declared dead, or has ended with something unwritten: what was kept is given up


class Writer:
    """Gives a journal its batches, and `learn` the outcome of each."""

    def __init__(self, journal: Journal, learn: Callable[[Report], None]) -> None:
        self._journal = journal
        self._learn = learn
        self._changes: list[Persist] = []  # the next batch
        self._batch: list[Persist] = []  # what is being written
        self._owed: list[Amend | Remove] = []  # what has happened and could not be written yet
        self._wanted: list[int] = []  # rows whose payloads are to be read
        self._report = Report()  # of the batch
        self._pieces: Iterator[Sequence[Record]] | None = None  # what is being taken over
        self._is_to_watch = False
        self._ring: Callable[[], None] = lambda: None
        self._wake = trio.Event()
        self._is_idle = trio.Event()
        self._hang_watch = HangWatch()
        self._thread = trio.CapacityLimiter(1)  # not one of those that the program's others may all have taken
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
    async def opened(self, broker: Broker, clock: Callable[[], float], ring: Callable[[], None]) -> AsyncIterator[None]:
        """Give the broker what is kept; then write for the time of a block. Raises JournalError.

        `ring` is called by the thread when it has something to tell.
        """
        self._ring = ring
        broker.keep(await self._hop(self._journal.open))
        try:
            await self._restore(broker, clock)
            async with open_nursery() as nursery:
                nursery.start_soon(self._run)
                nursery.start_soon(self._hang_watch.keep, lambda: self._is_refusing, self._refuse_waiting)
                if self._journal.is_shared:
                    nursery.start_soon(self._keep_watch)
                yield
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._hop(self._end)
                self._tell()

    async def _restore(self, broker: Broker, clock: Callable[[], float]) -> None:
        started = trio.current_time()
        pieces = self._journal.records()
        had_gc = gc.isenabled()
        gc.disable()  # a million new objects, and no garbage among them: looking through them takes half of the time
        try:
            count = 0
            while records := await self._hop(next, pieces, ()):
                broker.restore(records, clock())
                count += len(records)
        finally:
            if had_gc:
                gc.enable()
        gc.freeze()
        log.info("queue restored jobs=%d seconds=%.2f", count, trio.current_time() - started)

    async def _hop(self, call: Callable[..., Outcome], *arguments: Any) -> Outcome:
        """Call it in the thread; here where the system gives us none: holding others up is better than ending.

        A database that hangs holds up the whole server here: nobody is refused meanwhile, for the watch cannot run.
        """
        has_thread = False

        def begin() -> Outcome:
            nonlocal has_thread
            has_thread = True
            return call(*arguments)

        try:
            return await trio.to_thread.run_sync(begin, limiter=self._thread)
        except RuntimeError:
            if has_thread:
                raise
        return call(*arguments)

    async def _keep_watch(self) -> None:
        while True:
            await trio.sleep(HEARTBEAT)
            self._is_to_watch = True
            self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            self._report = report = Report(asked=self._wanted)
            self._batch, self._changes, self._wanted = [*self._owed, *self._changes], [], []
            try:
                with self._hang_watch:
                    await self._hop(self._perform, report)
                    while self._batch:  # nobody knows what became of it
                        await trio.sleep(RETRY_DELAY)
                        await self._hop(self._write, report)
            except JournalBroken:
                self._is_broken = True
                raise
            except JournalFenced as error:
                log.error("declared dead; what was kept is given up error=%s", error)
                self._give_up(report, str(error))
                self._tell()
                await self._begin_anew()
            else:
                self._tell()
            if self._owed:
                await trio.sleep(RETRY_DELAY)
            if self._owed or self._pieces:
                self._wake.set()
            self._is_idle.set()

    def _tell(self) -> None:
        report, self._report = self._report, Report()
        self._learn(report)

    def _refuse_waiting(self, seconds: float) -> None:
        """The journal has not ended a batch for so long: refuse the jobs that wait behind it."""
        reason = f"The queue's disk or database has not answered for {seconds:.0f} s"
        self._begin_to_refuse(reason)
        refused, happened = _told_apart(self._changes)
        self._changes = [*happened]
        self._learn(Report(refused={reason: refused} if refused else {}))

    def _begin_to_refuse(self, reason: object) -> None:
        if not self._is_refusing:
            self._is_refusing = True
            log.error("background jobs are refused error=%s", reason)

    def _perform(self, report: Report) -> None:
        """What is to be done, in the thread. Raises JournalBroken or JournalFenced."""
        if report.asked:
            try:
                report.loaded = self._journal.load(report.asked)
            except JournalBroken:
                raise
            except JournalError as error:
                log.error("payloads cannot be read error=%s", error)
        self._write(report)
        if not self._batch and (self._is_to_watch or self._pieces):
            self._take_over(report)
        self._ring()

    def _write(self, report: Report) -> None:
        """Commit the batch, which stays while nobody knows what became of it."""
        self._refuse_large(report)
        batch = self._batch
        try:
            if batch:
                self._journal.commit(batch)
        except JournalUncertain as error:
            log.error("a commit is in doubt error=%s", error)
        except JournalRefused as error:
            self._refuse(report, error)
        else:
            report.persisted += [change.number for change in batch]
            self._batch, self._owed = [], []
            if self._is_refusing and batch:
                self._is_refusing = False
                log.warning("jobs can be kept again")

    def _refuse_large(self, report: Report) -> None:
        """Whatever the journal never takes: the others shall not go back for it."""
        largest = self._journal.largest_bytes
        if largest == inf:
            return
        large = {c.number for c in self._batch if isinstance(c, Store) and len(c.record.data or b"") > largest}
        if large:
            report.refused[f"The payload has more than {largest} bytes"] = list(large)
            self._batch = [change for change in self._batch if change.number not in large]

    def _refuse(self, report: Report, error: JournalRefused) -> None:
        """Nothing of the batch was written: what has happened may fit all the same, since it frees room."""
        self._begin_to_refuse(error)
        refused, self._owed = _told_apart(self._batch)
        self._batch = []
        if refused:
            report.refused[str(error)] = refused
            if self._owed:
                self._batch = [*self._owed]
                self._write(report)

    # Several servers on one journal

    def _take_over(self, report: Report) -> None:
        """Look after the others; a piece of what a dead one has left."""
        try:
            if self._is_to_watch:
                self._is_to_watch = False
                if self._journal.watch() and self._pieces is None:
                    self._pieces = self._journal.records()
            if self._pieces is not None:
                report.restored = next(self._pieces, ())
                if not report.restored:
                    self._pieces = None
        except (JournalRefused, JournalUncertain) as error:
            log.warning("the other servers cannot be looked after error=%s", error)
            self._pieces = None  # the next look goes on with them

    def _give_up(self, report: Report, reason: str) -> None:
        """What was not written never will be; nor is it known what was."""
        report.is_fenced = True
        report.asked = ()
        refused = [change.number for change in (*self._batch, *self._changes) if isinstance(change, Store)]
        if refused:
            report.refused[reason] = refused
        self._batch, self._owed, self._changes, self._wanted, self._pieces = [], [], [], [], None

    async def _begin_anew(self) -> None:
        """Open the journal as another server; what comes in until then has rows of the old one, and is refused."""
        first_row, reason = 0, "The queue was given to another server"
        while not first_row:
            try:
                first_row = await self._hop(self._journal.open)
            except JournalError as error:
                reason = str(error)
                log.error("the queue cannot be opened again error=%s", error)
            report = Report(first_row=first_row)
            for change in self._changes:
                if isinstance(change, Store):
                    report.refused.setdefault(reason, []).append(change.number)
                else:  # of a job that is refused here, too: nothing of it is left
                    report.persisted.append(change.number)
            self._changes = []
            self._learn(report)
            if not first_row:
                await trio.sleep(HEARTBEAT)
        self._pieces = self._journal.records()

    def _end(self) -> None:
        """Write what is left, for a server that is served again. After a failure of the disk nothing is touched."""
        if self._is_broken:
            return
        try:
            if self._batch:  # whose outcome is not known
                self._write(self._report)
            if not self._batch:
                self._batch, self._changes = [*self._owed, *self._changes], []
                self._write(self._report)
        except JournalError as error:
            log.error("the queue fails at the end error=%s", error)
        if self._batch or self._owed:
            log.error("the last changes are lost")
            self._give_up(self._report, "The server has ended")
        self._pieces = None  # what is left of them comes with the next opening
        self._journal.close()


def _told_apart(changes: Sequence[Persist]) -> tuple[list[int], list[Amend | Remove]]:
    """The numbers of new jobs, which can be refused; and what has happened, which cannot."""
    numbers = [change.number for change in changes if isinstance(change, Store)]
    return numbers, [change for change in changes if not isinstance(change, Store)]
