"""Reading a job's payload as a stream, on the worker's side: one that came whole, or one that is pulled."""

from __future__ import annotations

from math import inf

import trio

from abraxas_py.call import Question
from abraxas_py.errors import AbraxasError, PayloadError
from abraxas_py.lifeline import Lifeline
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.pull import Pull, Ticket
from abraxas_py.protocol.wire import REQUEST, encode
from abraxas_py.task import Task

__all__ = ["HeldPayload", "PulledPayload"]

# Seconds without an answer after which the server is asked whether anybody still works on a pull: a client that has
# died between two pulls answers none, and the server would keep the next one for ever.
WATCH_INTERVAL = 5.0


class HeldPayload(trio.abc.ReceiveStream):
    """A payload that came whole."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)
        self._is_closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._is_closed:
            raise trio.ClosedResourceError("this payload was closed")
        count = len(self._rest) if max_bytes is None else max_bytes
        piece, self._rest = bytes(self._rest[:count]), self._rest[count:]
        return piece

    async def aclose(self) -> None:
        self._is_closed = True
        await trio.lowlevel.checkpoint()


class _Pulling(Task[bytes]):
    """A pull on its way; it goes where the job came from, or nowhere."""

    __slots__ = ()
    can_move = False


class PulledPayload(trio.abc.ReceiveStream):
    """A payload that is pulled from its client, one piece ahead of its reader. Raises PayloadError."""

    def __init__(self, line: Lifeline, ticket: Ticket) -> None:
        self._line = line
        self._ticket = ticket
        self._offset = 0
        self._rest = b""  # of the last piece
        self._pull: _Pulling | None = None  # on its way
        self._is_ended = False
        self._is_closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._is_closed:
            raise trio.ClosedResourceError("this payload was closed")
        if not self._rest and not self._is_ended:
            await self._next()
        count = len(self._rest) if max_bytes is None else max_bytes
        piece, self._rest = self._rest[:count], self._rest[count:]
        return piece

    async def _next(self) -> None:
        if self._pull is None:
            self._pull = self._ask()
        piece = Pull.read(await self._answer(self._pull))
        if piece is None:
            self._is_ended = True
        else:
            self._rest = piece
            self._offset += len(piece)
            self._pull = self._ask()

    def _ask(self) -> _Pulling:
        if self._line.connection is None:
            raise PayloadError("the connection was lost over which the payload came")
        pull = Pull(self._ticket.stream, self._offset).format()
        request = encode(REQUEST, Packet.of(Type.SUBMIT_JOB, self._ticket.function, b"", pull))
        task = _Pulling(request, inf)
        self._line.put(task)
        return task

    async def _answer(self, pull: _Pulling) -> bytes:
        """What the client says to a pull, however long it takes, as long as there is a client."""
        doubts = 0
        try:
            while doubts < 2:
                with trio.move_on_after(WATCH_INTERVAL):
                    return await pull
                doubts = 0 if await self._is_held(pull.handle) else doubts + 1
        except AbraxasError as error:
            raise PayloadError("the client is gone, or cannot be reached any more") from error
        raise PayloadError("the client is gone")

    async def _is_held(self, handle: bytes) -> bool:
        """Whether the client has taken a pull."""
        call = Question(encode(REQUEST, Packet.of(Type.GET_STATUS, handle)), Type.STATUS_RES)
        self._line.put(call)
        _, _, is_running, _, _ = (await call.answered()).split()
        return is_running != b"0"

    async def aclose(self) -> None:
        """Read no more; the client is told when the job ends."""
        self._is_closed = True
        self._rest = b""
        await trio.lowlevel.checkpoint()
