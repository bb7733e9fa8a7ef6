"""What operators have set for methods, and the jobs that this holds back.

A held job is a ready one with a rank in `held`; the index over (method, rank, id) is the queue of those that wait for
a place. How many places are taken is known from the counts by status, which every transaction keeps: nothing counts
rows. Rows of controls are few and asked for with every claim, so the store keeps them in memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from gearbox.job import ACTIVE, Control, Job, Priority, Status
from gearbox.store.reading import Reading
from gearbox.store.rows import STATUSES, listed, micros

__all__ = ["RANKS", "Controls"]

RANKS = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}

SELECT_CONTROLS = "SELECT method_name, is_paused, concurrency FROM gearbox_controls"
SET_CONTROL = """
INSERT INTO gearbox_controls (method_name, is_paused, concurrency, updated, who)
VALUES (:method, :is_paused, :concurrency, :now, :who)
ON CONFLICT (method_name) DO UPDATE SET is_paused = excluded.is_paused, concurrency = excluded.concurrency,
    updated = excluded.updated, who = excluded.who
"""
SELECT_ACTIVE = f"""
SELECT COALESCE(SUM(jobs), 0) FROM gearbox_counts WHERE method_name = :method AND status IN ({listed(ACTIVE)})
"""
SELECT_AHEAD = """
SELECT COUNT(*) FROM (
    SELECT 1 FROM gearbox_jobs
    WHERE method_name = :method AND held IS NOT NULL AND (held, id) < (:rank, :id) LIMIT :limit) AS ahead
"""
SELECT_HELD = """
SELECT held, id FROM gearbox_jobs
WHERE method_name = :method AND held IS NOT NULL AND (held, id) > (:rank, :id) ORDER BY held, id LIMIT :limit
"""
SELECT_ALL_COUNTS = "SELECT method_name, status, jobs FROM gearbox_counts WHERE jobs > 0 ORDER BY method_name, status"


class Controls(Reading):
    """The part of `store.Tx` that is about methods."""

    is_control_changed = False

    def load_controls(self) -> None:
        """Read them anew: at the start, and when a transaction that changed them was rolled back."""
        rows = self._connection.execute(SELECT_CONTROLS, {}).fetchall()
        self._controls.clear()
        for method, is_paused, concurrency in rows:
            self._controls[method] = Control(bool(is_paused), concurrency)
        self.is_control_changed = False

    def control(self, method: str) -> Control | None:
        return self._controls.get(method)

    def controls(self) -> Mapping[str, Control]:
        return dict(self._controls)

    def set_control(self, method: str, control: Control, now: float, who: str) -> None:
        row = {"method": method, "is_paused": control.is_paused, "concurrency": control.concurrency}
        self._change(SET_CONTROL, row | {"now": micros(now), "who": who})
        self._controls[method] = control
        self.is_control_changed = True

    def active(self, method: str) -> int:
        (stored,) = self._execute(SELECT_ACTIVE, {"method": method}).fetchone()
        return int(stored) + self.changes.gained(method, ACTIVE)

    def ahead(self, job: Job, limit: int) -> int:
        row = {"method": job.method, "rank": RANKS[job.priority], "id": job.id, "limit": limit}
        return int(self._execute(SELECT_AHEAD, row).fetchone()[0])

    def held(self, method: str, limit: int, above: tuple[int, int] = (-1, 0)) -> list[tuple[int, int]]:
        row = {"method": method, "rank": above[0], "id": above[1], "limit": limit}
        return [(rank, id) for rank, id in self._execute(SELECT_HELD, row).fetchall()]

    def hold(self, job: Job) -> None:
        self.alter(job, {"held": RANKS[job.priority]})

    def counts(self) -> dict[str, dict[Status, int]]:
        counts: dict[str, dict[Status, int]] = {}
        for method, status, jobs in self._execute(SELECT_ALL_COUNTS, {}).fetchall():
            counts.setdefault(method, {})[STATUSES[status]] = int(jobs)
        return counts
