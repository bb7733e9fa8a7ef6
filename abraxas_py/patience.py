"""How a server waits for what comes next: for a moment in the poller itself, which is cheaper than a way through trio.

A processor that has nothing to do falls asleep, and to wake one of a virtual machine takes longer than to serve a job.
So while traffic is quick, its next part is looked for again and again instead, for a moment that is as long as falling
asleep and waking. That pays only while something comes within that moment: as soon as nothing has, the server waits
asleep, until several times in a row it was woken within that moment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter

__all__ = ["Patience"]

MOMENT = 0.0002  # seconds
WARM = 4  # as many short waits in a row before it looks instead of sleeping


class Patience:
    """Waits for a poller by its `poll`, awake or asleep, for up to `linger` seconds; with 0, not at all.

    With one processor it never looks, for whoever it waits for needs that processor.
    """

    def __init__(
        self,
        poll: Callable[[float], list[tuple[int, int]]],
        linger: float,
        *,
        processors: int | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._poll = poll
        self._linger = linger
        self._may_look = (processors or _processors()) > 1
        self._clock = clock
        self._short = 0  # waits in a row that were over within the moment

    def wait(self) -> list[tuple[int, int]]:
        """Now that nothing is ready: what is, as soon as anything is, as descriptors with masks."""
        if not self._linger:
            return []
        poll, clock = self._poll, self._clock
        until = clock() + MOMENT
        if self._may_look and self._short >= WARM:
            while clock() < until:
                ready = poll(0)
                if ready:
                    return ready
            self._short = 0
            return poll(self._linger)
        ready = poll(self._linger)
        self._short = self._short + 1 if ready and clock() < until else 0
        return ready


def _processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
