"""Bytes to messages and back, without any I/O.

A message is a binary `Packet` or, where its first byte is not NUL, a `Line` of the text protocol; both may alternate on
one connection. A decoder is fed what a socket gave, in whatever pieces, and hands out what is complete. What the peer
got wrong comes out as a `RemoteProtocolError` *in its place among the messages* (not raised), because the good ones
before it must be answered first.

Memory follows what has arrived, never what a header announces.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from abraxas_py.errors import LocalProtocolError, RemoteProtocolError
from abraxas_py.protocol.packets import Packet, Type

__all__ = [
    "LINE",
    "MAX_LINE_BYTES",
    "MAX_PACKET_BYTES",
    "MAX_RESPONSE_BYTES",
    "REQUEST",
    "RESPONSE",
    "WRONG",
    "Decoder",
    "Line",
    "Message",
    "Piece",
    "encode",
    "encode_one",
    "piece",
    "response",
]

REQUEST = b"\0REQ"
RESPONSE = b"\0RES"

MAX_PACKET_BYTES = 64 * 1024 * 1024  # the payload size that clients usually stop at
MAX_RESPONSE_BYTES = MAX_PACKET_BYTES + 4096  # what is assigned holds more than what was submitted: its handle, too
MAX_LINE_BYTES = 8 * 1024  # as much as gearmand takes for all arguments of a command

_HEADER = struct.Struct(">4sII")
_HEADER_BYTES = _HEADER.size
_pack = _HEADER.pack
_TYPES: dict[int, Type] = {int(t): t for t in Type}
_BEYOND = max(Type) + 1  # the numbers from 1 up to here are all types


class Line(NamedTuple):
    """One line of the text protocol, without its LF or CRLF."""

    text: bytes


Message = Packet | Line

# What a message is before anybody has made an object of it: the number of a packet's type with its body, `LINE` with
# the text of a line, `WRONG` with a RemoteProtocolError.
Piece = tuple[int, Any]
LINE = 0
WRONG = _BEYOND


def piece(message: Message | RemoteProtocolError) -> Piece:
    """A message taken apart again."""
    if isinstance(message, Packet):
        return int(message.type), message.body
    return (LINE, message.text) if isinstance(message, Line) else (WRONG, message)


def _message(number: int, content: Any) -> Message | RemoteProtocolError:
    if LINE < number < WRONG:
        return Packet(_TYPES[number], content)
    return Line(content) if number == LINE else content


def encode(magic: bytes, *messages: Message) -> bytes:
    """The bytes of the messages, with `REQUEST` or `RESPONSE` as the packets' magic.

    Raises LocalProtocolError for a body that the size field of the header cannot tell.
    """
    return b"".join([encode_one(magic, message) for message in messages])


def encode_one(magic: bytes, message: Message) -> bytes:
    """The bytes of one message; see `encode`."""
    if isinstance(message, Line):
        return message.text + b"\n"
    type, body = message
    try:
        return _HEADER.pack(magic, type, len(body)) + body
    except struct.error as error:
        raise LocalProtocolError("a packet's body must be shorter than 4 GiB") from error


def response(type: int, body: bytes = b"") -> bytes:
    """The bytes of a packet from a server: `encode_one`, for whom a `Packet` between would cost more than the rest."""
    return _pack(RESPONSE, type, len(body)) + body


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
        return [_message(number, content) for number, content in self.cut(data)]

    def cut(self, data: bytes) -> list[Piece]:
        """`feed`, for whom objects of messages would cost as much again."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return []
            data = bytes(self._buffer)
            self._buffer = bytearray()
        if self._is_broken:
            return []
        pieces: list[Piece] = []
        magic, largest, unpack = self._magic, self._max_packet_bytes, _HEADER.unpack_from
        at, end = 0, len(data)
        while at < end:
            while at + _HEADER_BYTES <= end:  # nearly always it is a whole packet, just as it should be
                found, number, size = unpack(data, at)
                stop = at + _HEADER_BYTES + size
                if found != magic or stop > end or size > largest or not 0 < number < _BEYOND:
                    break
                pieces.append((number, data[at + _HEADER_BYTES : stop]))
                at = stop
            if at < end:
                at = self._take_line(data, at, pieces) if data[at] else self._take_odd(data, at, pieces)
        return pieces

    def _take_line(self, data: bytes, at: int, pieces: list[Piece]) -> int:
        """Take a line, or keep its beginning; where to go on."""
        stop = data.find(b"\n", at, at + self._max_line_bytes + 1)
        if stop >= 0:
            pieces.append((LINE, data[at:stop].removesuffix(b"\r")))
            return stop + 1
        if len(data) - at > self._max_line_bytes:
            return self._break(data, pieces, "ARGUMENT_TOO_LARGE", "The line is too long")
        return self._keep(data, at, wanted=len(data) - at + 1)

    def _take_odd(self, data: bytes, at: int, pieces: list[Piece]) -> int:
        """Keep the beginning of a packet, or tell what is wrong with it; where to go on."""
        if len(data) - at < _HEADER_BYTES:
            return self._keep(data, at, wanted=_HEADER_BYTES)
        magic, number, size = _HEADER.unpack_from(data, at)
        if magic not in (REQUEST, RESPONSE):
            return self._break(data, pieces, "INVALID_MAGIC", "Unknown magic")
        if number not in _TYPES:
            return self._break(data, pieces, "INVALID_COMMAND", f"Unknown packet type {number}")
        if size > self._max_packet_bytes:
            text = f"The packet is larger than {self._max_packet_bytes}"
            return self._break(data, pieces, "ARGUMENT_TOO_LARGE", text)
        stop: int = at + _HEADER_BYTES + size
        if stop > len(data):
            return self._keep(data, at, wanted=stop - at)
        word = "Request" if self._magic == REQUEST else "Response"
        pieces.append((WRONG, RemoteProtocolError("INVALID_MAGIC", f"{word} magic expected")))
        return stop

    def _keep(self, data: bytes, at: int, *, wanted: int) -> int:
        self._buffer += memoryview(data)[at:]
        self._wanted = wanted
        return len(data)

    def _break(self, data: bytes, pieces: list[Piece], code: str, text: str) -> int:
        self._is_broken = True
        pieces.append((WRONG, RemoteProtocolError(code, text, is_fatal=True)))
        return len(data)
