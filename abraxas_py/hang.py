"""A disk or a server that hangs: noticing that what a thread was given does not come back."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from types import TracebackType

import trio

__all__ = ["LOOK", "PATIENCE", "HangWatch"]

PATIENCE = 15.0  # s: the largest batches take some 4
LOOK = 1.0  # s between looks, and the patience once it is known to fail


class HangWatch:
    """Put around each call, one at a time. What it does to a call is nothing: that may still come to its end."""

    def __init__(self) -> None:
        self._since = inf  # of trio's clock

    def __enter__(self) -> None:
        self._since = trio.current_time()

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._since = inf

    async def keep(self, is_failing: Callable[[], bool], tell: Callable[[float], object]) -> None:
        """Look for ever. `tell` is called with the seconds that a call has taken, at each look while it hangs."""
        while True:
            due = trio.current_time() + LOOK
            await trio.sleep_until(due)
            now = trio.current_time()
            was_stopped = now > due + LOOK  # this process, and so the thread, too
            if not was_stopped and now - self._since >= (LOOK if is_failing() else PATIENCE):
                tell(now - self._since)
