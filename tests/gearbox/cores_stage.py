"""Several cores on one database and one or two brokers, all in memory: no socket, no waiting for real.

They share one open store, which runs their batches one after the other. What two transactions at once do to each other
is the business of the tests with a database server.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
from core_stage import Failing

from abraxas_py import Assigned, ConnectionLost, Server, Worker
from gearbox import cores, methods
from gearbox.client import Gearbox, open_gearbox
from gearbox.core import Core
from gearbox.gearman import Link
from gearbox.store import Store, open_store
from gearbox.work.crew import Crew
from gearbox.work.handler import Performer
from gearbox.work.teller import LogTeller


class Shared(Failing):
    """One core's view of the store that several use: what fails for one does not for the others."""

    is_shared = True


class Stuck(trio.abc.Stream):
    """A connection to a broker that may be stuck: then nothing comes back, and nobody knows why."""

    def __init__(self, stream: trio.abc.Stream, is_free: trio.Event) -> None:
        self._stream = stream
        self.is_free = is_free

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        await self.is_free.wait()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


@attrs.define
class Peer:
    """One core, its only business to be killed, and a client that reaches no other core."""

    core: Core
    store: Shared
    door: Server  # a broker that its client alone is at
    scope: trio.CancelScope
    gearbox: Gearbox

    def kill(self) -> None:
        """As `kill -9` would: nothing is said to anybody."""
        self.scope.cancel()

    async def call(self, method: str, params: Any = None) -> Any:
        return await self.gearbox.call(f"gearbox\\core::{method}", params)

    async def history(self, id: int) -> tuple[list[Any], list[Any]]:
        """Outcomes of its attempts, and who made its events."""
        history = await self.call("history", {"id": id})
        return [one["outcome"] for one in history["attempts"]], [one["who"] for one in history["events"]]


@attrs.define
class Cluster:
    """The brokers where workers are, by name, and the cores."""

    brokers: dict[str, Server]
    store: Store
    nursery: trio.Nursery
    peers: list[Peer] = attrs.field(factory=list)
    streams: dict[tuple[str, str], list[Stuck]] = attrs.field(factory=dict)  # by broker, and who dialled

    def dialer(self, name: str, who: str) -> Callable[[], Awaitable[trio.abc.Stream]]:
        """How cores and workers reach a broker."""

        async def dial() -> trio.abc.Stream:
            if name not in self.brokers:
                raise ConnectionLost(f"{name} is down")
            known = self.streams.setdefault((name, who), [])
            is_free = known[-1].is_free if known else trio.Event()
            if not known:
                is_free.set()
            stream = Stuck(await self.brokers[name].dial(), is_free)
            known.append(stream)
            return stream

        return dial

    def stop(self, name: str, who: str | None = None) -> None:
        """As SIGSTOP of a broker, or between it and one other: connections stand, and nothing comes over them."""
        is_free = trio.Event()
        for (broker, dialled), streams in self.streams.items():
            if broker == name and who in (None, dialled):
                for stream in streams:
                    stream.is_free = is_free

    def go_on(self, name: str, who: str) -> None:
        """As SIGCONT: everything comes at last."""
        for stream in self.streams[name, who]:
            stream.is_free.set()

    async def serve(self, name: str) -> None:
        """Have a broker of this name, without a memory of an earlier one."""
        server = Server(handle_prefix=f"H:{name}:0")
        await self.nursery.start(server.serve)
        self.brokers[name] = server

    def end(self, name: str) -> None:
        """As `kill -9` of a broker."""
        self.brokers.pop(name).stop()

    async def start(self, name: str, *, is_unheard: bool = False) -> Peer:
        """Another core. Calls for it go to a broker of its own, so that a test decides who is called.

        Nobody hears of its first commit, which was made, if it `is_unheard`.
        """
        store = Shared(self.store)
        store.answer_is_lost = True if is_unheard else None
        core = Core(store, instance=name, name=f"{name}:1")
        door = Server(handle_prefix=f"H:{name}:0")
        servers: dict[str | None, Any] = {broker: self.dialer(broker, name) for broker in self.brokers}
        link = Link(
            servers | {"door": door.dial},
            instance=name,
            database=self.store.database,
            functions=methods.METHODS,
            on_call=lambda call: methods.dispatch(core, call),
            on_news=core.news,
            on_connect=core.gearman_is_back,
        )
        scope = trio.CancelScope()
        opened: list[Gearbox] = []

        async def live(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(door.serve)
                    nursery.start_soon(cores.keep, core, trio.current_time)
                    await nursery.start(core.run, link)
                    await nursery.start(link.run)
                    async with open_gearbox([door.dial]) as gearbox:
                        opened.append(gearbox)
                        task_status.started()
                        await core.fenced.wait()  # and then no call is answered, as `daemon` would see to
                        await trio.sleep_forever()

        await self.nursery.start(live)
        peer = Peer(core, store, door, scope, opened[0])
        self.peers.append(peer)
        return peer

    async def work(self, function: str, handle: Callable[[dict[str, Any]], Any], *brokers: str) -> trio.CancelScope:
        """A worker with the manners of ours: leave to start, data with the attempt's number. At all brokers, or some.

        What `handle` gives is the data; an exception fails the job; an event is waited for. Cancel the scope to have
        it gone.
        """
        dials = [self.dialer(name, "worker") for name in brokers or self.brokers]
        scope = trio.CancelScope()

        async def live(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                async with open_gearbox(dials) as gearbox, trio.open_nursery() as nursery:
                    worker = Worker(*dials, max_jobs=8)

                    async def run(job: Assigned) -> bytes:
                        request = json.loads(job.data)
                        id, attempt = request["_meta"]["gearbox_id"], request["_meta"]["gearbox_attempt"]
                        if not await gearbox.job_start(id, attempt, "worker"):
                            error = {"code": -28409, "message": "no leave"}
                            return json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}).encode()
                        result = handle(request)
                        if isinstance(result, trio.Event):
                            await result.wait()
                            result = "later"
                        nursery.start_soon(report, id, attempt, result)
                        return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": None}).encode()

                    async def report(id: int, attempt: int, result: Any) -> None:
                        status = "complete"
                        if isinstance(result, Exception):
                            status, result = "errored", str(result)
                        await gearbox.job_data(id, data=result, status=status, attempt=attempt)

                    worker.add(function, run)
                    await nursery.start(worker.run)
                    task_status.started()
                    await trio.sleep_forever()

        await self.nursery.start(live)
        return scope

    async def crew(
        self, who: str, function: str, perform: Performer, max_jobs: int = 1, asks: Peer | None = None
    ) -> None:
        """A worker as `g-worker` is, with lease and repeated reports, but for the command.

        It dials as `who` for jobs, and as `who's questions` to ask the cores; or it asks one core alone.
        """
        dials = [self.dialer(name, who) for name in self.brokers]
        asking = (
            [self.dialer(name, f"{who}'s questions") for name in self.brokers] if asks is None else [asks.door.dial]
        )

        async def live(task_status: trio.TaskStatus[None]) -> None:
            async with open_gearbox(asking) as gearbox, trio.open_nursery() as nursery:
                crew = Crew(dials, gearbox=gearbox, teller=LogTeller(), nursery=nursery, instance=who)
                crew.offer(function, perform, max_jobs=max_jobs)
                await crew.wait_until_connected()
                task_status.started()
                await trio.sleep_forever()

        await self.nursery.start(live)


@asynccontextmanager
async def cluster(path: Path, *brokers: str) -> AsyncIterator[Cluster]:
    """Brokers and a database, for cores to come."""
    store = open_store(str(path))
    try:
        async with trio.open_nursery() as nursery:
            it = Cluster({}, store, nursery)
            for name in brokers or ("there",):
                await it.serve(name)
            yield it
            nursery.cancel_scope.cancel()
    finally:
        store.close()
