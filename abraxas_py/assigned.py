"""A job that a worker was given: its payload to be read, its result to be written, and the ways to end it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from abraxas_py.errors import LocalProtocolError
from abraxas_py.intake import HeldPayload, PulledPayload
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.pull import PIECE_BYTES, Ticket
from abraxas_py.protocol.wire import MAX_PACKET_BYTES, REQUEST, encode

if TYPE_CHECKING:
    from abraxas_py.engagement import Engagement
    from abraxas_py.lifeline import Lifeline

__all__ = ["Assigned", "Result"]

MAX_RESULT_BYTES = MAX_PACKET_BYTES - 4096  # in one packet, which holds the job's handle, too


class Assigned:
    """A job that this worker was given.

    Most of its methods are synchronous, and what they send leaves in this scheduler pass; text goes as UTF-8. When the
    connection that it came from is gone, they do nothing, for the server has given the job away: `is_lost` tells, and
    `on_lost` (if set) is called; what it raises is logged.
    """

    __slots__ = (
        "_engagement",
        "_output",
        "_payload",
        "_ticket",
        "data",
        "function",
        "handle",
        "is_ended",
        "on_lost",
        "reducer",
        "unique",
    )

    def __init__(
        self, engagement: Engagement, handle: bytes, function: bytes, unique: bytes, data: bytes, reducer: bytes = b""
    ) -> None:
        self.handle = handle
        self.function = function
        self.unique = unique
        self.reducer = reducer  # where it was submitted with one, and the worker asked for them
        self.data = data  # the payload; of a function that was added with `stream=True`: what has come with the job
        self.is_ended = False
        self.on_lost: Callable[[], None] | None = None
        self._engagement = engagement
        self._ticket = Ticket.parse(data) if data.startswith(b"\0") else None
        self._payload: HeldPayload | PulledPayload | None = None
        self._output: Result | None = None

    @property
    def text(self) -> str:
        """The payload as UTF-8 text. Raises UnicodeDecodeError, which fails the job of a handler that lets it."""
        return self.data.decode()

    @property
    def is_lost(self) -> bool:
        """Whether the connection that it came from is gone."""
        return self._engagement.is_gone

    @property
    def lost(self) -> bool:
        """The same as `is_lost`."""
        return self._engagement.is_gone

    @property
    def payload(self) -> HeldPayload | PulledPayload:
        """The payload as a trio ReceiveStream, of one that is pulled from its client, too."""
        if self._payload is None:
            if self._ticket is None:
                self._payload = HeldPayload(self.data)
            else:
                self._payload = PulledPayload(self.line, self._ticket)
        return self._payload

    @property
    def output(self) -> Result:
        """The result as a trio SendStream; see `Result`."""
        if self._output is None:
            self._output = Result(self)
        return self._output

    @property
    def is_pulled(self) -> bool:
        """Whether its payload has not come with it, but is to be pulled from its client (through `payload`)."""
        return self._ticket is not None

    @property
    def line(self) -> Lifeline:
        """The connection that it came from."""
        return self._engagement.line

    def send_data(self, data: bytes | str) -> None:
        """Send a piece of the result at once (WORK_DATA), in streaming mode or not.

        Raises LocalProtocolError for what is too much for a packet (64 MiB), as `warn` does.
        """
        self._report(Type.WORK_DATA, as_bytes(data))

    def warn(self, data: bytes | str) -> None:
        """Send a warning (WORK_WARNING)."""
        self._report(Type.WORK_WARNING, as_bytes(data))

    def status(self, numerator: float, denominator: float = 1) -> None:
        """Send progress (WORK_STATUS): `status(0.25)` or `status(1, 4)`."""
        numbers = f"{numerator}\0{denominator}".encode()
        if numbers.count(b"\0") > 1:  # the server's ERROR would be taken for the answer to somebody else's request
            raise LocalProtocolError(f"progress is two numbers, not {numerator!r} and {denominator!r}")
        self._report(Type.WORK_STATUS, numbers)

    def complete(self, data: bytes | str = b"") -> None:
        """End the job with its result (WORK_COMPLETE), behind what was written to `output`.

        What is too much for a packet (64 MiB) ends it in an exception that says so: the server would hang up, and give
        the job to the next worker. The same goes for `exception`.
        """
        self._check_open()
        written = self._output.take() if self._output is not None else b""
        self._end_with(Type.WORK_COMPLETE, written + as_bytes(data))

    def fail(self) -> None:
        """End the job without a result (WORK_FAIL)."""
        self._end(Packet(Type.WORK_FAIL, self.handle))

    def exception(self, data: bytes | str) -> None:
        """End the job with an error (WORK_EXCEPTION, which needs no WORK_FAIL after it)."""
        self._end_with(Type.WORK_EXCEPTION, as_bytes(data))

    async def has_room(self) -> None:
        """Wait until what was sent has mostly left; for those that send much with `send_data`."""
        await self.line.has_room()

    @property
    def is_streaming(self) -> bool:
        """Whether its connection is in streaming mode."""
        return self.line.settings.streaming

    def _check_open(self) -> None:
        if self.is_ended:
            raise LocalProtocolError(f"the job {self.handle.decode(errors='replace')} has ended")

    def _report(self, type: Type, rest: bytes) -> None:
        self._check_open()
        if len(rest) > MAX_RESULT_BYTES:
            raise LocalProtocolError(_too_much(rest))
        self._engagement.post(encode(REQUEST, Packet(type, self.handle + b"\0" + rest)))

    def _end_with(self, type: Type, rest: bytes) -> None:
        if len(rest) > MAX_RESULT_BYTES:
            type, rest = Type.WORK_EXCEPTION, _too_much(rest).encode()
        self._end(Packet(type, self.handle + b"\0" + rest))

    def _end(self, packet: Packet) -> None:
        self._check_open()
        self.is_ended = True
        self._engagement.end(self, packet)


class Result(trio.abc.SendStream):
    """What is written becomes the job's result; `aclose` completes the job, unless that was done already.

    In streaming mode it is sent at once as WORK_DATA, and writing waits while the connection is full. Otherwise it is
    gathered and sent with WORK_COMPLETE, for a job that is given to another worker begins anew, and its client must not
    see a beginning twice. Leaving its `async with` block by an exception does not complete the job.
    """

    def __init__(self, job: Assigned) -> None:
        self._job = job
        self._gathered = bytearray()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._job.is_ended:
            raise trio.ClosedResourceError("the job has ended")
        if self._job.is_lost:
            raise trio.BrokenResourceError("the connection is gone from which the job came")
        if not self._job.is_streaming:
            if len(self._gathered) + len(data) > MAX_RESULT_BYTES:
                raise LocalProtocolError(f"a result of more than {MAX_RESULT_BYTES} bytes needs streaming mode")
            self._gathered += data
            return
        with memoryview(data) as view:
            for at in range(0, len(view), PIECE_BYTES):
                await self._job.has_room()
                self._job.send_data(bytes(view[at : at + PIECE_BYTES]))

    async def wait_send_all_might_not_block(self) -> None:
        await self._job.has_room()

    async def aclose(self) -> None:
        if not self._job.is_ended:
            self._job.complete()
        await trio.lowlevel.checkpoint()

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.aclose()

    def take(self) -> bytes:
        """What was gathered."""
        gathered = bytes(self._gathered)
        self._gathered.clear()
        return gathered


def _too_much(data: bytes) -> str:
    return f"{len(data)} bytes are too much for one packet of a result, which holds {MAX_RESULT_BYTES}"


def as_bytes(data: bytes | str) -> bytes:
    """Text as UTF-8.

    >>> as_bytes("ü")
    b'\\xc3\\xbc'
    """
    return data.encode() if isinstance(data, str) else data
