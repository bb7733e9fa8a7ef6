"""Where jobs are kept. The interface; blocking code, called from one thread at a time.

A caller gives a batch of steps. Each step is a function of the open transaction and of the moment; it reads, asks the
rules, changes jobs, and returns what is to be done once that is durable. A step that raises leaves no trace and does
not touch its neighbours; the batch is written and commits once, and `run_batch` returns only after that commit is on
the disk.

What a job's end means for those that depend on it is asked once for all jobs that ended in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from math import inf
from typing import Any, Protocol

import attrs

from gearbox.job import Action, Attempt, Control, Facts, Job, NewJob, Priority, Status, Transition
from gearbox.rules.query import Query
from gearbox.rules.recurrence import Schedule
from gearbox.store.address import MysqlAddress
from gearbox.store.rollups import Bucket

__all__ = [
    "Audit",
    "Batch",
    "CoreRow",
    "Deed",
    "Found",
    "Lock",
    "Moment",
    "Node",
    "PoolView",
    "Result",
    "State",
    "Step",
    "Store",
    "Tx",
    "open_store",
]


class Lock(Enum):
    """What other cores may do to a row that was read, until the transaction ends. One that has its file alone locks
    nothing."""

    NONE = auto()  # anything: for answers that may be old when they arrive
    SHARED = auto()  # read it, and lock it likewise: it stays as it is
    EXCLUSIVE = auto()  # wait: for what this transaction may change


@attrs.frozen
class Moment:
    """What a step may know beside the rows."""

    now: float  # Unix seconds, by the store's clock
    owner: str  # the id of this core
    since: float  # when Gearman was last reached anew; workers may still be coming back
    workers: Mapping[str, int] | None  # method -> workers; None while Gearman cannot be asked
    chance: float = 0.5  # drawn at random, from 0 to 1; each job makes its own of it
    servers: Mapping[str, Sequence[str]] = attrs.field(factory=dict)  # method -> where its workers are; see `Gearman`

    def at(self, now: float) -> Moment:
        """The same by a clock that turns out to have been set."""
        return attrs.evolve(self, now=now, since=now - (self.now - self.since))

    def server_for(self, method: str, turn: int) -> str | None:
        """Which Gearman server gets an attempt; None where there is no choice.

        >>> moment = Moment(0.0, "core", 0.0, {}, servers={"a::b": ("here:1", "there:1")})
        >>> [moment.server_for("a::b", 7), moment.server_for("a::b", 8), moment.server_for("c::d", 7)]
        ['there:1', 'here:1', None]
        """
        servers = self.servers.get(method)
        return servers[turn % len(servers)] if servers else None


@attrs.frozen
class Result:
    """What a step found, and what to do after the commit."""

    value: Any = None
    actions: Sequence[Action] = ()


Step = Callable[["Tx", Moment], Result]


@attrs.frozen
class Batch:
    """One outcome for each step, in order: its `Result`, or the exception that it raised; and what follows from all."""

    outcomes: Sequence[Result | Exception]
    actions: Sequence[Action] = ()
    next_at: float = inf  # the earliest `next_at` of all jobs and recurring entries
    set_by: float = 0.0  # s by which the store's clock was found set since the batch before


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


@attrs.frozen
class CoreRow:
    """One of the cores that share the database."""

    id: str
    name: str  # of its host and process
    is_alive: bool  # as far as the others know
    beats: int  # a number that it raises while it lives
    began_at: float
    beat_at: float  # when it last did, or was declared dead


@attrs.frozen
class Node:
    """A job in the graph of those that refer to each other."""

    id: int
    method: str
    status: Status
    after_id: int | None
    before_id: int | None
    see_other: int | None
    retry_of: int | None


@attrs.frozen
class State:
    """What changes of a job while somebody looks at it."""

    id: int
    status: Status
    progress: float | None
    updated: int  # µs


@attrs.frozen
class Found:
    """A page of jobs, newest first, with the beginnings of their arguments and data alone.

    `next` is the id to go on below, None at the end. `is_cut`: the search stopped there for the work it was, and there
    may be more.
    """

    jobs: Sequence[Job]
    next: int | None
    is_cut: bool


@attrs.frozen
class PoolView:
    """A job that others come before, and how these stand; `is_cut`: not all were counted."""

    target: Job
    members: Mapping[Status, int]
    is_cut: bool


@attrs.frozen
class Deed:
    """What an operator did. `jobs`: how many it changed, where it was about several."""

    id: int
    at: float
    who: str
    action: str
    target: str
    reason: str
    jobs: int | None


class Tx(Protocol):
    """An open transaction. Every read sees the writes before it."""

    # --- jobs: changes ---

    def insert(self, new: NewJob, status: Status, now: float, who: str, why: str = "queued") -> Job:
        """Store a new job with its first event."""

    def apply(self, job: Job, transition: Transition, now: float, who: str, server: str | None = None) -> Job:
        """The only writer of a status: compare-and-swap on status and epoch, attempt and event in one.

        `server` is where a new attempt goes. Returns the job as it is now. Raises `StoreBusy` if the row is not as
        `job` says, AssertionError for a transition that does not fit the status.
        """

    def open_date(self, job: Job) -> None:
        """The date gate of a waiting job was found open and stays so; no change in the eyes of the audit."""

    def join_pool(self, id: int, before_id: int) -> None:
        """Give a job of this transaction its `before_id`, for a target that was stored after it."""

    def start_attempt(self, id: int, epoch: int, now: float, worker: str) -> bool:
        """Mark the attempt as started by a worker: True for exactly one caller."""

    def note(self, job: Job, now: float, why: str, who: str) -> None:
        """An event that changes no status, for the audit."""

    # --- jobs: reads ---

    def job(self, id: int, lock: Lock = Lock.NONE) -> Job | None: ...

    def job_of_token(self, submit_token: str, anew: bool = False) -> Job | None:
        """The job that this call stored. `anew`: the answer that is remembered from before may be old."""

    def resolve(self, id: int, lock: Lock = Lock.NONE) -> Job | None:
        """The job itself, or the one that it is at last a duplicate of. A lock holds all of the chain."""

    def facts(self, id: int) -> Facts | None:
        """What the rows of a job and those around it say: all but workers, controls and `releases`."""

    def twin(self, dedupe: str) -> int | None:
        """The active job that has this dedupe."""

    def lock_graph(self) -> None:
        """Until the transaction ends, no other core adds a job with both edges: two could close a cycle together."""

    def waits_for(self, id: int, other: int) -> bool:
        """Whether the job `id` can run only after `other`, by any path of after_id and before_id."""

    def dependents(self, ids: Sequence[int]) -> list[int]:
        """Who may move when these jobs end: children and pool targets of them and their duplicates, not started yet."""

    def unfinished(self, id: int, limit: int) -> list[int]:
        """Members of the job's pool that have not ended."""

    def pool_results(self, id: int, limit: int) -> list[Job]:
        """Members of the job's pool that are complete or duplicates and were not retried, in order of id."""

    def failed_members(self, id: int, limit: int) -> list[Job]:
        """Members of the job's pool that failed or are duplicates, in order of id."""

    def failed_dependents(self, id: int, limit: int) -> list[int]:
        """Errored children and pool targets of the job and of its duplicates."""

    def retry_of(self, id: int) -> Job | None:
        """The job that took this one's place."""

    def neighbours(self, id: int, limit: int) -> list[Node]:
        """The job, and those that refer to it."""

    def attempt(self, id: int, epoch: int) -> Attempt | None: ...

    def attempts(self, id: int) -> list[Attempt]: ...

    def audit(self, id: int) -> list[Audit]: ...

    def due(self, now: float, limit: int) -> list[int]:
        """Jobs whose `next_at` has come, the oldest first."""

    def ids(self, statuses: Iterable[Status], above: int, limit: int) -> list[int]:
        """Current jobs of these statuses with an id above `above`, in order of id."""

    def jobs(self, ids: Sequence[int], lock: Lock = Lock.NONE) -> list[Job]:
        """These jobs in order of id; unknown ids are left out."""

    def current(self, limit: int) -> list[Job]:
        """The jobs that have not ended, newest first."""

    def has_run(self, method: str) -> bool:
        """Whether a job of this method has ever completed."""

    def stats(self, method: str) -> dict[str, Any]:
        """The answer of `gearbox\\core::stats`."""

    # --- looking for jobs ---

    def search(
        self, query: Query, counts: Mapping[str, Mapping[Status, int]], below: int | None, limit: int, budget: int
    ) -> Found:
        """The newest jobs with an id under `below` that are what the query wants; looks at about `budget` rows."""

    def upcoming(self, above: float, above_id: int | None, limit: int) -> list[Job]:
        """Jobs that wait for a date or their next try, the earliest first, from behind the instant `above` on.

        With `above_id`, from behind that job, which waited for `above`: also those of the same instant.
        """

    def pools(self, below: int | None, limit: int) -> list[PoolView]:
        """Jobs with a pool, the newest first."""

    def states(self, ids: Sequence[int]) -> list[State]: ...

    def oldest(self, status: Status) -> tuple[int, float] | None:
        """(id, created) of the first job in a status that is not an end."""

    def durations(self) -> dict[str, dict[str, dict[int, Bucket]]]:
        """method -> "wait" and "run" -> number of the bucket, in their order -> bucket."""

    # --- operators ---

    def set_priority(self, job: Job, priority: Priority, now: float) -> None:
        """For a job that has not started; no change of its status."""

    def record(self, deed: Deed) -> None:
        """Keep what an operator did; the id is the store's."""

    def deeds(self, below: int | None, limit: int) -> list[Deed]:
        """What operators did, the last first."""

    # --- methods ---

    def control(self, method: str) -> Control | None:
        """What an operator set for the method; no statement, for every claim asks."""

    def controls(self) -> Mapping[str, Control]: ...

    def set_control(self, method: str, control: Control, now: float, who: str) -> None: ...

    def counts(self) -> dict[str, dict[Status, int]]:
        """Jobs of each method in each status, ever."""

    def active(self, method: str) -> int:
        """How many jobs of the method are active now. O(1)."""

    def ahead(self, job: Job, limit: int) -> int:
        """How many held jobs come before this one, up to `limit`."""

    def held(self, method: str, limit: int, above: tuple[int, int] = (-1, 0)) -> list[tuple[int, int]]:
        """(rank, id) of the next held jobs, in the order in which they get their places."""

    def hold(self, job: Job) -> None:
        """A ready job waits for its method; no change in the eyes of the audit."""

    # --- other cores ---

    def add_core(self, id: str, name: str, now: float) -> None:
        """Nothing for one that is there, alive or dead."""

    def is_alive(self, id: str) -> bool:
        """Whether nobody has declared that core dead; nobody will until the transaction ends."""

    def beat(self, id: str, now: float) -> None: ...

    def cores(self) -> list[CoreRow]: ...

    def bury(self, id: str, beats: int, now: float) -> bool:
        """Declare a core dead, if it has not stirred since."""

    def forget_cores(self, before: float) -> None:
        """Delete the rows of cores that died before an instant."""

    def prove(self, now: float) -> None:
        """Write something that says nothing else."""

    def ended(self, ids: Sequence[int]) -> list[int]:
        """Those of the jobs that have ended."""

    # --- recurring entries ---

    def schedule(self, name: str, lock: Lock = Lock.NONE) -> Schedule | None: ...

    def schedules(self) -> list[Schedule]: ...

    def due_schedules(self, now: float, limit: int) -> list[str]: ...

    def put_schedule(self, schedule: Schedule) -> None: ...

    def drop_schedule(self, name: str) -> bool: ...

    # --- pruning ---

    def newest_before(self, at: float) -> int:
        """An id above which no job is older than `at`; 0 if there is none."""

    def prune(self, below: int, limit: int, before: Mapping[Status, float]) -> tuple[int, int | None]:
        """Delete, of the next `limit` jobs under the id `below`, those that ended before their status's instant.

        Never one that another refers to. Returns how many, and the id to go on below, None at the end.
        """


class Store(Protocol):
    """A database of jobs."""

    database: str  # 8 letters, drawn at random when the database was made
    is_shared: bool  # whether other cores may work on the database at the same time

    def run_batch(self, steps: Sequence[Step], moment: Moment) -> Batch:
        """Run the steps in one transaction.

        Raises `StoreError` if it could not be committed: no step has happened; or `StoreUncertain`, then call `settle`.
        """

    def settle(self) -> Batch | None:
        """The outcomes of the batch that ended in `StoreUncertain`; None if no step has happened.

        Raises `StoreError` while that cannot be told.
        """

    def now(self) -> float:
        """Unix seconds by the clock that all cores on this database share."""

    def close(self) -> None: ...


def open_store(place: str | MysqlAddress) -> Store:
    """The store in a file of SQLite's, or on a server, made and migrated if need be.

    Raises `StoreError` with what to do.
    """
    if isinstance(place, MysqlAddress):
        from gearbox.store.mysql import MysqlStore

        return MysqlStore(place)
    from gearbox.store.sqlite import SqliteStore

    return SqliteStore(place)
