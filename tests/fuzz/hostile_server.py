"""A server that says what a case says, a good one in its place afterwards, and our own side, which stands both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import trio
import trio.lowlevel
import trio.testing

from abraxas_py import Admin, Assigned, Client, Server, Task, Worker, open_client
from abraxas_py.errors import AbraxasError
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, RESPONSE, Decoder, Line, encode

__all__ = ["meet", "sent"]

TIMEOUT = 3600.0  # seconds of the clock that jumps: whatever takes longer hangs
REST = 60.0  # seconds after which nothing is left of what a connection began
OF_JOBS = {"abraxas_py.handler.handle", "abraxas_py.worker.Worker._gather", "abraxas_py.client._copy"}
OPTIONS = {
    "role": "client",  # or worker, or admin
    "calls": ["echo"],  # what it asks, anew on each connection
    "works": False,  # a client with a worker on its connections
    "streaming": False,
    "beside": False,  # there is a good server, too
    "stream": False,  # the worker reads payloads as streams
    "reducers": False,
    "limits": False,  # it sets a limit of its queue
    "early": False,  # the first calls are made before there is a connection
    "leaves": False,  # our side ends in the middle
    "max_jobs": 1,
    "encoding": None,  # of a client
    "reads": 1000,  # so often a server of the case reads what our side sends
}


def sent(step: Any, offered: bytes = b"w") -> bytes:
    """What a step of a case sends to a worker that offers this function."""
    match step:
        case bytes():
            return step
        case list():
            return b"".join(sent(part, offered) for part in step)
        case (str(name), *arguments):
            bodies = (b"x" * part if isinstance(part, int) else offered if part is None else part for part in arguments)
            return encode(RESPONSE, Packet(Type[name], b"\0".join(bodies)))
    return b""


class Overheard(trio.abc.Stream):
    """Our end of a connection to the server of the case."""

    def __init__(self, stream: trio.abc.Stream, stage: Stage) -> None:
        self.stream = stream
        self.stage = stage
        self.decoder = Decoder(REQUEST)
        self.offered = b""
        self.sent = 0
        self.closed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for message in self.decoder.feed(bytes(data)):
            assert isinstance(message, Packet | Line), "what our side says is as it should be, whatever it was told"
            self.stage.grabs += message[0] in (Type.GRAB_JOB_UNIQ, Type.GRAB_JOB_ALL)
            if isinstance(message, Packet) and message.type is Type.CAN_DO:
                self.offered = message.body
        self.sent += 1
        if self.sent > self.stage.options["reads"]:  # its window is full until it closes
            await self.closed.wait()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


class Stage:
    """The server of the case, a good one, and what our side does with them."""

    def __init__(self, case: list[Any], nursery: trio.Nursery) -> None:
        self.options: dict[str, Any] = OPTIONS
        self.connections: list[list[Any]] = [[]]
        for step in case:
            if isinstance(step, dict):
                self.options = OPTIONS | step
            elif step is None:
                self.connections.append([])
            else:
                self.connections[-1].append(step)
        self.nursery = nursery
        self.good = Server()
        self.playing = 0
        self.grabs = 0  # that our side has sent to the server of the case
        self.runs = 0  # of its jobs
        self.running: list[Assigned] = []
        self.most = 0  # at once
        self.submitted = 0
        self.ended: list[Task[bytes]] = []

    # The servers

    @property
    def servers(self) -> tuple[Any, ...]:
        return (self.dial, self.good.dial) if self.options["beside"] else (self.dial,)

    async def dial(self) -> trio.abc.Stream:
        if not self.connections:
            return await self.good.dial()
        ours, theirs = trio.testing.memory_stream_pair()
        overheard = Overheard(ours, self)
        self.playing += 1
        self.nursery.start_soon(self.play, self.connections.pop(0), theirs, overheard)
        return overheard

    async def play(self, steps: list[Any], stream: trio.abc.Stream, other: Overheard) -> None:
        with suppress(trio.BrokenResourceError):  # our side has hung up
            for step in steps:
                if isinstance(step, float):
                    await trio.sleep(step)
                else:
                    await stream.send_all(sent(step, other.offered))
        await stream.aclose()
        other.closed.set()
        self.playing -= 1

    async def gone(self) -> None:
        """Wait until only good servers are left."""
        while self.connections or self.playing:  # noqa: ASYNC110
            await trio.sleep(5)

    async def over(self) -> None:
        """Wait until then, and longer; nothing may be left of what the other one began."""
        await self.gone()
        await trio.sleep(REST)
        assert not (OF_JOBS & set(_names(trio.lowlevel.current_root_task()))), "a task that does not end"
        assert not self.running
        assert self.most <= self.options["max_jobs"], "more jobs at once than there are slots"
        assert self.runs <= self.grabs, "a job was run that nobody had asked for"

    # Our side

    async def handle(self, job: Assigned) -> bytes:
        """What our worker does."""
        self.running.append(job)
        try:
            self.most = max(self.most, sum(not job.is_lost for job in self.running))
            data = job.data
            job.status(1, 2)
            if self.options["stream"]:
                await trio.sleep(0.05)
                data = b"".join([piece async for piece in job.payload])
            if data != b"good":
                self.runs += 1
                await trio.sleep(0.5)
            return data
        finally:
            self.running.remove(job)

    def ask(self, client: Client[bytes], name: str) -> Awaitable[object]:
        """A call of a client."""
        arguments: dict[str, list[Any]] = {"submit_bg": ["f"], "submit_at": ["f", 1.5], "submit_sched": ["f"]}
        if name in WAYS:
            data = b"good" if name != "copy" else _pieces()
            submit = client.stream if name == "stream" else partial(client.submit, data=data)
            self.submitted += 1
            return WAYS[name](submit("f", on_end=self.ended.append))
        answer: Awaitable[object] = getattr(client, name)(*arguments.get(name, [b"H:1"]))
        return answer


def _names(task: trio.lowlevel.Task) -> Iterator[str]:
    yield task.name
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _names(child)


async def _pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield bytes(200_000)


async def _await(task: Task[bytes]) -> None:
    await task


async def _iterate(task: Task[bytes]) -> None:
    async for event in task:
        getattr(event, "fraction", None)
    await task


async def _read(task: Task[bytes]) -> None:
    async for _ in task.output:
        pass


async def _write(task: Task[bytes]) -> None:
    with suppress(trio.BrokenResourceError):  # the job has ended
        async with task.payload:
            async for piece in _pieces():
                await task.payload.send_all(piece)
    await task


WAYS: dict[str, Callable[[Task[bytes]], Awaitable[object]]] = {
    "submit": _await,
    "iterate": _iterate,
    "output": _read,
    "created": Task.created,
    "copy": _await,
    "stream": _write,
}


async def meet(case: list[Any]) -> None:
    """Have our side meet the servers of a case. Raises whatever it does not stand."""
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            stage = Stage(case, nursery)
            other = await nursery.start(_serve, stage.good)
            await ROLES[stage.options["role"]](stage, other)
            nursery.cancel_scope.cancel()


async def _serve(good: Server, *, task_status: trio.TaskStatus[Client[bytes]]) -> None:
    """A worker for what our clients submit to the good server, and a client for what our workers do."""
    worker = Worker(good.dial, max_jobs=10)
    worker.add("f", lambda job: job.data)
    async with open_client(good.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        task_status.started(client)
        await trio.sleep_forever()


async def _be_client(stage: Stage, other: Client[bytes]) -> None:
    options = stage.options
    opened = open_client(
        *stage.servers,
        streaming=options["streaming"],
        max_jobs=options["max_jobs"],
        encoding=options["encoding"],
    )
    async with trio.open_nursery() as calls, opened as client:
        if options["works"]:
            client.worker.add("w", stage.handle, stream=options["stream"])

        async def make_calls() -> None:
            for name in options["calls"]:
                calls.start_soon(_answered, partial(stage.ask, client, name))
                await trio.sleep(0.01)  # in the order of the case

        client.on_connect = lambda server: calls.start_soon(make_calls)
        if options["early"]:
            await make_calls()
        if options["leaves"]:
            await trio.sleep(1.5)
            stage.connections.clear()
        else:
            await stage.gone()
            client.on_connect = None
            while calls.child_tasks:  # noqa: ASYNC110
                await trio.sleep(5)
            await stage.over()
            assert await client.submit("f", b"good", encoding=None) == b"good"
            if options["works"]:
                assert await other.submit("w", b"good") == b"good"
    await stage.over()
    assert len(stage.ended) == stage.submitted == len(set(stage.ended)), "each job ends once"


async def _be_worker(stage: Stage, other: Client[bytes]) -> None:
    options = stage.options
    worker = Worker(
        *stage.servers, max_jobs=options["max_jobs"], streaming=options["streaming"], reducers=options["reducers"]
    )
    worker.add("w", stage.handle, stream=options["stream"])
    if options["limits"]:
        await worker.max_queue("w", 5)  # which a connection that comes later is told
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        if options["leaves"]:
            await trio.sleep(1.5)
            stage.connections.clear()
        else:
            assert await other.submit("w", b"good") == b"good"
            await stage.over()
            assert await other.submit("w", b"good") == b"good"
        worker.stop()
    await stage.over()


async def _be_admin(stage: Stage, other: Client[bytes]) -> None:
    async with Admin(*stage.servers) as admin:
        while stage.connections or stage.playing:
            for name in stage.options["calls"]:
                asked = admin.servers[0] if name in WORDS else admin
                await _answered(partial(getattr(asked, name), *ADMIN_ARGUMENTS.get(name, [])))
            await trio.sleep(1)
        await stage.over()
        await _answered(admin.status)  # over a connection that may have been lost
        assert b"f" in [row.function for row in await admin.status()]


async def _answered(ask: Callable[[], Awaitable[object]]) -> None:
    """A call ends in an answer or an error of ours."""
    with suppress(AbraxasError):
        await ask()


ROLES = {"client": _be_client, "worker": _be_worker, "admin": _be_admin}
WORDS = {"version", "verbose", "getpid"}
ADMIN_ARGUMENTS: dict[str, list[Any]] = {
    "cancel_job": [b"H:1"], "retry_dead": ["f"], "drop_function": ["f"], "max_queue": ["f", 5],
}  # fmt: skip
