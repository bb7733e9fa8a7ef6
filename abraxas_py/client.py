"""The client: submits jobs to one of several servers and hands out what becomes of them.

How calls reach a server, and what a lost connection means for them, is `lifeline`'s; what can be done with a submitted
job is `task`'s.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import partial
from math import ceil, inf
from typing import TYPE_CHECKING, Any, Final, Generic, overload

import trio

from abraxas_py.admin import Admin
from abraxas_py.assigned import as_bytes
from abraxas_py.backoff import MAX_DELAY
from abraxas_py.call import Call, Question, function_name
from abraxas_py.dump import PacketDump, TrafficDump
from abraxas_py.errors import AbraxasError, LocalProtocolError
from abraxas_py.jobstatus import JobStatus, merged
from abraxas_py.lifeline import Lifeline
from abraxas_py.lifelines import Lifelines
from abraxas_py.nursery import open_nursery
from abraxas_py.payload import Feeder, Payload
from abraxas_py.protocol.packets import MAX_UNIQUE_BYTES, SUBMISSIONS, Packet, Priority, Type
from abraxas_py.protocol.wire import REQUEST, encode
from abraxas_py.settings import Settings, Target
from abraxas_py.task import Data, Event, Status, Task, Warning
from abraxas_py.transport import Dialer, Endpoint
from abraxas_py.worker import Worker

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=bytes)
else:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["Client", "Data", "JobStatus", "Status", "Task", "Warning", "open_client"]

log = logging.getLogger("abraxas.client")

Sent = bytes | str | AsyncIterable[bytes]
"""A payload: bytes, text (in the encoding, or UTF-8), or a stream of bytes."""


class Default:
    """Stands for what `open_client` was told."""


DEFAULT: Final = Default()


class Client(Generic[T]):
    """Submits jobs and asks questions; made by `open_client`.

    Usable before a connection exists: what is asked then waits. Jobs go to one server (round robin over the live ones),
    questions about jobs to all live ones. Methods that are not `async` may be called from any task of the same trio
    run.

    `on_connect` and `on_disconnect` are called with the server's name, as soon as calls can go there and after the lost
    calls have ended; `on_error` with an error of a connection and the server's name. None of that is fatal: connections
    are made again, and what these functions raise is logged.
    """

    def __init__(
        self,
        servers: tuple[str | Endpoint | Dialer | Target, ...],
        settings: Settings,
        *,
        encoding: str | None,
        max_jobs: int,
        submit_timeout: float,
        response_timeout: float,
    ) -> None:
        self.on_connect: Callable[[str], None] | None = None
        self.on_disconnect: Callable[[str], None] | None = None
        self.on_error: Callable[[AbraxasError, str], None] | None = None
        self.admin = Admin(*servers)  # of the same servers, over connections of its own
        self._lines = Lifelines(servers, settings)
        self._lines.join(self)
        self._encoding = encoding
        self._max_jobs = max_jobs
        self._submit_timeout = submit_timeout
        self._response_timeout = response_timeout
        self._feeder = Feeder(servers, settings, self._spawn) if settings.streaming else None
        self._worker: Worker | None = None
        self._nursery: trio.Nursery | None = None  # of `_run`
        self._unborn: list[Callable[[], Awaitable[None]]] = []  # tasks that wait for it
        self._closed = trio.Event()
        self._client_id = b""  # where it was changed
        self._connected = trio.Event()  # the next time that there is a connection

    # Foreground jobs

    @overload
    def submit(
        self,
        function: bytes | str,
        data: Sent = b"",
        *,
        unique: bytes | str = b"",
        priority: Priority = Priority.NORMAL,
        reducer: bytes | str = b"",
        submit_timeout: float | None = None,
        response_timeout: float | None = None,
        on_end: Callable[[Task[T]], None] | None = None,
        on_event: Callable[[Event[T]], None] | None = None,
    ) -> Task[T]: ...

    @overload
    def submit(
        self,
        function: bytes | str,
        data: Sent = b"",
        *,
        encoding: None,
        unique: bytes | str = b"",
        priority: Priority = Priority.NORMAL,
        reducer: bytes | str = b"",
        submit_timeout: float | None = None,
        response_timeout: float | None = None,
        on_end: Callable[[Task[bytes]], None] | None = None,
        on_event: Callable[[Event[bytes]], None] | None = None,
    ) -> Task[bytes]: ...

    @overload
    def submit(
        self,
        function: bytes | str,
        data: Sent = b"",
        *,
        encoding: str,
        unique: bytes | str = b"",
        priority: Priority = Priority.NORMAL,
        reducer: bytes | str = b"",
        submit_timeout: float | None = None,
        response_timeout: float | None = None,
        on_end: Callable[[Task[str]], None] | None = None,
        on_event: Callable[[Event[str]], None] | None = None,
    ) -> Task[str]: ...

    def submit(
        self,
        function: bytes | str,
        data: Sent = b"",
        *,
        encoding: str | Default | None = DEFAULT,
        unique: bytes | str = b"",
        priority: Priority = Priority.NORMAL,
        reducer: bytes | str = b"",
        submit_timeout: float | None = None,
        response_timeout: float | None = None,
        on_end: Callable[[Task[Any]], None] | None = None,
        on_event: Callable[[Event[Any]], None] | None = None,
    ) -> Task[Any]:
        """Submit a foreground job (SUBMIT_JOB, _HIGH, _LOW). Never blocks; its packet leaves in this scheduler pass.

        `encoding`: of the result, and of a payload that is text. `submit_timeout` (seconds): a job that could not be
        sent within it ends in Unavailable and was certainly not submitted. `response_timeout` (seconds): a job whose
        end has not come within it ends in ResponseTimeout. `reducer` makes it a SUBMIT_REDUCE_JOB, which has no
        priority.

        `on_event` is called with each `Data`, `Warning` and `Status`. `on_end` is called exactly once: when the job has
        ended, failed, was refused, or can no longer be heard of. Both are called synchronously, from the task that
        reads the connection; they must be quick and must not raise.

        Raises LocalProtocolError for what cannot be said, and for a unique in streaming mode.
        """
        begin = self._form(function, unique, priority, reducer, is_background=False)
        codec = self._encoding if isinstance(encoding, Default) else encoding
        task: Task[Any] = Task(b"", self._deadline(submit_timeout), on_end, on_event, codec)
        if isinstance(data, str):
            data = data.encode(codec or "utf-8")
        if isinstance(data, bytes):
            task.request = begin(data)
            self._put(task, response_timeout)
        else:
            self._write_to(task, begin, response_timeout)
            if not task.is_done:
                self._spawn(_copy, data, task.payload)
        return task

    def stream(
        self,
        function: bytes | str,
        *,
        unique: bytes | str = b"",
        priority: Priority = Priority.NORMAL,
        submit_timeout: float | None = None,
        response_timeout: float | None = None,
        on_end: Callable[[Task[T]], None] | None = None,
        on_event: Callable[[Event[T]], None] | None = None,
    ) -> Task[T]:
        """A foreground job whose payload is yet to be written: to `task.payload`, which closing ends.

        A streaming client submits it when the first 256 KiB are there, and sends the rest as its worker (one of this
        package) reads it; otherwise it is submitted whole when the payload is closed, up to 64 MiB.
        """
        begin = self._form(function, unique, priority, b"", is_background=False)
        task: Task[T] = Task(b"", self._deadline(submit_timeout), on_end, on_event, self._encoding)
        self._write_to(task, begin, response_timeout)
        return task

    def _write_to(self, task: Task[Any], begin: Callable[[bytes], bytes], response_timeout: float | None) -> None:
        def submit(data: bytes) -> None:
            task.request = begin(data)
            self._put(task, response_timeout)

        task._payload = Payload(submit, task.end, self._feeder)
        if self._lines.is_closed:
            self._lines.put(task)  # to its end: nobody is there to feed it

    # Background jobs

    async def submit_bg(
        self,
        function: bytes | str,
        data: Sent = b"",
        *,
        unique: bytes | str = b"",
        priority: Priority = Priority.NORMAL,
        reducer: bytes | str = b"",
        submit_timeout: float | None = None,
    ) -> bytes:
        """Submit a background job (SUBMIT_JOB_BG, ...) and return its handle, once the server has it.

        Raises ServerError, ConnectionLost (whether it was submitted is unknown) or Unavailable (it was not). Cancelled
        before it was sent, it is not submitted.
        """
        begin = self._form(function, unique, priority, reducer, is_background=True)
        request = begin(await self._whole(data))
        return (await self._ask(request, Type.JOB_CREATED, submit_timeout)).body

    async def submit_at(
        self,
        function: bytes | str,
        when: datetime | float,
        data: Sent = b"",
        *,
        unique: bytes | str = b"",
        submit_timeout: float | None = None,
    ) -> bytes:
        """Submit a background job that begins at `when` or later (SUBMIT_JOB_EPOCH), and return its handle.

        `when` is a datetime (a naive one is local time) or Unix seconds; parts of a second are rounded up.
        """
        instant = when.timestamp() if isinstance(when, datetime) else when
        arguments = (function_name(function), _unique(unique), b"%d" % ceil(instant), await self._whole(data))
        request = encode(REQUEST, Packet.of(Type.SUBMIT_JOB_EPOCH, *arguments))
        return (await self._ask(request, Type.JOB_CREATED, submit_timeout)).body

    async def submit_sched(
        self,
        function: bytes | str,
        data: Sent = b"",
        *,
        minute: int | str = "*",
        hour: int | str = "*",
        day: int | str = "*",
        month: int | str = "*",
        weekday: int | str = "*",
        unique: bytes | str = b"",
        submit_timeout: float | None = None,
    ) -> bytes:
        """Submit a background job that begins at each time of a schedule (SUBMIT_JOB_SCHED), and return its handle.

        The fields are as in cron, in the server's local time: a number, `*`, or lists, ranges and steps (`"0,30"`,
        `"9-17"`, `"*/5"`); weekday 0 is Monday. It recurs until it is cancelled (`admin.cancel_job`). Only Abraxas
        servers do it.
        """
        fields = [str(field).encode() for field in (minute, hour, day, month, weekday)]
        arguments = (function_name(function), _unique(unique), *fields, await self._whole(data))
        request = encode(REQUEST, Packet.of(Type.SUBMIT_JOB_SCHED, *arguments))
        return (await self._ask(request, Type.JOB_CREATED, submit_timeout)).body

    # Questions

    @overload
    async def echo(self, data: bytes | str) -> T: ...
    @overload
    async def echo(self, data: bytes | str, *, encoding: None) -> bytes: ...
    @overload
    async def echo(self, data: bytes | str, *, encoding: str) -> str: ...
    async def echo(self, data: bytes | str, *, encoding: str | Default | None = DEFAULT) -> Any:
        """Have a server send something back: it lives, and has answered everything before."""
        codec = self._encoding if isinstance(encoding, Default) else encoding
        sent = data.encode(codec or "utf-8") if isinstance(data, str) else data
        answer = (await self._ask(encode(REQUEST, Packet(Type.ECHO_REQ, sent)), Type.ECHO_RES)).body
        return answer if codec is None else answer.decode(codec, errors="replace")

    async def get_status(self, handle: bytes) -> JobStatus:
        """What the servers know of a job by its handle."""
        return merged(await self._ask_all(Packet.of(Type.GET_STATUS, handle), Type.STATUS_RES))

    async def get_status_unique(self, unique: bytes | str) -> JobStatus:
        """What the servers know of a job by its unique."""
        packet = Packet.of(Type.GET_STATUS_UNIQUE, _unique(unique))
        return merged(await self._ask_all(packet, Type.STATUS_RES_UNIQUE))

    # Connections

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to any server."""
        return bool(self._lines.live)

    async def connected(self) -> None:
        """Wait until there is a connection to any server. There is no need to, before asking for anything."""
        await trio.lowlevel.checkpoint()
        while not self.is_connected:
            await self._connected.wait()

    def set_client_id(self, client_id: str | bytes) -> None:
        """Have the admin command `workers` show this for our connections, those to come included."""
        self._client_id = as_bytes(client_id)
        for line in self._lines.live:
            self._tell_client_id(line)

    @property
    def worker(self) -> Worker:
        """A worker on this client's connections: what is added to it is worked on until the client is closed.

        It does `max_jobs` of `open_client` at once.
        """
        if self._worker is None:
            self._worker = Worker.over(self._lines, self.admin, self._spawn, self._max_jobs)
        return self._worker

    async def disconnect(self) -> None:
        """Send what was asked for, as far as there are connections, and close them; nothing can be asked any more.

        What has not been answered ends in ConnectionLost.
        """
        await self._lines.is_empty()
        await trio.lowlevel.checkpoint()
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        await self._closed.wait()

    def _spawn(self, function: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Have a task run for as long as the client is open; at the very beginning, from its first moment on."""
        if self._nursery is None:
            self._unborn.append(partial(function, *arguments))
        else:
            self._nursery.start_soon(function, *arguments)

    async def _run(self) -> None:
        try:
            async with open_nursery() as nursery:
                self._nursery = nursery
                for task in self._unborn:
                    nursery.start_soon(task)
                await self._lines.run()
        finally:
            self._lines.close()
            with trio.CancelScope(shield=True):  # both are bounded
                if self._feeder is not None:
                    await self._feeder.farewell()
                await self.admin.aclose()
            self._closed.set()

    # As the party of its connections

    def line_up(self, line: Lifeline) -> None:
        if self._client_id:
            self._tell_client_id(line)
        self._connected.set()
        self._connected = trio.Event()
        line.tell(self.on_connect, line.name)

    def line_down(self, line: Lifeline) -> None:
        line.tell(self.on_disconnect, line.name)

    def line_failed(self, line: Lifeline, error: AbraxasError) -> None:
        line.tell(self.on_error, error, line.name)

    # Calls on their way

    def _form(
        self,
        function: bytes | str,
        unique: bytes | str,
        priority: Priority,
        reducer: bytes | str,
        *,
        is_background: bool,
    ) -> Callable[[bytes], bytes]:
        """How to make a submission of a payload, once it is there; what else is wrong with it is found out now."""
        name, key = function_name(function), _unique(unique)
        if key and not is_background and self._lines.settings.streaming:
            raise LocalProtocolError("a streamed job cannot be shared, so it takes no unique (nothing was submitted)")
        if reducer:
            if priority is not Priority.NORMAL:
                raise LocalProtocolError("a job with a reducer has no priority")
            type = Type.SUBMIT_REDUCE_JOB_BACKGROUND if is_background else Type.SUBMIT_REDUCE_JOB
            reducing = function_name(reducer)
            return lambda data: encode(REQUEST, Packet.of(type, name, key, reducing, b"", data))
        return partial(_submission, SUBMISSIONS[priority, is_background], name, key)

    def _deadline(self, submit_timeout: float | None) -> float:
        timeout = self._submit_timeout if submit_timeout is None else submit_timeout
        return inf if timeout == inf else trio.current_time() + timeout

    def _put(self, call: Call, response_timeout: float | None = None) -> None:
        timeout = self._response_timeout if response_timeout is None else response_timeout
        self._lines.put(call)
        if timeout < inf:
            self._lines.limit(call, timeout)

    async def _ask(self, request: bytes, answer: Type, submit_timeout: float | None = None) -> Packet:
        call = Call(request, answer, self._deadline(submit_timeout))
        self._put(call)
        try:
            return await call.answered()
        except trio.Cancelled:
            self._lines.drop(call)
            raise

    async def _ask_all(self, packet: Packet, answer: Type) -> list[JobStatus]:
        """The answers of all live servers that give one; of the first that comes to life, while there are none."""
        live = self._lines.live
        if len(live) < 2:
            return [JobStatus.parse(await self._ask(encode(REQUEST, packet), answer))]
        calls = []
        for line in live:
            call = Question(encode(REQUEST, packet), answer)
            line.put(call)
            if self._response_timeout < inf:
                self._lines.limit(call, self._response_timeout)
            calls.append(call)
        answers, errors = [], []
        for call in calls:
            try:
                answers.append(JobStatus.parse(await call.answered()))
            except AbraxasError as error:
                errors.append(error)
        if not answers:
            raise errors[0]
        return answers

    async def _whole(self, data: Sent) -> bytes:
        if isinstance(data, bytes):
            return data
        if isinstance(data, str):
            return data.encode(self._encoding or "utf-8")
        return b"".join([bytes(piece) async for piece in data])

    def _tell_client_id(self, line: Lifeline) -> None:
        line.post(encode(REQUEST, Packet(Type.SET_CLIENT_ID, self._client_id)))


@overload
def open_client(
    *servers: str | Endpoint | Dialer | Target,
    encoding: None = None,
    client_id: str = "",
    streaming: bool = False,
    max_jobs: int = 1,
    submit_timeout: float = inf,
    response_timeout: float = inf,
    reconnect_delay: float = MAX_DELAY,
    debug: bool = False,
    traffic_dump: bool | TrafficDump = False,
    packet_dump: bool | PacketDump = False,
) -> AbstractAsyncContextManager[Client[bytes]]: ...


@overload
def open_client(
    *servers: str | Endpoint | Dialer | Target,
    encoding: str,
    client_id: str = "",
    streaming: bool = False,
    max_jobs: int = 1,
    submit_timeout: float = inf,
    response_timeout: float = inf,
    reconnect_delay: float = MAX_DELAY,
    debug: bool = False,
    traffic_dump: bool | TrafficDump = False,
    packet_dump: bool | PacketDump = False,
) -> AbstractAsyncContextManager[Client[str]]: ...


@asynccontextmanager
async def open_client(
    *servers: str | Endpoint | Dialer | Target,
    encoding: str | None = None,
    client_id: str = "",
    streaming: bool = False,
    max_jobs: int = 1,
    submit_timeout: float = inf,
    response_timeout: float = inf,
    reconnect_delay: float = MAX_DELAY,
    debug: bool = False,
    traffic_dump: bool | TrafficDump = False,
    packet_dump: bool | PacketDump = False,
) -> AsyncIterator[Client[Any]]:
    """A client for the time of a block. It connects by itself, to all servers, and again after a loss (`backoff`).

    `encoding`: with one, results are `str`; without, `bytes`. `streaming` asks for Abraxas' streaming mode, in which
    data flows at once and a server without it is not used. `max_jobs` is how many jobs `Client.worker` does at once.
    `submit_timeout` (seconds): what could not be sent within it ends in Unavailable. `response_timeout` (seconds): what
    was not answered within it ends in ResponseTimeout. Both are defaults for each call, and infinite themselves.
    `reconnect_delay` (seconds) is the longest pause between two attempts to connect. `debug`, `traffic_dump` and
    `packet_dump` show what happens, on standard error or (the dumps) to a function of yours.

    Jobs that run when the block ends are not waited for. Raises InvalidEndpoint.
    """
    settings = Settings(
        client_id, streaming, reconnect_delay, debug=debug, traffic_dump=traffic_dump, packet_dump=packet_dump
    )
    client: Client[Any] = Client(
        servers,
        settings,
        encoding=encoding,
        max_jobs=max_jobs,
        submit_timeout=submit_timeout,
        response_timeout=response_timeout,
    )
    async with open_nursery() as nursery:
        nursery.start_soon(client._run)
        yield client
        nursery.cancel_scope.cancel()


async def _copy(source: AsyncIterable[bytes], payload: Payload) -> None:
    """Write a payload from a stream; what goes wrong becomes the job's end."""
    try:
        async with payload:
            async for piece in source:
                await payload.send_all(piece)
    except trio.BrokenResourceError:
        log.debug("the job ended before its payload")
    except Exception as error:
        log.info("a payload could not be read error=%r", error)


def _unique(unique: bytes | str) -> bytes:
    key = as_bytes(unique)
    if len(key) > MAX_UNIQUE_BYTES or b"\0" in key:
        raise LocalProtocolError(f"a unique has at most {MAX_UNIQUE_BYTES} bytes without NUL, not {key!r}")
    return key


def _submission(type: Type, name: bytes, unique: bytes, data: bytes) -> bytes:
    return encode(REQUEST, Packet.of(type, name, unique, data))
