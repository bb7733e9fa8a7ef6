"""Where jobs are kept. The interface; blocking code, called from one thread at a time.

A caller gives a batch of steps. Each step is a function of the open transaction and of the moment; it reads, asks the
rules, writes, and returns what is to be done once its writes are durable. Every step has a savepoint of its own, so one
that raises leaves no trace and does not touch its neighbours; the batch commits once, and `run_batch` returns only
after that commit is on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Protocol

import attrs

from gearbox.job import Action, Attempt, Facts, Job, NewJob, Status, Transition

__all__ = ["Audit", "Batch", "Moment", "Result", "Step", "Store", "Tx", "open_store"]


@attrs.frozen
class Moment:
    """What a step may know beside the rows."""

    now: float  # Unix seconds, by the machine's clock
    owner: str  # the id of this core
    since: float  # when Gearman was last reached anew; workers may still be coming back
    workers: Mapping[str, int] | None  # method -> workers; None while Gearman cannot be asked


@attrs.frozen
class Result:
    """What a step found, and what to do after the commit."""

    value: Any = None
    actions: Sequence[Action] = ()


Step = Callable[["Tx", Moment], Result]


@attrs.frozen
class Batch:
    """One outcome for each step, in order: its `Result`, or the exception that it raised."""

    outcomes: Sequence[Result | Exception]
    next_at: float = inf  # the earliest `next_at` of all jobs


@attrs.frozen
class Audit:
    """One row of a job's audit trail. `was` is None for the first."""

    seq: int
    at: float
    was: Status | None
    status: Status
    epoch: int
    why: str
    who: str


class Tx(Protocol):
    """An open transaction. Every read sees the writes before it."""

    def insert(self, new: NewJob, status: Status, now: float, who: str) -> Job:
        """Store a new job with its first event."""

    def apply(self, job: Job, transition: Transition, now: float, who: str) -> Job:
        """The only writer of a status: compare-and-swap on status and epoch, attempt and event in one.

        Returns the job as it is now. Raises `StoreBusy` if the row is not as `job` says, AssertionError for a
        transition that does not fit the status.
        """

    def reschedule(self, job: Job, next_at: float | None) -> None:
        """When the row wants to be looked at again; no change in the eyes of the audit."""

    def start_attempt(self, id: int, epoch: int, now: float, worker: str) -> bool:
        """Mark the attempt as started by a worker: True for exactly one caller."""

    def note(self, job: Job, now: float, why: str, who: str) -> None:
        """An event that changes no status, for the audit."""

    def job(self, id: int) -> Job | None: ...

    def job_of_token(self, submit_token: str) -> Job | None: ...

    def resolve(self, id: int) -> Job | None:
        """The job itself, or the one that it is at last a duplicate of."""

    def facts(self, id: int) -> Facts | None:
        """Everything about a job but what Gearman knows (`workers`, `releases`)."""

    def twin(self, dedupe: str) -> int | None:
        """The active job that has this dedupe."""

    def waits_for(self, id: int, other: int) -> bool:
        """Whether the job `id` can run only after `other`, by any path of after_id and before_id."""

    def dependents(self, id: int) -> tuple[int, ...]:
        """Who may move when the job ends: children and pool targets of it and of its duplicates, not started yet."""

    def attempt(self, id: int, epoch: int) -> Attempt | None: ...

    def attempts(self, id: int) -> list[Attempt]: ...

    def audit(self, id: int) -> list[Audit]: ...

    def due(self, now: float, limit: int) -> list[int]:
        """Jobs whose `next_at` has come, the oldest first."""

    def ids(self, statuses: Iterable[Status], above: int, limit: int) -> list[int]:
        """Current jobs of these statuses with an id above `above`, in order of id."""

    def jobs(self, ids: Sequence[int]) -> list[Job]:
        """These jobs in order of id; unknown ids are left out."""

    def current(self, limit: int) -> list[Job]:
        """The jobs that have not ended, newest first."""

    def stats(self, method: str) -> dict[str, Any]:
        """The answer of `gearbox\\core::stats`."""


class Store(Protocol):
    """A database of jobs."""

    database: str  # 8 letters, drawn at random when the database was made

    def run_batch(self, steps: Sequence[Step], moment: Moment) -> Batch:
        """Run the steps in one transaction. Raises `StoreError` if it could not be committed: no step has happened."""

    def close(self) -> None: ...


def open_store(path: str) -> Store:
    """The SQLite store in the file `path`, made and migrated if need be. Raises `StoreError` with what to do."""
    from gearbox.store.sqlite import SqliteStore

    return SqliteStore(path)
