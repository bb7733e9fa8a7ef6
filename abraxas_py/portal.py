"""A trio run in a thread of its own, and the way for other threads to have something done there."""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import trio
import trio.from_thread
import trio.lowlevel

from abraxas_py.errors import LocalProtocolError
from abraxas_py.nursery import open_nursery

__all__ = ["Portal"]

R = TypeVar("R")


class Portal:
    """Safe from any thread but its own."""

    def __init__(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._stopping = trio.Event()
        self._is_closed = False

    def run(self, function: Callable[..., Awaitable[R]], *arguments: Any) -> R:
        """Await something in the trio thread; its result, or its error."""
        return trio.from_thread.run(function, *arguments, trio_token=self._open_token())

    def call(self, function: Callable[..., R], *arguments: Any) -> R:
        """Call something in the trio thread."""
        return trio.from_thread.run_sync(function, *arguments, trio_token=self._open_token())

    def _open_token(self) -> trio.lowlevel.TrioToken:
        if self._is_closed or self._token is None:
            raise LocalProtocolError("this client was closed")
        return self._token

    @contextmanager
    def hold(self, body: Callable[[trio.TaskStatus[R]], Awaitable[None]]) -> Iterator[R]:
        """Run `body` in the trio thread for the time of a block; what it starts with is the block's."""
        started: queue.SimpleQueue[tuple[R | None, BaseException | None]] = queue.SimpleQueue()

        async def main() -> None:
            self._token = trio.lowlevel.current_trio_token()
            async with open_nursery() as nursery:
                value = await nursery.start(lambda task_status: body(task_status))
                started.put((value, None))
                await self._stopping.wait()
                nursery.cancel_scope.cancel()

        def thread() -> None:
            try:
                trio.run(main)
            except BaseException as error:
                started.put((None, error))

        runner = threading.Thread(target=thread, name="abraxas", daemon=True)
        runner.start()
        value, error = started.get()
        if error is not None:
            raise error
        try:
            yield value  # type: ignore[misc]
        finally:
            self.call(self._stopping.set)
            self._is_closed = True
            runner.join()
