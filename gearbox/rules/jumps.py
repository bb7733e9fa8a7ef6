"""Whether the clock was set forward a moment ago; pure.

Dates follow the clock wherever it is set. Spans must not: the pause after which a worker that was cut off has surely
stopped ends too early if the clock is set forward in it. So each core compares the clock with one that nobody sets, and
for as long as that pause lasts at the longest nothing is tried again.
"""

from __future__ import annotations

from math import inf

from gearbox.rules.attempts import STOPPED

__all__ = ["Jumps"]

JUMP = 1.0  # s that a clock goes ahead of the steady one between two looks: then somebody has set it


class Jumps:
    """What one core has seen of its clock.

    >>> jumps = Jumps()
    >>> [jumps.look(now, steady) for now, steady in ((100.0, 0.0), (130.5, 30.0), (3731.0, 31.0), (3785.0, 85.0))]
    [False, False, True, True]
    >>> jumps.look(3786.0, 86.0), jumps.look(186.0, 87.0)
    (False, False)
    """

    def __init__(self) -> None:
        self._lead = inf  # of the clock over the steady one
        self._over_at = -inf  # of the steady one: until then the last jump counts

    def look(self, now: float, steady: float) -> bool:
        """Whether a span that is over by the clock may not be."""
        if now - steady > self._lead + JUMP:
            self._over_at = steady + STOPPED
        self._lead = now - steady
        return self.is_fresh(steady)

    def is_fresh(self, steady: float) -> bool:
        """The same, as of the last look."""
        return steady < self._over_at
