"""What may become of a job; pure. Every change of a status is decided here and nowhere else.

    queue ──> waiting ──> ready ──> running ──> almost-done ──> complete
                 │  ^        │         │  ^         │
                 │  └─retry──┼─────────┤  └─────────┤ news of it
                 │           │         └─> missing <┘
                 └─> errored <┴─────────────┘    ready ──> duplicate

`admit` judges a new job, `check` one that has not started (waiting, ready), `settle` one that has (running,
almost-done, missing). They answer with a `Transition` for the store to apply by compare-and-swap, with `Waiting` and
its reasons, or with None: nothing changes. They look at no clock and no row: what they need comes in as `Facts`,
`Event` and `now`.

The gates of a job that has not started, all of which must be open: its date, its parent (`after_id`), its pool
(`before_id` of others) and an answer from Gearman whether anybody offers the method. A date gate latches: once a look
found it open, a clock that steps back does not close it (`next_at` is None from then on).
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
    Ended,
    Event,
    Facts,
    Job,
    Lapsed,
    NewJob,
    NoWorker,
    Outcome,
    Reported,
    Status,
    Transition,
    Unsent,
    Vanished,
    Waiting,
)

__all__ = [
    "ALWAYS_AVAILABLE",
    "NOOP",
    "NOOPGO",
    "NOOPWAIT",
    "admit",
    "answer",
    "check",
    "go",
    "json_of",
    "revive",
    "settle",
]

NOOP = "gearbox\\core::noop"
NOOPWAIT = "gearbox\\core::noopwait"
NOOPGO = "gearbox\\core::noopgo"
ALWAYS_AVAILABLE = frozenset({NOOP, NOOPWAIT, NOOPGO})  # the core runs them itself, without Gearman

RETRY_FLOOR = 0.1  # s; a worker that fails at once with retry_delay 0 must not become a hot loop
DATA_GRACE = 30.0  # s from Gearman's "ended" to the worker's data (original: for ever)
MISSING_GRACE = 5.0  # s from "nobody knows it" to the end of the attempt (as the original)
LEASE = 30.0  # s between signs of life of an attempt that no Gearman connection of ours watches

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


def check(facts: Facts, now: float) -> Transition | Waiting:
    """What becomes of a job that has not started."""
    job = facts.job
    if job.status not in NOT_STARTED:
        return Waiting((f"is {job.status.value}",))
    if facts.after in FAILED:
        return _errored(job, Code.AFTER_ERRORED, "Dependency (after) errored", f"after {job.after_id}", now)

    reasons = []
    until = inf
    if facts.after is not None and facts.after is not Status.COMPLETE:
        reasons.append(f"after {job.after_id}")
    if facts.pool.is_unfinished:
        reasons.append("before: the pool is not done")
    elif facts.pool.has_failed:
        return _errored(job, Code.BEFORE_ERRORED, "Dependency (before) errored", "pool", now)
    if job.status is Status.WAITING and job.next_at is not None and job.next_at > now:
        reasons.append("date")
        until = job.next_at
    if reasons:
        if job.status is Status.READY:
            return Transition(NOT_STARTED, Status.WAITING, why=", ".join(reasons))
        return Waiting(tuple(reasons), until)
    if job.status is Status.WAITING:
        return Transition(frozenset({Status.WAITING}), Status.READY, why="gates open", set={"next_at": None})
    return _claim(facts, now)


def _claim(facts: Facts, now: float) -> Transition | Waiting:
    """A job is ready: run it, if there is anybody to run it."""
    job = facts.job
    expect = frozenset({Status.READY})
    epoch = job.epoch + 1
    if facts.twin is not None:
        set: dict[str, Any] = {"see_other": facts.twin, "completed": now}
        return Transition(expect, Status.DUPLICATE, why=f"dedupe: {facts.twin} runs", set=set)

    ended: dict[str, Any] = {"epoch": epoch, "completed": now, "result_data": None, "next_at": None}
    if job.method == NOOP or (job.method == NOOPWAIT and job.released):
        return Transition(expect, Status.COMPLETE, why="noop", set=ended, outcome=Outcome.COMPLETE)
    if job.method == NOOPGO:
        set = ended | {"result_data": rpc.dump(facts.releases)}
        return Transition(expect, Status.COMPLETE, why="noopgo", set=set, outcome=Outcome.COMPLETE)
    if job.method == NOOPWAIT:
        return Transition(expect, Status.RUNNING, why="noopwait", set={"epoch": epoch, "next_at": None})

    if facts.workers is None:
        return Waiting(("Gearman cannot be reached",))
    if facts.workers == 0:
        error = _error_text(Code.NO_WORKER, "No worker available")
        return _failed(job, expect, Outcome.NO_WORKER, error, "no worker", now, {"epoch": epoch})
    return Transition(expect, Status.RUNNING, why="claimed", set={"epoch": epoch, "next_at": None}, starts=True)


def settle(job: Job, event: Event, now: float) -> Transition | None:
    """What news of its current attempt makes of a job; None when it changes nothing.

    News of an earlier attempt must not come here: the caller compares epochs.
    """
    if job.status not in ACTIVE:
        return None
    match event:
        case Ended(error=None):
            if job.status is not Status.RUNNING:
                return None
            return _to(job, Status.ALMOST_DONE, "ended, data to come", next_at=now + DATA_GRACE)
        case Ended(error=error, outcome=outcome):
            return _failed(job, ACTIVE, outcome, rpc.dump(error), outcome.value, now)
        case Reported():
            return _reported(job, event, now)
        case Lapsed():
            return _lapsed(job, now)
        case Vanished(was_started=was_started, grace=grace):
            if job.method == NOOPWAIT or job.status is Status.ALMOST_DONE:
                return None
            if job.status is Status.RUNNING and not was_started:
                return _released(job, "connection lost before it started")
            return _to(job, Status.MISSING, "connection lost", next_at=now + grace)
        case NoWorker():
            if job.method == NOOPWAIT or job.status is not Status.RUNNING:
                return None
            return _to(job, Status.MISSING, "no worker left", next_at=now + MISSING_GRACE)
        case Unsent():
            return _released(job, "never sent") if job.status is Status.RUNNING else None


def revive(job: Job, now: float) -> Transition | None:
    """A sign of life of a missing job's attempt: it runs after all, watched by its lease alone."""
    if job.status is not Status.MISSING:
        return None
    return _to(job, Status.RUNNING, "found again", next_at=now + LEASE)


def go(job: Job, now: float) -> Transition | None:
    """What a noopgo makes of `job`: a noopwait ends, or will end as soon as it runs. None: it has no effect."""
    if job.method != NOOPWAIT or job.released or job.status in TERMINAL:
        return None
    if job.status is Status.RUNNING:
        set = {"released": True, "completed": now}
        return Transition(frozenset({Status.RUNNING}), Status.COMPLETE, why="noopgo", set=set, outcome=Outcome.COMPLETE)
    return Transition(CURRENT, job.status, why="noopgo", set={"released": True})


def answer(job: Job) -> str | RpcError:
    """What those who watch a terminal job get: JSON text, or the error to raise.

    A duplicate has no answer of its own: ask for its `see_other`.
    """
    assert job.status in TERMINAL
    assert job.status is not Status.DUPLICATE
    data = json_of(job.result_data)
    if job.status is Status.COMPLETE:
        return "null" if job.result_data is None else rpc.dump(data)
    if job.status is Status.INVALID and data is None:
        return RpcError(Code.INVALID, "the job is invalid")
    if isinstance(data, dict) and "code" in data and "message" in data:
        return RpcError(data["code"], str(data["message"]), data.get("data"))
    return RpcError(Code.JOB_ERRORED, data if isinstance(data, str) else "the job errored", data)


def _reported(job: Job, news: Reported, now: float) -> Transition:
    set: dict[str, Any] = {}
    if news.progress is not None:
        set |= {"progress": news.progress, "progress_at": now}
    data = job.result_data
    if news.data is not None:
        is_append = news.separator is not None and data is not None
        data = f"{data}{news.separator}{news.data}" if is_append else news.data
        set["result_data"] = data
    if news.status is Status.COMPLETE:
        set |= {"completed": now, "next_at": None}
        return Transition(ACTIVE, Status.COMPLETE, why="worker's data", set=set, outcome=Outcome.COMPLETE)
    if news.status is Status.INVALID:
        error = _error_text(Code.INVALID, "the worker reported a status that is none")
        set |= {"completed": now, "next_at": None, "result_data": error}
        return Transition(ACTIVE, Status.INVALID, "unknown status", set, Outcome.ERRORED, error)
    if news.status is Status.ERRORED:
        return _failed(job, ACTIVE, Outcome.ERRORED, data, "worker's error", now, set)
    if job.status is Status.MISSING or (job.status is Status.RUNNING and job.next_at is not None):
        return _to(job, Status.RUNNING, "news from its worker", **set, next_at=now + LEASE)
    return Transition(ACTIVE, job.status, why="news from its worker", set=set)


def _lapsed(job: Job, now: float) -> Transition:
    if job.status is Status.MISSING:
        error = _error_text(Code.WENT_MISSING, "went missing")
        return _failed(job, ACTIVE, Outcome.MISSING, error, "went missing", now)
    why = "no data came" if job.status is Status.ALMOST_DONE else "no sign of life"
    return _to(job, Status.MISSING, why, next_at=now + MISSING_GRACE)


def _failed(
    job: Job,
    expect: frozenset[Status],
    outcome: Outcome,
    error: str | None,
    why: str,
    now: float,
    set: dict[str, Any] | None = None,
) -> Transition:
    """An attempt failed: try again after the delay while retries are left, else the job has errored."""
    set = {**(set or {}), "result_data": error}
    if job.retries < job.max_retries:
        set |= {"retries": job.retries + 1, "next_at": now + max(job.retry_delay, RETRY_FLOOR)}
        return Transition(expect, Status.WAITING, why=f"{why}: retry", set=set, outcome=outcome, error=error)
    set |= {"completed": now, "next_at": None}
    return Transition(expect, Status.ERRORED, why=why, set=set, outcome=outcome, error=error)


def _errored(job: Job, code: Code, message: str, why: str, now: float) -> Transition:
    """A dependency failed: the job will never run, and no retry would help."""
    set = {"result_data": _error_text(code, message), "completed": now, "next_at": None}
    return Transition(NOT_STARTED, Status.ERRORED, why=f"{why} errored", set=set)


def _released(job: Job, why: str) -> Transition:
    """The attempt was certainly never run: the job is ready as before, and no retry is used up."""
    set = {"next_at": None}
    return Transition(
        frozenset({Status.RUNNING}), Status.READY, why=f"released: {why}", set=set, outcome=Outcome.RELEASED
    )


def _to(job: Job, status: Status, why: str, **set: Any) -> Transition:
    return Transition(ACTIVE, status, why=why, set=set)


def _error_text(code: Code, message: str) -> str:
    return rpc.dump(RpcError(int(code), message).as_json())


def json_of(text: str | None) -> Any:
    """The value of stored JSON text; plain text (a result that was appended to) is a string, None is null."""
    if text is None:
        return None
    try:
        return rpc.load(text)
    except ValueError:
        return text
