"""Writing a job's payload as a stream, on the client's side.

A payload that fits into one piece, or whose client is not in streaming mode, is gathered and submitted whole when it is
closed. A longer one of a streaming client is submitted as a ticket, and pulled by the worker (`protocol.pull`); the
`Feeder` is what answers the pulls, a worker on connections of its own, so that a job's result that nobody reads does
not keep its payload from being sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

import trio

from abraxas_py.admin import Admin
from abraxas_py.assigned import Assigned
from abraxas_py.errors import AbraxasError, LocalProtocolError, PayloadError
from abraxas_py.protocol.pull import PIECE_BYTES, Pull, Ticket
from abraxas_py.protocol.wire import MAX_PACKET_BYTES
from abraxas_py.settings import Settings, Target
from abraxas_py.transport import Dialer, Endpoint
from abraxas_py.worker import Worker

__all__ = ["Feeder", "Payload"]

MAX_WHOLE_BYTES = MAX_PACKET_BYTES - 4096  # of a payload that is submitted whole; its packet holds names, too
FAREWELL_TIMEOUT = 2.0  # seconds for having the servers forget a feeder's function
MANY = 1_000_000  # pulls held at once


class Payload(trio.abc.SendStream):
    """What is written becomes the payload; `aclose` ends it.

    Leaving its `async with` block by an exception gives the job up, with PayloadError as its end. Writing raises
    BrokenResourceError once the job has ended: its worker did not want the rest.
    """

    def __init__(
        self, submit: Callable[[bytes], None], give_up: Callable[[AbraxasError], None], feeder: Feeder | None
    ) -> None:
        self._submit = submit
        self._give_up = give_up
        self._feeder = feeder  # only of a streaming client
        self._buffer = bytearray()
        self._is_closed = False
        self._is_over = False  # the job has ended
        self._is_pulled = False  # its ticket was submitted
        self._failure = ""  # why there is no rest
        self._offset = 0  # how much has been pulled
        self._pull: Assigned | None = None  # that waits for the next piece
        self._room = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._is_closed:
            raise trio.ClosedResourceError("this payload was closed")
        if self._is_over:
            raise trio.BrokenResourceError("the job has ended")
        self._buffer += data
        if not self._is_pulled and len(self._buffer) > PIECE_BYTES:
            if self._feeder is not None:
                self._is_pulled = True
                self._submit(self._feeder.open(self))
            elif len(self._buffer) > MAX_WHOLE_BYTES:
                raise LocalProtocolError(
                    f"a payload of more than {MAX_WHOLE_BYTES} bytes needs streaming: open_client(..., streaming=True)"
                )
        self._answer()
        while self._is_pulled and len(self._buffer) > PIECE_BYTES and not (self._is_over or self._is_closed):
            self._room = trio.Event()
            await self._room.wait()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._is_pulled and len(self._buffer) > PIECE_BYTES and not (self._is_over or self._is_closed):
            self._room = trio.Event()
            await self._room.wait()

    async def aclose(self) -> None:
        """End the payload; a job whose payload was gathered is submitted now."""
        if not self._is_closed:
            self._is_closed = True
            self._room.set()
            if self._is_pulled:
                self._answer()
            elif not self._is_over:
                self._submit(bytes(self._buffer))
                self._buffer.clear()
        await trio.lowlevel.checkpoint()

    def abort(self, error: BaseException) -> None:
        """Give the job up: there is no rest of the payload."""
        if self._is_closed:
            return
        self._is_closed = True
        self._room.set()
        self._failure = f"{type(error).__name__}: {error}"
        self._buffer.clear()
        self._answer()
        given_up = PayloadError(f"the payload could not be written to its end ({self._failure})")
        given_up.__cause__ = error
        self._give_up(given_up)

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.aclose()
        else:
            self.abort(error)

    def task_ended(self) -> None:
        """The job needs no more."""
        self._is_over = True
        self._buffer.clear()
        self._room.set()
        if self._pull is not None:
            self._pull.complete(Pull.failure("the job has ended"))
            self._pull = None
        if self._feeder is not None and self._is_pulled:
            self._feeder.close(self)

    def pull(self, job: Assigned, offset: int) -> None:
        """A worker asks for the piece at `offset`."""
        if offset != self._offset:
            job.complete(Pull.failure("its beginning has gone to another worker"))
            return
        if self._pull is not None:
            self._pull.fail()
        self._pull = job
        self._answer()

    def _answer(self) -> None:
        """Give what there is to the pull that waits, if one does."""
        job = self._pull
        if job is None or job.is_lost or not (self._buffer or self._is_closed):
            return
        self._pull = None
        if self._buffer:
            piece = bytes(memoryview(self._buffer)[:PIECE_BYTES])
            del self._buffer[:PIECE_BYTES]
            self._offset += len(piece)
            job.complete(Pull.piece(piece))
            self._room.set()
        else:
            job.complete(Pull.failure(self._failure) if self._failure else Pull.end())


class Feeder:
    """Answers the pulls for all payloads of a client, from the first one on until the client's end."""

    def __init__(
        self,
        servers: Sequence[str | Endpoint | Dialer | Target],
        settings: Settings,
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._servers = servers
        self._settings = settings
        self._spawn = spawn  # starts a task that ends with the client
        self._name = uuid.uuid4().hex
        self._opened = 0  # how many streams there ever were
        self._streams: dict[int, Payload] = {}
        self._worker: Worker | None = None

    def open(self, payload: Payload) -> bytes:
        """What to submit in a payload's place."""
        self._opened += 1
        self._streams[self._opened] = payload
        ticket = Ticket.of(self._name, self._opened)
        if self._worker is None:
            self._worker = Worker(*self._servers, settings=self._settings, max_jobs=MANY)
            self._worker.take(ticket.function, self._take)
            self._spawn(self._worker.run)
        return ticket.format()

    def close(self, payload: Payload) -> None:
        """A payload is over."""
        self._streams = {number: other for number, other in self._streams.items() if other is not payload}

    def _take(self, job: Assigned) -> None:
        pull = Pull.parse(job.data)
        payload = self._streams.get(pull.stream)
        if payload is None:
            job.complete(Pull.failure("the client does not wait for this job any more"))
        else:
            payload.pull(job, pull.offset)

    async def farewell(self) -> None:
        """Have the servers forget the function, which would be listed for ever; bounded, and in vain without harm."""
        if self._worker is None:
            return
        function = Ticket.of(self._name, 0).function
        with trio.CancelScope(shield=True, deadline=trio.current_time() + FAREWELL_TIMEOUT):
            async with Admin(*self._servers) as admin:
                try:
                    await admin.drop_function(function)
                except AbraxasError:
                    return  # refused, or out of reach: one name stays listed
