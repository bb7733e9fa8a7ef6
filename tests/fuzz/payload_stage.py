"""Our workers at what a case brings, on a server in memory.

A worker in Python (`gearbox.worker`), commands (`gearbox.work`) and a streaming worker (`abraxas_py`). The core is made
up; what it gets, it reads as the real one does. The clock jumps, but not while a thread or a command works.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any

import attrs
import trio
import trio.testing
from deeds import DEEDS, HANDLERS

import abraxas_py
from abraxas_py import Assigned, Client, Server, open_client
from gearbox import rpc
from gearbox.cli.joblog import format_lines
from gearbox.cli.performer import CommandPerformer
from gearbox.client import NAMESPACE, open_gearbox
from gearbox.errors import Code, RpcError
from gearbox.methods import params
from gearbox.work.config import Method
from gearbox.work.crew import Crew
from gearbox.work.guard import Guard
from gearbox.work.reporter import PASSING
from gearbox.work.runner import Input, Output, refusal
from gearbox.work.teller import LogTeller
from gearbox.worker import Worker

__all__ = ["COMMANDS", "CORE", "SOUND", "Core", "Pace", "at_work"]

CORE = {"job_start": params.JobStart, "alive": params.Alive, "job_data": params.JobData}
USUAL = {"job_start": True, "alive": True, "job_data": None}
PROGRAMS = {
    "cat": ("cat",), "echo": ("echo", "-n"), "shell": "echo -n", "fail": "cat >&2; exit 3", "kill": "kill -9 $$",
    "away": ("/nowhere/\x1b[2J",), "progress": 'f() { printf "%s\\n" "$@" > $GEARBOX_PROGRESS; }; f',
    "inputs": "cat ${GEARBOX_INPUTS:-/dev/null}",
}  # fmt: skip
COMMANDS = [
    f"command::{name}::{input.value}::{output.value}"
    for name, command in PROGRAMS.items()
    for input in Input
    if refusal(command, input) is None
    for output in Output
]
PULLED = b"abraxas.payload.7f"  # the function by which a ticket's payload is pulled
SOUND = "sound"  # the params, or the payload, of a plain job


class Pace(trio.abc.Instrument):
    """How long a step of the loop took at most; the clock stands while a thread or a command works."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self.longest = 0.0
        self.commands = 0
        self._clock = clock
        self._began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.monotonic()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest = max(self.longest, time.monotonic() - self._began)
        is_busy = self.commands or trio.testing.active_thread_count()
        self._clock.autojump_threshold = inf if is_busy else 0


@attrs.define
class Core:
    """Gives the answers that the case has, then the usual ones."""

    answers: defaultdict[str, list[Any]] = attrs.field(factory=partial(defaultdict, list))
    begun: Counter[tuple[int, Any]] = attrs.field(factory=Counter)  # attempts that got leave
    settled: Counter[tuple[int, Any]] = attrs.field(factory=Counter)  # of which an end came
    is_exact: bool = True  # it has not answered what leaves the two apart
    faults: list[Exception] = attrs.field(factory=list)

    def take(self, job: Assigned) -> None:
        try:
            function = job.function.decode()
            request = rpc.parse_call(job.data, function, rpc.CALL_DEEPEST)
            reply = partial(self._reply, function.removeprefix(NAMESPACE))
            job.complete(reply(request) if isinstance(request, rpc.Request) else rpc.batch(map(reply, request)))  # type: ignore[arg-type]
        except Exception as fault:
            self.faults.append(fault)
            job.fail()

    def _reply(self, method: str, request: rpc.Request) -> bytes:
        try:
            given: Any = params.typed(request.params, CORE[method])
        except RpcError as refusal:
            return rpc.error(request.id, refusal)
        answer = self.answers[method].pop(0) if self.answers[method] else USUAL[method]
        attempt = given.id, given.attempt
        if isinstance(answer, bytes):
            self.is_exact = False
            return answer
        self.is_exact = self.is_exact and (method != "alive" or answer is True)
        is_refused = type(answer) is int and answer != 0
        if method == "job_start":
            self.begun[attempt] += bool(answer) and not is_refused
        elif method == "job_data" and given.status is not None:
            assert given.status in ("complete", "errored")
            repeated = {*PASSING, *([] if given.data is None else [Code.TOO_LARGE])}
            self.settled[attempt] += given.attempt is not None and not (is_refused and answer in repeated)
        return rpc.error(request.id, RpcError(answer, "no")) if is_refused else rpc.result(request.id, answer)


class _Guard(Guard):
    """Knows that a command is at work, for which the clock stands."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def add(self, group: int) -> None:
        self._pace.commands += 1

    def remove(self, group: int) -> None:
        self._pace.commands -= 1

    def hold(self, group: int, seconds: float) -> None:
        assert seconds > 0


class _Log:
    """Made as it would be for a file."""

    def write(self, elapsed: float, *lines: str) -> None:
        assert format_lines(lines, None, elapsed).count("\n") == len(lines)

    def close(self) -> None: ...


def _function(kind: str, deed: str) -> Callable[..., Any]:
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        outcome = plain(*args, **kwargs)
        if outcome != SOUND and deed.startswith(("sleep", "progress")):
            await trio.sleep(60)
        return outcome

    def plain(*args: Any, **kwargs: Any) -> Any:
        return SOUND if args == (SOUND,) else DEEDS[deed]()

    def strict(a: Any, b: int = 1, *, c: Any = None) -> Any:
        return a

    return asynchronous if kind == "async" else strict if deed == "strict" else plain


def _handler(kind: str, deed: str) -> Callable[[Assigned], Any]:
    async def handle(job: Assigned) -> Any:
        data = b"".join([piece async for piece in job.payload]) if kind == "stream" else job.data
        return data if data == SOUND.encode() else HANDLERS[deed](job)

    return handle


@asynccontextmanager
async def at_work(functions: Collection[str], core: Core, pace: Pace) -> AsyncIterator[Client]:
    """Workers for the functions, and a client; they are told to end with the block, and have to."""
    server = Server()
    async with trio.open_nursery() as beside, open_client(server.dial) as client:
        await _start_others(beside, server, core)
        async with open_gearbox([server.dial]) as gearbox, trio.open_nursery() as nursery:
            worker, streaming = Worker([server.dial]), abraxas_py.Worker(server.dial, streaming=True, max_jobs=4)  # type: ignore[list-item]
            crew = Crew([server.dial], gearbox=gearbox, teller=LogTeller(), nursery=nursery, instance="crew")  # type: ignore[list-item]
            for function in functions:
                kind, deed, *modes = function.split("::")
                if kind == "command":
                    method = Method(function, PROGRAMS[deed], Input(modes[0]), Output(modes[1]), log_output=True)
                    crew.offer(function, CommandPerformer(method, _Log(), _Guard(pace), LogTeller()))
                elif kind in ("plain", "async"):
                    worker.method(function, concurrency=2)(_function(kind, deed))
                else:
                    streaming.add(function, _handler(kind, deed), stream=kind == "stream")
            streaming.on_error = lambda error, server: core.faults.append(error)
            await nursery.start(worker.work)
            await nursery.start(streaming.run)
            await crew.wait_until_connected()
            yield client
            worker.stop()
            streaming.stop()
            assert await crew.stop(30), "a command, or its report, is left"
        beside.cancel_scope.cancel()


async def _start_others(nursery: trio.Nursery, server: Server, core: Core) -> None:
    """The core, and the client that payloads are pulled from."""

    def give(job: Assigned) -> None:
        answer = core.answers["pull"].pop(0) if core.answers["pull"] else b"."
        job.fail() if answer is None else job.complete(answer)

    nursery.start_soon(server.serve)
    other = abraxas_py.Worker(server.dial, max_jobs=100)
    for method in CORE:
        other.take(f"{NAMESPACE}{method}", core.take)
    other.take(PULLED, give)
    await nursery.start(other.run)
