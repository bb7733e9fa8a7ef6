"""What may become of a job that has not started; pure.

    queue ──> waiting ──> ready ──> running (see `attempts`), complete (noop, noopgo)
                 │  ^        │
                 │  └─retry──┼───── running
                 └─> errored <──┘    ready ──> duplicate     any that has not ended ──> invalid (cancelled)

`admit` judges a new job, `check` one that has not started (waiting, ready). With `attempts.settle` for those that have,
every change of a status is decided in these two files and nowhere else. They answer with a `Transition` for the store
to apply by compare-and-swap, with `Waiting` and its reasons, or with None: nothing changes. They look at no clock and
no row: what they need comes in as `Facts`, `Event` and `now`.

The gates of a job that has not started, all of which must be open: its date, its parent (`after_id`), its pool
(`before_id` of others); once it is ready, its method must not be paused or at its limit, and Gearman must say that
somebody offers it. A date gate latches: once a look found it open, a clock that steps back does not close it
(`opens_at` is None from then on).
"""

from __future__ import annotations

from math import inf
from typing import Any

from gearbox import rpc
from gearbox.errors import Code, RpcError
from gearbox.job import (
    ACTIVE,
    CURRENT,
    FAILED,
    TERMINAL,
    Attempt,
    Facts,
    Job,
    NewJob,
    Outcome,
    Reason,
    Status,
    Transition,
    Waiting,
)
from gearbox.rules import attempts
from gearbox.rules.answers import error_text
from gearbox.rules.attempts import NOOPWAIT

__all__ = ["ALWAYS_AVAILABLE", "NOOP", "NOOPGO", "NOOPWAIT", "admit", "cancel", "check", "go", "hurry"]

NOOP = "gearbox\\core::noop"
NOOPGO = "gearbox\\core::noopgo"
ALWAYS_AVAILABLE = frozenset({NOOP, NOOPWAIT, NOOPGO})  # the core runs them itself, without Gearman

NOT_STARTED = frozenset({Status.READY, Status.WAITING})


def admit(new: NewJob, parent: Job | None, target: Job | None, is_cycle: bool) -> Status:
    """The status in which a new job is stored, before its gates are looked at.

    `parent` is the job of `after_id`, `target` that of `before_id`; `is_cycle` says that the parent waits for the
    target already. Raises RpcError 400 for a cycle, 404 for a job that does not exist, 409 for a target that started.
    """
    if new.after_id is not None and parent is None:
        raise RpcError(Code.NOT_FOUND, f"no such job: {new.after_id} (after_id)")
    if new.before_id is not None and target is None:
        raise RpcError(Code.NOT_FOUND, f"no such job: {new.before_id} (before_id)")
    if target is not None and target.status not in NOT_STARTED:
        raise RpcError(Code.CONFLICT, f"job {target.id} is {target.status.value}: no job can be put before it any more")
    if is_cycle:
        raise RpcError(Code.BAD_REQUEST, f"job {new.after_id} waits for job {new.before_id}: they would wait for ever")
    has_gate = new.after_date is not None or new.after_id is not None
    return Status.WAITING if has_gate else Status.READY


def check(facts: Facts, now: float, chance: float = 0.5) -> Transition | Waiting:
    """What becomes of a job that has not started. `chance`: see `attempts.settle`."""
    job = facts.job
    if job.status not in NOT_STARTED:
        return Waiting((Reason.STARTED,))
    if facts.after in FAILED:
        return _errored(Code.AFTER_ERRORED, "Dependency (after) errored", f"after {job.after_id} errored", now)
    if facts.pool.has_failed and not facts.pool.is_unfinished:
        return _errored(Code.BEFORE_ERRORED, "Dependency (before) errored", "pool errored", now)
    if job.is_untried and job.expires is not None and job.expires <= now:
        return _errored(Code.EXPIRED, "expired before it could start", "expired", now)

    reasons = []
    until = inf
    if facts.after is not None and facts.after is not Status.COMPLETE:
        reasons.append(Reason.AFTER)
    if facts.pool.is_unfinished:
        reasons.append(Reason.POOL)
    if job.status is Status.WAITING and job.opens_at is not None and job.opens_at > now:
        reasons.append(Reason.RETRY if job.retries else Reason.DATE)
        until = job.opens_at
    if reasons:
        if job.status is Status.READY:
            return Transition(NOT_STARTED, Status.WAITING, why=", ".join(reason.value for reason in reasons))
        return Waiting(tuple(reasons), until)
    if job.status is Status.WAITING:
        return Transition(frozenset({Status.WAITING}), Status.READY, why="gates open", set={"opens_at": None})
    return _claim(facts, now, chance)


def _claim(facts: Facts, now: float, chance: float) -> Transition | Waiting:
    """A job is ready: run it, if it may run and there is anybody to run it."""
    job = facts.job
    control = facts.control
    expect = frozenset({Status.READY})
    epoch = job.epoch + 1
    if control.is_paused:
        return Waiting((Reason.PAUSED,))
    if facts.twin is not None:
        set: dict[str, Any] = {"see_other": facts.twin, "completed": now}
        return Transition(expect, Status.DUPLICATE, why=f"dedupe: {facts.twin} runs", set=set)

    ended: dict[str, Any] = {"epoch": epoch, "completed": now, "result_data": None}
    if job.method == NOOP or (job.method == NOOPWAIT and job.released):
        return Transition(expect, Status.COMPLETE, why="noop", set=ended, outcome=Outcome.COMPLETE)
    if job.method == NOOPGO:
        set = ended | {"result_data": rpc.dump(facts.releases)}
        return Transition(expect, Status.COMPLETE, why="noopgo", set=set, outcome=Outcome.COMPLETE)
    if job.method == NOOPWAIT:
        stops_at = None if job.timeout is None else now + job.timeout
        return Transition(expect, Status.RUNNING, why="noopwait", set={"epoch": epoch, "stops_at": stops_at})

    if control.concurrency is not None and facts.active + facts.ahead >= control.concurrency:
        return Waiting((Reason.LIMIT,))
    if facts.workers is None:
        return Waiting((Reason.WORKERS if facts.is_returning else Reason.GEARMAN,))
    if facts.workers == 0:
        error = error_text(Code.NO_WORKER, "No worker available")
        return attempts.failed(job, expect, Outcome.NO_WORKER, error, "no worker", now, chance, {"epoch": epoch})
    return Transition(expect, Status.RUNNING, why="claimed", set={"epoch": epoch}, starts=True)


def go(job: Job, now: float) -> Transition | None:
    """What a noopgo makes of `job`: a noopwait ends, or will end as soon as it runs. None: it has no effect."""
    if job.method != NOOPWAIT or job.released or job.status in TERMINAL:
        return None
    if job.status is Status.RUNNING:
        set = {"released": True, "completed": now}
        return Transition(frozenset({Status.RUNNING}), Status.COMPLETE, why="noopgo", set=set, outcome=Outcome.COMPLETE)
    return Transition(CURRENT, job.status, why="noopgo", set={"released": True})


def hurry(job: Job, last: Attempt | None, now: float) -> Transition | None:
    """Somebody wants the job to wait neither for its date nor for its next try; None if no such wait can be cut short.

    `last` is its last try: the next one still waits until the worker of that has surely stopped.
    """
    if job.status is not Status.WAITING or job.opens_at is None:
        return None
    stopped_at = attempts.stopped_at(job, last)
    if job.opens_at <= stopped_at:
        return None
    opens_at = stopped_at if stopped_at > now else None
    return Transition(frozenset({Status.WAITING}), Status.WAITING, why="run now", set={"opens_at": opens_at})


def cancel(job: Job, reason: str | None, now: float) -> Transition | None:
    """Somebody does not want the job any more; None if it has ended already.

    The status alone keeps late data of its attempt out, so the epoch stays: each has its row of attempts.
    """
    if job.status in TERMINAL:
        return None
    message = "cancelled" if reason is None else f"cancelled: {reason}"
    error = error_text(Code.CANCELLED, message)
    set: dict[str, Any] = {"result_data": error, "completed": now, "lease_at": None, "stops_at": None}
    if job.status in ACTIVE:
        return Transition(ACTIVE, Status.INVALID, message, set, Outcome.CANCELLED, error)
    return Transition(NOT_STARTED, Status.INVALID, message, set)


def _errored(code: Code, message: str, why: str, now: float) -> Transition:
    """The job will never run, and no retry would help."""
    set = {"result_data": error_text(code, message), "completed": now}
    return Transition(NOT_STARTED, Status.ERRORED, why=why, set=set)
