"""The transaction over any DB-API connection: how jobs change, on top of what it reads and writes."""

from __future__ import annotations

import uuid

import attrs

from gearbox.job import Job, NewJob, Status, Transition, earliest
from gearbox.store.controls import Controls
from gearbox.store.cores import Cores
from gearbox.store.operators import Operators
from gearbox.store.pruning import Pruning
from gearbox.store.recurring import Recurring
from gearbox.store.rows import micros
from gearbox.store.searching import Searching

__all__ = ["SqlTx"]

SELECT_UNSTARTED = """
SELECT 1 FROM gearbox_attempts
WHERE job_id = :id AND epoch = :epoch AND started_at IS NULL AND outcome IS NULL
"""
DEFAULTS = {field.name: None if field.default is attrs.NOTHING else field.default for field in attrs.fields(Job)}


class SqlTx(Controls, Cores, Recurring, Pruning, Searching, Operators):
    """`store.Tx` in SQL: what changes jobs, and all the rest by inheritance."""

    def insert(self, new: NewJob, status: Status, now: float, who: str, why: str = "queued") -> Job:
        id = self._connection.new_id()
        job = Job.of(
            {
                **DEFAULTS,
                "id": id,
                "method": new.method,
                "arguments": new.arguments,
                "priority": new.priority,
                "created": now,
                "updated": now,
                "status": status,
                "dedupe": str(uuid.uuid4()) if new.dedupe is None else new.dedupe,
                "has_dedupe": new.dedupe is not None,
                "after_date": new.after_date,
                "after_id": new.after_id,
                "before_id": new.before_id,
                "max_retries": new.max_retries,
                "retry_delay": new.retry_delay,
                "ready_at": now if status is Status.READY else None,
                "next_at": new.expires if status is Status.READY else earliest(new.after_date, new.expires),
                "events": 1,
                "backoff": new.backoff,
                "retry_delay_max": new.retry_delay_max,
                "timeout": new.timeout,
                "expires": new.expires,
                "opens_at": new.after_date,
                "retry_of": new.retry_of,
                "schedule": new.schedule,
                "traceparent": new.traceparent,
            }
        )
        self.changes.add(job, new.submit_token)
        self._note(job, None, now, why, who)
        self.changes.moves.append((None, job, now))
        return job

    def apply(self, job: Job, transition: Transition, now: float, who: str, server: str | None = None) -> Job:
        assert job.status in transition.expect, f"{transition.why}: job {job.id} is {job.status.value}"
        status, outcome = transition.status, transition.outcome
        is_move = status is not job.status or outcome is not None
        set = {"updated": now, "status": status, **transition.set}
        if "epoch" in set:
            set |= {"owner": who, "claimed_at": now}
        if status is Status.READY:
            set["ready_at"] = now
        elif job.held is not None:
            set["held"] = None
        if is_move:
            set["events"] = job.events + 1
        changed = self.alter(job, set)
        key = (job.id, changed.epoch)
        if "epoch" in set:
            ended = (None, None) if outcome is None else (micros(now), outcome.value)
            self.changes.put(self.changes.opened, key, (*key, who, micros(now), *ended, transition.error, server))
        elif outcome is not None:
            self.changes.put(self.changes.ended, key, (micros(now), outcome.value, transition.error, *key))
        if is_move:
            self._note(changed, job.status, now, transition.why, who)
        if status is not job.status:
            self.changes.moves.append((job, changed, now))
        return changed

    def _note(self, job: Job, was: Status | None, now: float, why: str, who: str) -> None:
        event = (job.id, job.events, micros(now), was and was.value, job.status.value, job.epoch, why, who)
        self.changes.events.append(event)

    def note(self, job: Job, now: float, why: str, who: str) -> None:
        known = self.changes.jobs.get(job.id, job)
        changed = self.alter(known, {"events": known.events + 1})
        self._note(changed, job.status, now, why, who)

    def open_date(self, job: Job) -> None:
        self.alter(job, {"opens_at": None})

    def join_pool(self, id: int, before_id: int) -> None:
        job = self.job(id)
        assert job is not None
        self.alter(job, {"before_id": before_id})

    def start_attempt(self, id: int, epoch: int, now: float, worker: str) -> bool:
        changes, key = self.changes, (id, epoch)
        if key in changes.started:
            return False
        if key in changes.opened or key in changes.ended:
            self.write()
        if self._connection.execute(SELECT_UNSTARTED, {"id": id, "epoch": epoch}).fetchone() is None:
            return False
        changes.put(changes.started, key, (micros(now), worker, *key))
        return True
