"""A request to a server, and what waits for its answer."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

import trio

from abraxas_py.errors import AbraxasError, LocalProtocolError, ServerError
from abraxas_py.protocol import text
from abraxas_py.protocol.packets import MAX_FUNCTION_BYTES, Packet, Type

if TYPE_CHECKING:
    from abraxas_py.lifeline import Lifeline
    from abraxas_py.protocol.wire import Line

__all__ = ["Call", "Command", "Fence", "Question", "function_name"]


class Call:
    """One request: encoded until it is sent, then awaited, then ended by an answer or an error."""

    __slots__ = ("_waiter", "answer", "deadline", "disarm", "error", "is_done", "reply", "request")
    is_fence = False
    can_move = True  # to another connection, while it is not sent

    def __init__(self, request: bytes, answer: Type, deadline: float) -> None:
        self.request = request  # encoded; given up once it is sent
        self.answer = answer  # the type of packet that answers it
        self.deadline = deadline  # in the loop's time: until then it must have been sent
        self.is_done = False
        self.error: AbraxasError | None = None
        self.reply: Packet | None = None
        self.disarm: Callable[[], None] | None = None  # its response timeout, if it has one
        self._waiter: trio.Event | None = None

    def receive(self, packet: Packet, line: Lifeline) -> None:
        """Take a packet that belongs to this call."""
        if packet.type is Type.ERROR:
            self.end(server_error(packet))
        else:
            self.reply = packet
            self.end(None)

    def end(self, error: AbraxasError | None) -> None:
        """Nothing more will come; the first end counts."""
        if self.is_done:
            return
        self.is_done = True
        self.error = error
        self.request = b""
        if self.disarm is not None:
            self.disarm()
            self.disarm = None
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

    async def ended(self) -> None:
        """Wait for the end. Raises what it was, where it was no answer."""
        await trio.lowlevel.checkpoint()
        while not self.is_done:
            await self._sleep()
        if self.error is not None:
            raise self.error

    async def answered(self) -> Packet:
        """The answer. Raises ServerError, ConnectionLost, Unavailable or ResponseTimeout."""
        await self.ended()
        assert self.reply is not None
        return self.reply


class Question(Call):
    """A request to one server and no other."""

    __slots__ = ()
    can_move = False

    def __init__(self, request: bytes, answer: Type) -> None:
        super().__init__(request, answer, inf)


class Fence(Question):
    """Packets without an answer, and an ECHO_REQ behind them: ERRORs before its answer are about those packets."""

    __slots__ = ("_on_answer", "_on_error")
    is_fence = True

    def __init__(
        self,
        request: bytes,
        on_answer: Callable[[Lifeline], None] | None,
        on_error: Callable[[ServerError, Lifeline], None],
    ) -> None:
        super().__init__(request, Type.ECHO_RES)
        self._on_answer = on_answer
        self._on_error = on_error

    def receive(self, packet: Packet, line: Lifeline) -> None:
        if packet.type is Type.ERROR:
            self._on_error(server_error(packet), line)
            return
        super().receive(packet, line)
        if self._on_answer is not None:
            self._on_answer(line)


class Command(Question):
    """A line of the admin protocol that is answered by one line."""

    __slots__ = ("word",)

    def __init__(self, command: bytes) -> None:
        super().__init__(command + b"\r\n", Type.UNUSED)
        self.word = b""  # what followed OK

    def receive_line(self, line: Line) -> None:
        """Take the answer."""
        try:
            self.word = text.parse_answer(line)
        except ServerError as error:
            self.end(error)
        else:
            self.end(None)


def server_error(packet: Packet) -> ServerError:
    """An ERROR packet as an exception."""
    code, _, explanation = packet.body.partition(b"\0")
    return ServerError(code.decode(errors="replace"), explanation.decode(errors="replace"))


def function_name(function: bytes | str) -> bytes:
    """A function's name as it stands on the wire. Raises LocalProtocolError.

    >>> function_name("reverse")
    b'reverse'
    """
    name = function.encode() if isinstance(function, str) else function
    if not name or len(name) > MAX_FUNCTION_BYTES or b"\0" in name:
        raise LocalProtocolError(f"a function's name has 1 to {MAX_FUNCTION_BYTES} bytes without NUL, not {name!r}")
    return name
