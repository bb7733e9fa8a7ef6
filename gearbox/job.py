"""The nouns of the scheduler, as data: a job, its attempts, what is known about it, and what may become of it.

Nothing here decides or does anything. Instants (`*_at`, `created`, `after_date`, ...) are Unix seconds, spans
(`retry_delay`) are seconds, and JSON values that Gearbox only passes on (`arguments`, `result_data`) stay JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from math import inf
from typing import Any

import attrs

__all__ = [
    "ACTIVE",
    "CURRENT",
    "FAILED",
    "TERMINAL",
    "Action",
    "Attempt",
    "Ended",
    "Event",
    "Facts",
    "Job",
    "Lapsed",
    "NewJob",
    "NoWorker",
    "Outcome",
    "Pool",
    "Priority",
    "Recheck",
    "Reported",
    "Start",
    "Status",
    "Tell",
    "Transition",
    "Unsent",
    "Vanished",
    "Waiting",
]


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


ACTIVE = frozenset({Status.RUNNING, Status.ALMOST_DONE, Status.MISSING})
CURRENT = ACTIVE | {Status.READY, Status.WAITING}
FAILED = frozenset({Status.ERRORED, Status.INVALID})
TERMINAL = FAILED | {Status.COMPLETE, Status.DUPLICATE}


class Priority(Enum):
    """Gearman's three, also as the job's own."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Outcome(Enum):
    """How an attempt ended; exactly one for each."""

    COMPLETE = "complete"
    ERRORED = "errored"  # the job itself says that it failed
    WORKER_FAILED = "worker_failed"  # the worker could not run it
    NO_WORKER = "no_worker"
    MISSING = "missing"
    RELEASED = "released"  # it was certainly never run: not counted as a try
    REFUSED = "refused"  # Gearman did not take it
    CANCELLED = "cancelled"


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
    submit_token: str | None = None  # the same token again means the same call again


@attrs.frozen
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
    next_at: float | None = None  # when this row needs a look; while waiting: its date gate, None once that has opened
    released: bool = False  # of a noopwait: its noopgo has come
    events: int = 0  # how many audit events it has


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


# --- what is known ---


@attrs.frozen
class Pool:
    """The jobs whose `before_id` is the job in question, duplicates counted as what they are duplicates of."""

    is_unfinished: bool = False
    has_failed: bool = False


@attrs.frozen
class Facts:
    """All that the rules may look at when they decide about a job that has not started."""

    job: Job
    after: Status | None = None  # of the parent, duplicates resolved; None without `after_id`
    pool: Pool = Pool()
    twin: int | None = None  # the active job with the same dedupe
    workers: int | None = None  # how many offer the method; None when Gearman cannot be asked
    releases: bool = False  # of a noopgo: its target is a noopwait that still waits


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


@attrs.frozen
class Lapsed:
    """The row's `next_at` has passed without news."""


@attrs.frozen
class Vanished:
    """Nobody knows whether the attempt runs: its Gearman connection was lost, or its core died.

    `was_started` says that a worker had asked for leave to run it. `grace` is how long, in seconds, a worker has to
    come back with the result.
    """

    was_started: bool
    grace: float


@attrs.frozen
class NoWorker:
    """No worker is left for the method while the attempt still waits in Gearman's queue."""


@attrs.frozen
class Unsent:
    """The attempt was certainly never sent: Gearman could not be reached in time."""


Event = Ended | Reported | Lapsed | Vanished | NoWorker | Unsent


# --- what the rules answer ---


@attrs.frozen
class Start:
    """Hand this attempt (`job.epoch`) to Gearman."""

    job: Job


@attrs.frozen
class Recheck:
    """Look at these jobs again: something that they depend on has changed."""

    ids: tuple[int, ...]


@attrs.frozen
class Tell:
    """The job is terminal: answer those who watch it."""

    job: Job


Action = Start | Recheck | Tell


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


@attrs.frozen
class Waiting:
    """Nothing to do now: why, in the words of the audit, and when the date alone would change that."""

    reasons: tuple[str, ...]
    until: float = inf
