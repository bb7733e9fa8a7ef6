"""Bytes to messages and back, without any I/O.

A message is a binary `Packet` or, where its first byte is not NUL, a `Line` of the text protocol; both may alternate on
one connection. A decoder is fed what a socket gave, in whatever pieces, and hands out what is complete. What the peer
got wrong comes out as a `RemoteProtocolError` *in its place among the messages* (not raised), because the good ones
before it must be answered first.

Memory follows what has arrived, never what a header announces.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from abraxas_py.errors import LocalProtocolError, RemoteProtocolError
from abraxas_py.protocol.packets import Packet, Type

__all__ = ["MAX_LINE_BYTES", "MAX_PACKET_BYTES", "REQUEST", "RESPONSE", "Decoder", "Line", "Message", "encode"]

REQUEST = b"\0REQ"
RESPONSE = b"\0RES"

MAX_PACKET_BYTES = 64 * 1024 * 1024  # the payload size that clients usually stop at
MAX_LINE_BYTES = 8 * 1024  # as much as gearmand takes for all arguments of a command

_HEADER = struct.Struct(">4sII")
_TYPES: dict[int, Type] = {int(t): t for t in Type}


class Line(NamedTuple):
    """One line of the text protocol, without its LF or CRLF."""

    text: bytes


Message = Packet | Line


def encode(magic: bytes, *messages: Message) -> bytes:
    """The bytes of the messages, with `REQUEST` or `RESPONSE` as the packets' magic.

    Raises LocalProtocolError for a body that the size field of the header cannot tell.
    """
    try:
        if len(messages) == 1 and isinstance(messages[0], Packet):  # by far the most, and a third faster so
            type, body = messages[0]
            return _HEADER.pack(magic, type, len(body)) + body
        parts = [
            _HEADER.pack(magic, message.type, len(message.body)) + message.body
            if isinstance(message, Packet)
            else message.text + b"\n"
            for message in messages
        ]
    except struct.error as error:
        raise LocalProtocolError("a packet's body must be shorter than 4 GiB") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Decoder:
    """The messages of one connection, in the order in which they arrive.

    After a fatal error it takes no more: `feed` returns an empty list for ever.
    """

    __slots__ = ("_buffer", "_is_broken", "_magic", "_max_line_bytes", "_max_packet_bytes", "_wanted")

    def __init__(
        self, magic: bytes, *, max_packet_bytes: int = MAX_PACKET_BYTES, max_line_bytes: int = MAX_LINE_BYTES
    ) -> None:
        self._magic = magic  # what the peer's packets must begin with
        self._max_packet_bytes = max_packet_bytes
        self._max_line_bytes = max_line_bytes
        self._buffer = bytearray()  # the beginning of a message; a bytearray, for a list of tiny pieces weighs 40 fold
        self._wanted = 0  # how long `_buffer` must be before it is worth another look
        self._is_broken = False

    @property
    def partial_bytes(self) -> int:
        """How much is held of a message whose end has not arrived."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message | RemoteProtocolError]:
        """Take what has arrived; return what is complete."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return []
            data = bytes(self._buffer)
            self._buffer = bytearray()
        if self._is_broken:
            return []
        messages: list[Message | RemoteProtocolError] = []
        at, end = 0, len(data)
        while at < end:
            if data[at]:
                stop = data.find(b"\n", at, at + self._max_line_bytes + 1)
                if stop < 0:
                    if end - at > self._max_line_bytes:
                        return self._break(messages, "ARGUMENT_TOO_LARGE", "The line is too long")
                    self._keep(data, at, wanted=end - at + 1)
                    break
                messages.append(Line(data[at:stop].removesuffix(b"\r")))
                at = stop + 1
                continue
            if end - at < _HEADER.size:
                self._keep(data, at, wanted=_HEADER.size)
                break
            magic, number, size = _HEADER.unpack_from(data, at)
            type = _TYPES.get(number)
            if magic != self._magic and magic not in (REQUEST, RESPONSE):
                return self._break(messages, "INVALID_MAGIC", "Unknown magic")
            if type is None:
                return self._break(messages, "INVALID_COMMAND", f"Unknown packet type {number}")
            if size > self._max_packet_bytes:
                return self._break(
                    messages, "ARGUMENT_TOO_LARGE", f"The packet is larger than {self._max_packet_bytes}"
                )
            stop = at + _HEADER.size + size
            if stop > end:
                self._keep(data, at, wanted=stop - at)
                break
            if magic == self._magic:
                messages.append(Packet(type, data[at + _HEADER.size : stop]))
            else:
                word = "Request" if self._magic == REQUEST else "Response"
                messages.append(RemoteProtocolError("INVALID_MAGIC", f"{word} magic expected"))
            at = stop
        return messages

    def _keep(self, data: bytes, at: int, *, wanted: int) -> None:
        self._buffer += memoryview(data)[at:]
        self._wanted = wanted

    def _break(
        self, messages: list[Message | RemoteProtocolError], code: str, text: str
    ) -> list[Message | RemoteProtocolError]:
        self._is_broken = True
        messages.append(RemoteProtocolError(code, text, is_fatal=True))
        return messages
