"""The Python API for scripts and threads: the calls of `gearbox.client`, each of which waits for its answer.

    with connect(["127.0.0.1:4730"]) as gearbox:
        id = gearbox.queue("text::upper", ["hello"])
        print(gearbox.watch(id))

One thread of ours keeps the connection; any number of others may call at the same time, over the same `Gearbox`. A
call that is under way when the `with` block ends raises `Closed`.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, update_wrapper
from math import inf
from queue import SimpleQueue
from typing import Concatenate, ParamSpec, TypeVar

import trio

from gearbox import client
from gearbox.client import open_gearbox
from gearbox.errors import GearboxError

__all__ = ["Closed", "Gearbox", "connect"]

P = ParamSpec("P")
R = TypeVar("R")


class Closed(GearboxError):
    """The `with` block of `connect` has ended."""


def _waiting(call: Callable[Concatenate[client.Gearbox, P], Awaitable[R]]) -> Callable[Concatenate[Gearbox, P], R]:
    def wait(self: Gearbox, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._wait(partial(call, self._gearbox, *args, **kwargs))

    return update_wrapper(wait, call)


class Gearbox:
    """The calls of `gearbox.client.Gearbox`, without `await`."""

    def __init__(self, gearbox: client.Gearbox, token: trio.lowlevel.TrioToken) -> None:
        self._gearbox = gearbox
        self._token = token

    def _wait(self, call: Callable[[], Awaitable[R]]) -> R:
        try:
            return trio.from_thread.run(call, trio_token=self._token)
        except (trio.Cancelled, trio.RunFinishedError):
            raise Closed("the connection to Gearbox was closed") from None

    call = _waiting(client.Gearbox.call)
    queue = _waiting(client.Gearbox.queue)
    queue_many = _waiting(client.Gearbox.queue_many)
    watch = _waiting(client.Gearbox.watch)
    cancel = _waiting(client.Gearbox.cancel)
    retry = _waiting(client.Gearbox.retry)
    hurry = _waiting(client.Gearbox.hurry)
    reprioritise = _waiting(client.Gearbox.reprioritise)
    act = _waiting(client.Gearbox.act)
    noopgo = _waiting(client.Gearbox.noopgo)
    status = _waiting(client.Gearbox.status)
    search = _waiting(client.Gearbox.search)
    audit = _waiting(client.Gearbox.audit)
    history = _waiting(client.Gearbox.history)
    why = _waiting(client.Gearbox.why)
    graph = _waiting(client.Gearbox.graph)
    stats = _waiting(client.Gearbox.stats)
    methods = _waiting(client.Gearbox.methods)
    pause = _waiting(client.Gearbox.pause)
    resume = _waiting(client.Gearbox.resume)
    limit = _waiting(client.Gearbox.limit)
    schedule = _waiting(client.Gearbox.schedule)
    schedules = _waiting(client.Gearbox.schedules)
    unschedule = _waiting(client.Gearbox.unschedule)
    run_now = _waiting(client.Gearbox.run_now)


@contextmanager
def connect(
    servers: Sequence[str], *, connect_timeout: float = inf, who: str = "", traceparent: str | None = None
) -> Iterator[Gearbox]:
    """A `Gearbox` on any of the Gearman `servers`, until the block ends; the rest as in `open_gearbox`."""
    begun: SimpleQueue[Gearbox | BaseException] = SimpleQueue()
    end = trio.Event()

    async def main() -> None:
        opening = open_gearbox(servers, connect_timeout=connect_timeout, who=who, traceparent=traceparent)
        async with opening as gearbox:
            begun.put(Gearbox(gearbox, trio.lowlevel.current_trio_token()))
            await end.wait()
        # calls that are under way are system tasks, which the end of the run cancels

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as problem:
            begun.put(problem)

    thread = threading.Thread(target=run, name="gearbox", daemon=True)
    thread.start()
    gearbox = begun.get()
    if isinstance(gearbox, BaseException):
        raise gearbox
    try:
        yield gearbox
    finally:
        gearbox._token.run_sync_soon(end.set)
        thread.join()
