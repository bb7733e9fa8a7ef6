"""Which cores are dead; pure.

A core's row has a number that it raises every few seconds. Who watches it judges by a clock of its own: the number has
not changed for as long as the lease. So no instant of one machine is ever compared with one of another, and a wall
clock that is set neither kills a core nor keeps a dead one alive. Only of what was before its own start an observer
believes the instant in the row, and then the database's clock alone is asked, and not for all of the lease: otherwise
nobody would be declared dead while observers themselves come and go.
"""

from __future__ import annotations

from collections.abc import Iterable

from gearbox.store import CoreRow

__all__ = ["CORE_LEASE", "HEARTBEAT", "Observer"]

HEARTBEAT = 3.0  # s between raises of the number
CORE_LEASE = 30.0  # s without one, after which the core is dead: ten that were missed
CREDIT = 20.0  # s of that which a new observer takes the row's word for; the rest it has to see


class Observer:
    """What one core has seen of the others.

    >>> observer = Observer("me")
    >>> other = CoreRow("other", "there", True, 7, 0.0, 0.0)
    >>> [[row.id for row in observer.expired([other], 0.0, now)] for now in (0.0, 29.9, 30.0)]
    [[], [], ['other']]
    """

    def __init__(self, id: str) -> None:
        self._id = id
        self._seen: dict[str, tuple[int, float]] = {}  # beats, and since when that is their number

    def expired(self, rows: Iterable[CoreRow], at: float, now: float) -> list[CoreRow]:
        """Those among all rows that are dead, by a clock that goes on while the machine sleeps.

        `at` is the time by the database's clock, as `CoreRow.beat_at` is.
        """
        seen: dict[str, tuple[int, float]] = {}
        found = []
        for row in rows:
            if not row.is_alive or row.id == self._id:
                continue
            if row.id not in self._seen:
                seen[row.id] = row.beats, now - min(max(at - row.beat_at, 0.0), CREDIT)
            else:
                beats, since = self._seen[row.id]
                seen[row.id] = row.beats, since if beats == row.beats else now
            if now - seen[row.id][1] >= CORE_LEASE:
                found.append(row)
        self._seen = seen
        return found
