"""The client: submits jobs to one of several servers and hands out what becomes of them.

Everything that a caller asks becomes a `Call` with its packet. Calls go to the outbox of a live server (round robin),
or wait while there is none. One writer task for each connection sends all calls of a scheduler pass with one
`send_all`; from the moment a call is handed to it, the call counts as sent. So when a connection is lost, its unsent
calls move on to another one, and the sent ones end in ConnectionLost: nothing is ever submitted twice.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from math import inf
from typing import NamedTuple

import trio

from abraxas_py import backoff
from abraxas_py.connection import Connection
from abraxas_py.errors import (
    AbraxasError,
    ConnectionLost,
    JobFailed,
    JobRaised,
    LocalProtocolError,
    RemoteProtocolError,
    ServerError,
    Unavailable,
)
from abraxas_py.nursery import open_nursery
from abraxas_py.protocol.exchange import Exchange
from abraxas_py.protocol.packets import MAX_FUNCTION_BYTES, MAX_UNIQUE_BYTES, SUBMISSIONS, Packet, Priority, Type
from abraxas_py.protocol.wire import REQUEST, encode
from abraxas_py.transport import Dialer, Endpoint, dialer

__all__ = ["Client", "Data", "JobStatus", "Status", "Task", "Warning", "open_client"]

log = logging.getLogger("abraxas.client")


class JobStatus(NamedTuple):
    """What a server says about a job; `clients` is how many wait for it (0 where only the handle was asked for)."""

    is_known: bool
    is_running: bool
    numerator: bytes  # progress, as its worker reported it
    denominator: bytes
    clients: int = 0

    @property
    def known(self) -> bool:
        return self.is_known

    @property
    def running(self) -> bool:
        return self.is_running


class Data(NamedTuple):
    """A piece of a result, sent ahead of its end (WORK_DATA)."""

    data: bytes


class Warning(NamedTuple):
    """WORK_WARNING."""

    data: bytes


class Status(NamedTuple):
    """Progress (WORK_STATUS), as the worker wrote it: mostly two integers, sometimes a fraction and 1."""

    numerator: bytes
    denominator: bytes


Event = Data | Warning | Status


class Call:
    """A request, and what waits for its answer."""

    __slots__ = ("_waiter", "answer", "deadline", "error", "is_done", "reply", "request")

    def __init__(self, request: bytes, answer: Type, deadline: float) -> None:
        self.request = request  # encoded; given up once it is sent
        self.answer = answer  # the type of packet that answers it
        self.deadline = deadline  # in the loop's time: until then it must have been sent
        self.is_done = False
        self.error: AbraxasError | None = None
        self.reply: Packet | None = None
        self._waiter: trio.Event | None = None

    def receive(self, packet: Packet, exchange: Exchange[Call]) -> None:
        """Take a packet that belongs to this call."""
        if packet.type is Type.ERROR:
            self.end(_server_error(packet))
        else:
            self.reply = packet
            self.end(None)

    def end(self, error: AbraxasError | None) -> None:
        """Nothing more will come; at most once."""
        self.is_done = True
        self.error = error
        self.request = b""
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.set()
            self._waiter = None

    async def _sleep(self) -> None:
        """Until something has changed."""
        if self._waiter is None:
            self._waiter = trio.Event()
        await self._waiter.wait()

    async def answered(self) -> Packet:
        """The answer. Raises ServerError, ConnectionLost or Unavailable."""
        while not self.is_done:
            await self._sleep()
        if self.error is not None:
            raise self.error
        assert self.reply is not None
        return self.reply


class Task(Call):
    """A foreground job that was submitted.

    `await task` gives its result: all WORK_DATA that no iteration took, and what WORK_COMPLETE brought. It raises
    JobFailed, JobRaised, ServerError (the server refused the job), ConnectionLost (after it was sent) or Unavailable
    (before). `async for event in task` gives `Data`, `Warning` and `Status` as they come, ends with the job, and raises
    nothing: await the task for its end.
    """

    __slots__ = ("_events", "_is_iterated", "_on_end", "handle", "result")

    def __init__(self, request: bytes, deadline: float, on_end: Callable[[Task], None] | None) -> None:
        super().__init__(request, Type.JOB_CREATED, deadline)
        self.handle = b""  # empty until the server has given it one
        self.result: bytes | None = None  # once the job is complete
        self._on_end = on_end
        self._events: deque[Event] = deque()
        self._is_iterated = False

    @property
    def done(self) -> bool:
        """Whether the job has ended, one way or another; then `result` or `error` is set."""
        return self.is_done

    def receive(self, packet: Packet, exchange: Exchange[Call]) -> None:
        type = packet.type
        if type is Type.JOB_CREATED:
            self.handle = packet.body
            exchange.follow(self, packet.body)
            self._wake()
        elif type is Type.WORK_COMPLETE:
            last = packet.split()[1]
            pieces = [] if self._is_iterated else [event.data for event in self._events if isinstance(event, Data)]
            self.result = b"".join((*pieces, last)) if pieces else last
            self.end(None)
        elif type is Type.WORK_FAIL:
            self.end(JobFailed("the job failed"))
        elif type is Type.WORK_EXCEPTION:
            self.end(JobRaised(packet.split()[1]))
        elif type is Type.ERROR:
            self.end(_server_error(packet))
        else:
            self._note(packet)

    def _note(self, packet: Packet) -> None:
        _, *arguments = packet.split()
        if packet.type is Type.WORK_STATUS:
            if self._events and not self._is_iterated and isinstance(self._events[-1], Status):
                self._events.pop()  # nobody looks: only the last progress is worth keeping
            self._events.append(Status(*arguments))
        else:
            self._events.append((Data if packet.type is Type.WORK_DATA else Warning)(*arguments))
        self._wake()

    def end(self, error: AbraxasError | None) -> None:
        if self.is_done:
            return
        super().end(error)
        if self._on_end is not None:
            try:
                self._on_end(self)
            except Exception:
                log.exception("on_end raised handle=%s", self.handle.decode(errors="replace"))

    def __await__(self) -> Generator[object, object, bytes]:
        return self._wait().__await__()

    async def _wait(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self.is_done:
            await self._sleep()
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    async def created(self) -> bytes:
        """The handle, once the server has given it. Raises ServerError, ConnectionLost or Unavailable."""
        while not self.handle and not self.is_done:
            await self._sleep()
        if not self.handle and self.error is not None:
            raise self.error
        return self.handle

    async def __aiter__(self) -> AsyncIterator[Event]:
        self._is_iterated = True
        while True:
            while self._events:
                yield self._events.popleft()
            if self.is_done:
                return
            await self._sleep()


class _Server:
    """One server that a client is, or tries to be, connected to."""

    __slots__ = ("connection", "dial", "exchange", "name", "outbox", "wakeup")

    def __init__(self, name: str, dial: Dialer) -> None:
        self.name = name
        self.dial = dial
        self.connection: Connection | None = None
        self.exchange: Exchange[Call] = Exchange()
        self.outbox: list[Call] = []  # not sent yet
        self.wakeup = trio.Event()  # of the writer

    def put(self, call: Call) -> None:
        self.outbox.append(call)
        self.wakeup.set()


class Client:
    """Submits jobs and asks questions; made by `open_client`.

    Usable before a connection exists: what is asked then waits. Methods that are not `async` may be called from any
    task of the same trio run.
    """

    def __init__(self, *servers: str | Endpoint | Dialer, client_id: str, submit_timeout: float) -> None:
        if not servers:
            raise LocalProtocolError("a client needs at least one server")
        self._servers = [_Server(*dialer(server)) for server in servers]
        self._client_id = client_id
        self._submit_timeout = submit_timeout
        self._waiting: deque[Call] = deque()  # for a server
        self._turn = 0  # whose turn it is, of the servers
        self._expiring = trio.Event()  # there is something that may expire
        # Both are called with the server's name: as soon as calls can go there; after the lost calls have ended.
        self.on_connect: Callable[[str], None] | None = None
        self.on_disconnect: Callable[[str], None] | None = None

    def submit(
        self,
        function: bytes | str,
        data: bytes = b"",
        *,
        unique: bytes = b"",
        priority: Priority = Priority.NORMAL,
        on_end: Callable[[Task], None] | None = None,
    ) -> Task:
        """Submit a foreground job (SUBMIT_JOB, _HIGH, _LOW). Never blocks; its packet leaves in this scheduler pass.

        `on_end` is called exactly once, synchronously, from the task that reads the connection: when the job has ended,
        failed, was refused, or can no longer be heard of. It must be quick and must not raise. Raises
        LocalProtocolError for names that cannot be said.
        """
        request = _submission(SUBMISSIONS[priority, False], function, unique, data)
        task = Task(request, self._deadline(), on_end)
        self._put(task)
        return task

    async def submit_bg(
        self,
        function: bytes | str,
        data: bytes = b"",
        *,
        unique: bytes = b"",
        priority: Priority = Priority.NORMAL,
    ) -> bytes:
        """Submit a background job (SUBMIT_JOB_BG, ...) and return its handle, once the server has it.

        Raises ServerError, ConnectionLost (whether it was submitted is unknown) or Unavailable (it was not).
        """
        request = _submission(SUBMISSIONS[priority, True], function, unique, data)
        return (await self._ask(request, Type.JOB_CREATED)).body

    async def echo(self, data: bytes) -> bytes:
        """Have a server send something back: it lives, and has answered everything before."""
        return (await self._ask(encode(REQUEST, Packet(Type.ECHO_REQ, data)), Type.ECHO_RES)).body

    async def get_status(self, handle: bytes) -> JobStatus:
        """What a server knows of a job by its handle."""
        packet = Packet.of(Type.GET_STATUS, handle)
        _, known, running, numerator, denominator = (await self._ask(encode(REQUEST, packet), Type.STATUS_RES)).split()
        return JobStatus(known != b"0", running != b"0", numerator, denominator)

    async def get_status_unique(self, unique: bytes) -> JobStatus:
        """What a server knows of a job by its unique."""
        packet = Packet.of(Type.GET_STATUS_UNIQUE, unique)
        answer = await self._ask(encode(REQUEST, packet), Type.STATUS_RES_UNIQUE)
        _, known, running, numerator, denominator, clients = answer.split()
        return JobStatus(known != b"0", running != b"0", numerator, denominator, int(clients))

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to any server."""
        return any(server.connection is not None for server in self._servers)

    # Calls on their way

    def _deadline(self) -> float:
        return inf if self._submit_timeout == inf else trio.current_time() + self._submit_timeout

    async def _ask(self, request: bytes, answer: Type) -> Packet:
        call = Call(request, answer, self._deadline())
        self._put(call)
        return await call.answered()

    def _put(self, call: Call) -> None:
        """Give a call to the server whose turn it is, or have it wait for one."""
        for _ in self._servers:
            self._turn = (self._turn + 1) % len(self._servers)
            server = self._servers[self._turn]
            if server.connection is not None:
                server.put(call)
                break
        else:
            self._waiting.append(call)
        if call.deadline < inf:
            self._expiring.set()

    async def _run(self) -> None:
        async with open_nursery() as nursery:
            for server in self._servers:
                nursery.start_soon(self._stay_connected, server)
            if self._submit_timeout < inf:
                nursery.start_soon(self._expire)

    async def _stay_connected(self, server: _Server) -> None:
        delays = backoff.delays(iter(random.random, None))
        while True:
            try:
                stream = await server.dial()
                delays = backoff.delays(iter(random.random, None))
                await self._converse(server, Connection(stream, name=server.name))
            except (ConnectionLost, RemoteProtocolError) as error:
                log.info("not connected server=%s reason=%s", server.name, error)
            await trio.sleep(next(delays))

    async def _converse(self, server: _Server, connection: Connection) -> None:
        """From a fresh connection to its end."""
        try:
            async with open_nursery() as nursery:
                options = Call(encode(REQUEST, Packet(Type.OPTION_REQ, b"exceptions")), Type.OPTION_RES, inf)
                if self._client_id:
                    options.request += encode(REQUEST, Packet(Type.SET_CLIENT_ID, self._client_id.encode()))
                server.connection = connection
                server.outbox = [options, *self._waiting]
                server.wakeup.set()
                self._waiting.clear()
                if self.on_connect is not None:
                    self.on_connect(server.name)
                nursery.start_soon(self._write, server, connection)
                await self._read(server, connection)
                nursery.cancel_scope.cancel()
        finally:
            server.connection = None
            self._lose(server)
            if self.on_disconnect is not None:
                self.on_disconnect(server.name)
            await connection.aclose()

    async def _write(self, server: _Server, connection: Connection) -> None:
        while True:
            await server.wakeup.wait()
            server.wakeup = trio.Event()
            calls, server.outbox = server.outbox, []
            requests = []
            for call in calls:
                if not call.is_done:
                    server.exchange.ask(call, call.answer)
                    requests.append(call.request)
                    call.request = b""
            try:
                await connection.send_encoded(b"".join(requests))
            except ConnectionLost:
                await connection.aclose()  # the reader tells
                return

    async def _read(self, server: _Server, connection: Connection) -> None:
        while batch := await connection.receive():
            for message in batch:
                if not isinstance(message, Packet):
                    raise RemoteProtocolError("UNEXPECTED_PACKET", "text came in place of a packet", is_fatal=True)
                call = server.exchange.receive(message)
                if call is not None:
                    call.receive(message, server.exchange)

    def _lose(self, server: _Server) -> None:
        unsent, server.outbox = server.outbox, []
        lost, server.exchange = server.exchange.lose(), Exchange()
        for call in lost:
            call.end(ConnectionLost(f"the connection to {server.name} was lost before the answer came"))
        for call in unsent:
            if not call.is_done and call.answer is not Type.OPTION_RES:
                self._put(call)

    async def _expire(self) -> None:
        """End the calls that could not be sent in time."""
        names = ", ".join(server.name for server in self._servers)
        while True:
            self._expiring = trio.Event()
            now = trio.current_time()
            unsent = [call for queue in (self._waiting, *(s.outbox for s in self._servers)) for call in queue]
            for call in unsent:
                if call.deadline <= now and not call.is_done:
                    waited = f"no connection to {names} within {self._submit_timeout:g} s"
                    call.end(Unavailable(f"{waited}; nothing was submitted"))
            self._waiting = deque(call for call in self._waiting if not call.is_done)
            due_at = min((call.deadline for call in unsent if not call.is_done), default=inf)
            if due_at == inf:
                await self._expiring.wait()
            else:
                await trio.sleep_until(due_at)

    def _close(self) -> None:
        """The client's end: nothing may wait for ever."""
        for server in self._servers:
            unsent, server.outbox = server.outbox, []
            self._waiting.extend(unsent)
        for call in self._waiting:
            call.end(Unavailable("the client was closed; nothing was submitted"))
        self._waiting.clear()


@asynccontextmanager
async def open_client(
    *servers: str | Endpoint | Dialer, client_id: str = "", submit_timeout: float = inf
) -> AsyncIterator[Client]:
    """A client for the time of a block. It connects by itself, to all servers, and again after a loss (`backoff`).

    `submit_timeout` (seconds): what could not be sent within it ends in Unavailable. Jobs that run when the block ends
    are not waited for. Raises InvalidEndpoint.
    """
    client = Client(*servers, client_id=client_id, submit_timeout=submit_timeout)
    try:
        async with open_nursery() as nursery:
            nursery.start_soon(client._run)
            yield client
            nursery.cancel_scope.cancel()
    finally:
        client._close()


def _server_error(packet: Packet) -> ServerError:
    code, _, text = packet.body.partition(b"\0")
    return ServerError(code.decode(errors="replace"), text.decode(errors="replace"))


def _submission(type: Type, function: bytes | str, unique: bytes, data: bytes) -> bytes:
    name = function.encode() if isinstance(function, str) else function
    if not name or len(name) > MAX_FUNCTION_BYTES:
        raise LocalProtocolError(f"a function's name has 1 to {MAX_FUNCTION_BYTES} bytes, not {len(name)}")
    if len(unique) > MAX_UNIQUE_BYTES:
        raise LocalProtocolError(f"a unique has at most {MAX_UNIQUE_BYTES} bytes, not {len(unique)}")
    return encode(REQUEST, Packet.of(type, name, unique, data))
