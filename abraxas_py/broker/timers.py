"""Deadlines: a heap of (instant, what to do), where cancelling marks and popping skips.

The heap never holds more than twice the live timers, so arming and cancelling a timer per job leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

__all__ = ["Timer", "Timers"]

# Below this many dead entries, sweeping costs more than it frees.
_WORTH_SWEEPING = 64


class Timer:
    """One pending deadline: at `at`, `action(target, now)` is to be called."""

    __slots__ = ("action", "at", "is_live", "target")

    def __init__(self, at: float, action: Callable[[Any, float], None], target: object) -> None:
        self.at = at
        self.action = action
        self.target = target
        self.is_live = True


class Timers:
    """All pending deadlines of a broker; those of one instant fire in the order in which they were armed."""

    __slots__ = ("_armed", "_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._armed = 0  # how many timers there ever were: the tie-breaker of equal instants
        self._live = 0

    def __len__(self) -> int:
        return self._live

    @property
    def deadline(self) -> float:
        """The earliest pending instant; inf when nothing is pending."""
        while self._heap and not self._heap[0][2].is_live:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def arm(self, at: float, action: Callable[[Any, float], None], target: object) -> Timer:
        """Have `action(target, now)` called once `at` has come."""
        timer = Timer(at, action, target)
        self._armed += 1
        self._live += 1
        heappush(self._heap, (at, self._armed, timer))
        return timer

    def cancel(self, timer: Timer) -> None:
        """Let a timer never fire; one that has fired, or was cancelled, is let be."""
        if not timer.is_live:
            return
        timer.is_live = False
        self._live -= 1
        if len(self._heap) > 2 * self._live + _WORTH_SWEEPING:
            self._heap = [entry for entry in self._heap if entry[2].is_live]
            heapify(self._heap)

    def due(self, now: float) -> Iterator[Timer]:
        """Take out, one by one, the timers whose instant has come; one that an earlier one cancels does not appear."""
        while self._heap and self._heap[0][0] <= now:
            timer = heappop(self._heap)[2]
            if timer.is_live:
                timer.is_live = False
                self._live -= 1
                yield timer
