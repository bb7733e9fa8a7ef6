"""For tests of programs that use Gearman: a server in memory, a client and a worker on it, a clock that jumps.

    from abraxas_py import testing

    def test_my_handler() -> None:
        async def main(stage: testing.Stage) -> None:
            stage.worker.add("upper", my_handler)
            assert await stage.client.submit("upper", b"abc") == b"ABC"

        testing.run(main)

No sockets, no waiting: whenever every task waits, the clock jumps to the next deadline, so that an hour's pause takes
no time, timeouts included. Under pytest, the plugin `abraxas_py.pytest_plugin` gives the fixture `abraxas_stage`, which
is `run`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import trio
import trio.testing

from abraxas_py.broker import Options
from abraxas_py.client import Client, open_client
from abraxas_py.nursery import open_nursery
from abraxas_py.server import Server, serve
from abraxas_py.worker import Worker

__all__ = ["Stage", "open_stage", "run"]

T = TypeVar("T")

TEST_TIMEOUT = 86400.0  # seconds of the clock that jumps: a day that nothing happens in is a test that hangs


@dataclass(frozen=True, slots=True)
class Stage:
    """What a test plays on."""

    server: Server  # `server.dial` is its address, for clients and workers of the program under test
    client: Client
    worker: Worker  # it is running, `max_jobs` at once; add functions to it at any time


@asynccontextmanager
async def open_stage(
    *, options: Options | None = None, max_jobs: int = 10, streaming: bool = False
) -> AsyncIterator[Stage]:
    """A stage for the time of a block, in a trio program of yours."""
    async with serve(options=options) as server:
        worker = Worker(server.dial, max_jobs=max_jobs, streaming=streaming)
        async with open_client(server.dial, streaming=streaming) as client, open_nursery() as nursery:
            await nursery.start(worker.run)
            yield Stage(server, client, worker)
            nursery.cancel_scope.cancel()


def run(
    main: Callable[[Stage], Awaitable[T]],
    *,
    options: Options | None = None,
    max_jobs: int = 10,
    streaming: bool = False,
) -> T:
    """Run `main` on a stage, on a clock that jumps; return what it returns. Raises TooSlowError when it hangs."""

    async def on_stage() -> T:
        with trio.fail_after(TEST_TIMEOUT):
            async with open_stage(options=options, max_jobs=max_jobs, streaming=streaming) as stage:
                return await main(stage)

    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(on_stage, clock=clock)
