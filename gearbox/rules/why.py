"""Why a job is where it is, in one sentence; pure.

The reasons are those that `rules.check` itself gives for not starting the job, with the ids, dates and limits that
stand behind them.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from gearbox.job import TERMINAL, Attempt, Facts, Job, Reason, Status, Transition, Waiting
from gearbox.rules.answers import error_of
from gearbox.rules.attempts import NOOPWAIT, stopped_at
from gearbox.store.rows import iso

__all__ = ["SHOWN", "Surroundings", "sentence"]

SHOWN = 3  # members of a pool that are named


@attrs.frozen
class Surroundings:
    """What stands behind the reasons."""

    parent: Job | None = None  # of after_id or, for a duplicate, of see_other; resolved
    unfinished: Sequence[int] = ()  # members of its pool, one more than are shown
    attempt: Attempt | None = None  # the last one


def sentence(facts: Facts, decision: Transition | Waiting, around: Surroundings) -> str:
    """The sentence, without a full stop."""
    job = facts.job
    if job.status in TERMINAL:
        return f"job {job.id} {_ended(job, around)}"
    if job.status not in (Status.READY, Status.WAITING):
        return f"job {job.id} {_active(job, around)}"
    if isinstance(decision, Transition):
        return f"job {job.id} is {job.status.value}, and nothing holds it back: the core is about to take it up"
    words = "; ".join(_words(reason, facts, around) for reason in decision.reasons)
    return f"job {job.id} is {job.status.value}: {words}"


def _words(reason: Reason, facts: Facts, around: Surroundings) -> str:
    job = facts.job
    match reason:
        case Reason.AFTER:
            parent = around.parent
            assert parent is not None
            alias = "" if parent.id == job.after_id else f" a duplicate of job {parent.id},"
            return f"it waits for job {job.after_id} (after_id),{alias} which is {parent.status.value}"
        case Reason.POOL:
            if not around.unfinished:
                return "a member of its pool is a duplicate of a job that has not ended"
            shown = ", ".join(str(id) for id in around.unfinished[:SHOWN])
            more = " and others" if len(around.unfinished) > SHOWN else ""
            have = "has" if len(around.unfinished) == 1 else "have"
            return f"it waits for its pool (before_id): {shown}{more} {have} not ended"
        case Reason.DATE:
            assert job.opens_at is not None
            return f"its date is {iso(job.opens_at)}"
        case Reason.RETRY:
            assert job.opens_at is not None
            is_held_up = job.opens_at <= stopped_at(job, around.attempt)
            until = ", when the worker of its last try has surely stopped" if is_held_up else ""
            return f"its retry {job.retries} of {job.max_retries} is due at {iso(job.opens_at)}{until}"
        case Reason.PAUSED:
            return f"its method {job.method} is paused"
        case Reason.LIMIT:
            queue = f", with {facts.ahead} before it" if facts.ahead else ""
            return f"its method {job.method} has {facts.active} active jobs of {facts.control.concurrency}{queue}"
        case Reason.GEARMAN:
            return "no Gearman server can be reached"
        case Reason.WORKERS:
            return f"no worker offers {job.method} yet after the restart; they are given time to come back"
        case Reason.STARTED:
            raise AssertionError("a job that has started is told by its status")


def _active(job: Job, around: Surroundings) -> str:
    attempt = around.attempt
    assert attempt is not None
    if job.status is Status.ALMOST_DONE:
        return f"has ended on its worker, whose data is awaited{_when('until', job.lease_at)}"
    if job.status is Status.MISSING:
        return f"is missing: nobody knows whether attempt {job.epoch} runs; it is given up{_when('at', job.lease_at)}"
    if job.method == NOOPWAIT:
        return f"is running: it waits for gearbox\\core::noopgo with the id {job.id}"
    if attempt.started_at is None:
        return (
            f"was handed to Gearman at {iso(attempt.claimed_at)} as attempt {job.epoch}; "
            "no worker has asked leave to start it"
        )
    worker = f" by {attempt.worker}" if attempt.worker else ""
    stops = "" if job.stops_at is None else f"; it may run until {iso(job.stops_at)}"
    return f"is running: attempt {job.epoch} was started at {iso(attempt.started_at)}{worker}{stops}"


def _when(word: str, at: float | None) -> str:
    return "" if at is None else f" {word} {iso(at)}"


def _ended(job: Job, around: Surroundings) -> str:
    if job.status is Status.DUPLICATE:
        original = around.parent
        assert original is not None
        via = "" if original.id == job.see_other else f", at last of {original.id}"
        return f"is a duplicate of job {job.see_other}{via}, which is {original.status.value}"
    at = "" if job.completed is None else f" at {iso(job.completed)}"
    if job.status is Status.COMPLETE:
        return f"was completed{at}"
    error = error_of(job)
    word = "errored" if job.status is Status.ERRORED else "became invalid"
    return f"{word}{at}: {error.message} ({error.code})"
