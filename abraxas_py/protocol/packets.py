"""Gearman's packets: their types, their arguments, and who may send them.

A packet is a type and a body. The body is kept as it stands on the wire and split into arguments only where somebody
needs them, so that what a worker sends to a client passes through the broker untouched.
"""

from __future__ import annotations

from enum import Flag, IntEnum, auto
from typing import NamedTuple

from abraxas_py.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "MAX_FUNCTION_BYTES",
    "MAX_HANDLE_BYTES",
    "MAX_UNIQUE_BYTES",
    "SHAPES",
    "SUBMISSIONS",
    "Packet",
    "Priority",
    "Sender",
    "Shape",
    "Type",
]

# What gearmand holds room for; a client that was written against it may count on the refusal beyond.
MAX_FUNCTION_BYTES = 512
MAX_UNIQUE_BYTES = 64
MAX_HANDLE_BYTES = 63  # "must not be longer than 64 bytes, including NULL terminator" (PROTOCOL, Binary Packet)


class Type(IntEnum):
    """The packet types of PROTOCOL, by the names it gives them."""

    CAN_DO = 1
    CANT_DO = 2
    RESET_ABILITIES = 3
    PRE_SLEEP = 4
    UNUSED = 5
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    GRAB_JOB = 9
    NO_JOB = 10
    JOB_ASSIGN = 11
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    GET_STATUS = 15
    ECHO_REQ = 16
    ECHO_RES = 17
    SUBMIT_JOB_BG = 18
    ERROR = 19
    STATUS_RES = 20
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    CAN_DO_TIMEOUT = 23
    ALL_YOURS = 24
    WORK_EXCEPTION = 25
    OPTION_REQ = 26
    OPTION_RES = 27
    WORK_DATA = 28
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31
    SUBMIT_JOB_HIGH_BG = 32
    SUBMIT_JOB_LOW = 33
    SUBMIT_JOB_LOW_BG = 34
    SUBMIT_JOB_SCHED = 35
    SUBMIT_JOB_EPOCH = 36
    SUBMIT_REDUCE_JOB = 37
    SUBMIT_REDUCE_JOB_BACKGROUND = 38
    GRAB_JOB_ALL = 39
    JOB_ASSIGN_ALL = 40
    GET_STATUS_UNIQUE = 41
    STATUS_RES_UNIQUE = 42


class Priority(IntEnum):
    """The three levels of the queue, in the order in which they are served; the value is the index of the level."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class Sender(Flag):
    """Who sends a packet of a type."""

    CLIENT = auto()
    WORKER = auto()
    SERVER = auto()


class Shape(NamedTuple):
    """What a type's packets look like: the names of their arguments in order, and their senders."""

    arguments: tuple[str, ...]
    senders: Sender


def _shapes() -> dict[Type, Shape]:
    client, worker, server = Sender.CLIENT, Sender.WORKER, Sender.SERVER
    submit = Shape(("function", "unique", "data"), client)
    # gearmand and libgearman put an aggregator (usually empty) after the reducer; PROTOCOL does not mention it.
    reduce = Shape(("function", "unique", "reducer", "aggregator", "data"), client)
    report = Shape(("handle", "data"), worker | server)
    nothing: tuple[str, ...] = ()
    return {
        Type.CAN_DO: Shape(("function",), worker),
        Type.CANT_DO: Shape(("function",), worker),
        Type.RESET_ABILITIES: Shape(nothing, worker),
        Type.PRE_SLEEP: Shape(nothing, worker),
        Type.UNUSED: Shape(nothing, Sender(0)),
        Type.NOOP: Shape(nothing, server),
        Type.SUBMIT_JOB: submit,
        Type.JOB_CREATED: Shape(("handle",), server),
        Type.GRAB_JOB: Shape(nothing, worker),
        Type.NO_JOB: Shape(nothing, server),
        Type.JOB_ASSIGN: Shape(("handle", "function", "data"), server),
        Type.WORK_STATUS: Shape(("handle", "numerator", "denominator"), worker | server),
        Type.WORK_COMPLETE: report,
        Type.WORK_FAIL: Shape(("handle",), worker | server),
        Type.GET_STATUS: Shape(("handle",), client),
        Type.ECHO_REQ: Shape(("data",), client | worker),
        Type.ECHO_RES: Shape(("data",), server),
        Type.SUBMIT_JOB_BG: submit,
        Type.ERROR: Shape(("code", "text"), server),
        Type.STATUS_RES: Shape(("handle", "known", "running", "numerator", "denominator"), server),
        Type.SUBMIT_JOB_HIGH: submit,
        Type.SET_CLIENT_ID: Shape(("id",), worker),
        Type.CAN_DO_TIMEOUT: Shape(("function", "timeout"), worker),
        Type.ALL_YOURS: Shape(nothing, worker),
        Type.WORK_EXCEPTION: report,
        Type.OPTION_REQ: Shape(("option",), client | worker),
        Type.OPTION_RES: Shape(("option",), server),
        Type.WORK_DATA: report,
        Type.WORK_WARNING: report,
        Type.GRAB_JOB_UNIQ: Shape(nothing, worker),
        Type.JOB_ASSIGN_UNIQ: Shape(("handle", "function", "unique", "data"), server),
        Type.SUBMIT_JOB_HIGH_BG: submit,
        Type.SUBMIT_JOB_LOW: submit,
        Type.SUBMIT_JOB_LOW_BG: submit,
        Type.SUBMIT_JOB_SCHED: Shape(
            ("function", "unique", "minute", "hour", "day", "month", "weekday", "data"), client
        ),
        Type.SUBMIT_JOB_EPOCH: Shape(("function", "unique", "epoch", "data"), client),
        Type.SUBMIT_REDUCE_JOB: reduce,
        Type.SUBMIT_REDUCE_JOB_BACKGROUND: reduce,
        Type.GRAB_JOB_ALL: Shape(nothing, worker),
        Type.JOB_ASSIGN_ALL: Shape(("handle", "function", "unique", "reducer", "data"), server),
        Type.GET_STATUS_UNIQUE: Shape(("unique",), client),
        Type.STATUS_RES_UNIQUE: Shape(("unique", "known", "running", "numerator", "denominator", "clients"), server),
    }


SHAPES = _shapes()
# By type number: hashing an enum member is a Python call, indexing a tuple with one is not.
_COUNTS = (0, *(len(SHAPES[type].arguments) for type in Type))


class Packet(NamedTuple):
    """One binary packet, without its header.

    >>> Packet.of(Type.JOB_ASSIGN, b"H:lap:1", b"reverse", b"test").body
    b'H:lap:1\\x00reverse\\x00test'
    >>> Packet(Type.JOB_ASSIGN, b"H:lap:1\\x00reverse\\x00te\\x00st").split()
    [b'H:lap:1', b'reverse', b'te\\x00st']
    """

    type: Type
    body: bytes = b""

    @classmethod
    def of(cls, type: Type, *arguments: bytes) -> Packet:
        """Build a packet from its arguments, in PROTOCOL's order.

        Raises LocalProtocolError for a wrong number of them, or a NUL byte in any but the last.
        """
        if len(arguments) != _COUNTS[type]:
            names = ", ".join(SHAPES[type].arguments) or "none"
            raise LocalProtocolError(f"{type.name} takes {_COUNTS[type]} arguments ({names}), not {len(arguments)}")
        body = b"\0".join(arguments)
        if len(arguments) > 1 and body.count(b"\0", 0, len(body) - len(arguments[-1])) != len(arguments) - 1:
            raise LocalProtocolError(f"{type.name}: only the last argument may hold a NUL byte")
        return cls(type, body)

    def split(self) -> list[bytes]:
        """The arguments, in PROTOCOL's order; the last one may hold NUL bytes.

        Raises RemoteProtocolError where separators are missing. A body where none belongs is passed over.
        """
        count = _COUNTS[self.type]
        arguments = self.body.split(b"\0", count - 1) if count else []
        if len(arguments) != count:
            raise RemoteProtocolError("INVALID_PACKET", f"{self.type.name} takes {count} arguments")
        return arguments


# The six plain submissions, by priority and by whether the job is a background one.
SUBMISSIONS = {
    (Priority.HIGH, False): Type.SUBMIT_JOB_HIGH,
    (Priority.NORMAL, False): Type.SUBMIT_JOB,
    (Priority.LOW, False): Type.SUBMIT_JOB_LOW,
    (Priority.HIGH, True): Type.SUBMIT_JOB_HIGH_BG,
    (Priority.NORMAL, True): Type.SUBMIT_JOB_BG,
    (Priority.LOW, True): Type.SUBMIT_JOB_LOW_BG,
}
