"""The last hour in numbers, kept in memory: what the database does not keep, for the charts alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import attrs
import trio

from gearbox.errors import RpcError

__all__ = ["Point", "Series", "rates"]

EVERY = 5.0  # s between samples
LENGTH = 720  # samples: an hour


@attrs.frozen
class Point:
    """The jobs in each status at an instant."""

    at: float  # by trio's clock
    states: Mapping[str, int]


class Series:
    """Samples, the oldest first."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=LENGTH)

    async def run(self, ask: Callable[[], Awaitable[Sequence[Mapping[str, Mapping[str, int]]]]]) -> None:
        """Ask for the rows of the methods, for ever."""
        while True:
            with suppress(RpcError):  # the database fails; the chart has a gap
                self.take(trio.current_time(), await ask())
            await trio.sleep(EVERY)

    def take(self, at: float, rows: Sequence[Mapping[str, Mapping[str, int]]]) -> None:
        states: dict[str, int] = {}
        for row in rows:
            for status, jobs in row["states"].items():
                states[status] = states.get(status, 0) + jobs
        self.points.append(Point(at, states))


def rates(points: Sequence[Point], statuses: Sequence[str]) -> list[float]:
    """Jobs a second that came into one of the statuses, between each two points.

    >>> rates([Point(0.0, {"complete": 1}), Point(5.0, {"complete": 11})], ["complete"])
    [2.0]
    """
    sums = [sum(point.states.get(status, 0) for status in statuses) for point in points]
    return [
        max(after - before, 0) / max(later.at - earlier.at, 1e-3)
        for before, after, earlier, later in zip(sums, sums[1:], points, list(points)[1:], strict=False)
    ]
