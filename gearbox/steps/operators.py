"""What operators do to jobs that are there already; each deed is recorded with who did it and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gearbox import rules
from gearbox.errors import Code, RpcError
from gearbox.job import Action, Job, Priority, Status
from gearbox.rules.query import Query
from gearbox.steps import bundles, life
from gearbox.store import Deed, Lock, Moment, Result, Step, Tx

__all__ = ["ACTIONS", "act", "deeds", "hurry", "recorded", "reprioritise"]

ACT_LIMIT = 1_000  # jobs that one action by filter changes: a transaction of some 200 ms
SCAN_LIMIT = 100_000  # rows that it looks at to find them
NOT_STARTED = frozenset({Status.READY, Status.WAITING})


def recorded(
    step: Step, action: str, target: str, reason: str | None, tx: Tx, moment: Moment, who: str | None = None
) -> Result:
    """The step, and a record of it in the same transaction. A step that refuses leaves none."""
    result = step(tx, moment)
    tx.record(Deed(0, moment.now, who or moment.owner, action, target, reason or "", None))
    return result


def hurry(id: int, reason: str | None, tx: Tx, moment: Moment, who: str | None = None) -> Result:
    """Run a job without waiting for its date or its next try; True if that cut a wait short.

    What else it waits for (other jobs, a pause, a worker that may still run its last try) still holds.
    """
    job = _job(id, tx)
    hurried = rules.hurry(job, tx.attempt(id, job.epoch) if job.retries else None, moment.now)
    if hurried is None:
        return Result(False)
    changed = tx.apply(job, hurried, moment.now, "")
    tx.note(changed, moment.now, _why(hurried.why, reason), who or moment.owner)
    return Result(True, life.advance(tx, moment, id))


def reprioritise(
    id: int, priority: Priority, reason: str | None, tx: Tx, moment: Moment, who: str | None = None
) -> Result:
    """Give a job that has not started another priority; False if it is too late, or has it."""
    job = _job(id, tx)
    if job.status not in NOT_STARTED or job.priority is priority:
        return Result(False)
    tx.set_priority(job, priority, moment.now)
    tx.note(
        job, moment.now, _why(f"priority {job.priority.value} becomes {priority.value}", reason), who or moment.owner
    )
    return Result(True, life.advance(tx, moment, id))


def _cancel(job: Job, reason: str | None, priority: Priority, tx: Tx, moment: Moment, who: str | None) -> Result:
    return life.cancel(job.id, reason, tx, moment, who)


def _retry(job: Job, reason: str | None, priority: Priority, tx: Tx, moment: Moment, who: str | None) -> Result:
    try:
        return Result(True, bundles.retry(job.id, True, tx, moment, who).actions)
    except RpcError as refusal:  # it, or what hangs together with it, was retried already, maybe by this very action
        if refusal.code != Code.CONFLICT:
            raise
        return Result(False)


def _hurry(job: Job, reason: str | None, priority: Priority, tx: Tx, moment: Moment, who: str | None) -> Result:
    return hurry(job.id, reason, tx, moment, who)


def _reprioritise(job: Job, reason: str | None, priority: Priority, tx: Tx, moment: Moment, who: str | None) -> Result:
    return reprioritise(job.id, priority, reason, tx, moment, who)


ACTIONS: Mapping[str, Callable[..., Result]] = {
    "cancel": _cancel,
    "retry": _retry,
    "run_now": _hurry,
    "reprioritise": _reprioritise,
}


def act(
    action: str,
    query: Query,
    line: str,
    up_to: int | None,
    reason: str | None,
    priority: Priority,
    is_preview: bool,
    tx: Tx,
    moment: Moment,
    who: str | None = None,
) -> Result:
    """Do the same to all jobs that a search finds, up to the id `up_to`; with `is_preview`, only tell to which.

    The value has `jobs` that match, `changed` of them, and whether there are more `is_cut`.
    """
    below = None if up_to is None else up_to + 1
    found = tx.search(query, tx.counts(), below, ACT_LIMIT, SCAN_LIMIT)
    value: dict[str, Any] = {"jobs": len(found.jobs), "changed": 0, "is_cut": found.next is not None}
    value["ids"] = [job.id for job in found.jobs]
    if is_preview:
        return Result(value)
    actions: list[Action] = []
    for job in reversed(found.jobs):  # the oldest first: parents before those that wait for them
        done = ACTIONS[action](job, reason, priority, tx, moment, who)
        value["changed"] += bool(done.value)
        actions += done.actions
    words = f"{action} {priority.value}" if action == "reprioritise" else action
    tx.record(Deed(0, moment.now, who or moment.owner, words, line or "all jobs", reason or "", value["changed"]))
    return Result(value, actions)


def deeds(below: int | None, limit: int, tx: Tx, moment: Moment) -> Result:
    return Result(tx.deeds(below, limit))


def _job(id: int, tx: Tx) -> Job:
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    return job


def _why(what: str, reason: str | None) -> str:
    return what if not reason else f"{what}: {reason}"
