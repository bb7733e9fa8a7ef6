"""The transaction over any DB-API connection: statements, and rows to and from `Job`.

Statements are written once, with `:name` parameters; a dialect gives `execute` and the few texts that differ. Times are
integer microseconds in the columns and float seconds in the objects.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import attrs

from gearbox.errors import StoreBusy
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
    Pool,
    Priority,
    Status,
    Transition,
)
from gearbox.store import Audit
from gearbox.store.rollups import Bucket, Rollup, summary

__all__ = ["Execute", "SqlTx", "iso", "listed"]

Execute = Callable[[str, Mapping[str, Any]], Any]  # returns a DB-API cursor

WALK_LIMIT = 10_000  # nodes of the graph that a search for a cycle looks at
CHAIN_LIMIT = 1_000  # duplicates of duplicates; each was active once, so this is never reached

# The fields of `Job` in the order of its definition, and their columns (the original's, where it has them).
COLUMNS = {
    "id": "id",
    "method": "method_name",
    "arguments": "arguments",
    "priority": "priority",
    "created": "created",
    "updated": "updated",
    "status": "status",
    "dedupe": "dedupe",
    "has_dedupe": "has_dedupe",
    "after_date": "after_date",
    "after_id": "after_id",
    "before_id": "before_id",
    "completed": "completed",
    "retries": "retries",
    "max_retries": "max_retries",
    "retry_delay": "retry_delay",
    "progress": "progress_status",
    "progress_at": "progress_updated",
    "result_data": "result_data",
    "owner": "runner_instance",
    "ready_at": "ready_at",
    "claimed_at": "claimed_at",
    "see_other": "see_other",
    "epoch": "epoch",
    "next_at": "next_at",
    "released": "released",
    "events": "events",
}
TIMES = {"created", "updated", "after_date", "completed", "progress_at", "ready_at", "claimed_at", "next_at"}
assert list(COLUMNS) == [field.name for field in attrs.fields(Job)]

JOB = ", ".join(f"j.{column}" for column in COLUMNS.values())
PRIORITIES = {priority.value: priority for priority in Priority}
STATUSES = {status.value: status for status in Status}


def listed(statuses: Iterable[Status]) -> str:
    """Statuses as the inside of an SQL `IN (...)`, in the order of their definition (which the indexes use)."""
    wanted = set(statuses)
    order = (
        Status.READY,
        Status.WAITING,
        Status.RUNNING,
        Status.ALMOST_DONE,
        Status.ERRORED,
        Status.COMPLETE,
        Status.INVALID,
        Status.MISSING,
        Status.DUPLICATE,
    )
    return ", ".join(f"'{status.value}'" for status in order if status in wanted)


INSERT_JOB = """
INSERT INTO gearbox_jobs (
    method_name, arguments, priority, created, updated, status, dedupe, has_dedupe, after_date, after_id, before_id,
    max_retries, retry_delay, ready_at, next_at, events, submit_token)
VALUES (
    :method, :arguments, :priority, :now, :now, :status, :dedupe, :has_dedupe, :after_date, :after_id, :before_id,
    :max_retries, :retry_delay, :ready_at, :after_date, 1, :submit_token)
"""
INSERT_EVENT = """
INSERT INTO gearbox_events (job_id, seq, at, from_status, to_status, epoch, why, who)
VALUES (:id, :seq, :now, :was, :status, :epoch, :why, :who)
"""
INSERT_ATTEMPT = """
INSERT INTO gearbox_attempts (job_id, epoch, owner, claimed_at, ended_at, outcome, error)
VALUES (:id, :epoch, :owner, :now, :ended_at, :outcome, :error)
"""
END_ATTEMPT = """
UPDATE gearbox_attempts SET ended_at = :now, outcome = :outcome, error = :error
WHERE job_id = :id AND epoch = :epoch AND outcome IS NULL
"""
START_ATTEMPT = """
UPDATE gearbox_attempts SET started_at = :now, worker = :worker
WHERE job_id = :id AND epoch = :epoch AND started_at IS NULL AND outcome IS NULL
"""
RESCHEDULE = "UPDATE gearbox_jobs SET next_at = :next_at WHERE id = :id AND status = :status AND epoch = :epoch"
COUNT_EVENT = "UPDATE gearbox_jobs SET events = :seq WHERE id = :id AND events = :seq - 1"

SELECT_JOB = f"SELECT {JOB} FROM gearbox_jobs j WHERE j.id = :id"
SELECT_JOB_OF_TOKEN = f"SELECT {JOB} FROM gearbox_jobs j WHERE j.submit_token = :submit_token"
SELECT_JOBS = f"SELECT {JOB} FROM gearbox_jobs j WHERE j.id IN (%s) ORDER BY j.id"
SELECT_CURRENT = (
    f"SELECT {JOB} FROM gearbox_jobs j WHERE j.status IN ({listed(CURRENT)}) ORDER BY j.id DESC LIMIT :limit"
)
SELECT_FACTS = f"""
SELECT {JOB},
    EXISTS (SELECT 1 FROM gearbox_jobs m WHERE m.before_id = j.id AND m.status IN ({listed(CURRENT)})),
    EXISTS (SELECT 1 FROM gearbox_jobs m WHERE m.before_id = j.id AND m.status IN ({listed(FAILED)})),
    EXISTS (SELECT 1 FROM gearbox_jobs m WHERE m.before_id = j.id AND m.status = 'duplicate')
FROM gearbox_jobs j WHERE j.id = :id
"""
SELECT_TWIN = f"""
SELECT id FROM gearbox_jobs WHERE dedupe = :dedupe AND has_dedupe = 1 AND status IN ({listed(ACTIVE)})
"""
SELECT_POOL_DUPLICATES = """
SELECT DISTINCT see_other FROM gearbox_jobs WHERE before_id = :id AND status = 'duplicate'
"""
SELECT_PREREQUISITES = """
SELECT after_id FROM gearbox_jobs WHERE id = :id AND after_id IS NOT NULL
UNION SELECT see_other FROM gearbox_jobs WHERE id = :id AND see_other IS NOT NULL
UNION SELECT id FROM gearbox_jobs WHERE before_id = :id
"""
SELECT_DEPENDENTS = """
WITH RECURSIVE same (id) AS (
    SELECT CAST(:id AS INTEGER) UNION SELECT j.id FROM gearbox_jobs j JOIN same ON j.see_other = same.id
)
SELECT j.id FROM same JOIN gearbox_jobs j ON j.after_id = same.id WHERE j.status IN ('ready', 'waiting')
UNION SELECT t.id FROM same JOIN gearbox_jobs j ON j.id = same.id JOIN gearbox_jobs t ON t.id = j.before_id
WHERE t.status IN ('ready', 'waiting')
"""
SELECT_ATTEMPTS = """
SELECT job_id, epoch, owner, claimed_at, started_at, ended_at, outcome, worker, error
FROM gearbox_attempts WHERE job_id = :id
"""
SELECT_EVENTS = """
SELECT seq, at, from_status, to_status, epoch, why, who FROM gearbox_events WHERE job_id = :id ORDER BY seq
"""
SELECT_DUE = "SELECT id FROM gearbox_jobs WHERE next_at <= :now ORDER BY next_at LIMIT :limit"
SELECT_NEXT = "SELECT next_at FROM gearbox_jobs WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1"
SELECT_IDS = f"""
SELECT id FROM gearbox_jobs
WHERE status = :status AND status IN ({listed(CURRENT)}) AND id > :above ORDER BY id LIMIT :limit
"""  # the list is there for the partial index, which no parameter can match
SELECT_COUNTS = "SELECT status, jobs FROM gearbox_counts WHERE method_name = :method AND jobs > 0"
SELECT_SPAN = "SELECT earliest, latest FROM gearbox_methods WHERE method_name = :method"
SELECT_MEASURES = """
SELECT measure, jobs, total, squares FROM gearbox_measures WHERE method_name = :method ORDER BY measure, bucket
"""
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


def iso(at: float) -> str:
    """An instant as the original shows it.

    >>> iso(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class SqlTx:
    """`store.Tx` in SQL. `rollup` gathers what the current step adds to the statistics."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.rollup = Rollup()

    # --- writing ---

    def insert(self, new: NewJob, status: Status, now: float, who: str) -> Job:
        ready_at = now if status is Status.READY else None
        dedupe = str(uuid.uuid4()) if new.dedupe is None else new.dedupe
        row = {
            "method": new.method,
            "arguments": new.arguments,
            "priority": new.priority.value,
            "now": _micros(now),
            "status": status.value,
            "dedupe": dedupe,
            "has_dedupe": new.dedupe is not None,
            "after_date": _micros(new.after_date),
            "after_id": new.after_id,
            "before_id": new.before_id,
            "max_retries": new.max_retries,
            "retry_delay": new.retry_delay,
            "ready_at": _micros(ready_at),
            "submit_token": new.submit_token,
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
            next_at=new.after_date,
            events=1,
        )
        self._event(job, None, now, "queued", who)
        self.rollup.born(job)
        return job

    def apply(self, job: Job, transition: Transition, now: float, who: str) -> Job:
        assert job.status in transition.expect, f"{transition.why}: job {job.id} is {job.status.value}"
        is_move = transition.status is not job.status or transition.outcome is not None
        set = {"updated": now, "status": transition.status, **transition.set}
        if "epoch" in set:
            set |= {"owner": who, "claimed_at": now}
        if transition.status is Status.READY:
            set["ready_at"] = now
        if is_move:
            set["events"] = job.events + 1
        values = {name: _value(name, value) for name, value in set.items()}
        where = {"where_id": job.id, "where_status": job.status.value, "where_epoch": job.epoch}
        if self._execute(_update(tuple(set)), values | where).rowcount != 1:
            raise StoreBusy(f"job {job.id} was changed by somebody else")
        changed = attrs.evolve(job, **set)
        if "epoch" in set:
            self._open_attempt(changed, transition, now, who)
        elif transition.outcome is not None:
            row = {"id": job.id, "epoch": job.epoch, "now": _micros(now)}
            self._execute(END_ATTEMPT, row | {"outcome": transition.outcome.value, "error": transition.error})
        if is_move:
            self._event(changed, job.status, now, transition.why, who)
        if transition.status is not job.status:
            self.rollup.moved(job, changed, now)
        return changed

    def _open_attempt(self, job: Job, transition: Transition, now: float, who: str) -> None:
        outcome = transition.outcome
        row = {"id": job.id, "epoch": job.epoch, "owner": who, "now": _micros(now), "error": transition.error}
        ended = {"outcome": outcome and outcome.value, "ended_at": outcome and _micros(now)}
        self._execute(INSERT_ATTEMPT, row | ended)

    def _event(self, job: Job, was: Status | None, now: float, why: str, who: str) -> None:
        row = {"id": job.id, "seq": job.events, "now": _micros(now), "was": was and was.value}
        row |= {"status": job.status.value, "epoch": job.epoch, "why": why, "who": who}
        self._execute(INSERT_EVENT, row)

    def note(self, job: Job, now: float, why: str, who: str) -> None:
        self._execute(COUNT_EVENT, {"id": job.id, "seq": job.events + 1})
        self._event(attrs.evolve(job, events=job.events + 1), job.status, now, why, who)

    def reschedule(self, job: Job, next_at: float | None) -> None:
        row = {"id": job.id, "status": job.status.value, "epoch": job.epoch}
        self._execute(RESCHEDULE, row | {"next_at": _micros(next_at)})

    def start_attempt(self, id: int, epoch: int, now: float, worker: str) -> bool:
        row = {"id": id, "epoch": epoch, "now": _micros(now), "worker": worker}
        return bool(self._execute(START_ATTEMPT, row).rowcount == 1)

    def flush(self, rollup: Rollup) -> None:
        """Write the statistics of a batch."""
        for (method, status), jobs in rollup.counts.items():
            if jobs:
                self._execute(ADD_COUNT, {"method": method, "status": status.value, "jobs": jobs})
        for (method, measure, bucket), sums in rollup.measures.items():
            row = {"method": method, "measure": measure, "bucket": bucket}
            self._execute(ADD_MEASURE, row | attrs.asdict(sums))
        for method, (earliest, latest) in rollup.seen.items():
            row = {"method": method, "earliest": _micros(earliest), "latest": _micros(latest)}
            self._execute(ADD_METHOD, row)

    # --- reading ---

    def job(self, id: int) -> Job | None:
        return self._one(SELECT_JOB, {"id": id})

    def job_of_token(self, submit_token: str) -> Job | None:
        return self._one(SELECT_JOB_OF_TOKEN, {"submit_token": submit_token})

    def _one(self, statement: str, values: Mapping[str, Any]) -> Job | None:
        row = self._execute(statement, values).fetchone()
        return None if row is None else _job(row)

    def resolve(self, id: int) -> Job | None:
        job = self.job(id)
        for _ in range(CHAIN_LIMIT):
            if job is None or job.see_other is None:
                return job
            job = self.job(job.see_other)
        raise AssertionError(f"job {id} is a duplicate of itself")

    def facts(self, id: int) -> Facts | None:
        row = self._execute(SELECT_FACTS, {"id": id}).fetchone()
        if row is None:
            return None
        job = _job(row[:-3])
        is_unfinished, has_failed, has_duplicates = row[-3:]
        statuses = self._pool_originals(id) if has_duplicates else set()
        pool = Pool(
            bool(is_unfinished) or not statuses <= TERMINAL,
            bool(has_failed) or not statuses.isdisjoint(FAILED),
        )
        parent = None if job.after_id is None else self.resolve(job.after_id)
        twin = self.twin(job.dedupe) if job.has_dedupe else None
        return Facts(job, None if parent is None else parent.status, pool, twin)

    def _pool_originals(self, id: int) -> set[Status]:
        originals = self._execute(SELECT_POOL_DUPLICATES, {"id": id}).fetchall()
        jobs = (self.resolve(original) for (original,) in originals)
        return {job.status for job in jobs if job is not None}

    def twin(self, dedupe: str) -> int | None:
        row = self._execute(SELECT_TWIN, {"dedupe": dedupe}).fetchone()
        return None if row is None else row[0]

    def waits_for(self, id: int, other: int) -> bool:
        seen = {id}
        todo = [id]
        while todo:
            here = todo.pop()
            if here == other:
                return True
            if len(seen) > WALK_LIMIT:
                return True
            for (before,) in self._execute(SELECT_PREREQUISITES, {"id": here}).fetchall():
                if before not in seen:
                    seen.add(before)
                    todo.append(before)
        return False

    def dependents(self, id: int) -> tuple[int, ...]:
        return tuple(row[0] for row in self._execute(SELECT_DEPENDENTS, {"id": id}).fetchall())

    def attempt(self, id: int, epoch: int) -> Attempt | None:
        row = self._execute(SELECT_ATTEMPTS + " AND epoch = :epoch", {"id": id, "epoch": epoch}).fetchone()
        return None if row is None else _attempt(row)

    def attempts(self, id: int) -> list[Attempt]:
        return [_attempt(row) for row in self._execute(SELECT_ATTEMPTS + " ORDER BY epoch", {"id": id}).fetchall()]

    def audit(self, id: int) -> list[Audit]:
        rows = self._execute(SELECT_EVENTS, {"id": id}).fetchall()
        return [
            Audit(seq, at / 1e6, was and STATUSES[was], STATUSES[status], epoch, why, who)
            for seq, at, was, status, epoch, why, who in rows
        ]

    def due(self, now: float, limit: int) -> list[int]:
        return [row[0] for row in self._execute(SELECT_DUE, {"now": _micros(now), "limit": limit}).fetchall()]

    def next_at(self) -> float | None:
        """The earliest `next_at` of all jobs."""
        row = self._execute(SELECT_NEXT, {}).fetchone()
        return None if row is None else row[0] / 1e6

    def ids(self, statuses: Iterable[Status], above: int, limit: int) -> list[int]:
        found: list[int] = []
        for status in statuses:
            row = {"status": status.value, "above": above, "limit": limit}
            found += [id for (id,) in self._execute(SELECT_IDS, row).fetchall()]
        return sorted(found)[:limit]

    def jobs(self, ids: Sequence[int]) -> list[Job]:
        found: dict[int, Job] = {}
        for start in range(0, len(ids), 500):  # every database takes that many parameters
            part = {f"id{n}": id for n, id in enumerate(ids[start : start + 500])}
            statement = SELECT_JOBS % ", ".join(f":{name}" for name in part)
            found |= {row[0]: _job(row) for row in self._execute(statement, part).fetchall()}
        return [found[id] for id in sorted(found)]

    def current(self, limit: int) -> list[Job]:
        return [_job(row) for row in self._execute(SELECT_CURRENT, {"limit": limit}).fetchall()]

    def stats(self, method: str) -> dict[str, Any]:
        key = {"method": method}
        states = {status: int(jobs) for status, jobs in self._execute(SELECT_COUNTS, key).fetchall()}
        span = self._execute(SELECT_SPAN, key).fetchone()
        measures: dict[str, list[Bucket]] = {}
        for measure, jobs, total, squares in self._execute(SELECT_MEASURES, key).fetchall():
            measures.setdefault(measure, []).append(Bucket(int(jobs), total, squares))
        times = (iso(span[0] / 1e6), iso(span[1] / 1e6)) if span else (None, None)
        return summary(states, times, measures)


@cache
def _update(fields: tuple[str, ...]) -> str:
    """The compare-and-swap that sets these fields."""
    sets = ", ".join(f"{COLUMNS[name]} = :{name}" for name in fields)
    return f"UPDATE gearbox_jobs SET {sets} WHERE id = :where_id AND status = :where_status AND epoch = :where_epoch"


def _micros(at: float | None) -> int | None:
    return None if at is None else round(at * 1e6)


def _value(name: str, value: Any) -> Any:
    if name in TIMES:
        return _micros(value)
    return value.value if isinstance(value, Status) else value


def _seconds(at: int | None) -> float | None:
    return None if at is None else at / 1e6


def _job(row: Sequence[Any]) -> Job:
    (id, method, arguments, priority, created, updated, status, dedupe, has_dedupe, after_date, after_id, before_id,
     completed, retries, max_retries, retry_delay, progress, progress_at, result_data, owner, ready_at, claimed_at,
     see_other, epoch, next_at, released, events) = row  # fmt: skip
    return Job(
        id, method, arguments, PRIORITIES[priority], created / 1e6, updated / 1e6, STATUSES[status], dedupe,
        bool(has_dedupe), _seconds(after_date), after_id, before_id, _seconds(completed), retries, max_retries,
        retry_delay, progress, _seconds(progress_at), result_data, owner, _seconds(ready_at), _seconds(claimed_at),
        see_other, epoch, _seconds(next_at), bool(released), events,
    )  # fmt: skip


def _attempt(row: Sequence[Any]) -> Attempt:
    job_id, epoch, owner, claimed_at, started_at, ended_at, outcome, worker, error = row
    ended = outcome and Outcome(outcome)
    return Attempt(
        job_id, epoch, owner, claimed_at / 1e6, _seconds(started_at), _seconds(ended_at), ended, worker, error
    )
