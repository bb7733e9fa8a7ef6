"""A submitted job, seen by its client: awaited for the result, iterated for what happens, read as a stream.

Text: with an encoding, results, data and warnings are `str`, otherwise `bytes`; `Task[str]` and `Task[bytes]` say so.
"""

from __future__ import annotations

import codecs
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from math import nan
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import trio

from abraxas_py.call import Call, server_error
from abraxas_py.errors import AbraxasError, JobFailed, JobRaised, LocalProtocolError
from abraxas_py.protocol.packets import Packet, Type

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from abraxas_py.lifeline import Lifeline
    from abraxas_py.payload import Payload

    T = TypeVar("T", default=bytes)
else:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["Data", "Event", "Output", "Status", "Task", "Warning"]

log = logging.getLogger("abraxas.client")

# Data that waits to be read from a task's output, beyond which its connection is not read from.
OUTPUT_BYTES = 512 * 1024


class Data(NamedTuple, Generic[T]):
    """A piece of a result, sent ahead of its end (WORK_DATA)."""

    data: T


class Warning(NamedTuple, Generic[T]):
    """WORK_WARNING."""

    data: T


class Status(NamedTuple):
    """Progress (WORK_STATUS), as the worker wrote it: mostly two integers, sometimes a fraction and 1."""

    numerator: bytes
    denominator: bytes

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1; nan where that cannot be told.

        >>> Status(b"1", b"4").fraction, Status(b"0.25", b"1").fraction
        (0.25, 0.25)
        """
        return fraction(self.numerator, self.denominator)


Event = Data[T] | Warning[T] | Status
"""What a task is iterated for."""


def fraction(numerator: bytes, denominator: bytes) -> float:
    """The quotient of what a worker reported as its progress; nan where that is none."""
    try:
        return float(numerator) / float(denominator)
    except (ValueError, ZeroDivisionError):
        return nan


class Task(Call, Generic[T]):
    """A job that was submitted, and what becomes of it.

    `await task` gives its result: all WORK_DATA that nobody else took, and what WORK_COMPLETE brought. It raises
    JobFailed, JobRaised, ServerError (the server refused the job), ConnectionLost (after it was sent), Unavailable
    (before) or ResponseTimeout; as often as it is awaited.

    `async for event in task` gives `Data`, `Warning` and `Status` as they come, ends with the job, and raises nothing:
    await the task for its end. What comes faster than it is taken is kept in memory.

    `task.output` is the result as a stream, with back-pressure; `task.payload` is the stream to write to, where the
    task comes from `Client.stream`.
    """

    __slots__ = (
        "_decoder",
        "_encoding",
        "_events",
        "_is_iterated",
        "_on_end",
        "_on_event",
        "_output",
        "_payload",
        "_result",
        "handle",
        "line",
    )

    def __init__(
        self,
        request: bytes,
        deadline: float,
        on_end: Callable[[Task[T]], None] | None = None,
        on_event: Callable[[Event[T]], None] | None = None,
        encoding: str | None = None,
    ) -> None:
        super().__init__(request, Type.JOB_CREATED, deadline)
        self.handle = b""  # empty until the server has given it one
        self.line: Lifeline | None = None  # where it is, since then
        self._on_end = on_end
        self._on_event = on_event
        self._encoding = encoding
        self._decoder: codecs.IncrementalDecoder | None = None  # of data: a piece may end within a character
        self._events: deque[Event[bytes]] = deque()
        self._is_iterated = False
        self._output: Output | None = None
        self._payload: Payload | None = None
        self._result: bytes | None = None  # once somebody has asked for it

    @property
    def done(self) -> bool:
        """Whether the job has ended, one way or another; then `result` or `error` is set."""
        return self.is_done

    @property
    def result(self) -> T | None:
        """What awaiting it gives, once the job is complete; None before, and where there is an `error`.

        Data that is iterated for before is not in it, whenever it came; what it is once, it stays.
        """
        if not self.is_done or self.reply is None:
            return None
        if self._result is None:
            data = () if self._is_iterated else (event.data for event in self._events if isinstance(event, Data))
            self._result = b"".join((*data, self.reply.body))
        result: T = _decoded(self._result, self._encoding)
        return result

    @property
    def payload(self) -> Payload:
        """The stream to write the job's payload to; closing it ends the payload."""
        if self._payload is None:
            raise LocalProtocolError("this task was submitted with its payload; use Client.stream to write to one")
        return self._payload

    @property
    def output(self) -> Output:
        """The result as a trio ReceiveStream of bytes; from its first use on, data goes there alone."""
        if self._output is None:
            _ = self.result  # stays what it is
            self._output = Output(self)
            for event in self._events:
                if isinstance(event, Data):
                    self._output.feed(event.data)
            self._events = deque(event for event in self._events if not isinstance(event, Data))
            if self.reply is not None:
                self._output.feed(self.reply.body)
        return self._output

    def receive(self, packet: Packet, line: Lifeline) -> None:
        type = packet.type
        if type is Type.JOB_CREATED:
            self.handle = packet.body
            self.line = line
            line.exchange.follow(self, packet.body)
            self._wake()
        elif self.is_done:
            pass  # nobody waits for it any more
        elif type is Type.WORK_COMPLETE:
            self._complete(packet.split()[1])
        elif type is Type.WORK_FAIL:
            self.end(JobFailed("the job failed"))
        elif type is Type.WORK_EXCEPTION:
            self.end(JobRaised(packet.split()[1]))
        elif type is Type.ERROR:
            self.end(server_error(packet))
        else:
            self._note(packet)

    def _complete(self, last: bytes) -> None:
        if self._output is not None:
            self._output.feed(last)
            last = b""
        self.reply = Packet(Type.WORK_COMPLETE, last)
        self.end(None)

    def _note(self, packet: Packet) -> None:
        _, *arguments = packet.split()
        if packet.type is Type.WORK_DATA and self._output is not None:
            self._output.feed(arguments[0])
            return
        event: Event[bytes]
        if packet.type is Type.WORK_STATUS:
            event = Status(*arguments)
            if self._events and not self._is_iterated and isinstance(self._events[-1], Status):
                self._events.pop()  # nobody looks: only the last progress is worth keeping
        else:
            event = (Data if packet.type is Type.WORK_DATA else Warning)(*arguments)
        if self._on_event is not None:
            try:
                self._on_event(self._as_text(event))
            except Exception:
                log.exception("on_event raised handle=%s", self.handle.decode(errors="replace"))
        if self._on_event is None or isinstance(event, Data):
            self._events.append(event)
        self._wake()

    def end(self, error: AbraxasError | None) -> None:
        if self.is_done:
            return
        super().end(error)
        if self._output is not None:
            self._output.task_ended()
        if self._payload is not None:
            self._payload.task_ended()
        if self._on_end is not None:
            try:
                self._on_end(self)
            except Exception:
                log.exception("on_end raised handle=%s", self.handle.decode(errors="replace"))

    def __await__(self) -> Generator[object, object, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        await self.ended()
        result = self.result
        assert result is not None
        return result

    async def created(self) -> bytes:
        """The handle, once the server has given it. Raises ServerError, ConnectionLost or Unavailable."""
        await trio.lowlevel.checkpoint()
        while not self.handle and not self.is_done:
            await self._sleep()
        if not self.handle and self.error is not None:
            raise self.error
        return self.handle

    def __aiter__(self) -> AsyncIterator[Event[T]]:
        self._is_iterated = True
        return _Events(self)

    async def next_event(self) -> Event[T] | None:
        """The next event, or None at the end."""
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self.is_done:
                return None
            await self._sleep()
        return self._as_text(self._events.popleft())

    def _as_text(self, event: Event[bytes]) -> Event[T]:
        text: Any = event
        if self._encoding is not None and isinstance(event, Data):
            if self._decoder is None:
                self._decoder = codecs.getincrementaldecoder(self._encoding)(errors="replace")
            try:
                text = Data(self._decoder.decode(event.data))
            except UnicodeError:  # UTF-16 that does not begin with its mark, which "replace" does not pass over here
                text = Data(_decoded(event.data, self._encoding))
        elif self._encoding is not None and isinstance(event, Warning):
            text = Warning(_decoded(event.data, self._encoding))
        result: Event[T] = text
        return result


class _Events(Generic[T]):
    """The iteration of a task."""

    def __init__(self, task: Task[T]) -> None:
        self._task = task

    def __aiter__(self) -> _Events[T]:
        return self

    async def __anext__(self) -> Event[T]:
        event = await self._task.next_event()
        if event is None:
            raise StopAsyncIteration
        return event


class Output(trio.abc.ReceiveStream):
    """A task's result as a stream: all data, then what came with the end. Raises the job's error in place of an end.

    While much data waits to be read from it, nothing is read from the job's connection: the worker is slowed down, and
    so is everything else on that connection. Read it to its end, or close it.
    """

    def __init__(self, task: Task[Any]) -> None:
        self._task = task
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._is_closed = False
        self._arrived = trio.Event()

    def feed(self, data: bytes) -> None:
        """Take a piece."""
        if self._is_closed or not data:
            return
        self._pieces.append(data)
        self._bytes += len(data)
        if self._bytes > OUTPUT_BYTES and self._task.line is not None and not self._task.is_done:
            self._task.line.choke(self)
        self._arrived.set()

    def task_ended(self) -> None:
        """There will be no more: nothing has to be kept from coming."""
        self._free()
        self._arrived.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._is_closed:
            raise trio.ClosedResourceError("this output was closed")
        while not self._pieces:
            if self._task.is_done:
                if self._task.error is not None:
                    raise self._task.error
                return b""
            self._arrived = trio.Event()
            await self._arrived.wait()
        piece = self._pieces.popleft()
        if max_bytes is not None and len(piece) > max_bytes:
            self._pieces.appendleft(piece[max_bytes:])
            piece = piece[:max_bytes]
        self._bytes -= len(piece)
        if self._bytes <= OUTPUT_BYTES // 2:
            self._free()
        return piece

    async def aclose(self) -> None:
        """Read no more; what comes is thrown away."""
        self._is_closed = True
        self._pieces.clear()
        self._bytes = 0
        self._free()
        await trio.lowlevel.checkpoint()

    def _free(self) -> None:
        if self._task.line is not None:
            self._task.line.free(self)


def _decoded(data: bytes, encoding: str | None) -> Any:
    return data if encoding is None else data.decode(encoding, errors="replace")
