"""One connection to a server, for client, worker and administrator alike: messages over any stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from abraxas_py.errors import ConnectionLost, RemoteProtocolError
from abraxas_py.protocol.packets import Packet
from abraxas_py.protocol.wire import MAX_RESPONSE_BYTES, REQUEST, RESPONSE, Decoder, Line, Message, encode

__all__ = ["Connection"]

RECEIVE_BYTES = 64 * 1024  # more at once is not worth it: larger buffers are mapped and unmapped for each call


class Connection:
    """`async for message in connection`, and `send` from any task; what one call sends stays together.

    Iteration ends when the server closes the connection; it raises ConnectionLost when the connection breaks, and
    RemoteProtocolError when the server sends what no server may.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, name: str = "the server", max_packet_bytes: int = MAX_RESPONSE_BYTES
    ) -> None:
        self.name = name  # of the server, for messages
        self._stream = stream
        self._decoder = Decoder(RESPONSE, max_packet_bytes=max_packet_bytes)
        self._outbox: list[Message | bytes] = []
        self._sending = trio.Lock()

    async def __aiter__(self) -> AsyncIterator[Packet | Line]:
        while batch := await self.receive():
            for message in batch:
                yield message

    async def receive(self) -> list[Packet | Line]:
        """All messages that have come (at least one); an empty list once the server has closed the connection."""
        while True:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionLost(f"the connection to {self.name} was lost") from error
            if not data:
                return []
            batch = self._decoder.feed(bytes(data))
            if batch:
                return [_checked(message) for message in batch]

    async def send(self, *messages: Message) -> None:
        """Send messages, one behind the other. Raises ConnectionLost."""
        await self.send_encoded(encode(REQUEST, *messages))

    async def send_encoded(self, data: bytes) -> None:
        """Send what `encode` made. Raises ConnectionLost, after which an unknown part of it may have arrived."""
        if self._sending.locked():
            await self._sending.acquire()
        else:  # at once: `acquire` would wait for trio's next pass even so
            self._sending.acquire_nowait()
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost(f"the connection to {self.name} was lost") from error
        finally:
            self._sending.release()

    async def aclose(self) -> None:
        """Close the connection at once."""
        await trio.aclose_forcefully(self._stream)


def _checked(message: Message | RemoteProtocolError) -> Message:
    if isinstance(message, RemoteProtocolError):
        raise message
    return message
