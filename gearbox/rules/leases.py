"""Which cores are dead; pure.

A core's row has a number that it raises every few seconds. Who watches it judges by a clock of its own: the number has
not changed for as long as the lease. So no instant of one machine is ever compared with one of another, and a wall
clock that is set neither kills a core nor keeps a dead one alive. Only for how long a number had stood already when it
was first seen, the instant in the row is believed; then the database's clock alone is asked, and not for all of the
lease. Otherwise the lease would begin anew with each observer, and nobody would be declared dead while these come and
go; and it would begin late with one that was held up.
"""

from __future__ import annotations

from collections.abc import Iterable

from gearbox.store import CoreRow

__all__ = ["CORE_LEASE", "HEARTBEAT", "Observer"]

HEARTBEAT = 3.0  # s between raises of the number
CORE_LEASE = 30.0  # s without one, after which the core is dead: ten that were missed
CREDIT = 20.0  # s of that which a new observer takes the row's word for; the rest it has to see
CREDIT_LATE = 6.0  # s the same, of an observer that knows the core: two beats, between two looks of its own


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
            beats, since = self._seen.get(row.id, (None, 0.0))
            if beats != row.beats:
                credit = CREDIT if beats is None else CREDIT_LATE
                since = now - min(max(at - row.beat_at, 0.0), credit)
            seen[row.id] = row.beats, since
            if now - since >= CORE_LEASE:
                found.append(row)
        self._seen = seen
        return found

    def pause(self, now: float) -> float:
        """Seconds until this core should beat and look again: when the next lease ends, but soon enough for its own."""
        ends = (since + CORE_LEASE - now for _, since in self._seen.values())
        return min((left for left in ends if 0 < left < HEARTBEAT), default=HEARTBEAT)
