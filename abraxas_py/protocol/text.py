"""The admin grammar: request lines and the tables that answer them, in both directions.

A request is words separated by spaces (a tab belongs to a word), the command itself in any case. Tables end their lines
in LF and themselves with a line of a single period; `OK` and `ERR` answers end in CRLF, except those of `version`,
`getpid` and `verbose` (all as gearmand 1.1.20 does).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from abraxas_py.errors import RemoteProtocolError, ServerError
from abraxas_py.protocol.wire import Line

__all__ = [
    "END",
    "OK",
    "ConnectionStatus",
    "DeadRow",
    "FunctionStatus",
    "JobRow",
    "PriorityStatus",
    "error",
    "is_http",
    "number",
    "parse_answer",
    "printable",
    "table",
    "words",
]

OK = Line(b"OK\r")
END = b"."

_MAX_DIGITS = 18  # no server counts further, and no column of a database

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_CONNECTION = re.compile(rb"(\d+) (\S+) (.*?) :((?: \S+)*) ?")  # the address may be an IPv6 one
_HTTP = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) |host:", re.IGNORECASE)


class FunctionStatus(NamedTuple):
    """A row of `status`: the jobs of a function, running ones included in `total`, and the workers that can do it."""

    function: bytes
    total: int
    running: int
    workers: int

    def format(self) -> bytes:
        return b"%b\t%d\t%d\t%d" % self

    @classmethod
    def parse(cls, line: bytes) -> FunctionStatus:
        function, *numbers = _cells(line, 4)
        return cls(function, *map(number, numbers))


class PriorityStatus(NamedTuple):
    """A row of `prioritystatus`: the jobs of a function that wait, by priority, and the workers that can do it."""

    function: bytes
    high: int
    normal: int
    low: int
    workers: int

    def format(self) -> bytes:
        return b"%b\t%d\t%d\t%d\t%d" % self

    @classmethod
    def parse(cls, line: bytes) -> PriorityStatus:
        function, *numbers = _cells(line, 5)
        return cls(function, *map(number, numbers))


class ConnectionStatus(NamedTuple):
    """A row of `workers`: one connection (a client's too), and the functions it can do, the last registered first."""

    fd: int
    address: str
    client_id: bytes  # `-` where none was set
    functions: tuple[bytes, ...]

    def format(self) -> bytes:
        row = b"%d %b %b :" % (self.fd, self.address.encode(), self.client_id)
        return b" ".join([row, *self.functions])

    @classmethod
    def parse(cls, line: bytes) -> ConnectionStatus:
        found = _CONNECTION.fullmatch(line)
        if found is None:
            raise RemoteProtocolError("INVALID_PACKET", f"not a row of workers: {line!r}")
        fd, address, client_id, functions = found.groups()
        return cls(number(fd), address.decode(errors="replace"), client_id, tuple(functions.split()))


class JobRow(NamedTuple):
    """A row of `show jobs`: `retries` counts lost workers; ignored: nobody waits for it; queued: a background job."""

    handle: bytes
    retries: int
    is_ignored: bool
    is_queued: bool

    def format(self) -> bytes:
        return b"%b\t%d\t%d\t%d" % self

    @classmethod
    def parse(cls, line: bytes) -> JobRow:
        handle, retries, is_ignored, is_queued = _cells(line, 4)
        return cls(handle, number(retries), number(is_ignored) != 0, number(is_queued) != 0)


class DeadRow(NamedTuple):
    """A row of `dead list`: a job that failed for good, and how often it was tried again."""

    handle: bytes
    function: bytes
    retries: int
    unique: bytes

    def format(self) -> bytes:
        return b"\t".join(self.cells())

    def cells(self) -> tuple[bytes, ...]:
        """The columns as text."""
        return self.handle, self.function, b"%d" % self.retries, self.unique

    @classmethod
    def parse(cls, line: bytes) -> DeadRow:
        cells = line.split(b"\t")
        if len(cells) != 4:
            raise RemoteProtocolError("INVALID_PACKET", f"not a row of dead list: {line!r}")
        return cls(cells[0], cells[1], number(cells[2]), cells[3])


def _cells(line: bytes, count: int) -> list[bytes]:
    # From the right, for a foreign server may list a function with a tab in its name.
    cells = line.rsplit(b"\t", count - 1)
    if len(cells) != count:
        raise RemoteProtocolError("INVALID_PACKET", f"not a row of {count} columns: {line!r}")
    return cells


def number(word: bytes) -> int:
    """A number in what a server says. Raises RemoteProtocolError for what is none.

    >>> number(b"42")
    42
    """
    if not word.isdigit() or len(word) > _MAX_DIGITS:
        raise RemoteProtocolError("INVALID_PACKET", f"not a number: {word[:40]!r}")
    return int(word)


def words(line: Line) -> tuple[bytes, list[bytes]]:
    """The command of a request in lower case (empty where the line begins with a space), and the words after it.

    >>> words(Line(b"MaxQueue  f 5"))
    (b'maxqueue', [b'f', b'5'])
    """
    command, *rest = line.text.split(b" ")
    return command.lower(), [word for word in rest if word]


def is_http(line: Line) -> bool:
    """Whether a line is the beginning of somebody else's protocol: a browser was sent here to do harm (defect G17).

    >>> is_http(Line(b"POST / HTTP/1.1")), is_http(Line(b"status"))
    (True, False)
    """
    return _HTTP.match(line.text) is not None


def printable(text: bytes) -> bytes:
    """A name as it may stand in a table: no control byte of it can end or shift a row (B11).

    >>> printable(b"a\\nb c")
    b'a\\\\x0ab c'
    """
    return _CONTROL.sub(lambda found: b"\\x%02x" % found[0][0], text)


def table(rows: Iterable[bytes]) -> Line:
    """The rows and the period after them, as one message."""
    return Line(b"\n".join([*rows, END]))


def error(code: bytes, text: bytes = b"") -> Line:
    """An ERR answer; the text's spaces become plus signs, as gearmand's do, since clients split at spaces.

    >>> error(b"UNKNOWN_COMMAND", b"Unknown server command").text
    b'ERR UNKNOWN_COMMAND Unknown+server+command\\r'
    """
    return Line(b"ERR " + b" ".join(filter(None, [code, printable(text).replace(b" ", b"+")])) + b"\r")


def parse_answer(line: Line) -> bytes:
    """What follows `OK` in a one-line answer (from the server's point of view: what it said).

    Raises ServerError for an ERR line. Perl's and old servers answer `version` without the OK.
    """
    first, _, rest = line.text.partition(b" ")
    if first == b"ERR":
        code, _, text = rest.partition(b" ")
        raise ServerError(code.decode(errors="replace"), text.replace(b"+", b" ").decode(errors="replace"))
    return rest if first == b"OK" else line.text
