"""A nursery whose one error comes out as itself: a user sees our plain error, never an exception group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["open_nursery"]


@asynccontextmanager
async def open_nursery() -> AsyncIterator[trio.Nursery]:
    """As `trio.open_nursery`; several errors at once still come as a group."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        error = _only(group)
        # Its own cause, if it has one, stays; the group is not shown as its context.
        raise error from error.__cause__


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    _, rest = group.split(trio.Cancelled)
    error: BaseException = group if rest is None else rest
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
