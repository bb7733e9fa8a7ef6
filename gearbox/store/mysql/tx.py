"""The transaction on MySQL: what differs from the common one by more than its words."""

from __future__ import annotations

import secrets
from typing import ClassVar

from gearbox.errors import StoreBusy
from gearbox.job import Control, Job, NewJob, Status
from gearbox.rules.recurrence import Schedule
from gearbox.store import Lock
from gearbox.store.foresight import Foresight
from gearbox.store.reading import SELECT_DUE, named, portions
from gearbox.store.rows import micros
from gearbox.store.sql import SqlTx
from gearbox.store.writing import PUT_META, Connection

__all__ = ["MysqlTx"]

# The key is a hash, for an index on 255 characters is dear, and some collations take "D" and "D " for one.
SELECT_TWIN = "SELECT id FROM gearbox_jobs WHERE run_key = UNHEX(SHA2(:dedupe, 256)) LOCK IN SHARE MODE"
SELECT_TOKENS = "SELECT submit_token, id FROM gearbox_jobs WHERE submit_token IN (%s)"
SELECT_UNSTARTED = """
SELECT job_id, epoch FROM gearbox_attempts WHERE job_id IN (%s) AND started_at IS NULL AND outcome IS NULL
"""
SELECT_CONTROL = "SELECT is_paused, concurrency FROM gearbox_controls WHERE method_name = :method"
LOCK_GRAPH = "SELECT value FROM gearbox_meta WHERE name = 'database' FOR UPDATE"


class MysqlTx(SqlTx):
    """`store.Tx` where other cores change the same rows. `largest` is how many bytes it takes at once."""

    PROOF: ClassVar = 200  # as much as the column takes; what room there is, is the server's business
    LOCKS: ClassVar = {Lock.NONE: "", Lock.SHARED: " LOCK IN SHARE MODE", Lock.EXCLUSIVE: " FOR UPDATE"}

    def __init__(self, connection: Connection, controls: dict[str, Control], largest: int) -> None:
        super().__init__(connection, controls)
        self.largest = min(largest, self.largest)
        self._tokens: dict[str, int | None] = {}  # those that were looked for, and whose they are
        self._unstarted: set[tuple[int, int]] = set()  # attempts of which that is known
        self._settled: set[str] = set()  # methods whose control is locked
        self.is_nothing_due = False  # all that is due is in the hands of other cores

    def insert(self, new: NewJob, status: Status, now: float, who: str, why: str = "queued") -> Job:
        self.measure(new.arguments)
        job = super().insert(new, status, now, who, why)
        if new.submit_token is not None:
            self._tokens[new.submit_token] = job.id
        return job

    def put_schedule(self, schedule: Schedule) -> None:
        self.measure(schedule.template)
        super().put_schedule(schedule)

    def prepare(self, foresight: Foresight) -> None:
        """Ask for all that is foreseen: three questions at most. Locks are taken in the order of ids."""
        for job in self.jobs(sorted(foresight.ids), Lock.EXCLUSIVE):
            self.changes.jobs[job.id] = job
            self.changes.locked[job.id] = self.LOCKS[Lock.EXCLUSIVE]
        for ids in portions(sorted(foresight.starting)):
            rows = self._execute(SELECT_UNSTARTED % named(ids), ids).fetchall()
            self._unstarted |= {(id, epoch) for id, epoch in rows}
        for tokens in portions(sorted(foresight.tokens)):
            rows = self._execute(SELECT_TOKENS % named(tokens), tokens).fetchall()
            self._tokens |= dict.fromkeys(tokens.values()) | dict(rows)

    def job_of_token(self, submit_token: str, anew: bool = False) -> Job | None:
        if anew or submit_token not in self._tokens:
            return super().job_of_token(submit_token)
        id = self._tokens[submit_token]
        return None if id is None else self.job(id)

    def start_attempt(self, id: int, epoch: int, now: float, worker: str) -> bool:
        key = (id, epoch)
        if key not in self._unstarted or key in self.changes.ended:
            return super().start_attempt(id, epoch, now, worker)
        self._unstarted.discard(key)
        self.changes.put(self.changes.started, key, (micros(now), worker, *key))
        return True

    def due(self, now: float, limit: int) -> list[int]:
        """Each core gets others; they are its own until the end of the transaction."""
        statement = f"{SELECT_DUE} FOR UPDATE SKIP LOCKED"
        ids = [id for (id,) in self._execute(statement, {"now": micros(now), "limit": limit}).fetchall()]
        self.is_nothing_due = not ids
        return ids

    def twin(self, dedupe: str) -> int | None:
        row = self._execute(SELECT_TWIN, {"dedupe": dedupe}).fetchone()
        return None if row is None else row[0]

    def active(self, method: str) -> int:
        """Under the lock of the method's control, so that no two cores give away the same place."""
        self._lock_control(method, Lock.EXCLUSIVE)
        return super().active(method)

    def hold(self, job: Job) -> None:
        """Under the lock of the method's control, so that whoever resumes the method finds the job."""
        if job.method not in self._settled:
            self._lock_control(job.method, Lock.SHARED)
        super().hold(job)

    def set_control(self, method: str, control: Control, now: float, who: str) -> None:
        """Also tells the other cores, which keep controls in memory."""
        self._execute(PUT_META, {"name": "controls", "value": secrets.token_hex(8)})  # so that one at a time goes on
        self._lock_control(method, Lock.EXCLUSIVE)  # what the caller has not changed is as in memory
        super().set_control(method, control, now, who)

    def _lock_control(self, method: str, lock: Lock) -> None:
        """Nobody changes it until the commit. Raises `StoreBusy` if somebody has, since it was read into memory."""
        row = self._execute(SELECT_CONTROL + self.LOCKS[lock], {"method": method}).fetchone()
        if row is not None and Control(bool(row[0]), row[1]) != self.control(method):
            self.is_control_changed = True  # so they are read anew
            raise StoreBusy(f"{method} was paused, resumed or limited by another core meanwhile")
        self._settled.add(method)

    def lock_graph(self) -> None:
        self._execute(LOCK_GRAPH, {})
