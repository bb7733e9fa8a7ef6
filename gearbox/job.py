"""The nouns of the scheduler, as data: a job, its attempts, what is known about it, and what may become of it.

Nothing here decides or does anything. Instants (`*_at`, `created`, `after_date`, ...) are Unix seconds, spans
(`retry_delay`) are seconds, and JSON values that Gearbox only passes on (`arguments`, `result_data`) stay JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from math import inf
from typing import Any, TypeVar

import attrs

__all__ = [
    "ACTIVE",
    "CURRENT",
    "FAILED",
    "TERMINAL",
    "TEXT_LARGEST",
    "Action",
    "Attempt",
    "Backoff",
    "Control",
    "Ended",
    "Event",
    "Facts",
    "Fire",
    "Job",
    "Lapsed",
    "NewJob",
    "NoWorker",
    "Outcome",
    "Pool",
    "Priority",
    "Reason",
    "Recheck",
    "Release",
    "Reported",
    "Seen",
    "Start",
    "Status",
    "Tell",
    "Transition",
    "Unsent",
    "Vanished",
    "Waiting",
    "altered",
    "earliest",
]

TEXT_LARGEST = 32 << 20  # bytes of arguments or data; half of Gearman's largest packet, to leave room for escapes

T = TypeVar("T")


class Status(Enum):
    """The states of the original's table, by its words."""

    READY = "ready"
    WAITING = "waiting"
    RUNNING = "running"
    ALMOST_DONE = "almost-done"  # Gearman says it ended, its data has not come yet
    ERRORED = "errored"
    COMPLETE = "complete"
    INVALID = "invalid"
    MISSING = "missing"  # it should be running, but nobody knows it
    DUPLICATE = "duplicate"

    __hash__ = object.__hash__  # there is one of each; Enum's own is a call of Python, made 40 times for each job


ACTIVE = frozenset({Status.RUNNING, Status.ALMOST_DONE, Status.MISSING})
CURRENT = ACTIVE | {Status.READY, Status.WAITING}
FAILED = frozenset({Status.ERRORED, Status.INVALID})
TERMINAL = FAILED | {Status.COMPLETE, Status.DUPLICATE}


class Priority(Enum):
    """Gearman's three, also as the job's own."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Backoff(Enum):
    """How the pauses between tries grow."""

    FIXED = "fixed"  # always `retry_delay`
    EXPONENTIAL = "exponential"  # twice as long each time, with jitter, up to `retry_delay_max`


class Outcome(Enum):
    """How an attempt ended; exactly one for each."""

    COMPLETE = "complete"
    ERRORED = "errored"  # the job itself says that it failed
    WORKER_FAILED = "worker_failed"  # the worker could not run it
    NO_WORKER = "no_worker"
    MISSING = "missing"
    RELEASED = "released"  # it was certainly never run: not counted as a try
    REFUSED = "refused"  # Gearman did not take it
    CANCELLED = "cancelled"  # with its job; or alone, when it had said more than can be kept
    TIMED_OUT = "timed_out"  # it ran longer than its `timeout`


@attrs.frozen
class NewJob:
    """What `gearbox\\core::queue` asks for, checked by `rules.admit`."""

    method: str
    arguments: str | None = None  # JSON text
    priority: Priority = Priority.NORMAL
    dedupe: str | None = None  # None: the store gives it an id of its own
    after_date: float | None = None
    after_id: int | None = None
    before_id: int | None = None
    max_retries: int = 0
    retry_delay: float = 1.0
    backoff: Backoff = Backoff.FIXED
    retry_delay_max: float = 3600.0
    timeout: float | None = None  # s that an attempt may run
    expires: float | None = None  # if no try has begun by then, none ever will
    retry_of: int | None = None  # the failed job whose place this one takes
    schedule: str | None = None  # the name of the recurring entry that made it
    submit_token: str | None = None  # the same token again means the same call again
    traceparent: str | None = None  # of whoever queued it (`trace`)


@attrs.frozen(slots=False)  # for `altered`
class Job:
    """One row of the table of jobs."""

    id: int
    method: str
    arguments: str | None  # JSON text
    priority: Priority
    created: float
    updated: float
    status: Status
    dedupe: str
    has_dedupe: bool  # the caller named the dedupe; otherwise it is an id that nobody shares
    after_date: float | None = None  # as asked for; never changed
    after_id: int | None = None
    before_id: int | None = None
    completed: float | None = None  # when it became terminal
    retries: int = 0  # tries beyond the first so far
    max_retries: int = 0
    retry_delay: float = 1.0
    progress: float | None = None
    progress_at: float | None = None
    result_data: str | None = None  # JSON text; plain text once something was appended
    owner: str | None = None  # the core that made the last attempt
    ready_at: float | None = None  # when it last became ready
    claimed_at: float | None = None  # when its last attempt began
    see_other: int | None = None  # of a duplicate: the job that ran instead
    epoch: int = 0  # of the last attempt; 0 before the first
    next_at: float | None = None  # when this row needs a look: `look_at`, kept for the index of timers
    released: bool = False  # of a noopwait: its noopgo has come
    events: int = 0  # how many audit events it has
    backoff: Backoff = Backoff.FIXED
    retry_delay_max: float = 3600.0
    timeout: float | None = None
    expires: float | None = None
    opens_at: float | None = None  # the gate of its date or of its next try; None once that was found open
    lease_at: float | None = None  # when the present status is given up without news; None while Gearman watches
    stops_at: float | None = None  # when the attempt has run for its `timeout`
    held: int | None = None  # rank of its priority while it is ready, but its method is paused or at its limit
    retry_of: int | None = None
    schedule: str | None = None
    traceparent: str | None = None

    @property
    def is_untried(self) -> bool:
        """Whether no try of it has begun. A try that was certainly never run does not count."""
        return self.retries == 0 and self.status in (Status.READY, Status.WAITING)

    def look_at(self) -> float | None:
        """When something about the job changes by time alone."""
        status = self.status
        if status is Status.READY or status is Status.WAITING:
            expires = self.expires if self.retries == 0 else None
            opens_at = self.opens_at if status is Status.WAITING else None
            return earliest(opens_at, expires)
        if status is Status.RUNNING:
            return earliest(self.lease_at, self.stops_at)
        return self.lease_at if status in ACTIVE else None

    def changed(self, values: Mapping[str, Any]) -> Job:
        """The job with other values, and the `next_at` that follows."""
        job = altered(self, values)
        job.__dict__["next_at"] = job.look_at()
        return job

    @staticmethod
    def of(fields: dict[str, Any]) -> Job:
        """A job of all its fields, in the order of their definition; the dictionary becomes its own."""
        job = object.__new__(Job)
        job.__dict__.update(fields)
        return job


def altered(thing: T, values: Mapping[str, Any]) -> T:
    """A thing of a class without slots with other values of its fields: a tenth of what `attrs.evolve` costs."""
    other = object.__new__(type(thing))
    other.__dict__.update(thing.__dict__)
    other.__dict__.update(values)
    return other


def earliest(one: float | None, other: float | None) -> float | None:
    """Of two instants that may be none."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


@attrs.frozen
class Attempt:
    """One row of the table of attempts: (job, epoch)."""

    job_id: int
    epoch: int
    owner: str
    claimed_at: float
    started_at: float | None = None  # when a worker asked for leave to start; None if it never did
    ended_at: float | None = None
    outcome: Outcome | None = None
    worker: str | None = None
    error: str | None = None  # JSON text
    server: str | None = None  # the Gearman server that it was given to; None: the broker in the core's own process


# --- what is known ---


@attrs.frozen
class Pool:
    """The jobs whose `before_id` is the job in question, duplicates counted as what they are duplicates of."""

    is_unfinished: bool = False
    has_failed: bool = False


@attrs.frozen
class Control:
    """What an operator has set for a method."""

    is_paused: bool = False
    concurrency: int | None = None  # how many jobs of the method may be active at once; None: as many as there are


@attrs.frozen(slots=False)  # for `altered`
class Facts:
    """All that the rules may look at when they decide about a job that has not started."""

    job: Job
    after: Status | None = None  # of the parent, duplicates resolved; None without `after_id`
    pool: Pool = Pool()
    twin: int | None = None  # the active job with the same dedupe
    workers: int | None = None  # how many offer the method; None when that cannot be told now
    is_returning: bool = False  # because workers are only coming back, not because Gearman cannot be asked
    releases: bool = False  # of a noopgo: its target is a noopwait that still waits
    control: Control = Control()
    active: int = 0  # jobs of its method that hold a place; counted only where there is a limit
    ahead: int = 0  # jobs held back by the limit that come before it


# --- what happens to a job that was started ---


@attrs.frozen
class Ended:
    """Gearman says that the attempt ended. `error` is None when the worker answered that it ran the job."""

    error: dict[str, Any] | None = None
    outcome: Outcome = Outcome.WORKER_FAILED


@attrs.frozen
class Reported:
    """The worker's `job_data`: news of an attempt, or its end."""

    status: Status | None = None  # COMPLETE or ERRORED when it ended, INVALID for a word that is none
    data: str | None = None  # JSON text; None leaves the job's data alone
    separator: str | None = None  # append the data behind this instead of replacing what is there
    progress: float | None = None
    goes_on: bool = False  # although this ends the attempt, its worker does not know yet


@attrs.frozen
class Lapsed:
    """The row's `next_at` has passed without news: its lease is over, or its time.

    `was_started` says that a worker had leave to run the attempt; `losses`, how many of the attempts before it that
    went missing, one after the other, were started too.
    """

    was_started: bool = False
    losses: int = 0


@attrs.frozen
class Vanished:
    """Nobody knows whether the attempt runs: its Gearman connection was lost, or its core died.

    `was_started` says that a worker had asked for leave to run it. `grace` is how long, in seconds, a worker has to
    come back with the result.
    """

    was_started: bool
    grace: float


@attrs.frozen
class Seen:
    """Gearman says that a worker has the attempt, though no connection of ours watches it."""


@attrs.frozen
class NoWorker:
    """No worker is left for the method while the attempt still waits in Gearman's queue."""


@attrs.frozen
class Unsent:
    """The attempt was certainly never sent: Gearman could not be reached in time."""


Event = Ended | Reported | Lapsed | Vanished | Seen | NoWorker | Unsent


# --- what the rules answer ---


@attrs.frozen
class Start:
    """Hand this attempt (`job.epoch`) to Gearman. `inputs` goes into the `_meta` of its payload.

    `server` is the one that its row names.
    """

    job: Job
    inputs: Mapping[str, Any] = attrs.field(factory=dict)
    server: str | None = None


@attrs.frozen
class Recheck:
    """Look at these jobs again: something that they depend on has changed."""

    ids: tuple[int, ...]


@attrs.frozen
class Tell:
    """The job is terminal: answer those who watch it."""

    job: Job


@attrs.frozen
class Release:
    """Look at the jobs that this method held back, a batch at a time. `above`: from behind this (rank, id) on."""

    method: str
    above: tuple[int, int] = (-1, 0)


@attrs.frozen
class Fire:
    """A recurring entry's job has ended: the entry may have waited for that."""

    schedule: str


Action = Start | Recheck | Release | Fire | Tell


@attrs.frozen
class Transition:
    """A change of a job, to be applied as a whole or not at all.

    It holds only for a job whose status is in `expect`. `set` names the fields of `Job` that change beside the status;
    a new `epoch` among them opens an attempt. `outcome` closes the job's attempt (the new one, where both are given).
    """

    expect: frozenset[Status]
    status: Status
    why: str  # for the audit: what moved it
    set: Mapping[str, Any] = attrs.field(factory=dict)
    outcome: Outcome | None = None
    error: str | None = None  # JSON text, for the attempt
    starts: bool = False  # hand the attempt to Gearman once this is stored


class Reason(Enum):
    """Why a job does not run now, in the words of the audit."""

    AFTER = "its parent is not done"
    POOL = "its pool is not done"
    DATE = "its date has not come"
    RETRY = "its next try is not due"
    PAUSED = "its method is paused"
    LIMIT = "its method is at its limit"
    GEARMAN = "Gearman cannot be reached"
    WORKERS = "its workers may be coming back after a restart"
    STARTED = "it has started"  # or ended: nothing holds it back


@attrs.frozen
class Waiting:
    """Nothing to do now: why, and when the date alone would change that."""

    reasons: tuple[Reason, ...]
    until: float = inf
