"""What operators did, and the one thing of a job that they alone change: its priority."""

from __future__ import annotations

from gearbox.job import Job, Priority
from gearbox.store import Deed
from gearbox.store.controls import RANKS
from gearbox.store.reading import Reading
from gearbox.store.rows import micros

__all__ = ["Operators"]

INSERT_DEED = """
INSERT INTO gearbox_actions (at, who, action, target, reason, jobs)
VALUES (:at, :who, :action, :target, :reason, :jobs)
"""
SELECT_DEEDS = """
SELECT id, at, who, action, target, reason, jobs FROM gearbox_actions WHERE id < :below ORDER BY id DESC LIMIT :limit
"""
EVERYTHING = 2**62


class Operators(Reading):
    """The part of `store.Tx` that is about operators."""

    def set_priority(self, job: Job, priority: Priority, now: float) -> None:
        held = None if job.held is None else RANKS[priority]
        self.alter(job, {"priority": priority, "held": held, "updated": now})

    def record(self, deed: Deed) -> None:
        row = {"at": micros(deed.at), "who": deed.who, "action": deed.action, "target": deed.target}
        self._change(INSERT_DEED, row | {"reason": deed.reason, "jobs": deed.jobs})

    def deeds(self, below: int | None, limit: int) -> list[Deed]:
        rows = self._execute(SELECT_DEEDS, {"below": below or EVERYTHING, "limit": limit}).fetchall()
        return [Deed(id, at / 1e6, *rest) for id, at, *rest in rows]
