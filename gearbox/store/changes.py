"""What the steps of a transaction have changed and what is not written yet; pure.

A statement costs far more than a row. So steps change jobs here, in memory, each seeing what those before it did, and
the store writes every table once for many of them: a job that is queued and claimed in one transaction is one INSERT,
one that is reported to have ended and whose data comes is one UPDATE. Whatever asks the tables for more than a job by
its id has everything written first (`Writing`).

A step that raises is undone: `begin` marks its start, `undo` takes back what came since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import attrs

from gearbox.job import Job, Status

__all__ = ["Changes", "Stored"]

ABSENT: Any = object()
Event = tuple[int, int, int | None, str | None, str, int, str, str]  # a row of the audit


@attrs.frozen
class Stored:
    """The row of a changed job as it stands in the table, for the compare-and-swap, and which fields have changed."""

    status: Status
    epoch: int
    events: int
    fields: frozenset[str]


class Changes:
    """The jobs that a transaction knows, and what is to be written of them."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}  # as they are now: all that were read by id, stored or changed
        self.locked: dict[int, str] = {}  # how the rows were locked that were read by id
        self.born: dict[int, str | None] = {}  # those that no row stands for yet, with their submit_token
        self.tokens: dict[str, int] = {}  # the same by their submit_token
        self.changed: dict[int, Stored] = {}  # those whose row has to follow
        self.opened: dict[tuple[int, int], tuple[Any, ...]] = {}  # rows of attempts, by (job, epoch)
        self.started: dict[tuple[int, int], tuple[Any, ...]] = {}
        self.ended: dict[tuple[int, int], tuple[Any, ...]] = {}
        self.events: list[Event] = []
        self.moves: list[tuple[Job | None, Job, float]] = []  # (was, is, when), for the statistics
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._marks = 0, 0
        self._counts: Counter[tuple[str, Status]] = Counter()  # of the first `_counted` moves
        self._counted = 0
        self.is_mixed = False  # something that the current step did is written: it cannot be undone here

    @property
    def is_written(self) -> bool:
        """Whether nothing is left to be written. Every change has an event or is one of a row."""
        return not (self.events or self.born or self.changed or self.opened or self.started or self.ended)

    def is_held(self, id: int, how: str) -> bool:
        """Whether a job stays for this transaction what it is here. One that is changed has to, or nothing is stored.

        >>> changes = Changes()
        >>> changes.locked[1] = " LOCK IN SHARE MODE"
        >>> changes.is_held(1, " LOCK IN SHARE MODE"), changes.is_held(1, " FOR UPDATE")
        (True, False)
        """
        return self.locked.get(id) in (how, " FOR UPDATE") or id in self.changed or id in self.born

    def put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Set an entry of one of the dictionaries, so that it can be undone."""
        self._undo.append((table, key, table.get(key, ABSENT)))
        table[key] = value

    def begin(self) -> None:
        """A step begins; those before it are settled."""
        self._undo.clear()
        self._marks = len(self.events), len(self.moves)
        self.is_mixed = False

    def undo(self) -> None:
        """Take back what the current step did, as far as it is not written."""
        for table, key, value in reversed(self._undo):
            if value is ABSENT:
                del table[key]
            else:
                table[key] = value
        events, moves = self._marks
        del self.events[events:]
        del self.moves[moves:]
        if self._counted > moves:
            self._counts.clear()
            self._counted = 0

    def add(self, job: Job, token: str | None) -> None:
        """A new job."""
        self.put(self.jobs, job.id, job)
        self.put(self.born, job.id, token)
        if token is not None:
            self.put(self.tokens, token, job.id)

    def alter(self, was: Job, job: Job, fields: frozenset[str]) -> None:
        """A job has become another one, by these fields."""
        self.put(self.jobs, job.id, job)
        if job.id in self.born:
            return
        stored = self.changed.get(job.id)
        if stored is None:
            stored = Stored(was.status, was.epoch, was.events, fields)
        elif not fields <= stored.fields:
            stored = Stored(stored.status, stored.epoch, stored.events, stored.fields | fields)
        self.put(self.changed, job.id, stored)

    def gained(self, method: str, statuses: Collection[Status]) -> int:
        """How many more jobs of a method are in one of these statuses than the stored counts say."""
        for was, job, _ in self.moves[self._counted :]:
            if was is not None:
                self._counts[was.method, was.status] -= 1
            self._counts[job.method, job.status] += 1
        self._counted = len(self.moves)
        return sum(self._counts[method, status] for status in statuses)

    def written(self) -> None:
        """All rows are as the jobs are here."""
        self.is_mixed = self.is_mixed or bool(self._undo) or len(self.events) > self._marks[0]
        self._undo.clear()
        for table in (self.born, self.tokens, self.changed, self.opened, self.started, self.ended):
            table.clear()
        self.events.clear()
        self._marks = 0, self._marks[1]

    def forget(self) -> None:
        """Know nothing any more, as after a rollback of rows to what they were."""
        self.written()
        self.jobs.clear()
