"""What becomes of a job that was started, by news of its attempt; pure.

    running ──> almost-done ──> complete
      │ ^  │        │   ^
      │ │  └────────┼───┼──> waiting (its next try), errored, invalid
      v │ news      v   │
     missing <──────┘   └── any of them ends with the worker's data

`settle` takes one event at a time; `begin` and `alive` answer a worker that asks. An active job is watched either by
the Gearman connection that submitted it (`lease_at` is None) or by the clock alone: then news has to come before
`lease_at`. Its `stops_at` is when it will have run for its `timeout`.
"""

from __future__ import annotations

from math import inf
from typing import Any

from gearbox import rpc
from gearbox.errors import Code, RpcError
from gearbox.job import (
    ACTIVE,
    Attempt,
    Backoff,
    Ended,
    Event,
    Job,
    Lapsed,
    NoWorker,
    Outcome,
    Reported,
    Seen,
    Status,
    Transition,
    Unsent,
    Vanished,
)
from gearbox.rules.answers import error_text

__all__ = [
    "LEASE",
    "MISSING_GRACE",
    "NOOPWAIT",
    "STOPPED",
    "adopt",
    "alive",
    "begin",
    "delay_of",
    "failed",
    "settle",
    "stopped_at",
    "unkept",
]

NOOPWAIT = "gearbox\\core::noopwait"

RETRY_FLOOR = 0.1  # s; a worker that fails at once with retry_delay 0 must not become a hot loop
DATA_GRACE = 30.0  # s from Gearman's "ended" to the worker's data (original: for ever)
MISSING_GRACE = 5.0  # s from "nobody knows it" to the end of the attempt (as the original)
LEASE = 30.0  # s between signs of life of an attempt that no Gearman connection of ours watches
POISON = 3  # attempts that were started and go missing, one after the other: the job may be what kills its workers
STOPPED = 55.0  # s after which a worker that was cut off has surely stopped: `work.lease` bears silence for 50
RENEWAL = 10.0  # s of a lease that must be used up before a sign of life is written down


def settle(job: Job, event: Event, now: float, chance: float = 0.5) -> Transition | None:
    """What news of its current attempt makes of a job; None when it changes nothing.

    News of an earlier attempt must not come here: the caller compares epochs. `chance`, from 0 to 1, is the jitter of
    the pause before a next try.
    """
    if job.status not in ACTIVE:
        return None
    match event:
        case Ended(error=None):
            if job.status is not Status.RUNNING:
                return None
            return _to(Status.ALMOST_DONE, "ended, data to come", lease_at=now + DATA_GRACE)
        case Ended(error=error, outcome=outcome):
            return failed(job, ACTIVE, outcome, rpc.dump(error), outcome.value, now, chance)
        case Reported():
            return _reported(job, event, now, chance)
        case Lapsed():
            return _lapsed(job, event, now, chance)
        case Vanished(was_started=was_started, grace=grace):
            if job.method == NOOPWAIT or job.status is Status.ALMOST_DONE:
                return None
            if job.status is Status.RUNNING and not was_started:
                return _released("connection lost before it started", job)
            return _to(Status.MISSING, "connection lost", lease_at=now + grace)
        case Seen():
            return _found(job, now, "Gearman knows its worker")
        case NoWorker():
            if job.method == NOOPWAIT or job.status is not Status.RUNNING:
                return None
            return _to(Status.MISSING, "no worker left", lease_at=now + MISSING_GRACE)
        case Unsent():
            return _released("never sent", job) if job.status is Status.RUNNING else None


def unkept(event: Event, problem: str) -> Event:
    """What stands for news whose data the store cannot keep: an error, for a part of the data would be no result.

    An attempt that has ended by Gearman's word has ended as before.
    """
    error = RpcError(int(Code.TOO_LARGE), problem).as_json()
    if isinstance(event, Ended):
        return Ended(error, event.outcome)
    goes_on = isinstance(event, Reported) and event.status is None
    return Reported(Status.ERRORED, rpc.dump(error), goes_on=goes_on)


def begin(job: Job, now: float) -> Transition | None:
    """A worker runs the attempt from now on: its time is counted, and a missing one is found again."""
    set: dict[str, Any] = {}
    if job.timeout is not None and job.stops_at is None:
        set["stops_at"] = now + job.timeout
    if job.status is Status.MISSING:
        return _to(Status.RUNNING, "found again", lease_at=now + LEASE, **set)
    return Transition(ACTIVE, job.status, why="started", set=set) if set else None


def alive(job: Job, epoch: int, now: float) -> tuple[bool, Transition | None]:
    """Whether the worker that runs attempt `epoch` should go on, and what its asking changes."""
    if job.status not in ACTIVE or job.epoch != epoch or (job.stops_at is not None and job.stops_at <= now):
        return False, None
    return True, _found(job, now, "found again")


def adopt(job: Job, owner: str, now: float) -> Transition:
    """Another core has an active job from now on; that it still runs has to be heard of before the lease is over.

    The attempt keeps its row and number: nothing was lost but the connection that watched it.
    """
    set: dict[str, Any] = {"owner": owner}
    if job.status is Status.RUNNING and job.method != NOOPWAIT:
        set["lease_at"] = now + LEASE
    return Transition(ACTIVE, job.status, why="adopted", set=set)


def _found(job: Job, now: float, why: str) -> Transition | None:
    """A sign of life; nothing is written for an attempt that is watched anyway, nor for a lease that is fresh."""
    if job.status is Status.MISSING:
        return _to(Status.RUNNING, why, lease_at=now + LEASE)
    if job.status is Status.RUNNING and job.lease_at is not None and job.lease_at < now + LEASE - RENEWAL:
        return _to(Status.RUNNING, "alive", lease_at=now + LEASE)
    return None


def delay_of(job: Job, chance: float) -> float:
    """Seconds before the next try.

    An exponential pause is cut by up to half, at random, so that jobs that failed together do not come back together.

    >>> from gearbox.job import Priority
    >>> flaky = Job(1, "m", None, Priority.NORMAL, 0, 0, Status.RUNNING, "d", False, retries=3, retry_delay=10.0,
    ...     backoff=Backoff.EXPONENTIAL, retry_delay_max=60.0)
    >>> delay_of(flaky, 1.0), delay_of(flaky, 0.0)
    (60.0, 30.0)
    """
    delay = job.retry_delay
    if job.backoff is Backoff.EXPONENTIAL:
        delay = min(delay * 2.0 ** min(job.retries, 64), job.retry_delay_max) * (0.5 + 0.5 * chance)
    return max(delay, RETRY_FLOOR)


def stopped_at(job: Job, last: Attempt | None) -> float:
    """When the worker of a waiting job's last try has surely stopped: long ago, but for a try that was given up.

    That was when the row last changed, or before. The try's own dates do not move with a clock that is set.
    """
    is_given_up = last is not None and (
        last.outcome in (Outcome.TIMED_OUT, Outcome.CANCELLED)
        or (last.outcome is Outcome.MISSING and last.started_at is not None)
    )
    return job.updated + STOPPED if is_given_up else -inf


def failed(
    job: Job,
    expect: frozenset[Status],
    outcome: Outcome,
    error: str | None,
    why: str,
    now: float,
    chance: float,
    set: dict[str, Any] | None = None,
    pause: float = 0.0,
) -> Transition:
    """An attempt failed: try again after the delay (at least `pause`) while retries are left, else it has errored."""
    set = {**(set or {}), "result_data": error, **_unwatched(job)}
    if job.retries < job.max_retries:
        set |= {"retries": job.retries + 1, "opens_at": now + max(delay_of(job, chance), pause)}
        return Transition(expect, Status.WAITING, why=f"{why}: retry", set=set, outcome=outcome, error=error)
    set["completed"] = now
    return Transition(expect, Status.ERRORED, why=why, set=set, outcome=outcome, error=error)


def _reported(job: Job, news: Reported, now: float, chance: float) -> Transition:
    set: dict[str, Any] = {}
    if news.progress is not None:
        set |= {"progress": news.progress, "progress_at": now}
    data = job.result_data
    if news.data is not None:
        is_append = news.separator is not None and data is not None
        data = f"{data}{news.separator}{news.data}" if is_append else news.data
        set["result_data"] = data
    if news.status is Status.COMPLETE:
        set |= {"completed": now, **_unwatched(job)}
        return Transition(ACTIVE, Status.COMPLETE, why="worker's data", set=set, outcome=Outcome.COMPLETE)
    if news.status is Status.INVALID:
        error = error_text(Code.INVALID, "the worker reported a status that is none")
        set |= {"completed": now, "result_data": error, **_unwatched(job)}
        return Transition(ACTIVE, Status.INVALID, "unknown status", set, Outcome.ERRORED, error)
    if news.status is Status.ERRORED:
        if news.goes_on:
            return failed(job, ACTIVE, Outcome.CANCELLED, data, "too much data", now, chance, set, STOPPED)
        return failed(job, ACTIVE, Outcome.ERRORED, data, "worker's error", now, chance, set)
    if job.status is Status.MISSING or (job.status is Status.RUNNING and job.lease_at is not None):
        return _to(Status.RUNNING, "news from its worker", **set, lease_at=now + LEASE)
    return Transition(ACTIVE, job.status, why="news from its worker", set=set)


def _lapsed(job: Job, event: Lapsed, now: float, chance: float) -> Transition:
    if job.status is Status.RUNNING and job.timeout and job.stops_at is not None and job.stops_at <= now:
        error = error_text(Code.TIMED_OUT, f"ran longer than {job.timeout:g} s")
        # Its worker hears of it when it next asks whether to go on, and must have stopped before the next one starts.
        return failed(job, ACTIVE, Outcome.TIMED_OUT, error, "timed out", now, chance, pause=STOPPED)
    if job.status is Status.MISSING:
        if event.was_started and event.losses + 1 >= POISON and job.retries < job.max_retries:
            message = f"went missing {POISON} times in a row, which its workers may not survive: not tried again"
            set = {"completed": now, "result_data": error_text(Code.WENT_MISSING, message), **_unwatched(job)}
            error = set["result_data"]
            return Transition(ACTIVE, Status.ERRORED, "went missing again", set, Outcome.MISSING, error)
        error = error_text(Code.WENT_MISSING, "went missing")
        # A worker that is cut off stops within its lease; only then may another one start.
        pause = max(job.updated + STOPPED - now, 0.0) if event.was_started else 0.0
        return failed(job, ACTIVE, Outcome.MISSING, error, "went missing", now, chance, pause=pause)
    why = "no data came" if job.status is Status.ALMOST_DONE else "no sign of life"
    return _to(Status.MISSING, why, lease_at=now + MISSING_GRACE)


def _released(why: str, job: Job) -> Transition:
    """The attempt was certainly never run: the job is ready as before, and no retry is used up."""
    expect = frozenset({Status.RUNNING})
    return Transition(expect, Status.READY, f"released: {why}", _unwatched(job), Outcome.RELEASED)


def _to(status: Status, why: str, **set: Any) -> Transition:
    return Transition(ACTIVE, status, why=why, set=set)


def _unwatched(job: Job) -> dict[str, Any]:
    """What no longer holds once the attempt is over."""
    return {name: None for name in ("lease_at", "stops_at") if getattr(job, name) is not None}
