"""The worker: takes jobs from one or several servers and runs them.

Each connection is in one of three conditions, and `decide` alone says what to send next:

    awake      the server may have jobs: GRAB_JOB_UNIQ, as many at once as there are free slots and the window allows
    answered   it said NO_JOB: PRE_SLEEP, once every grab on its way has been answered
    asleep     nothing, until NOOP

The window is how many grabs may be on their way: it begins at 1, grows by 1 with each job, and returns to 1 with a
NO_JOB. So a worker of many slots takes thousands of jobs per second, and one of a single slot asks once at a time.

What jobs send, and what is to be sent next, leaves once per scheduler pass: the writer of a connection is woken, asks
`decide`, and sends everything with one `send_all`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from functools import partial

import trio

from abraxas_py import backoff
from abraxas_py.connection import Connection
from abraxas_py.errors import ConnectionLost, JobFailed, JobRaised, LocalProtocolError, RemoteProtocolError
from abraxas_py.nursery import open_nursery
from abraxas_py.protocol.packets import MAX_FUNCTION_BYTES, Packet, Type
from abraxas_py.protocol.wire import REQUEST, encode
from abraxas_py.transport import Dialer, Endpoint, dialer

__all__ = ["Assigned", "Worker"]

log = logging.getLogger("abraxas.worker")

MAX_WINDOW = 256  # grabs on their way at once: more would not be faster, and keeps jobs from other workers


class Condition(Enum):
    """What a worker knows about a server's queue; see the module's docstring."""

    AWAKE = auto()
    ANSWERED = auto()
    ASLEEP = auto()


def decide(condition: Condition, grabs: int, window: int, free: int) -> int | Condition:
    """What to send next: so many grabs, or PRE_SLEEP (`ASLEEP`).

    `grabs` are on their way, at most `window` may be; `free` is how many more jobs can be taken.

    >>> decide(Condition.AWAKE, grabs=0, window=4, free=100), decide(Condition.AWAKE, grabs=0, window=4, free=0)
    (4, 0)
    >>> decide(Condition.ANSWERED, grabs=1, window=1, free=9), decide(Condition.ANSWERED, grabs=0, window=1, free=9)
    (0, <Condition.ASLEEP: 3>)
    """
    if condition is Condition.AWAKE:
        return max(0, min(free, window - grabs))
    if condition is Condition.ANSWERED and grabs == 0:
        return Condition.ASLEEP
    return 0


class Assigned:
    """A job that this worker was given. Its methods are synchronous; what they send leaves in this scheduler pass.

    When the connection that it came from is gone, they do nothing, for the server has given the job away:
    `is_lost` tells, and `on_lost` (if set) is called.
    """

    __slots__ = ("_link", "data", "function", "handle", "is_ended", "on_lost", "unique")

    def __init__(self, link: _Link, handle: bytes, function: bytes, unique: bytes, data: bytes) -> None:
        self.handle = handle
        self.function = function
        self.unique = unique
        self.data = data
        self.is_ended = False
        self.on_lost: Callable[[], None] | None = None
        self._link = link

    @property
    def is_lost(self) -> bool:
        """Whether the connection that it came from is gone."""
        return self._link.is_gone

    @property
    def lost(self) -> bool:
        return self._link.is_gone

    def send_data(self, data: bytes) -> None:
        """Send a piece of the result (WORK_DATA)."""
        self._report(Type.WORK_DATA, data)

    def warn(self, data: bytes) -> None:
        """Send a warning (WORK_WARNING)."""
        self._report(Type.WORK_WARNING, data)

    def status(self, numerator: float, denominator: float = 1) -> None:
        """Send progress (WORK_STATUS)."""
        self._report(Type.WORK_STATUS, b"%b\0%b" % (str(numerator).encode(), str(denominator).encode()))

    def complete(self, data: bytes = b"") -> None:
        """End the job with its result (WORK_COMPLETE)."""
        self._end(Packet(Type.WORK_COMPLETE, self.handle + b"\0" + data))

    def fail(self) -> None:
        """End the job without a result (WORK_FAIL)."""
        self._end(Packet(Type.WORK_FAIL, self.handle))

    def exception(self, data: bytes) -> None:
        """End the job with an error (WORK_EXCEPTION, which needs no WORK_FAIL after it)."""
        self._end(Packet(Type.WORK_EXCEPTION, self.handle + b"\0" + data))

    def _report(self, type: Type, rest: bytes) -> None:
        if self.is_ended:
            raise LocalProtocolError(f"the job {self.handle.decode(errors='replace')} has ended")
        self._link.post(Packet(type, self.handle + b"\0" + rest))

    def _end(self, packet: Packet) -> None:
        if self.is_ended:
            raise LocalProtocolError(f"the job {self.handle.decode(errors='replace')} has ended")
        self.is_ended = True
        self._link.end(self, packet)


class _Link:
    """One connection of a worker, from its beginning to its end."""

    def __init__(self, worker: Worker, connection: Connection) -> None:
        self._worker = worker
        self.connection = connection
        self.condition = Condition.AWAKE
        self.grabs = 0
        self.window = 1
        self.jobs: dict[Assigned, None] = {}
        self.is_gone = False
        self.outbox: list[bytes] = []
        self.wakeup = trio.Event()

    def post(self, *packets: Packet) -> None:
        """Have packets sent by the writer; nothing once the connection is gone."""
        if not self.is_gone:
            self.outbox.append(encode(REQUEST, *packets))
            self.wakeup.set()

    def end(self, job: Assigned, packet: Packet) -> None:
        """Report a job's end, which frees its slot."""
        if job in self.jobs:
            del self.jobs[job]
            self.post(packet)
            self._worker._free_slot()

    def receive(self, packet: Packet) -> None:
        match packet.type:
            case Type.JOB_ASSIGN_UNIQ:
                self.grabs -= 1
                self.window = min(self.window + 1, MAX_WINDOW)
                job = Assigned(self, *packet.split())
                self.jobs[job] = None
                self._worker._assign(job)
            case Type.NO_JOB:
                self.grabs -= 1
                self.window = 1
                if self.condition is Condition.AWAKE:
                    self.condition = Condition.ANSWERED
            case Type.NOOP:
                self.condition = Condition.AWAKE
            case Type.ERROR:
                # A late report on a job that the server gave away: nothing to be done about it.
                log.debug("the server refused server=%s error=%r", self.connection.name, packet.body)
            case _:
                raise RemoteProtocolError("UNEXPECTED_PACKET", f"{packet.type.name} was not expected", is_fatal=True)


Handler = Callable[[Assigned], Awaitable[bytes | str | None]]


class Worker:
    """Takes jobs for the functions that were added; `run` does it.

    `max_jobs` jobs at once, over all servers together. Connections are made to all servers, and again after a loss
    (`backoff`), with all functions registered anew. `on_connect` and `on_disconnect` are called with the server's name:
    after the functions were registered, and after its jobs were marked as lost.
    """

    def __init__(self, *servers: str | Endpoint | Dialer, client_id: str = "", max_jobs: int = 1) -> None:
        if not servers:
            raise LocalProtocolError("a worker needs at least one server")
        if max_jobs < 1:
            raise LocalProtocolError("max_jobs must be at least 1")
        self.max_jobs = max_jobs
        self.on_connect: Callable[[str], None] | None = None
        self.on_disconnect: Callable[[str], None] | None = None
        self._servers = [dialer(server) for server in servers]
        self._client_id = client_id
        self._functions: dict[bytes, tuple[Callable[[Assigned], None], float]] = {}
        self._links: list[_Link] = []
        self._running = 0
        self._is_stopping = False
        self._ended = trio.Event()  # set when the last job of a stopping worker has ended
        self._nursery: trio.Nursery | None = None

    def add(self, function: bytes | str, handler: Handler, *, timeout: float = 0) -> None:
        """Run `handler` for each job of a function, in a task of `run`.

        What it returns completes the job (text as UTF-8, None as nothing), unless it has ended the job itself. An
        exception ends the job in WORK_EXCEPTION with `Type: text`, JobRaised with its data, JobFailed in WORK_FAIL.
        `timeout` (seconds, 0: none) is what the server is told: after it, the job goes to another worker.
        """
        self.take(function, partial(self._start, handler), timeout=timeout)

    def take(self, function: bytes | str, callback: Callable[[Assigned], None], *, timeout: float = 0) -> None:
        """Have `callback` called for each job of a function, synchronously, in the pass that reads it.

        For thousands of jobs per second: no task is made. It must be quick and must not raise; the job is ended by its
        methods, then or later. It holds a slot until then.
        """
        name = function.encode() if isinstance(function, str) else function
        if not name or len(name) > MAX_FUNCTION_BYTES or b"\0" in name:
            raise LocalProtocolError(f"a function's name has 1 to {MAX_FUNCTION_BYTES} bytes without NUL, not {name!r}")
        self._functions[name] = (callback, timeout)
        for link in self._links:
            # No server wakes a sleeping worker for what waited before its CAN_DO, so it has to look for itself.
            link.post(_can_do(name, timeout))
            link.condition = Condition.AWAKE

    def remove(self, function: bytes | str) -> None:
        """Take no more jobs of a function; what runs goes on."""
        name = function.encode() if isinstance(function, str) else function
        if self._functions.pop(name, None) is not None:
            for link in self._links:
                link.post(Packet(Type.CANT_DO, name))

    def stop(self) -> None:
        """Take no more jobs; `run` returns when those that run have ended."""
        self._is_stopping = True
        for link in self._links:
            link.post(Packet(Type.RESET_ABILITIES))
        if self._running == 0:
            self._ended.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled or stopped. `task_status.started` once the functions are registered with any server."""
        self._is_stopping = False
        self._ended = trio.Event()
        started = trio.Event()
        async with open_nursery() as nursery:
            self._nursery = nursery
            for name, dial in self._servers:
                nursery.start_soon(self._stay_connected, name, dial, started)
            await started.wait()
            task_status.started()
            await self._ended.wait()
            nursery.start_soon(self._say_goodbye, nursery.cancel_scope)

    async def _say_goodbye(self, scope: trio.CancelScope) -> None:
        """The last reports must have left before the connections are closed; a stuck server is not waited for long."""
        with trio.move_on_after(5):
            for link in list(self._links):
                with_rest, link.outbox = link.outbox, []
                try:
                    await link.connection.send_encoded(b"".join(with_rest))
                except ConnectionLost:
                    continue
        scope.cancel()

    # Jobs

    def _assign(self, job: Assigned) -> None:
        self._running += 1
        known = self._functions.get(job.function)
        if known is None:  # removed while the job was on its way
            job.fail()
            return
        try:
            known[0](job)
        except Exception as error:
            log.exception("a callback raised function=%s", job.function.decode(errors="replace"))
            if not job.is_ended:
                job.exception(_text(error))

    def _start(self, handler: Handler, job: Assigned) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._handle, handler, job)

    async def _handle(self, handler: Handler, job: Assigned) -> None:
        try:
            result = await handler(job)
        except JobFailed:
            if not job.is_ended:
                job.fail()
        except JobRaised as raised:
            if not job.is_ended:
                job.exception(raised.data)
        except Exception as error:
            log.info("a job raised function=%s error=%s", job.function.decode(errors="replace"), error, exc_info=True)
            if not job.is_ended:
                job.exception(_text(error))
        else:
            if not job.is_ended:
                job.complete(result.encode() if isinstance(result, str) else result or b"")

    def _free_slot(self) -> None:
        self._running -= 1
        if self._is_stopping and self._running == 0:
            self._ended.set()
        self._go_on()

    def _go_on(self) -> None:
        """Something has changed: have the writers decide what is to be done next, once per pass."""
        for link in self._links:
            link.wakeup.set()

    def _decide(self, link: _Link) -> None:
        if self._is_stopping or link not in self._links:
            return
        free = self.max_jobs - self._running - sum(other.grabs for other in self._links)
        step = decide(link.condition, link.grabs, link.window, free)
        if isinstance(step, Condition):
            link.condition = step
            link.post(Packet(Type.PRE_SLEEP))
        elif step:
            link.grabs += step
            link.post(*[Packet(Type.GRAB_JOB_UNIQ)] * step)

    # Connections

    async def _stay_connected(self, name: str, dial: Dialer, started: trio.Event) -> None:
        delays = backoff.delays(iter(random.random, None))
        while not self._is_stopping:
            try:
                stream = await dial()
                delays = backoff.delays(iter(random.random, None))
                await self._converse(Connection(stream, name=name), started)
            except (ConnectionLost, RemoteProtocolError) as error:
                log.info("not connected server=%s reason=%s", name, error)
            await trio.sleep(next(delays))

    async def _converse(self, connection: Connection, started: trio.Event) -> None:
        """From a fresh connection to its end."""
        link = _Link(self, connection)
        try:
            if self._client_id:
                link.post(Packet(Type.SET_CLIENT_ID, self._client_id.encode()))
            link.post(*(_can_do(function, timeout) for function, (_, timeout) in self._functions.items()))
            link.post(Packet(Type.ECHO_REQ, b"registered"))
            async with open_nursery() as nursery:
                nursery.start_soon(self._write, link)
                await self._read(link, started)
                nursery.cancel_scope.cancel()
        finally:
            self._lose(link)
            if self.on_disconnect is not None:
                self.on_disconnect(connection.name)
            await connection.aclose()

    async def _write(self, link: _Link) -> None:
        while True:
            await link.wakeup.wait()
            self._decide(link)
            link.wakeup = trio.Event()
            packets, link.outbox = link.outbox, []
            if not packets:
                continue
            try:
                await link.connection.send_encoded(b"".join(packets))
            except ConnectionLost:
                await link.connection.aclose()  # the reader tells
                return

    async def _read(self, link: _Link, started: trio.Event) -> None:
        while batch := await link.connection.receive():
            for message in batch:
                if not isinstance(message, Packet):
                    raise RemoteProtocolError("UNEXPECTED_PACKET", "text came in place of a packet", is_fatal=True)
                if message.type is Type.ECHO_RES:
                    # The server answers in order, so it knows our functions.
                    self._links.append(link)
                    started.set()
                    if self.on_connect is not None:
                        self.on_connect(link.connection.name)
                else:
                    link.receive(message)
            self._go_on()

    def _lose(self, link: _Link) -> None:
        link.is_gone = True
        link.outbox.clear()
        if link in self._links:
            self._links.remove(link)
        lost, link.jobs = link.jobs, {}
        self._running -= len(lost)
        for job in lost:
            if job.on_lost is not None:
                job.on_lost()
        if self._is_stopping and self._running == 0:
            self._ended.set()
        self._go_on()


def _can_do(name: bytes, timeout: float) -> Packet:
    if timeout:
        return Packet.of(Type.CAN_DO_TIMEOUT, name, b"%d" % round(timeout * 1000))
    return Packet(Type.CAN_DO, name)


def _text(error: Exception) -> bytes:
    return f"{type(error).__name__}: {error}".encode(errors="backslashreplace")
