"""Deleting jobs that ended long ago, with their attempts and events.

A row that another one refers to stays: nobody's parent, pool target, original or retried job is ever taken away. The
walk goes from the newest old job down, so that a chain, whose later jobs refer to its earlier ones, goes in one pass.
No index serves this, for it would cost every job that ends: ids grow with time, and a bisection finds where to begin.
"""

from __future__ import annotations

from collections.abc import Mapping

from gearbox.job import TERMINAL, Status
from gearbox.store import Lock
from gearbox.store.reading import Reading
from gearbox.store.rows import STATUSES, listed, micros

__all__ = ["Pruning"]

SELECT_LAST_ID = "SELECT max(id) FROM gearbox_jobs"
SELECT_CREATED = "SELECT id, created FROM gearbox_jobs WHERE id <= :id ORDER BY id DESC LIMIT 1"
SELECT_OLD = f"""
SELECT j.id, j.status, j.completed, j.status IN ({listed(TERMINAL)})
    AND NOT EXISTS (SELECT 1 FROM gearbox_jobs r WHERE r.after_id = j.id)
    AND NOT EXISTS (SELECT 1 FROM gearbox_jobs r WHERE r.before_id = j.id)
    AND NOT EXISTS (SELECT 1 FROM gearbox_jobs r WHERE r.see_other = j.id)
    AND NOT EXISTS (SELECT 1 FROM gearbox_jobs r WHERE r.retry_of = j.id)
FROM gearbox_jobs j WHERE j.id = :id
"""
SELECT_BELOW = "SELECT id FROM gearbox_jobs WHERE id < :below ORDER BY id DESC LIMIT :limit"
DELETE_JOB = "DELETE FROM gearbox_jobs WHERE id = :id"


class Pruning(Reading):
    """The part of `store.Tx` that deletes."""

    def newest_before(self, at: float) -> int:
        """An id above which no job is older than `at`; 0 if there is none."""
        (highest,) = self._execute(SELECT_LAST_ID, {}).fetchone()
        low, high = 0, highest or 0
        while low < high:
            middle = (low + high + 1) // 2
            row = self._execute(SELECT_CREATED, {"id": middle}).fetchone()
            if row is None or row[1] <= round(at * 1e6):
                low = middle
            else:
                high = row[0] - 1
        return low

    def prune(self, below: int, limit: int, before: Mapping[Status, float]) -> tuple[int, int | None]:
        """Delete, of the next `limit` jobs under the id `below`, those that ended before their status's instant.

        Returns how many, and the id to go on below, None at the end.
        """
        ids = [id for (id,) in self._execute(SELECT_BELOW, {"below": below, "limit": limit}).fetchall()]
        pruned = 0
        for id in ids:
            self.job(id, Lock.EXCLUSIVE)  # whoever would refer to it locks it first
            _, status, completed, is_free = self._execute(SELECT_OLD, {"id": id}).fetchone()
            oldest = before.get(STATUSES[status])
            if is_free and oldest is not None and completed is not None and completed <= (micros(oldest) or 0):
                self._change(DELETE_JOB, {"id": id})
                self.changes.jobs.pop(id, None)
                pruned += 1
        return pruned, ids[-1] if len(ids) == limit else None
