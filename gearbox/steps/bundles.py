"""Several jobs queued in one transaction: a graph from a caller, or failed jobs again."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from gearbox.errors import Code, RpcError
from gearbox.job import FAILED, Action, Job, NewJob, Status
from gearbox.rules.bundle import Item, check_order
from gearbox.steps.life import admit, advance
from gearbox.store import Lock, Moment, Result, Tx

__all__ = ["BUNDLE_LIMIT", "queue_many", "retry"]

BUNDLE_LIMIT = 10_000  # jobs in one transaction; others wait for it, some 4 s, and a worker's leave must come in 10 s


def queue_many(items: Sequence[Item], token: str | None, tx: Tx, moment: Moment, who: str | None = None) -> Result:
    """Store all the jobs, then start those that nothing holds back. The value is their ids, in the order given."""
    if token is not None:
        known = [tx.job_of_token(_token(token, place)) for place in range(len(items))]
        jobs = [job for job in known if job is not None]
        if jobs:
            if len(jobs) < len(items):
                message = "a call with this submit_token queued other jobs, or some of its jobs are not kept any more"
                raise RpcError(Code.CONFLICT, message)
            return Result([job.id for job in jobs])
        items = [
            attrs.evolve(item, new=attrs.evolve(item.new, submit_token=_token(token, place)))
            for place, item in enumerate(items)
        ]
    ids, actions = _store(items, tx, moment, who or moment.owner, "queued")
    return Result(ids, actions)


def _token(token: str, place: int) -> str:
    return f"{token}\x1f{place}"


def retry(id: int, downstream: bool, tx: Tx, moment: Moment, who: str | None = None) -> Result:
    """Queue a failed job anew, and with it what failed because of it or made it fail.

    The value is {old id: new id}. The old rows stay as they are: what an id once answered, it answers for ever.
    """
    plan = _plan(id, downstream, tx)
    places = {job.id: place for place, job in enumerate(plan)}
    items = []
    for job in plan:
        after_id = None if job.after_id is None else _latest(tx, job.after_id).id
        before_id = job.before_id
        target = None if before_id is None or before_id in places else tx.job(before_id)
        is_open = target is not None and target.status in (Status.READY, Status.WAITING)
        new = NewJob(
            method=job.method,
            arguments=job.arguments,
            priority=job.priority,
            dedupe=job.dedupe if job.has_dedupe else None,
            after_id=None if after_id in places else after_id,
            before_id=before_id if is_open else None,
            max_retries=job.max_retries,
            retry_delay=job.retry_delay,
            backoff=job.backoff,
            retry_delay_max=job.retry_delay_max,
            timeout=job.timeout,
            retry_of=job.id,
            schedule=job.schedule,
            traceparent=job.traceparent,
        )
        after = None if after_id is None else places.get(after_id)
        items.append(Item(new, after, None if before_id is None else places.get(before_id)))
    ids, actions = _store(items, tx, moment, who or moment.owner, "queued as a retry")
    for job, new_id in zip(plan, ids, strict=True):
        tx.note(job, moment.now, f"retried as job {new_id}", who or moment.owner)
    return Result({job.id: new_id for job, new_id in zip(plan, ids, strict=True)}, actions)


def _plan(id: int, downstream: bool, tx: Tx) -> list[Job]:
    """The jobs to queue again, in order of id. Up the graph go those without which they would fail at once."""
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    again = tx.retry_of(id)
    if again is not None:
        raise RpcError(Code.CONFLICT, f"job {id} was retried as job {again.id} already", {"id": again.id})
    if _original(tx, job).status not in FAILED:
        raise RpcError(Code.CONFLICT, f"job {id} is {job.status.value}: only what failed can be retried")
    chosen: dict[int, Job] = {}
    todo = [job]
    while todo:
        job = todo.pop()
        if job.id in chosen:
            continue
        chosen[job.id] = job
        if len(chosen) > BUNDLE_LIMIT:
            raise RpcError(Code.TOO_LARGE, f"more than {BUNDLE_LIMIT} jobs hang together: retry parts of them")
        todo += _causes(tx, job)
        if downstream:
            for dependent in tx.jobs(tx.failed_dependents(job.id, BUNDLE_LIMIT)):
                if tx.retry_of(dependent.id) is None:
                    todo.append(dependent)
    return sorted(chosen.values(), key=lambda job: job.id)


def _causes(tx: Tx, job: Job) -> list[Job]:
    """Failed jobs that this one waits for: its parent, as resolved, and members of its pool."""
    causes = []
    if job.after_id is not None:
        parent = _latest(tx, job.after_id)
        if parent.status in FAILED:
            causes.append(parent)
    for member in tx.failed_members(job.id, BUNDLE_LIMIT):
        latest = _again(tx, member)
        status = _original(tx, latest).status
        if status in FAILED:
            causes.append(latest if latest.before_id == job.id else attrs.evolve(latest, before_id=job.id))
        elif latest is not member and status is not Status.COMPLETE:
            message = f"job {latest.id}, the retry of {member.id} in the pool of {job.id}, has not ended"
            raise RpcError(Code.CONFLICT, message)
    return causes


def _latest(tx: Tx, id: int) -> Job:
    """What stands for a job now: its original, and that one's last retry."""
    job = tx.resolve(id)
    assert job is not None
    return _again(tx, job)


def _again(tx: Tx, job: Job) -> Job:
    while (again := tx.retry_of(job.id)) is not None:
        job = again
    return job


def _original(tx: Tx, job: Job) -> Job:
    original = job if job.see_other is None else tx.resolve(job.see_other)
    assert original is not None
    return original


def _store(items: Sequence[Item], tx: Tx, moment: Moment, who: str, why: str) -> tuple[list[int], list[Action]]:
    """Insert in an order in which parents come first; then, when all are there, take each as far as it goes."""
    order = check_order(items)
    ids: dict[int, int] = {}
    targets: dict[int, None] = {}
    if any(item.new.before_id is not None for item in items):
        tx.lock_graph()
    for place in order:
        item = items[place]
        new = item.new
        if item.after is not None:
            new = attrs.evolve(new, after_id=ids[item.after])
        parent = None if new.after_id is None else tx.resolve(new.after_id, Lock.SHARED)
        target = None if new.before_id is None else tx.job(new.before_id, Lock.EXCLUSIVE)
        if target is not None:
            targets[target.id] = None
        initial = admit(new, parent, target, is_cycle=False, tx=tx)
        ids[place] = tx.insert(new, initial, moment.now, who, why).id
    for place in order:  # members come before their targets in the order
        before = items[place].before
        if before is not None:
            tx.join_pool(ids[place], ids[before])
    for place in order:
        before_id = items[place].new.before_id
        if before_id is not None and tx.waits_for(ids[place], before_id):
            message = f"jobs[{place}] waits for job {before_id}, which is to wait for it: they would wait for ever"
            raise RpcError(Code.BAD_REQUEST, message)
    actions: list[Action] = []
    for id in (*targets, *(ids[place] for place in order)):
        actions += advance(tx, moment, id)
    return [ids[place] for place in range(len(items))], actions
