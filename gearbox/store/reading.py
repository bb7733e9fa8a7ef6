"""What a transaction reads, over any DB-API connection.

Statements are written once, with `:name` parameters; a dialect gives `execute` and the few texts that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from gearbox.job import ACTIVE, CURRENT, FAILED, TERMINAL, Action, Attempt, Control, Facts, Job, Pool, Recheck, Status
from gearbox.store import Audit, Lock, Node
from gearbox.store.rollups import Bucket, summary
from gearbox.store.rows import JOB, STATUSES, attempt_of, iso, job_of, listed, micros, one_of
from gearbox.store.writing import Connection, Writing

__all__ = ["Reading", "named", "portions"]

Id = TypeVar("Id", int, str)
PORTION = 256  # ids in one statement; every database takes that many parameters
WALK_LIMIT = 10_000  # nodes of the graph that a search for a cycle looks at
CHAIN_LIMIT = 1_000  # duplicates of duplicates; each was active once, so this is never reached

SELECT_JOB = f"SELECT {JOB} FROM gearbox_jobs j WHERE j.id = :id"
SELECT_JOB_OF_TOKEN = f"SELECT {JOB} FROM gearbox_jobs j WHERE j.submit_token = :submit_token"
SELECT_JOBS = f"SELECT {JOB} FROM gearbox_jobs j WHERE j.id IN (%s) ORDER BY j.id"
SELECT_CURRENT = f"SELECT {JOB} FROM gearbox_jobs j WHERE {one_of('j.status', CURRENT)} ORDER BY j.id DESC LIMIT :limit"
RETRY = "SELECT 1 FROM gearbox_jobs r WHERE r.retry_of ="  # the retry of a member of a pool takes its place
SELECT_FACTS = f"""
SELECT {JOB},
    EXISTS (SELECT 1 FROM gearbox_jobs m WHERE m.before_id = j.id AND m.status IN ({listed(CURRENT)})),
    EXISTS (SELECT 1 FROM gearbox_jobs m WHERE m.before_id = j.id AND m.status IN ({listed(FAILED)})
        AND NOT EXISTS ({RETRY} m.id)),
    EXISTS (SELECT 1 FROM gearbox_jobs m WHERE m.before_id = j.id AND m.status = 'duplicate')
FROM gearbox_jobs j WHERE j.id = :id
"""
SELECT_TWIN = f"""
SELECT id FROM gearbox_jobs WHERE dedupe = :dedupe AND has_dedupe = 1 AND {one_of("status", ACTIVE)}
"""
SELECT_POOL_DUPLICATES = f"""
SELECT DISTINCT j.see_other FROM gearbox_jobs j
WHERE j.before_id = :id AND j.status = 'duplicate' AND NOT EXISTS ({RETRY} j.id)
"""
SELECT_UNFINISHED = f"""
SELECT id FROM gearbox_jobs WHERE before_id = :id AND status IN ({listed(CURRENT)}) ORDER BY id LIMIT :limit
"""
SELECT_RESULTS = f"""
SELECT {JOB} FROM gearbox_jobs j
WHERE j.before_id = :id AND j.status IN ('complete', 'duplicate') AND NOT EXISTS ({RETRY} j.id)
ORDER BY j.id LIMIT :limit
"""
SELECT_RETRY = f"SELECT {JOB} FROM gearbox_jobs j WHERE j.retry_of = :id"
SELECT_FAILED_MEMBERS = f"""
SELECT {JOB} FROM gearbox_jobs j WHERE j.before_id = :id AND j.status IN ({listed(FAILED)}, 'duplicate')
ORDER BY j.id LIMIT :limit
"""
SELECT_PREREQUISITES = """
SELECT after_id FROM gearbox_jobs WHERE id = :id AND after_id IS NOT NULL
UNION SELECT see_other FROM gearbox_jobs WHERE id = :id AND see_other IS NOT NULL
UNION SELECT id FROM gearbox_jobs WHERE before_id = :id
"""
# SQLite keeps to the order of a CROSS JOIN. Left free, it goes over all jobs here, ended ones too (3.53).
SELECT_DEPENDENTS = """
WITH RECURSIVE same (id) AS (
    SELECT id FROM gearbox_jobs WHERE id IN (%s)
    UNION SELECT j.id FROM same CROSS JOIN gearbox_jobs j ON j.see_other = same.id
)
SELECT j.id FROM same CROSS JOIN gearbox_jobs j ON j.after_id = same.id WHERE j.status IN ('ready', 'waiting')
UNION SELECT t.id FROM same CROSS JOIN gearbox_jobs j ON j.id = same.id CROSS JOIN gearbox_jobs t ON t.id = j.before_id
WHERE t.status IN ('ready', 'waiting')
"""
# The plus keeps SQLite from going over all that ever failed instead of over the few children.
SELECT_FAILED_DEPENDENTS = """
WITH RECURSIVE same (id) AS (
    SELECT CAST(:id AS INTEGER) UNION SELECT j.id FROM same CROSS JOIN gearbox_jobs j ON j.see_other = same.id
)
SELECT j.id FROM same CROSS JOIN gearbox_jobs j ON j.after_id = same.id WHERE +j.status = 'errored'
UNION SELECT t.id FROM same CROSS JOIN gearbox_jobs j ON j.id = same.id CROSS JOIN gearbox_jobs t ON t.id = j.before_id
WHERE t.status = 'errored'
LIMIT :limit
"""
SELECT_NEIGHBOURS = """
SELECT id, method_name, status, after_id, before_id, see_other, retry_of FROM gearbox_jobs
WHERE id = :id OR after_id = :id OR before_id = :id OR see_other = :id OR retry_of = :id LIMIT :limit
"""
SELECT_ATTEMPTS = """
SELECT job_id, epoch, owner, claimed_at, started_at, ended_at, outcome, worker, error, server
FROM gearbox_attempts WHERE job_id = :id
"""
SELECT_EVENTS = """
SELECT seq, at, from_status, to_status, epoch, why, who FROM gearbox_events WHERE job_id = :id ORDER BY seq
"""
SELECT_DUE = "SELECT id FROM gearbox_jobs WHERE next_at <= :now ORDER BY next_at LIMIT :limit"
SELECT_NEXT = """
SELECT min(next_at) FROM (
    SELECT * FROM (SELECT next_at FROM gearbox_jobs WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1) AS job
    UNION ALL SELECT min(next_at) FROM gearbox_schedules) AS timer
"""
SELECT_IDS = f"""
SELECT id FROM gearbox_jobs
WHERE status = :status AND {one_of("status", CURRENT)} AND id > :above ORDER BY id LIMIT :limit
"""  # the second condition is there for the partial index, which no parameter can match
SELECT_COUNTS = "SELECT status, jobs FROM gearbox_counts WHERE method_name = :method AND jobs > 0"
SELECT_HAS_RUN = """
SELECT 1 FROM gearbox_counts WHERE method_name = :method AND status = 'complete' AND jobs > 0
"""
SELECT_SPAN = "SELECT earliest, latest FROM gearbox_methods WHERE method_name = :method"
SELECT_MEASURES = """
SELECT measure, jobs, total, squares FROM gearbox_measures WHERE method_name = :method ORDER BY measure, bucket
"""


class Reading(Writing):
    """The part of `store.Tx` that changes nothing."""

    LOCKS: ClassVar[Mapping[Lock, str]] = dict.fromkeys(Lock, "")  # what a dialect puts behind a SELECT

    def __init__(
        self, connection: Connection, controls: dict[str, Control], living: Mapping[int, Job] | None = None
    ) -> None:
        super().__init__(connection)
        self._controls = controls  # by method; the store keeps them, for they are asked for with every claim
        self._living = living or {}  # jobs as they are stored, where nobody else can have changed them

    def job(self, id: int, lock: Lock = Lock.NONE) -> Job | None:
        changes, how = self.changes, self.LOCKS[lock]
        job = changes.jobs.get(id) or self._living.get(id)
        if job is None or (how and not changes.is_held(id, how)):
            row = self._connection.execute(SELECT_JOB + how, {"id": id}).fetchone()
            if row is not None:
                job = changes.jobs[id] = job_of(row)
                changes.locked[id] = how
        return job

    def job_of_token(self, submit_token: str, anew: bool = False) -> Job | None:
        id = self.changes.tokens.get(submit_token)
        if id is not None:
            return self.job(id)
        row = self._connection.execute(SELECT_JOB_OF_TOKEN, {"submit_token": submit_token}).fetchone()
        return None if row is None else job_of(row)

    def _one(self, statement: str, values: Mapping[str, Any]) -> Job | None:
        row = self._execute(statement, values).fetchone()
        return None if row is None else job_of(row)

    def resolve(self, id: int, lock: Lock = Lock.NONE) -> Job | None:
        job = self.job(id, lock)
        for _ in range(CHAIN_LIMIT):
            if job is None or job.see_other is None:
                return job
            job = self.job(job.see_other, lock)
        raise AssertionError(f"job {id} is a duplicate of itself")

    def facts(self, id: int) -> Facts | None:
        row = self._execute(SELECT_FACTS, {"id": id}).fetchone()
        if row is None:
            return None
        job = job_of(row[:-3])
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

    def lock_graph(self) -> None:
        """Nothing to do where there is one writer."""

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

    def unfinished(self, id: int, limit: int) -> list[int]:
        return [row[0] for row in self._execute(SELECT_UNFINISHED, {"id": id, "limit": limit}).fetchall()]

    def pool_results(self, id: int, limit: int) -> list[Job]:
        return [job_of(row) for row in self._execute(SELECT_RESULTS, {"id": id, "limit": limit}).fetchall()]

    def failed_members(self, id: int, limit: int) -> list[Job]:
        return [job_of(row) for row in self._execute(SELECT_FAILED_MEMBERS, {"id": id, "limit": limit}).fetchall()]

    def failed_dependents(self, id: int, limit: int) -> list[int]:
        return [row[0] for row in self._execute(SELECT_FAILED_DEPENDENTS, {"id": id, "limit": limit}).fetchall()]

    def retry_of(self, id: int) -> Job | None:
        return self._one(SELECT_RETRY, {"id": id})

    def neighbours(self, id: int, limit: int) -> list[Node]:
        rows = self._execute(SELECT_NEIGHBOURS, {"id": id, "limit": limit}).fetchall()
        return [Node(row[0], row[1], STATUSES[row[2]], *row[3:]) for row in rows]

    def follow(self) -> list[Action]:
        """What has to be looked at because of all that ended in this transaction."""
        ended = [job.id for was, job, _ in self.changes.moves if was is not None and job.status in TERMINAL]
        dependents = self.dependents(ended)
        return [Recheck(tuple(dependents))] if dependents else []

    def dependents(self, ids: Sequence[int]) -> list[int]:
        found: dict[int, None] = {}
        for some in portions(ids):
            found |= {id: None for (id,) in self._execute(SELECT_DEPENDENTS % named(some), some).fetchall()}
        return list(found)

    def attempt(self, id: int, epoch: int) -> Attempt | None:
        row = self._execute(SELECT_ATTEMPTS + " AND epoch = :epoch", {"id": id, "epoch": epoch}).fetchone()
        return None if row is None else attempt_of(row)

    def attempts(self, id: int) -> list[Attempt]:
        return [attempt_of(row) for row in self._execute(SELECT_ATTEMPTS + " ORDER BY epoch", {"id": id}).fetchall()]

    def audit(self, id: int) -> list[Audit]:
        rows = self._execute(SELECT_EVENTS, {"id": id}).fetchall()
        return [
            Audit(seq, at / 1e6, was and STATUSES[was], STATUSES[status], epoch, why, who)
            for seq, at, was, status, epoch, why, who in rows
        ]

    def due(self, now: float, limit: int) -> list[int]:
        return [row[0] for row in self._execute(SELECT_DUE, {"now": micros(now), "limit": limit}).fetchall()]

    def next_at(self) -> float | None:
        """The earliest `next_at` of all jobs and recurring entries."""
        (at,) = self._execute(SELECT_NEXT, {}).fetchone()
        return None if at is None else float(at / 1e6)

    def ids(self, statuses: Iterable[Status], above: int, limit: int) -> list[int]:
        found: list[int] = []
        for status in statuses:
            row = {"status": status.value, "above": above, "limit": limit}
            found += [id for (id,) in self._execute(SELECT_IDS, row).fetchall()]
        return sorted(found)[:limit]

    def jobs(self, ids: Sequence[int], lock: Lock = Lock.NONE) -> list[Job]:
        found: dict[int, Job] = {}
        for some in portions(ids):
            rows = self._execute(SELECT_JOBS % named(some) + self.LOCKS[lock], some).fetchall()
            found |= {row[0]: job_of(row) for row in rows}
        return [found[id] for id in sorted(found)]

    def current(self, limit: int) -> list[Job]:
        return [job_of(row) for row in self._execute(SELECT_CURRENT, {"limit": limit}).fetchall()]

    def has_run(self, method: str) -> bool:
        return self._execute(SELECT_HAS_RUN, {"method": method}).fetchone() is not None

    def stats(self, method: str) -> dict[str, Any]:
        key = {"method": method}
        states = {status: int(jobs) for status, jobs in self._execute(SELECT_COUNTS, key).fetchall()}
        span = self._execute(SELECT_SPAN, key).fetchone()
        measures: dict[str, list[Bucket]] = {}
        for measure, jobs, total, squares in self._execute(SELECT_MEASURES, key).fetchall():
            measures.setdefault(measure, []).append(Bucket(int(jobs), total, squares))
        times = (iso(span[0] / 1e6), iso(span[1] / 1e6)) if span else (None, None)
        return summary(states, times, measures)


def portions(ids: Sequence[Id]) -> Iterator[dict[str, Id]]:
    """The ids as parameters, by powers of two with repetitions: so few statements are few to prepare."""
    for start in range(0, len(ids), PORTION):
        some = ids[start : start + PORTION]
        size = 1 << (len(some) - 1).bit_length()
        yield {f"id{n}": some[min(n, len(some) - 1)] for n in range(size)}


def named(parameters: Iterable[str]) -> str:
    return ", ".join(f":{name}" for name in parameters)
