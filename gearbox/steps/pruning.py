"""Deleting what ended long ago, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from gearbox.job import Status
from gearbox.store import Moment, Result, Tx

__all__ = ["Retention", "newest", "prune"]

DAY = 86400.0  # s
PRUNE_LIMIT = 200  # jobs looked at in one transaction: some milliseconds


@attrs.frozen
class Retention:
    """After how many days a job that ended is deleted, by status. Without an entry: never."""

    days: Mapping[Status, float] = attrs.field(factory=dict)

    def before(self, now: float) -> dict[Status, float]:
        """For each status, the instant up to which jobs may have ended."""
        return {status: now - days * DAY for status, days in self.days.items()}


def newest(retention: Retention, tx: Tx, moment: Moment) -> Result:
    """The id below which there may be jobs to delete."""
    before = retention.before(moment.now)
    return Result(tx.newest_before(max(before.values())) + 1 if before else 0)


def prune(retention: Retention, below: int, tx: Tx, moment: Moment) -> Result:
    """Delete among the next jobs below an id. The value: (how many, the id to go on below or None)."""
    return Result(tx.prune(below, PRUNE_LIMIT, retention.before(moment.now)))
