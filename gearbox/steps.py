"""What one transaction does: load what a rule needs to know, ask it, apply its answer, say what follows.

A step is called with an open transaction and the moment, and never does anything else: no clock, no Gearman, no
waiting. The core runs steps in batches and performs their actions after the commit. Here is also the only place where
one job's change moves another in the same transaction: a target that joins a pool's wait, a noopwait that is let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from gearbox import rpc, rules
from gearbox.errors import Code, RpcError
from gearbox.job import (
    ACTIVE,
    TERMINAL,
    Action,
    Event,
    Facts,
    Job,
    Lapsed,
    NewJob,
    Pool,
    Recheck,
    Reported,
    Start,
    Status,
    Tell,
    Transition,
    Vanished,
    Waiting,
)
from gearbox.store import Moment, Result, Tx

__all__ = [
    "due",
    "go",
    "id_of",
    "job_start",
    "look",
    "queue",
    "recover",
    "report",
    "settle",
    "stats",
    "status",
    "stranded",
    "sweep",
    "vanish",
    "watch",
]

DUE_LIMIT = 256  # jobs a due timer takes into one batch; the next batch takes the next
RETURN_GRACE = 15.0  # s in which workers come back after a restart: their longest pause between tries is 10 s + 15 %
STATUS_LIMIT = 10_000  # current jobs that `status` lists


def queue(new: NewJob, tx: Tx, moment: Moment) -> Result:
    """Store a new job, and start it if nothing holds it back. The value is its id."""
    if new.submit_token is not None:
        known = tx.job_of_token(new.submit_token)
        if known is not None:
            return Result(known.id)
    parent = None if new.after_id is None else tx.job(new.after_id)
    target = None if new.before_id is None else tx.job(new.before_id)
    is_cycle = parent is not None and target is not None and tx.waits_for(parent.id, target.id)
    initial = rules.admit(new, parent, target, is_cycle)
    job = tx.insert(new, initial, moment.now, moment.owner)

    actions = [] if target is None else _advance(tx, moment, target.id)
    # Nobody can refer to an id that was not known until now, so its pool is empty.
    original = None if parent is None else tx.resolve(parent.id)
    twin = tx.twin(job.dedupe) if job.has_dedupe else None
    facts = Facts(job, None if original is None else original.status, Pool(), twin)
    actions += _decide(tx, moment, facts)
    return Result(job.id, actions)


def look(id: int, tx: Tx, moment: Moment) -> Result:
    """Look at one job again, because its time has come or something that it depends on has changed."""
    job = tx.job(id)
    if job is None or job.status in TERMINAL:
        return Result()
    if job.status not in ACTIVE:
        return Result(actions=_advance(tx, moment, id))
    if job.next_at is not None and job.next_at <= moment.now:
        return Result(actions=_settle(tx, moment, job, Lapsed()))
    return Result()


def due(tx: Tx, moment: Moment) -> Result:
    """Which jobs have a timer that has come."""
    ids = tx.due(moment.now, DUE_LIMIT)
    return Result(actions=[Recheck(tuple(ids))] if ids else [])


def sweep(statuses: Sequence[Status], above: int, tx: Tx, moment: Moment) -> Result:
    """Look at the next jobs of these statuses; the value is the id to go on above, None at the end."""
    ids = tx.ids(statuses, above, DUE_LIMIT)
    actions = [Recheck(tuple(ids))] if ids else []
    return Result(ids[-1] if len(ids) == DUE_LIMIT else None, actions)


def settle(id: int, epoch: int, event: Event, tx: Tx, moment: Moment) -> Result:
    """News of an attempt from Gearman. What concerns an earlier attempt changes nothing."""
    job = tx.job(id)
    if job is None or job.epoch != epoch:
        return Result()
    return Result(actions=_settle(tx, moment, job, event))


def vanish(id: int, epoch: int, grace: float, tx: Tx, moment: Moment) -> Result:
    """The connection that watched an attempt is lost: if it was never started it is ready again, else missing."""
    job = tx.job(id)
    if job is None or job.epoch != epoch:
        return Result()
    return Result(actions=_settle(tx, moment, job, _vanished(tx, job, grace)))


def stranded(above: int, tx: Tx, moment: Moment) -> Result:
    """Running jobs for whose method no worker is left, among the next: ([jobs], id to go on above or None)."""
    ids = tx.ids((Status.RUNNING,), above, DUE_LIMIT)
    jobs = [job for job in tx.jobs(ids) if job.next_at is None and _workers(moment, job) == 0]
    return Result((jobs, ids[-1] if len(ids) == DUE_LIMIT else None))


def report(id: int, epoch: int | None, news: Reported, tx: Tx, moment: Moment) -> Result:
    """`job_data`. Without an epoch (workers of the original) it speaks of the last attempt."""
    job = tx.job(id)
    if job is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    if job.status not in ACTIVE or (epoch is not None and epoch != job.epoch):
        if news.status is not None:
            tx.note(job, moment.now, f"late result of attempt {epoch or 'unknown'} refused", moment.owner)
        return Result()
    return Result(actions=_settle(tx, moment, job, news))


def job_start(id: int, epoch: int, worker: str, tx: Tx, moment: Moment) -> Result:
    """A worker asks for leave to run an attempt; the value is True for exactly one."""
    job = tx.job(id)
    if job is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    if job.status not in ACTIVE or job.epoch != epoch:
        return Result(False)
    if not tx.start_attempt(id, epoch, moment.now, worker):
        return Result(False)
    found = rules.revive(job, moment.now)
    return Result(True, [] if found is None else _change(tx, moment, job, found)[1])


def go(id: int, tx: Tx, moment: Moment) -> Result:
    """Let a noopwait go; the value tells whether this call did it."""
    job = tx.job(id)
    released = None if job is None else rules.go(job, moment.now)
    if job is None or released is None:
        return Result(False)
    return Result(True, _change(tx, moment, job, released)[1])


def watch(id: int, tx: Tx, moment: Moment) -> Result:
    """The job to wait for: `id`, or what it is a duplicate of. None if there is none."""
    return Result(tx.resolve(id))


def status(ids: Sequence[int], tx: Tx, moment: Moment) -> Result:
    """These jobs in order of id; without ids the current ones, newest first."""
    return Result(tx.jobs(ids) if ids else tx.current(STATUS_LIMIT))


def stats(method: str, tx: Tx, moment: Moment) -> Result:
    return Result(tx.stats(method))


def recover(grace: float, above: int, tx: Tx, moment: Moment) -> Result:
    """What an earlier process left as running: nobody's Gearman connection watches it any more.

    Attempts that no worker had asked leave to start are ready again at once; the others have `grace` seconds in which
    their workers may come back. The value is the id to go on above, None at the end.
    """
    ids = tx.ids((Status.RUNNING, Status.ALMOST_DONE, Status.MISSING), above, DUE_LIMIT)
    actions: list[Action] = []
    for job in tx.jobs(ids):
        actions += _settle(tx, moment, job, _vanished(tx, job, grace))
    return Result(ids[-1] if len(ids) == DUE_LIMIT else None, actions)


# --- applying what the rules say ---


def _advance(tx: Tx, moment: Moment, id: int) -> list[Action]:
    facts = tx.facts(id)
    return [] if facts is None else _decide(tx, moment, facts)


def _decide(tx: Tx, moment: Moment, facts: Facts) -> list[Action]:
    """Take a job that has not started as far as it goes now."""
    facts = attrs.evolve(facts, workers=_workers(moment, facts.job))
    target = _release_target(tx, facts.job)
    if target is not None:
        facts = attrs.evolve(facts, releases=rules.go(target, moment.now) is not None)
    actions: list[Action] = []
    while True:
        decision = rules.check(facts, moment.now)
        if isinstance(decision, Waiting):
            if facts.job.next_at is not None and facts.job.next_at <= moment.now:
                tx.reschedule(facts.job, None)  # the date gate is open, and stays open
            return actions
        job, follow = _change(tx, moment, facts.job, decision)
        actions += follow
        if job.method == rules.NOOPGO and job.status is Status.COMPLETE and target is not None:
            actions += go(target.id, tx, moment).actions
        if job.status not in (Status.READY, Status.WAITING):
            return actions
        facts = attrs.evolve(facts, job=job)


def _settle(tx: Tx, moment: Moment, job: Job, event: Event) -> list[Action]:
    transition = rules.settle(job, event, moment.now)
    if transition is None:
        return []
    changed, actions = _change(tx, moment, job, transition)
    if changed.status is Status.READY:  # released: it may start again at once
        actions.append(Recheck((changed.id,)))
    return actions


def _vanished(tx: Tx, job: Job, grace: float) -> Vanished:
    attempt = tx.attempt(job.id, job.epoch)
    return Vanished(was_started=attempt is not None and attempt.started_at is not None, grace=grace)


def _change(tx: Tx, moment: Moment, job: Job, transition: Transition) -> tuple[Job, list[Action]]:
    """Apply a transition; what follows from it for Gearman, watchers and dependents."""
    changed = tx.apply(job, transition, moment.now, moment.owner)
    actions: list[Action] = []
    if transition.starts:
        actions.append(Start(changed))
    if changed.status in TERMINAL:
        actions.append(Tell(changed))
        dependents = tx.dependents(changed.id)
        if dependents:
            actions.append(Recheck(dependents))
    return changed, actions


def _workers(moment: Moment, job: Job) -> int | None:
    """How many workers offer the job's method; None when that cannot be told.

    After a restart, a job from before it does not fail for want of workers that had no time yet to come back.
    """
    if job.method in rules.ALWAYS_AVAILABLE:
        return 1
    if moment.workers is None:
        return None
    workers = moment.workers.get(job.method, 0)
    is_returning = job.created < moment.since and moment.now < moment.since + RETURN_GRACE
    return None if workers == 0 and is_returning else workers


def _release_target(tx: Tx, job: Job) -> Job | None:
    """The job that a noopgo names in its arguments: an id, as a number or text, alone or in a list."""
    if job.method != rules.NOOPGO or job.arguments is None:
        return None
    id = id_of(rpc.load(job.arguments))
    return None if id is None else tx.job(id)


def id_of(value: Any) -> int | None:
    """A job's id as the tools and old clients write it: 7, "7", [7] or ["7"]; None for anything else.

    >>> [id_of(v) for v in (7, "7", ["7"], 7.0, True, "x", -1, 2**63)]
    [7, 7, 7, 7, None, None, None, None]
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    return value if isinstance(value, int) and 0 < value < 2**63 else None
