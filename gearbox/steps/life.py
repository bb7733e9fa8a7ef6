"""The life of a job: it is queued, looked at, started, reported on, ended.

Here is also the only place where one job's change moves another in the same transaction: a target that joins a pool's
wait, a noopwait that is let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from gearbox import rpc, rules
from gearbox.errors import Code, RpcError, StoreBusy
from gearbox.job import (
    ACTIVE,
    TERMINAL,
    Action,
    Attempt,
    Control,
    Event,
    Facts,
    Fire,
    Job,
    Lapsed,
    NewJob,
    Outcome,
    Pool,
    Reason,
    Recheck,
    Reported,
    Start,
    Status,
    Tell,
    Transition,
    Vanished,
    Waiting,
    altered,
)
from gearbox.rules import attempts, inputs
from gearbox.store import Lock, Moment, Result, Tx
from gearbox.store.foresight import changes_job, starts_job

__all__ = [
    "DUE_LIMIT",
    "RETURN_GRACE",
    "Stranded",
    "admit",
    "advance",
    "alive",
    "begin",
    "cancel",
    "claimed",
    "decide",
    "due",
    "facts_of",
    "go",
    "id_of",
    "job_start",
    "look",
    "queue",
    "react",
    "report",
    "settle",
    "stranded",
    "sweep",
    "take_due",
    "vanished",
    "watch",
    "workers_of",
]

DUE_LIMIT = 256  # jobs a due timer takes into one batch; the next batch takes the next
RETURN_GRACE = 15.0  # s in which workers come back after a restart: their longest pause between tries is 10 s + 15 %
GOLDEN = 0.6180339887498949  # spreads the chance of a batch over its jobs


@attrs.frozen
class Stranded:
    """Running jobs that Gearman should be asked about."""

    without_worker: list[Job]  # nobody offers their method any more, at least not at their Gearman server
    without_clock: list[Job]  # they have a timeout, and no worker has asked leave to start them
    above: int | None  # go on above this id; None at the end


def queue(new: NewJob, tx: Tx, moment: Moment, who: str | None = None, why: str = "queued") -> Result:
    """Store a new job, and start it if nothing holds it back. The value is its id."""
    if new.submit_token is not None:
        known = tx.job_of_token(new.submit_token)
        if known is not None:
            return Result(known.id)
    if new.after_id is not None and new.before_id is not None:
        tx.lock_graph()
    # A parent that ends looks for its children: either it finds this one, or this one finds it ended.
    parent = None if new.after_id is None else tx.job(new.after_id, Lock.SHARED)
    target = None if new.before_id is None else tx.job(new.before_id, Lock.EXCLUSIVE)
    is_cycle = parent is not None and target is not None and tx.waits_for(parent.id, target.id)
    initial = admit(new, parent, target, is_cycle, tx)
    job = tx.insert(new, initial, moment.now, who or moment.owner, why)

    actions = [] if target is None else advance(tx, moment, target.id)
    # Nobody can refer to an id that was not known until now, so its pool is empty.
    original = None if parent is None else tx.resolve(parent.id, Lock.SHARED)
    twin = tx.twin(job.dedupe) if job.has_dedupe else None
    facts = Facts(job, None if original is None else original.status, Pool(), twin)
    actions += decide(tx, moment, facts)
    return Result(job.id, actions)


def admit(new: NewJob, parent: Job | None, target: Job | None, is_cycle: bool, tx: Tx) -> Status:
    """`rules.admit`, for a call whose token is not known.

    What is refused may be a call that another core has stored while this one waited for the row of its target, which
    has moved on since: then all is run again (StoreBusy), and finds it.
    """
    try:
        return rules.admit(new, parent, target, is_cycle)
    except RpcError:
        if new.submit_token is not None and tx.job_of_token(new.submit_token, anew=True) is not None:
            raise StoreBusy("another core has stored this call meanwhile") from None
        raise


@changes_job
def look(id: int, tx: Tx, moment: Moment) -> Result:
    """Look at one job again, because its time has come or something that it depends on has changed."""
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None or job.status in TERMINAL:
        return Result()
    if job.status not in ACTIVE:
        return Result(actions=advance(tx, moment, id))
    if job.next_at is not None and job.next_at <= moment.now:
        return Result(actions=react(tx, moment, job, _lapsed(tx, job)))
    return Result()


def due(tx: Tx, moment: Moment) -> Result:
    """Which jobs and recurring entries have a timer that has come."""
    ids = tx.due(moment.now, DUE_LIMIT)
    actions: list[Action] = [Recheck(tuple(ids))] if ids else []
    return Result(actions=actions + [Fire(name) for name in tx.due_schedules(moment.now, DUE_LIMIT)])


def take_due(tx: Tx, moment: Moment) -> Result:
    """`due` where several cores see the same timers: what this one is given, it looks at before the others may."""
    actions: list[Action] = []
    for id in tx.due(moment.now, DUE_LIMIT):
        actions += look(id, tx, moment).actions
    return Result(actions=actions + [Fire(name) for name in tx.due_schedules(moment.now, DUE_LIMIT)])


def sweep(statuses: Sequence[Status], above: int, tx: Tx, moment: Moment) -> Result:
    """Look at the next jobs of these statuses; the value is the id to go on above, None at the end."""
    ids = tx.ids(statuses, above, DUE_LIMIT)
    actions = [Recheck(tuple(ids))] if ids else []
    return Result(ids[-1] if len(ids) == DUE_LIMIT else None, actions)


@changes_job
def settle(id: int, epoch: int, event: Event, tx: Tx, moment: Moment) -> Result:
    """News of an attempt from Gearman. What concerns an earlier attempt changes nothing."""
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None or job.epoch != epoch:
        return Result()
    return Result(actions=react(tx, moment, job, event))


def stranded(above: int, tx: Tx, moment: Moment) -> Result:
    """`Stranded` among the next running jobs of this core."""
    ids = tx.ids((Status.RUNNING,), above, DUE_LIMIT)
    mine = [job for job in tx.jobs(ids) if job.owner == moment.owner]
    jobs = [job for job in mine if job.method != rules.NOOPWAIT and job.lease_at is None]
    without_worker = [job for job in jobs if _is_stranded(tx, moment, job)]
    without_clock = [job for job in jobs if job.timeout is not None and job.stops_at is None]
    return Result(Stranded(without_worker, without_clock, ids[-1] if len(ids) == DUE_LIMIT else None))


def _is_stranded(tx: Tx, moment: Moment, job: Job) -> bool:
    if workers_of(tx, moment, job)[0] == 0:
        return True
    if not moment.servers.get(job.method):
        return False
    attempt = tx.attempt(job.id, job.epoch)
    return attempt is not None and attempt.server not in moment.servers[job.method]


def claimed(above: int, tx: Tx, moment: Moment) -> Result:
    """Running jobs that this core claimed and watches: ([jobs], id to go on above or None)."""
    ids = tx.ids((Status.RUNNING,), above, DUE_LIMIT)
    mine = [job for job in tx.jobs(ids) if job.owner == moment.owner]
    jobs = [job for job in mine if job.method != rules.NOOPWAIT and job.lease_at is None]
    return Result((jobs, ids[-1] if len(ids) == DUE_LIMIT else None))


@changes_job
def begin(id: int, epoch: int, tx: Tx, moment: Moment) -> Result:
    """A worker that asks no leave has the attempt: its time is counted from now on."""
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None or job.status is not Status.RUNNING or job.epoch != epoch:
        return Result()
    return Result(actions=_perhaps(tx, moment, job, attempts.begin(job, moment.now)))


@changes_job
def report(id: int, epoch: int | None, news: Reported, tx: Tx, moment: Moment) -> Result:
    """`job_data`. Without an epoch (workers of the original) it speaks of the last attempt."""
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    if job.status not in ACTIVE or (epoch is not None and epoch != job.epoch):
        if news.status is not None:
            why = f"late result of attempt {epoch or 'unknown'} refused: {news.status.value}"
            tx.note(job, moment.now, why, moment.owner)
        return Result()
    return Result(actions=react(tx, moment, job, news))


@starts_job
def job_start(id: int, epoch: int, worker: str, tx: Tx, moment: Moment) -> Result:
    """A worker asks for leave to run an attempt; the value is True for exactly one, however often it asks."""
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    if job.status not in ACTIVE or job.epoch != epoch:
        return Result(False)
    if not tx.start_attempt(id, epoch, moment.now, worker) and not _is_of(worker, tx.attempt(id, epoch)):
        return Result(False)
    return Result(True, _perhaps(tx, moment, job, attempts.begin(job, moment.now)))


def _is_of(worker: str, attempt: Attempt | None) -> bool:
    """Whether this very worker has leave already: the answer to its first question may have been lost."""
    return bool(worker) and attempt is not None and attempt.worker == worker and attempt.outcome is None


@changes_job
def alive(id: int, epoch: int, tx: Tx, moment: Moment) -> Result:
    """A worker asks whether to go on with an attempt; False: it must stop."""
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None:
        return Result(False)
    is_wanted, renewed = attempts.alive(job, epoch, moment.now)
    return Result(is_wanted, _perhaps(tx, moment, job, renewed))


@changes_job
def cancel(id: int, reason: str | None, tx: Tx, moment: Moment, who: str | None = None) -> Result:
    """End a job that nobody wants any more; False if it had ended already, which is noted."""
    who = who or moment.owner
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    cancelled = rules.cancel(job, reason, moment.now)
    if cancelled is None:
        tx.note(job, moment.now, "cancel came too late", who)
        return Result(False)
    return Result(True, _change(tx, moment, job, cancelled, who)[1])


@changes_job
def go(id: int, tx: Tx, moment: Moment) -> Result:
    """Let a noopwait go; the value tells whether this call did it."""
    job = tx.job(id, Lock.EXCLUSIVE)
    released = None if job is None else rules.go(job, moment.now)
    if job is None or released is None:
        return Result(False)
    return Result(True, _change(tx, moment, job, released)[1])


def watch(id: int, tx: Tx, moment: Moment) -> Result:
    """The job to wait for: `id`, or what it is a duplicate of. None if there is none."""
    return Result(tx.resolve(id))


# --- applying what the rules say ---


def advance(tx: Tx, moment: Moment, id: int) -> list[Action]:
    """Take a job that has not started as far as it goes now."""
    facts = tx.facts(id)
    return [] if facts is None else decide(tx, moment, facts, is_new=False)


def facts_of(tx: Tx, moment: Moment, facts: Facts) -> Facts:
    """What the rows of a job say, completed by what is known of its method."""
    job = facts.job
    workers, is_returning = workers_of(tx, moment, job)
    known: dict[str, Any] = {"workers": workers, "is_returning": is_returning}
    control = tx.control(job.method)
    if control is not None:
        known["control"] = control
        if control.concurrency is not None:
            active = tx.active(job.method)
            known |= {"active": active, "ahead": tx.ahead(job, max(control.concurrency - active, 1))}
            if job.has_dedupe and facts.twin is None:
                # `active` may have waited for another core to commit, and what it gave the place to may be the twin.
                known["twin"] = tx.twin(job.dedupe)
    return altered(facts, known)


def decide(tx: Tx, moment: Moment, facts: Facts, is_new: bool = True) -> list[Action]:
    """`advance` for facts that are known. A job that `is_new` in this transaction has no pool."""
    facts = facts_of(tx, moment, facts)
    target = _release_target(tx, facts.job)
    if target is not None:
        facts = attrs.evolve(facts, releases=rules.go(target, moment.now) is not None)
    actions: list[Action] = []
    while True:
        decision = rules.check(facts, moment.now, _chance(moment, facts.job))
        if isinstance(decision, Waiting):
            job = facts.job
            if job.status is Status.WAITING and job.opens_at is not None and job.opens_at <= moment.now:
                tx.open_date(job)
            elif job.held is None and (Reason.PAUSED in decision.reasons or Reason.LIMIT in decision.reasons):
                tx.hold(job)
            return actions
        job, follow = _change(tx, moment, facts.job, decision, is_new=is_new)
        actions += follow
        if job.method == rules.NOOPGO and job.status is Status.COMPLETE and target is not None:
            actions += go(target.id, tx, moment).actions
        if job.status not in (Status.READY, Status.WAITING):
            return actions
        facts = attrs.evolve(facts, job=job)


def react(tx: Tx, moment: Moment, job: Job, event: Event) -> list[Action]:
    """Apply what news of its current attempt makes of a job."""
    transition = attempts.settle(job, event, moment.now, _chance(moment, job))
    if transition is None:
        return []
    try:
        changed, actions = _change(tx, moment, job, transition)
    except RpcError as error:  # its data is more than the store can keep
        return react(tx, moment, job, attempts.unkept(event, error.message))
    if changed.status is Status.READY:  # released: it may start again at once
        actions.append(Recheck((changed.id,)))
    return actions


def _lapsed(tx: Tx, job: Job) -> Lapsed:
    if job.status is not Status.MISSING:
        return Lapsed()
    *earlier, current = tx.attempts(job.id)
    losses = 0
    for attempt in reversed(earlier):
        if attempt.outcome is not Outcome.MISSING:
            break
        losses += attempt.started_at is not None
    return Lapsed(current.started_at is not None, losses)


def vanished(tx: Tx, job: Job, grace: float) -> Vanished:
    """The event that nobody knows whether the job's current attempt runs."""
    attempt = tx.attempt(job.id, job.epoch)
    return Vanished(was_started=attempt is not None and attempt.started_at is not None, grace=grace)


def _perhaps(tx: Tx, moment: Moment, job: Job, transition: Transition | None) -> list[Action]:
    return [] if transition is None else _change(tx, moment, job, transition)[1]


def _change(
    tx: Tx, moment: Moment, job: Job, transition: Transition, who: str | None = None, is_new: bool = False
) -> tuple[Job, list[Action]]:
    """Apply a transition; what follows from it for Gearman, watchers, and those that wait for a place."""
    server = moment.server_for(job.method, job.id + job.epoch) if transition.starts else None
    changed = tx.apply(job, transition, moment.now, who or moment.owner, server)
    actions: list[Action] = []
    if transition.starts:
        actions.append(Start(changed, {} if is_new and changed.after_id is None else _inputs(tx, changed), server))
    if changed.status in TERMINAL:
        actions.append(Tell(changed))
        if changed.schedule is not None:
            actions.append(Fire(changed.schedule))
    control = tx.control(job.method)
    if control is not None and changed.status not in ACTIVE and (job.status in ACTIVE or job.held is not None):
        actions += _next_held(tx, job.method, control)
    return changed, actions


def _next_held(tx: Tx, method: str, control: Control) -> list[Action]:
    """A place of a limited method is free: whose turn it is."""
    if control.concurrency is None or control.is_paused:
        return []
    free = control.concurrency - tx.active(method)
    ids = [id for _, id in tx.held(method, min(free, DUE_LIMIT))] if free > 0 else []
    return [Recheck(tuple(ids))] if ids else []


def _inputs(tx: Tx, job: Job) -> dict[str, Any]:
    """The results of the jobs that this one waited for."""
    parent = None if job.after_id is None else tx.resolve(job.after_id)
    members = []
    for member in tx.pool_results(job.id, inputs.MEMBERS_LIMIT + 1):
        original = member if member.see_other is None else tx.resolve(member.see_other)
        assert original is not None
        members.append((member.id, original))
    return inputs.gather(None if job.after_id is None or parent is None else (job.after_id, parent), members)


def _chance(moment: Moment, job: Job) -> float:
    """From 0 to 1, another for each job of a batch."""
    return (moment.chance + job.id * GOLDEN) % 1.0


def workers_of(tx: Tx, moment: Moment, job: Job) -> tuple[int | None, bool]:
    """How many workers offer the job's method; None when that cannot be told, and whether they are coming back.

    After a restart, jobs do not fail for want of workers that had no time yet to come back: neither those from before
    it, nor new ones of a method that has been run before.
    """
    if job.method in rules.ALWAYS_AVAILABLE:
        return 1, False
    if moment.workers is None:
        return None, False
    workers = moment.workers.get(job.method, 0)
    if workers or moment.now >= moment.since + RETURN_GRACE:
        return workers, False
    is_returning = job.created < moment.since or tx.has_run(job.method)
    return (None if is_returning else workers), is_returning


def _release_target(tx: Tx, job: Job) -> Job | None:
    """The job that a noopgo names in its arguments: an id, as a number or text, alone or in a list."""
    if job.method != rules.NOOPGO or job.arguments is None:
        return None
    id = id_of(rpc.load(job.arguments))
    return None if id is None else tx.job(id, Lock.EXCLUSIVE)


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
