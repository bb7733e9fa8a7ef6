"""Showing what passes over a connection: raw bytes (`traffic_dump`) or messages (`packet_dump`).

A dump is a function that is called with the server's name, `"read"` or `"write"`, and what has passed; True stands for
one that prints to standard error. A connection that is not dumped pays nothing: only a dumped one's stream is wrapped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import trio

from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.packets import Packet
from abraxas_py.protocol.wire import MAX_PACKET_BYTES, MAX_RESPONSE_BYTES, REQUEST, RESPONSE, Decoder, Message

__all__ = ["PacketDump", "TrafficDump", "dumped"]

TrafficDump = Callable[[str, str, bytes], None]
"""Called with a server's name, `"read"` or `"write"`, and the bytes."""

PacketDump = Callable[[str, str, Message], None]
"""Called with a server's name, `"read"` or `"write"`, and a `Packet` or a `Line`."""

SHOWN_BYTES = 200  # of a packet's body; traffic is shown whole


def print_traffic(server: str, direction: str, data: bytes) -> None:
    """Print bytes to standard error."""
    print(f"{server} {direction:<5} {data!r}", file=sys.stderr)


def print_packet(server: str, direction: str, message: Message) -> None:
    """Print a message to standard error, the body of a long packet cut."""
    if isinstance(message, Packet):
        rest = len(message.body) - SHOWN_BYTES
        shown = f"{message.type.name} {message.body[:SHOWN_BYTES]!r}" + (f" and {rest} bytes more" if rest > 0 else "")
    else:
        shown = repr(message.text)
    print(f"{server} {direction:<5} {shown}", file=sys.stderr)


def dumped(
    stream: trio.abc.Stream, server: str, traffic: bool | TrafficDump, packets: bool | PacketDump
) -> trio.abc.Stream:
    """The stream itself, or one that shows what passes."""
    if not traffic and not packets:
        return stream
    return _DumpedStream(
        stream,
        server,
        print_traffic if traffic is True else traffic or None,
        print_packet if packets is True else packets or None,
    )


class _DumpedStream(trio.abc.Stream):
    """A stream that shows what passes: what is written before it is sent, what is read once it has come."""

    def __init__(
        self, stream: trio.abc.Stream, server: str, traffic: TrafficDump | None, packets: PacketDump | None
    ) -> None:
        self._stream = stream
        self._server = server
        self._traffic = traffic
        self._packets = packets
        self._decoders = {
            "read": Decoder(RESPONSE, max_packet_bytes=MAX_RESPONSE_BYTES),
            "write": Decoder(REQUEST, max_packet_bytes=MAX_PACKET_BYTES),
        }

    def _show(self, direction: str, data: bytes) -> None:
        if self._traffic is not None:
            self._traffic(self._server, direction, data)
        if self._packets is not None:
            for message in self._decoders[direction].feed(data):
                if not isinstance(message, RemoteProtocolError):  # the connection itself tells of those
                    self._packets(self._server, direction, message)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._show("write", bytes(data))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self._show("read", bytes(data))
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()
