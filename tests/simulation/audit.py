"""What must hold in the table after every commit (S1 to S14 of the theory of operation), asked of the rows.

The audit keeps its own picture of every job. After a commit it reads the jobs that the transaction touched, compares
them with the picture, and checks each move against the table of moves that are allowed. It counts which were taken.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import attrs

from gearbox.job import ACTIVE, CURRENT, FAILED, TERMINAL, Attempt, Job, Outcome, Status
from gearbox.rules import NOOPWAIT
from gearbox.store.reading import SELECT_ATTEMPTS
from gearbox.store.rows import JOB, attempt_of, job_of
from tests.simulation import invariants

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["MOVES", "Audit"]

FULL_CHECK = 100  # commits between two looks at the whole table

LOSSES = frozenset({Outcome.MISSING, Outcome.RELEASED, Outcome.WORKER_FAILED, Outcome.REFUSED, Outcome.NO_WORKER})
DECIDED_WITHIN = 1.0  # s after the last gate opened (L1, L5), where nothing goes wrong

READY, WAITING, RUNNING, ALMOST, MISSING = "ready", "waiting", "running", "almost-done", "missing"
COMPLETE, ERRORED, INVALID, DUPLICATE = "complete", "errored", "invalid", "duplicate"

# Every move there is, by its number in the table of the theory; all others are violations.
MOVES: dict[tuple[str | None, str], str] = {
    (None, READY): "T1",
    (None, WAITING): "T2",
    (WAITING, READY): "T4",
    (READY, WAITING): "T5",  # or T20: no worker, to be tried again
    (WAITING, ERRORED): "T6",
    (READY, ERRORED): "T6",  # or T20
    (READY, DUPLICATE): "T7",
    (READY, RUNNING): "T8",
    (READY, COMPLETE): "T9",
    (RUNNING, ALMOST): "T10",
    (RUNNING, COMPLETE): "T11",
    (ALMOST, COMPLETE): "T11",
    (MISSING, COMPLETE): "T11",
    (RUNNING, WAITING): "T12",
    (ALMOST, WAITING): "T12",
    (MISSING, WAITING): "T12",  # or T17
    (RUNNING, ERRORED): "T13",
    (ALMOST, ERRORED): "T13",
    (MISSING, ERRORED): "T13",  # or T17
    (RUNNING, MISSING): "T14",
    (ALMOST, MISSING): "T15",
    (MISSING, RUNNING): "T16",
    (RUNNING, READY): "T18",
    **{(status.value, INVALID): "T19" for status in CURRENT},
}

SELECT_JOB = f"SELECT {JOB} FROM gearbox_jobs j WHERE j.id = ?"
SELECT_CONTROL = "SELECT is_paused, concurrency, updated FROM gearbox_controls WHERE method_name = ?"
SELECT_EVENTS = """
SELECT seq, at, from_status, to_status, epoch, why FROM gearbox_events WHERE job_id = ? AND seq > ? ORDER BY seq
"""


@attrs.define
class Seen:
    """A job as the last commit left it."""

    job: Job
    attempts: list[Attempt]
    events: int
    status: str


class Audit:
    """The checks of one database."""

    def __init__(self, world: World, rows: sqlite3.Connection) -> None:
        self._world = world
        self._rows = rows
        self.seen: dict[int, Seen] = {}
        self.jobs: dict[int, Job] = {}  # the newest rows
        self.moves: Counter[str] = Counter()
        self.commits = 0
        self._active: dict[str, int] = {}  # dedupe -> job
        self._members: defaultdict[int, dict[int, None]] = defaultdict(dict)  # target -> its pool
        self._retried: set[int] = set()  # jobs whose place another took
        self._opened: dict[int, float] = {}  # job -> when the date or the pause before it lets it go

    def committed(self, ids: list[int]) -> None:
        """A transaction that changed these jobs was committed."""
        self.commits += 1
        jobs = []
        for id in ids:
            row = self._rows.execute(SELECT_JOB, (id,)).fetchone()
            if row is None:
                self.seen.pop(id, None)
                continue
            jobs.append(job_of(row))
        for job in jobs:
            self._remember(job)
        told = [self._look(job) for job in jobs]
        for job in jobs:
            self._check_dedupe(job)
        self._world.note("commit", *told)
        if self.commits % FULL_CHECK == 0:
            self.check_all()

    def _remember(self, job: Job) -> None:
        """What other jobs are judged by. Gates are checked against the rows as the whole transaction left them."""
        self.jobs[job.id] = job
        if job.opens_at is not None:
            self._opened[job.id] = job.opens_at
        if job.before_id is not None:
            self._members[job.before_id][job.id] = None
        if job.retry_of is not None:
            self._retried.add(job.retry_of)

    def check_all(self) -> None:
        """The whole table."""
        for name, statement in invariants.ALWAYS.items():
            found = self._rows.execute(statement).fetchall()
            if found:
                self._violate(name, f"{found[:3]}")

    def attempt(self, id: int, epoch: int) -> Attempt | None:
        """An attempt, if it was committed."""
        seen = self.seen.get(id)
        return seen.attempts[epoch - 1] if seen is not None and 0 < epoch <= len(seen.attempts) else None

    def resolve(self, id: int) -> Job:
        """The job that answers for this one."""
        job = self.jobs[id]
        while job.see_other is not None:
            job = self.jobs[job.see_other]
        return job

    def _look(self, job: Job) -> str:
        was = self.seen.get(job.id)
        attempts = [attempt_of(row) for row in self._rows.execute(f"{SELECT_ATTEMPTS} ORDER BY epoch", {"id": job.id})]
        now = Seen(job, attempts, was.events if was else 0, was.status if was else "")
        self._follow(now)
        self.seen[job.id] = now
        self._check_attempts(job, attempts, was)
        if was is not None and was.job.status in TERMINAL:
            self._check_final(was.job, job)
        if job.next_at != job.look_at():
            self._violate("L7 timer", f"{job.id}: next_at {job.next_at}, look_at {job.look_at()}")
        if job.status in TERMINAL and job.completed is None:
            self._violate("S7 completed", f"{job.id} has ended, and nobody knows when")
        return f"{job.id}:{job.status.value}.{job.epoch}"

    def _follow(self, now: Seen) -> None:
        """New events: gapless, one after the other, each an allowed move."""
        job = now.job
        for seq, at, was, status, _epoch, why in self._rows.execute(SELECT_EVENTS, (job.id, now.events)):
            if seq != now.events + 1 or (was or "") != now.status:
                self._violate("S3 events", f"{job.id}: event {seq} from {was} after {now.events} to {now.status}")
            if was != status:
                move = MOVES.get((was, status))
                if move is None:
                    self._violate("illegal move", f"{job.id}: {was} to {status}: {why}")
                else:
                    self._count(move, status, why)
                if (was, status) in ((READY, RUNNING), (READY, COMPLETE)):
                    self._check_gates(job)
                    self._check_control(job)
                if (was, status) == (WAITING, READY) or (was, why[:5]) == (WAITING, "after"):
                    self._check_delay(job, at / 1e6)
                if why == "pool errored":
                    self._check_pool(job)
            now.events, now.status = seq, status
        if job.status.value != now.status or job.events != now.events:
            self._violate("S3 events", f"{job.id} is {job.status.value}, its audit says {now.status}")

    def _count(self, move: str, status: str, why: str) -> None:
        if why.startswith("no worker") and status in (WAITING, ERRORED):
            move = "T20"
        elif why.startswith("went missing"):
            move = "T17"
        self.moves[move] += 1

    def _check_gates(self, job: Job) -> None:
        """S8, at the moment of a claim."""
        if job.after_id is not None and self.resolve(job.after_id).status is not Status.COMPLETE:
            self._violate("S8 after", f"{job.id} was claimed, {job.after_id} is not complete")
        for id in self._members[job.id]:
            if id not in self._retried and self.resolve(id).status is not Status.COMPLETE:
                self._violate("S8 pool", f"{job.id} was claimed, {id} of its pool is not complete")
        is_early = job.after_date is not None and job.claimed_at is not None and job.claimed_at < job.after_date - 1e-6
        if is_early and not self._world.plan.jumps_clocks:
            self._violate("S8 date", f"{job.id} was claimed {job.after_date - job.claimed_at} s early")  # type: ignore[operator]

    def _check_pool(self, job: Job) -> None:
        """A failed pool is one of which nobody is left."""
        for id in self._members[job.id]:
            if self.resolve(id).status not in TERMINAL:
                self._violate("S8 failed pool", f"{job.id} was given up, {id} of its pool goes on")

    def _check_control(self, job: Job) -> None:
        """Nothing of a method starts that is paused, or over its limit."""
        row = self._rows.execute(SELECT_CONTROL, (job.method,)).fetchone()
        if row is None or job.claimed_at is None or row[2] / 1e6 >= job.claimed_at or self._world.plan.jumps_clocks:
            return
        if row[0]:
            self._violate("pause", f"{job.id} was claimed while {job.method} is paused")
        active = sum(other.method == job.method and other.status in ACTIVE for other in self.jobs.values())
        if row[1] is not None and active > row[1]:
            self._violate("limit", f"{active} jobs of {job.method} run at once, the limit is {row[1]}")

    def _check_delay(self, job: Job, at: float) -> None:
        """L1, L2, L5, where nothing goes wrong: what waited is looked at once its last gate is open."""
        if self._world.plan.faults:
            return
        gates = [job.created, job.after_date or 0.0, *(at for at in [self._opened.get(job.id)] if at)]
        ends = [self.resolve(id).completed for id in (job.after_id, *self._members[job.id]) if id is not None]
        late = at - max(*gates, *(end or 0.0 for end in ends), 0.0)
        if late > DECIDED_WITHIN:
            self._violate("L5 late", f"{job.id} became ready {late:.1f} s after its last gate opened")

    def _check_attempts(self, job: Job, attempts: list[Attempt], was: Seen | None) -> None:
        if [attempt.epoch for attempt in attempts] != list(range(1, job.epoch + 1)):
            self._violate("S3 attempts", f"{job.id} at epoch {job.epoch} has {[a.epoch for a in attempts]}")
        unended = [attempt.epoch for attempt in attempts if attempt.outcome is None]
        if unended != ([job.epoch] if job.status in ACTIVE else []):
            self._violate("S4 open", f"{job.id} is {job.status.value} at {job.epoch}, open: {unended}")
        for before, after in zip(was.attempts if was else (), attempts, strict=False):
            if before.outcome is not None and before != after:
                self._violate("S3 outcome", f"{job.id}.{before.epoch}: {before} became {after}")
        consumed = sum(attempt.outcome not in (Outcome.RELEASED, None) for attempt in attempts)
        if consumed > job.max_retries + 1:
            self._violate("S9 retries", f"{job.id}: {consumed} attempts, {job.max_retries} retries")
        if job.retries > consumed:
            self._violate("S9 retries", f"{job.id} has used {job.retries} retries, and {consumed} attempts")
        lost = [attempt.epoch for attempt in attempts if attempt.outcome in LOSSES]
        if job.method == NOOPWAIT and lost:
            self._violate("S13 noopwait", f"{job.id} needs no worker, and was lost at {lost}")

    def _check_final(self, was: Job, job: Job) -> None:
        """S7."""
        for field in ("status", "result_data", "see_other", "completed", "epoch", "retries"):
            if getattr(was, field) != getattr(job, field):
                self._violate(
                    "S7 terminal", f"{job.id}: {field} {getattr(was, field)!r} became {getattr(job, field)!r}"
                )

    def _check_dedupe(self, job: Job) -> None:
        """S6; and what a duplicate points to was active when it became one."""
        if not job.has_dedupe:
            return
        other = self._active.get(job.dedupe)
        if job.status in ACTIVE:
            if other is not None and other != job.id and self.jobs[other].status in ACTIVE:
                self._violate("S6 dedupe", f"{other} and {job.id} are both active")
            self._active[job.dedupe] = job.id
        elif other == job.id:
            del self._active[job.dedupe]
        if job.status in FAILED and job.see_other is not None:
            self._violate("S6 see_other", f"{job.id} failed, and points to {job.see_other}")

    def _violate(self, name: str, what: str) -> None:
        self._world.violate(name, what)
