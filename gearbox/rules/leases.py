"""Which cores are dead; pure.

A core's row has a number that it raises every few seconds. Who watches it judges by a clock of its own: the number has
not changed for as long as the lease. So no instant of one machine is ever compared with one of another, and a wall
clock that is set neither kills a core nor keeps a dead one alive.
"""

from __future__ import annotations

from collections.abc import Iterable

from gearbox.store import CoreRow

__all__ = ["CORE_LEASE", "HEARTBEAT", "Observer"]

HEARTBEAT = 5.0  # s between raises of the number
CORE_LEASE = 30.0  # s without one, after which the core is dead: six that were missed


class Observer:
    """What one core has seen of the others.

    >>> observer = Observer("me")
    >>> other = CoreRow("other", "there", True, 7, 0.0, 0.0)
    >>> [[row.id for row in observer.expired([other], now)] for now in (0.0, 29.9, 30.0)]
    [[], [], ['other']]
    """

    def __init__(self, id: str) -> None:
        self._id = id
        self._seen: dict[str, tuple[int, float]] = {}  # beats, and since when that is their number

    def expired(self, rows: Iterable[CoreRow], now: float) -> list[CoreRow]:
        """Those among all rows that are dead, by a clock that goes on while the machine sleeps."""
        seen: dict[str, tuple[int, float]] = {}
        found = []
        for row in rows:
            if not row.is_alive or row.id == self._id:
                continue
            beats, since = self._seen.get(row.id, (-1, now))
            seen[row.id] = (row.beats, since) if beats == row.beats else (row.beats, now)
            if now - seen[row.id][1] >= CORE_LEASE:
                found.append(row)
        self._seen = seen
        return found
