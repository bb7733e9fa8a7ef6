"""Attempts that nobody watches any more: their core died, or it lost the connection to their Gearman server.

Where the attempt's server can still be asked, it decides: an attempt that a worker has goes on, and is asked about
again until its result comes. One that waits in the server's queue without a client never starts (gearmand drops it when
it would be handed out), so it counts as never run. One that the server does not know has ended, or was forgotten by a
restart: its worker has a while to bring the result. An attempt is never taken up by submitting its unique again, for
then gearmand may join the new job to the dropped one.
"""

from __future__ import annotations

import attrs

from gearbox import rules
from gearbox.errors import Code, RpcError
from gearbox.job import ACTIVE, Action, Ended, Job, NoWorker, Seen, Status, Unsent
from gearbox.rules import attempts
from gearbox.steps.life import DUE_LIMIT, react, vanished, workers_of
from gearbox.store import Lock, Moment, Result, Tx
from gearbox.store.foresight import changes_job

__all__ = ["Adopted", "Orphan", "desert", "fail", "recover", "see", "strand", "vanish"]


@attrs.frozen
class Orphan:
    """A job whose current attempt has to be asked about at its Gearman server."""

    job: Job
    server: str


@attrs.frozen
class Adopted:
    """What `recover` has taken over."""

    orphans: list[Orphan]
    above: int | None  # go on above this id; None at the end


def recover(grace: float, above: int, tx: Tx, moment: Moment) -> Result:
    """Take over what cores that are no more left as running. The value is `Adopted`.

    An attempt at a broker that ended with its core is ready again at once, if no worker had asked leave to start it;
    otherwise its worker has `grace` seconds to come back. The others are to be asked about.
    """
    alive = _alive(tx)
    ids = tx.ids((Status.RUNNING, Status.ALMOST_DONE, Status.MISSING), above, DUE_LIMIT)
    left = [job.id for job in tx.jobs(ids) if job.owner not in alive]
    orphans: list[Orphan] = []
    actions: list[Action] = []
    jobs = tx.jobs(left, Lock.EXCLUSIVE)
    alive = _alive(tx)  # again: whoever has taken a row that is locked now had joined by then
    for job in jobs:
        if job.owner in alive or job.status not in ACTIVE:  # by another core, meanwhile
            continue
        if alive:
            tx.note(job, moment.now, f"adopted from core {job.owner}", moment.owner)
            job = attrs.evolve(job, events=job.events + 1)
        job = tx.apply(job, attempts.adopt(job, moment.owner, moment.now), moment.now, moment.owner)
        attempt = tx.attempt(job.id, job.epoch)
        server = None if attempt is None or job.method == rules.NOOPWAIT else attempt.server
        if server is not None and job.status is not Status.ALMOST_DONE:
            orphans.append(Orphan(job, server))
        if server is None or job.status is not Status.RUNNING:
            actions += react(tx, moment, job, vanished(tx, job, grace))
    return Result(Adopted(orphans, ids[-1] if len(ids) == DUE_LIMIT else None), actions)


def _alive(tx: Tx) -> set[str]:
    return {core.id for core in tx.cores() if core.is_alive}


@changes_job
def see(id: int, epoch: int, tx: Tx, moment: Moment) -> Result:
    """Gearman says that a worker has the attempt. The value tells whether to ask again."""
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None or job.epoch != epoch or job.status not in (Status.RUNNING, Status.MISSING):
        return Result(False)
    return Result(True, react(tx, moment, job, Seen()))


@changes_job
def vanish(id: int, epoch: int, grace: float, tx: Tx, moment: Moment) -> Result:
    """The connection that watched an attempt is lost: if it was never started it is ready again, else missing."""
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None or job.epoch != epoch:
        return Result()
    return Result(actions=react(tx, moment, job, vanished(tx, job, grace)))


@changes_job
def strand(id: int, epoch: int, tx: Tx, moment: Moment) -> Result:
    """The attempt waits at a Gearman server that has no worker for it.

    The value is True if it goes to another server that has; then the first one should forget it.
    """
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None or job.epoch != epoch:
        return Result(False)
    if workers_of(tx, moment, job)[0] == 0:
        return Result(False, react(tx, moment, job, NoWorker()))
    return Result(True, react(tx, moment, job, vanished(tx, job, attempts.MISSING_GRACE)))


@changes_job
def desert(id: int, epoch: int, tx: Tx, moment: Moment) -> Result:
    """The attempt's server does not answer any more: it goes to another one that has workers, if it never started.

    Should its server hand it out after all, the worker gets no leave.
    """
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None or job.epoch != epoch or not workers_of(tx, moment, job)[0]:
        return Result()
    if vanished(tx, job, 0.0).was_started:
        return Result()
    return Result(actions=react(tx, moment, job, Unsent()))


@changes_job
def fail(id: int, epoch: int, grace: float, tx: Tx, moment: Moment) -> Result:
    """WORK_FAIL, which says nothing: the worker gave up, or gearmand did after a loss (`--job-retries`).

    A worker that had asked leave to start would have told us more. It may still run the attempt, cut off from its
    server: it has `grace` seconds to come back.
    """
    job = tx.job(id, Lock.EXCLUSIVE)
    if job is None or job.epoch != epoch:
        return Result()
    event = vanished(tx, job, grace)
    if event.was_started:
        return Result(actions=react(tx, moment, job, event))
    error = RpcError(int(Code.WORKER_FAILED), "the worker failed").as_json()
    return Result(actions=react(tx, moment, job, Ended(error)))
