"""The transaction over any DB-API connection: what it writes, on top of what it reads.

Statements are written once, with `:name` parameters; a dialect gives `execute` and the few texts that differ.
"""

from __future__ import annotations

import uuid
from functools import cache

import attrs

from gearbox.errors import StoreBusy
from gearbox.job import Job, NewJob, Status, Transition, earliest
from gearbox.store.controls import Controls
from gearbox.store.operators import Operators
from gearbox.store.pruning import Pruning
from gearbox.store.recurring import Recurring
from gearbox.store.rollups import Rollup
from gearbox.store.rows import COLUMNS, micros, value_of
from gearbox.store.searching import Searching

__all__ = ["SqlTx"]

INSERT_JOB = """
INSERT INTO gearbox_jobs (
    method_name, arguments, priority, created, updated, status, dedupe, has_dedupe, after_date, after_id, before_id,
    max_retries, retry_delay, ready_at, next_at, events, backoff, retry_delay_max, timeout, expires, opens_at, retry_of,
    schedule, submit_token)
VALUES (
    :method, :arguments, :priority, :now, :now, :status, :dedupe, :has_dedupe, :after_date, :after_id, :before_id,
    :max_retries, :retry_delay, :ready_at, :next_at, 1, :backoff, :retry_delay_max, :timeout, :expires, :after_date,
    :retry_of, :schedule, :submit_token)
"""
INSERT_EVENT = """
INSERT INTO gearbox_events (job_id, seq, at, from_status, to_status, epoch, why, who)
VALUES (:id, :seq, :now, :was, :status, :epoch, :why, :who)
"""
INSERT_ATTEMPT = """
INSERT INTO gearbox_attempts (job_id, epoch, owner, claimed_at, ended_at, outcome, error, server)
VALUES (:id, :epoch, :owner, :now, :ended_at, :outcome, :error, :server)
"""
END_ATTEMPT = """
UPDATE gearbox_attempts SET ended_at = :now, outcome = :outcome, error = :error
WHERE job_id = :id AND epoch = :epoch AND outcome IS NULL
"""
START_ATTEMPT = """
UPDATE gearbox_attempts SET started_at = :now, worker = :worker
WHERE job_id = :id AND epoch = :epoch AND started_at IS NULL AND outcome IS NULL
"""
OPEN_DATE = """
UPDATE gearbox_jobs SET opens_at = NULL, next_at = :next_at WHERE id = :id AND status = 'waiting' AND epoch = :epoch
"""
JOIN_POOL = "UPDATE gearbox_jobs SET before_id = :before_id WHERE id = :id AND before_id IS NULL"
COUNT_EVENT = "UPDATE gearbox_jobs SET events = :seq WHERE id = :id AND events = :seq - 1"

ADD_COUNT = """
INSERT INTO gearbox_counts (method_name, status, jobs) VALUES (:method, :status, :jobs)
ON CONFLICT (method_name, status) DO UPDATE SET jobs = jobs + excluded.jobs
"""
ADD_MEASURE = """
INSERT INTO gearbox_measures (method_name, measure, bucket, jobs, total, squares)
VALUES (:method, :measure, :bucket, :jobs, :total, :squares)
ON CONFLICT (method_name, measure, bucket)
DO UPDATE SET jobs = jobs + excluded.jobs, total = total + excluded.total, squares = squares + excluded.squares
"""
ADD_METHOD = """
INSERT INTO gearbox_methods (method_name, earliest, latest) VALUES (:method, :earliest, :latest)
ON CONFLICT (method_name)
DO UPDATE SET earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)
"""


class SqlTx(Controls, Recurring, Pruning, Searching, Operators):
    """`store.Tx` in SQL: what changes jobs, and all the rest by inheritance."""

    def insert(self, new: NewJob, status: Status, now: float, who: str, why: str = "queued") -> Job:
        ready_at = now if status is Status.READY else None
        next_at = new.expires if status is Status.READY else earliest(new.after_date, new.expires)
        dedupe = str(uuid.uuid4()) if new.dedupe is None else new.dedupe
        row = {
            "method": new.method,
            "arguments": new.arguments,
            "priority": new.priority.value,
            "now": micros(now),
            "status": status.value,
            "dedupe": dedupe,
            "has_dedupe": new.dedupe is not None,
            "after_date": micros(new.after_date),
            "after_id": new.after_id,
            "before_id": new.before_id,
            "max_retries": new.max_retries,
            "retry_delay": new.retry_delay,
            "ready_at": micros(ready_at),
            "backoff": new.backoff.value,
            "retry_delay_max": new.retry_delay_max,
            "timeout": new.timeout,
            "expires": micros(new.expires),
            "retry_of": new.retry_of,
            "schedule": new.schedule,
            "submit_token": new.submit_token,
            "next_at": micros(next_at),
        }
        id = self._execute(INSERT_JOB, row).lastrowid
        job = Job(
            id=id,
            method=new.method,
            arguments=new.arguments,
            priority=new.priority,
            created=now,
            updated=now,
            status=status,
            dedupe=dedupe,
            has_dedupe=new.dedupe is not None,
            after_date=new.after_date,
            after_id=new.after_id,
            before_id=new.before_id,
            max_retries=new.max_retries,
            retry_delay=new.retry_delay,
            ready_at=ready_at,
            next_at=next_at,
            events=1,
            backoff=new.backoff,
            retry_delay_max=new.retry_delay_max,
            timeout=new.timeout,
            expires=new.expires,
            opens_at=new.after_date,
            retry_of=new.retry_of,
            schedule=new.schedule,
        )
        self._event(job, None, now, why, who)
        self.rollup.born(job)
        return job

    def apply(self, job: Job, transition: Transition, now: float, who: str, server: str | None = None) -> Job:
        assert job.status in transition.expect, f"{transition.why}: job {job.id} is {job.status.value}"
        is_move = transition.status is not job.status or transition.outcome is not None
        set = {"updated": now, "status": transition.status, **transition.set}
        if "epoch" in set:
            set |= {"owner": who, "claimed_at": now}
        if transition.status is Status.READY:
            set["ready_at"] = now
        elif job.held is not None:
            set["held"] = None
        if is_move:
            set["events"] = job.events + 1
        changed = job.changed(set)
        next_at = changed.look_at()
        if next_at != job.next_at:
            set["next_at"] = next_at
            changed = changed.changed({"next_at": next_at})
        values = {name: value_of(name, value) for name, value in set.items()}
        where = {"where_id": job.id, "where_status": job.status.value, "where_epoch": job.epoch}
        if self._execute(_update(tuple(set)), values | where).rowcount != 1:
            raise StoreBusy(f"job {job.id} was changed by somebody else")
        if "epoch" in set:
            self._open_attempt(changed, transition, now, who, server)
        elif transition.outcome is not None:
            row = {"id": job.id, "epoch": job.epoch, "now": micros(now)}
            self._execute(END_ATTEMPT, row | {"outcome": transition.outcome.value, "error": transition.error})
        if is_move:
            self._event(changed, job.status, now, transition.why, who)
        if transition.status is not job.status:
            self.rollup.moved(job, changed, now)
        return changed

    def _open_attempt(self, job: Job, transition: Transition, now: float, who: str, server: str | None) -> None:
        outcome = transition.outcome
        row = {"id": job.id, "epoch": job.epoch, "owner": who, "now": micros(now), "error": transition.error}
        ended = {"outcome": outcome and outcome.value, "ended_at": outcome and micros(now), "server": server}
        self._execute(INSERT_ATTEMPT, row | ended)

    def _event(self, job: Job, was: Status | None, now: float, why: str, who: str) -> None:
        row = {"id": job.id, "seq": job.events, "now": micros(now), "was": was and was.value}
        row |= {"status": job.status.value, "epoch": job.epoch, "why": why, "who": who}
        self._execute(INSERT_EVENT, row)

    def note(self, job: Job, now: float, why: str, who: str) -> None:
        self._execute(COUNT_EVENT, {"id": job.id, "seq": job.events + 1})
        self._event(attrs.evolve(job, events=job.events + 1), job.status, now, why, who)

    def open_date(self, job: Job) -> None:
        next_at = attrs.evolve(job, opens_at=None).look_at()
        self._execute(OPEN_DATE, {"id": job.id, "epoch": job.epoch, "next_at": micros(next_at)})

    def join_pool(self, id: int, before_id: int) -> None:
        self._execute(JOIN_POOL, {"id": id, "before_id": before_id})

    def start_attempt(self, id: int, epoch: int, now: float, worker: str) -> bool:
        row = {"id": id, "epoch": epoch, "now": micros(now), "worker": worker}
        return bool(self._execute(START_ATTEMPT, row).rowcount == 1)

    def flush(self, rollup: Rollup) -> None:
        """Write the statistics of a batch."""
        for (method, status), jobs in rollup.counts.items():
            if jobs:
                self._execute(ADD_COUNT, {"method": method, "status": status.value, "jobs": jobs})
        for (method, measure, bucket), sums in rollup.measures.items():
            row = {"method": method, "measure": measure, "bucket": bucket}
            self._execute(ADD_MEASURE, row | attrs.asdict(sums))
        for method, (first, last) in rollup.seen.items():
            row = {"method": method, "earliest": micros(first), "latest": micros(last)}
            self._execute(ADD_METHOD, row)


@cache
def _update(fields: tuple[str, ...]) -> str:
    """The compare-and-swap that sets these fields."""
    sets = ", ".join(f"{COLUMNS[name]} = :{name}" for name in fields)
    return f"UPDATE gearbox_jobs SET {sets} WHERE id = :where_id AND status = :where_status AND epoch = :where_epoch"
