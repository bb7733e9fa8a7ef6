"""A job in work, for those who perform it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from gearbox import rpc
from gearbox.work.lease import Lease

__all__ = ["Assignment", "Ticket"]


@attrs.frozen
class Ticket:
    """What the core wants to hear back with the result of a scheduled job."""

    id: int
    attempt: int | None

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Ticket | None:
        """None for a job that the core does not know.

        >>> Ticket.of({"gearbox_id": 7, "gearbox_attempt": 1})
        Ticket(id=7, attempt=1)
        """
        id, attempt = meta.get("gearbox_id"), meta.get("gearbox_attempt")
        if not isinstance(id, int) or isinstance(id, bool):
            return None
        return cls(id, attempt if isinstance(attempt, int) and not isinstance(attempt, bool) else None)


class Assignment:
    """A job in work, for those who perform it. `lease` is None where nobody can take the job away."""

    def __init__(self, request: rpc.Request, ticket: Ticket | None, assigned_at: float) -> None:
        self.method = request.method
        self.params = request.params
        self.meta = request.meta
        self.ticket = ticket
        self.assigned_at = assigned_at
        self.lease = Lease(assigned_at) if ticket is not None and ticket.attempt is not None else None
        self.is_over = False  # nobody waits for its outcome any more
        self.on_progress: Callable[[], object] = bool  # which does nothing
        self._progress: float | None = None  # the newest, if nobody has taken it
        self._news: trio.Event | None = None  # for who waits for it

    def tell_progress(self, number: float) -> None:
        """How far it is, by custom a percentage. It reaches the core within about a second, unless newer news does."""
        if self.is_over:  # its end is newer, and nobody attends to the job any more
            return
        self._progress = number
        self.on_progress()
        if self._news is not None:
            self._news.set()

    async def next_progress(self) -> float:
        """Wait for news of progress."""
        while self._progress is None:
            self._news = trio.Event()
            await self._news.wait()
        progress, self._progress, self._news = self._progress, None, None
        return progress
