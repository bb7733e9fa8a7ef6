"""Rows of recurring jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from gearbox.job import TERMINAL, Action, Fire, Status
from gearbox.rules.recurrence import Missed, Overlap, Schedule
from gearbox.store import Lock
from gearbox.store.reading import Reading, named, portions
from gearbox.store.rows import micros, seconds

__all__ = ["Recurring"]

ENDS = TERMINAL - {Status.DUPLICATE}  # with a duplicate nothing is over: its original goes on

COLUMNS = "name, cron, timezone, overlap, missed, template, created, who, next_at, last_at, last_job, waiting"
SELECT_SCHEDULE = f"SELECT {COLUMNS} FROM gearbox_schedules WHERE name = :name"
SELECT_SCHEDULES = f"SELECT {COLUMNS} FROM gearbox_schedules ORDER BY name"
SELECT_DUE_SCHEDULES = "SELECT name FROM gearbox_schedules WHERE next_at <= :now ORDER BY next_at LIMIT :limit"
# In the order of a CROSS JOIN, as in `reading`.
SELECT_OF_DUPLICATES = """
WITH RECURSIVE same (id) AS (
    SELECT id FROM gearbox_jobs WHERE see_other IN (%s)
    UNION SELECT j.id FROM same CROSS JOIN gearbox_jobs j ON j.see_other = same.id
)
SELECT s.name FROM same CROSS JOIN gearbox_schedules s ON s.last_job = same.id
"""
PUT_SCHEDULE = """
INSERT INTO gearbox_schedules (
    name, cron, timezone, overlap, missed, template, created, who, next_at, last_at, last_job, waiting)
VALUES (
    :name, :cron, :timezone, :overlap, :missed, :template, :created, :who, :next_at, :last_at, :last_job, :waiting)
ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, timezone = excluded.timezone, overlap = excluded.overlap,
    missed = excluded.missed, template = excluded.template, who = excluded.who, next_at = excluded.next_at,
    last_at = excluded.last_at, last_job = excluded.last_job, waiting = excluded.waiting
"""
DELETE_SCHEDULE = "DELETE FROM gearbox_schedules WHERE name = :name"


class Recurring(Reading):
    """The part of `store.Tx` that is about recurring entries."""

    def schedule(self, name: str, lock: Lock = Lock.NONE) -> Schedule | None:
        row = self._execute(SELECT_SCHEDULE + self.LOCKS[lock], {"name": name}).fetchone()
        return None if row is None else _schedule(row)

    def schedules(self) -> list[Schedule]:
        return [_schedule(row) for row in self._execute(SELECT_SCHEDULES, {}).fetchall()]

    def due_schedules(self, now: float, limit: int) -> list[str]:
        rows = self._execute(SELECT_DUE_SCHEDULES, {"now": micros(now), "limit": limit}).fetchall()
        return [name for (name,) in rows]

    def follow(self) -> list[Action]:
        """Also which entries may have waited: those whose last job is a duplicate of one that ended.

        Whether runs of theirs wait is for `fire` to see, under the entry's lock: another core may just be adding one.
        """
        moves = self.changes.moves
        ended = [job.id for was, job, _ in moves if was is not None and job.has_dedupe and job.status in ENDS]
        fires: list[Action] = []
        for ids in portions(ended):
            fires += [Fire(name) for (name,) in self._execute(SELECT_OF_DUPLICATES % named(ids), ids).fetchall()]
        return super().follow() + fires

    def put_schedule(self, schedule: Schedule) -> None:
        row = attrs.asdict(schedule) | {"overlap": schedule.overlap.value, "missed": schedule.missed.value}
        for name in ("created", "next_at", "last_at"):
            row[name] = micros(row[name])
        self._change(PUT_SCHEDULE, row)

    def drop_schedule(self, name: str) -> bool:
        return bool(self._change(DELETE_SCHEDULE, {"name": name}).rowcount)


def _schedule(row: Sequence[Any]) -> Schedule:
    name, cron, timezone, overlap, missed, template, created, who, next_at, last_at, last_job, waiting = row
    return Schedule(
        name, cron, timezone, Overlap(overlap), Missed(missed), template, created / 1e6, who, next_at / 1e6,
        seconds(last_at), last_job, waiting,
    )  # fmt: skip
