"""The store's clock, which somebody may set.

Dates follow the clock wherever it is set. Spans must not: a pause between tries, or the time in which a lost worker has
surely stopped, is as long as it was meant to be. So a store compares its clock with one that nobody sets, and in the
batch that finds it set, first moves what rows keep of spans by as much (`follow`). Where several cores share the rows,
the sum of all that was moved stands beside them: who finds the clock set, and that sum risen, leaves the rows alone.

A clock that is set while no core runs is taken for time that went by, where nothing tells otherwise. A file is used by
one machine: beside its rows stands by how much the clock was ahead of the steady one (`kept`), which goes on through
all processes until the machine is started anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from gearbox.job import ACTIVE, Status
from gearbox.store.rows import listed, micros

__all__ = ["KEPT_WITHIN", "Look", "boot", "follow", "kept", "last_look", "steady"]

JUMP = 1.0  # s that a clock departs from the steady one between two looks: then somebody has set it
KEPT_WITHIN = 0.5  # s: small steps, which are no jump, must not add up to one by the next start

MOVE_ACTIVE = f"""
UPDATE gearbox_jobs
SET updated = updated + :by, lease_at = lease_at + :by, stops_at = stops_at + :by, next_at = next_at + :by
WHERE status IN ({listed(ACTIVE)})
"""
# The next try's pause, and when it began; what has not been tried waits for its date. A job that was tried does not
# expire any more.
MOVE_PAUSES = f"""
UPDATE gearbox_jobs SET updated = updated + :by, opens_at = opens_at + :by, next_at = next_at + :by
WHERE status = '{Status.WAITING.value}' AND retries > 0 AND opens_at IS NOT NULL
"""
PUT_MOVED = "UPDATE gearbox_meta SET value = :moved WHERE name = 'clock'"


class Connection(Protocol):
    """What is needed of a store: a transaction is open."""

    def execute(self, statement: str, values: Mapping[str, Any]) -> Any:
        """Run a statement."""


@attrs.frozen
class Look:
    """The clock showed `now`, in Unix seconds, at some moment between two of the steady clock.

    >>> first = Look(1000.0, 50.0, 50.5)
    >>> [Look(now, 80.0, 80.5).set_since(first) for now in (1030.0, 1031.4, 1040.0, 940.0)]
    [0.0, 0.0, 10.0, -90.0]
    """

    now: float
    began: float
    ended: float
    moved: float = 0.0  # s by which the spans in the rows had been moved until then, in all

    @property
    def lead(self) -> float:
        """Of the clock over the steady one, about."""
        return self.now - (self.began + self.ended) / 2

    def set_since(self, last: Look) -> float:
        """Seconds by which the clock was set between two looks; 0.0 if it need not have been."""
        least = (self.now - self.ended) - (last.now - last.began)
        most = (self.now - self.began) - (last.now - last.ended)
        return 0.0 if least <= JUMP and most >= -JUMP else self.lead - last.lead


def steady() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def boot() -> str:
    """Names the time since the machine was started; "" where nobody tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def kept(look: Look, boot: str) -> str:
    """For the next start: by how much the clock was ahead, and since which start of the machine that counts."""
    return f"{boot} {look.lead!r}"


def last_look(first: Look, boot: str, left: str | None) -> Look:
    """What a store's first look is to be compared with, for what an earlier one has `kept`.

    >>> first = Look(1000.0, 50.0, 50.0)
    >>> left = kept(first, "boot 7")
    >>> later = Look(4700.0, 150.0, 150.0)
    >>> [later.set_since(last_look(later, name, left)) for name in ("boot 7", "boot 8", "")]
    [3600.0, 0.0, 0.0]
    """
    name, _, lead = (left or "").rpartition(" ")
    return attrs.evolve(first, now=first.now - first.lead + float(lead)) if boot and name == boot else first


def follow(rows: Connection, look: Look, last: Look) -> Look:
    """The clock was set since the last batch that was stored: move the spans in the rows, unless that is done.

    What the next look is to be compared with.
    """
    left = look.set_since(last) - (look.moved - last.moved)
    if abs(left) <= JUMP:
        return look
    rows.execute(MOVE_ACTIVE, {"by": micros(left)})
    rows.execute(MOVE_PAUSES, {"by": micros(left)})
    rows.execute(PUT_MOVED, {"moved": repr(look.moved + left)})
    return attrs.evolve(look, moved=look.moved + left)
