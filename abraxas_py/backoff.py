"""How long to wait before the next attempt to connect: the Fibonacci sequence, at most 10 s, randomised by 15 %."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["delays"]

FIRST_DELAY = 0.1  # seconds
MAX_DELAY = 10.0  # unless the caller wants another one
SPREAD = 0.15  # so that a fleet does not come back in one instant


def delays(chance: Iterator[float], max_delay: float = MAX_DELAY) -> Iterator[float]:
    """The delays in seconds, without end; `chance` gives numbers from 0 to 1.

    >>> from itertools import islice, repeat
    >>> [round(delay, 1) for delay in islice(delays(repeat(0.5)), 12)]
    [0.1, 0.1, 0.2, 0.3, 0.5, 0.8, 1.3, 2.1, 3.4, 5.5, 8.9, 10.0]
    """
    delay, following = FIRST_DELAY, FIRST_DELAY
    while True:
        yield min(delay, max_delay) * (1 + SPREAD * (2 * next(chance) - 1))
        delay, following = following, min(delay + following, 2 * MAX_DELAY)
