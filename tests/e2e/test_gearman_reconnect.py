"""The server goes and comes back on the same port, and real workers and clients go on as if nothing had been.

By themselves connect again: the workers of Perl (after 10 to 12 s, that is how long it sleeps), gear (within 2 s) and
abraxas. libgearman's and PHP's do in the next round of their loop, pygearman's when its `work`, which has raised
ServerUnavailable, is called again. gearmanode's emits `socketDisconnect`, upon which the program registers anew. The
command `gearman -w` tries without a pause, and complains each time.

Every client connects again for a submission after the one that failed; which is why the programs try again. pygearman
is not asked for its `max_retries`: it loses track of the first try, and ends with KeyError when its result comes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from clients_stage import PROGRAMS, has_workers, lines, running

from abraxas_py import Server, serve

AWAY = 0.3  # seconds, so that connecting is refused a few times


class Life:
    """One of the lives of a server."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.is_over = trio.Event()

    async def live(self, endpoint: str, *, task_status: trio.TaskStatus[Server]) -> None:
        """Serve until the end."""
        with self.scope:
            async with serve(endpoint) as server:
                task_status.started(server)
                await trio.sleep_forever()
        self.is_over.set()

    async def end(self) -> None:
        """Stop serving; what is connected is cut off."""
        self.scope.cancel()
        await self.is_over.wait()


@pytest.mark.parametrize(
    "library",
    [pytest.param(name, marks=[pytest.mark.gearman_tools] if name == "gearman" else []) for name in PROGRAMS],
)
async def test_a_worker_and_a_client_outlive_the_server(library: str, port: int, tmp_path: Path) -> None:
    command, worker = (PROGRAMS[library](kind, tmp_path) for kind in ("lines", "worker"))
    endpoint = f"127.0.0.1:{port}"
    first, second = Life(), Life()
    async with trio.open_nursery() as lives:
        server: Server = await lives.start(first.live, endpoint)
        async with running(worker, endpoint), lines(command, endpoint) as client:
            await has_workers(server, b"reverse")
            assert await client.ask("abc") == "cba"
            await first.end()
            await trio.sleep(AWAY)
            server = await lives.start(second.live, endpoint)
            assert await client.ask("def") == "fed"
            assert server.broker.jobs == {}
        await second.end()
