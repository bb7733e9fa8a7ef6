"""The decoder, given any bytes in any pieces, finds what the obvious decoder finds in them, and keeps no more."""

from __future__ import annotations

import tracemalloc
from random import Random

import octets
import reference
from fuzz_campaign import Case

from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.packets import Packet
from abraxas_py.protocol.wire import REQUEST, Decoder, Line, Message, encode

__all__ = ["Packets"]

MAX_PACKET_BYTES = 1000  # small, so that the limits are met
MAX_LINE_BYTES = 100
WEIGH_EVERY = 1000  # cases; measuring memory makes one 20 times slower


class Packets:
    """A case is the pieces in which the bytes arrive."""

    name = "packets"
    cases = 40_000

    def __init__(self) -> None:
        self._checked = 0

    def make(self, chance: Random) -> Case:
        data = b""
        for _ in range(chance.randint(1, 6)):
            part = octets.line(chance) if chance.random() < 0.3 else octets.packet(chance, chance.choice(octets.TYPES))
            data += octets.damaged(chance, part) if chance.random() < 0.1 else part
        return octets.cut(chance, data)

    def check(self, case: Case) -> None:
        self._checked += 1
        if self._checked % WEIGH_EVERY == 0:
            tracemalloc.start()
            messages = _feed(case)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= 2 * sum(map(len, case)) + 64 * 1024
        else:
            messages = _feed(case)
        expected = reference.decode(b"".join(case), REQUEST, MAX_PACKET_BYTES, MAX_LINE_BYTES)
        assert [_found(message) for message in messages] == expected

    def close(self) -> None:
        pass


def _feed(pieces: list[bytes]) -> list[Message | RemoteProtocolError]:
    decoder = Decoder(REQUEST, max_packet_bytes=MAX_PACKET_BYTES, max_line_bytes=MAX_LINE_BYTES)
    messages = []
    for piece in pieces:
        messages += decoder.feed(piece)
        assert decoder.partial_bytes < MAX_PACKET_BYTES + 12
    return messages


def _found(message: Message | RemoteProtocolError) -> reference.Found:
    if isinstance(message, Packet):
        assert encode(REQUEST, message)[12:] == message.body
        return ("packet", int(message.type), message.body)
    if isinstance(message, Line):
        return ("line", message.text)
    return ("end" if message.is_fatal else "error", message.code)
