"""Bytes as peers send them, well and badly."""

from __future__ import annotations

import struct
from random import Random

from abraxas_py.protocol.packets import SHAPES, Packet, Type
from abraxas_py.protocol.wire import REQUEST, RESPONSE

__all__ = ["FUNCTIONS", "LINES", "argument", "cut", "damaged", "line", "packet"]

TYPES = list(Type)
FUNCTIONS = [b"f", b"g", b"h"]
ODD = [b"", b"-", b"\xff\xfe", b" ", b"\t", b"a\nb", b"x" * 64, b"x" * 65, b"x" * 513, b"0", b"-1", b"9" * 40, b"\0"]
LINES = [
    b"status", b"STATUS", b"prioritystatus", b"workers", b"show jobs", b"show unique jobs", b"show", b"version",
    b"getpid", b"verbose", b"maxqueue f 3", b"maxqueue f 1 2 3", b"maxqueue f", b"create function g",
    b"drop function g", b"drop function f", b"cancel job H:test:1", b"cancel job H:test:2", b"cancel job H:test:3",
    b"", b"foo", b"GET / HTTP/1.1", b"Host: x", b"shutdown", b"shutdown graceful",
]  # fmt: skip


def argument(chance: Random, name: str) -> bytes:
    """A value for an argument of that name; one in ten is not what it should be."""
    if chance.random() < 0.1:
        return chance.choice(ODD)
    match name:
        case "function" | "reducer":
            return chance.choice(FUNCTIONS)
        case "unique":
            return chance.choice([b"", b"", b"u", b"v", b"-"])
        case "handle":
            return b"H:test:%d" % chance.randint(1, 9)
        case "epoch":
            return b"%d" % chance.choice([0, 1_000_000, 1_000_003, 4_000_000_000, 10**15])
        case "timeout":
            return chance.choice([b"0", b"500", b"2000", b"\0\0\0\5"])
        case "option":
            return chance.choice([b"exceptions", b"streaming", b"speed"])
        case "numerator" | "denominator":
            return b"%d" % chance.randint(0, 9)
        case "minute" | "hour" | "day" | "month" | "weekday":
            return chance.choice([b"", b"*", b"1", b"*/5", b"1-3", b"99"])
        case _:
            return chance.randbytes(chance.choice([0, 1, 3, 20]))


def packet(chance: Random, type: Type) -> bytes:
    """A packet of a peer, with an argument too few or too many now and then."""
    arguments = [argument(chance, name) for name in SHAPES[type].arguments]
    if chance.random() < 0.03:
        arguments = chance.choice([arguments[:-1], [*arguments, b"x"]])
    body = b"\0".join(arguments)
    magic = RESPONSE if chance.random() < 0.01 else REQUEST
    return struct.pack(">4sII", magic, type, len(body)) + body


def line(chance: Random) -> bytes:
    """A text line with its end."""
    text = chance.choice(LINES)
    if chance.random() < 0.1:
        text += b" " + chance.choice(ODD).replace(b"\n", b"")
    return text + chance.choice([b"\n", b"\n", b"\r\n"])


def damaged(chance: Random, data: bytes) -> bytes:
    """The same with a byte changed, lost or doubled, or a header that lies about what follows."""
    at = chance.randrange(len(data)) if data else 0
    match chance.randrange(5):
        case 0:
            return data[:at] + chance.randbytes(1) + data[at + 1 :]
        case 1:
            return data[:at] + data[at + 1 :]
        case 2:
            return data[:at] + data[at:][:1] + data[at:]
        case 3:
            number = chance.choice([0, 7, 43, 101, 0xFFFFFFFF])
            return data[:4] + struct.pack(">II", number, chance.choice([0, 5, 2000, 0xFFFFFFFF])) + data[12:]
        case _:
            return chance.randbytes(chance.randint(1, 30))


def cut(chance: Random, data: bytes) -> list[bytes]:
    """The same bytes in pieces, as a network gives them."""
    if chance.random() < 0.1:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.choice([0, 1, 1, 2, 5])))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def request(type: Type, *arguments: bytes) -> bytes:
    """A packet as it should be."""
    sent = Packet(type, b"\0".join(arguments))
    return struct.pack(">4sII", REQUEST, sent.type, len(sent.body)) + sent.body
