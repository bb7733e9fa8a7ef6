"""Which of the servers that share a journal are dead; pure.

A server's row has a number that it raises with every commit, and at least every `HEARTBEAT`. Who watches it judges by a
clock of its own: so no instant of one machine is ever compared with one of another, and a clock that is set neither
kills a server nor keeps a dead one alive. While it lives, a server also holds a lock of its database connection, which
ends with the process. So a crash is found out about within seconds, and only a server that stands still with its
connection open, stopped or cut off, is waited for longer.

A mistake costs no job: whoever is declared dead cannot commit any more, finds that out, and starts anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

__all__ = ["GRACE", "HEARTBEAT", "LEASE", "Beat", "Observer"]

HEARTBEAT = 1.0  # s between two raises of the number, at most
LEASE = 30.0  # s without one, after which a server is dead
GRACE = 5.0  # s without one while its lock is free; a server that has lost its connection has a new one before


class Beat(NamedTuple):
    """What one look at a server's row shows."""

    id: int
    number: int
    has_lock: bool


class Observer:
    """What one server has seen of the others.

    >>> observer = Observer()
    >>> [[beat.id for beat in observer.expired([Beat(1, 7, True)], now)] for now in (0.0, 29.9, 30.0)]
    [[], [], [1]]
    >>> [[beat.id for beat in observer.expired([Beat(2, 7, False)], now)] for now in (0.0, 4.9, 5.0)]
    [[], [], [2]]
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float, float]] = {}  # number, since when, and since when without a lock

    def expired(self, beats: Iterable[Beat], now: float) -> list[Beat]:
        """Those of the others that are dead, by a clock that goes on while the machine sleeps."""
        seen = {}
        found = []
        for beat in beats:
            number, still_since, free_since = self._seen.get(beat.id, (beat.number, now, inf))
            if number != beat.number:
                still_since, free_since = now, inf
            free_since = inf if beat.has_lock else min(free_since, now)
            seen[beat.id] = beat.number, still_since, free_since
            if now - still_since >= LEASE or now - free_since >= GRACE:
                found.append(beat)
        self._seen = seen
        return found

    def forget(self) -> None:
        """The rows could not be looked at: nobody is to be blamed for the time since."""
        self._seen.clear()
