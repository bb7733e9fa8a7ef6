"""How a payload of unknown length travels, although a submission carries its payload whole: the worker pulls it.

The client submits a *ticket* in place of the payload. It names a function that the client itself offers, and one of its
streams. Whoever works on the job submits a foreground job for that function, with the stream and an offset as its
payload, for each piece; the result is the piece, the end, or why there will be none. A client holds a pull until it
has something to give, so no piece is asked for that nobody wants, and none is made that nobody asked for: back-pressure
through any Gearman server.

    client ── SUBMIT_JOB upper, TICKET(abraxas.payload.7f.., 3) ──> server ──> worker
    worker ── SUBMIT_JOB abraxas.payload.7f.., "3 0" ──> server ──> client ── WORK_COMPLETE "+first piece" ──> worker
    worker ── SUBMIT_JOB abraxas.payload.7f.., "3 262144" ──> ...                        WORK_COMPLETE "."

The offset is what the worker has: a second worker that begins a job anew, when the first pieces are gone, is told so
instead of being given a stream without its beginning.
"""

from __future__ import annotations

from typing import NamedTuple

from abraxas_py.errors import LocalProtocolError, PayloadError
from abraxas_py.protocol.packets import MAX_FUNCTION_BYTES

__all__ = ["PIECE_BYTES", "Pull", "Ticket"]

_MAGIC = b"\0abraxas-payload\0"
_PREFIX = b"abraxas.payload."

# One piece. Smaller ones cost round trips, larger ones memory: this one, several times over, in each process.
PIECE_BYTES = 256 * 1024

MAX_DIGITS = 18  # of a stream or an offset: what fits into 64 bits; Python refuses to read more than 4,300


class Ticket(NamedTuple):
    """What stands in the place of a payload: where to pull it from.

    >>> ticket = Ticket.of("7f", 3)
    >>> Ticket.parse(ticket.format()) == ticket, Ticket.parse(b"a payload")
    (True, None)
    """

    function: bytes
    stream: int

    @classmethod
    def of(cls, name: str, stream: int) -> Ticket:
        """The ticket of a client's stream; `name` must be the client's own in the world."""
        return cls(_PREFIX + name.encode(), stream)

    def format(self) -> bytes:
        return b"%b%b %d" % (_MAGIC, self.function, self.stream)

    @classmethod
    def parse(cls, data: bytes) -> Ticket | None:
        """The ticket that a payload is; None for a payload that is one itself."""
        if not data.startswith(_MAGIC):
            return None
        function, _, stream = data.removeprefix(_MAGIC).partition(b" ")
        # Only functions of this kind: a ticket must not make a worker submit other jobs in its own name.
        is_ours = function.startswith(_PREFIX) and b"\0" not in function and len(function) <= MAX_FUNCTION_BYTES
        return cls(function, int(stream)) if is_ours and _is_number(stream) else None


class Pull(NamedTuple):
    """What a worker asks a client: the piece of a stream that begins at `offset`.

    >>> Pull.parse(Pull(3, 262144).format())
    Pull(stream=3, offset=262144)
    """

    stream: int
    offset: int

    def format(self) -> bytes:
        return b"%d %d" % self

    @classmethod
    def parse(cls, data: bytes) -> Pull:
        stream, _, offset = data.partition(b" ")
        if not (_is_number(stream) and _is_number(offset)):
            raise LocalProtocolError(f"not a pull: {data[:40]!r}")
        return cls(int(stream), int(offset))

    @staticmethod
    def piece(data: bytes) -> bytes:
        """The answer that carries a piece."""
        return b"+" + data

    @staticmethod
    def end() -> bytes:
        """The answer that there is no more."""
        return b"."

    @staticmethod
    def failure(reason: str) -> bytes:
        """The answer that there will be no more, though it was not the end."""
        return b"!" + reason.encode(errors="backslashreplace")

    @staticmethod
    def read(answer: bytes) -> bytes | None:
        """The piece in an answer; None at the end. Raises PayloadError for a failure, or what is no answer."""
        kind, rest = answer[:1], answer[1:]
        if kind == b"+" and rest:
            return rest
        if kind == b"!":
            raise PayloadError(f"the client could not send the payload: {rest.decode(errors='replace')}")
        if answer != b".":
            raise PayloadError(f"not an answer to a pull: {answer[:40]!r}")
        return None


def _is_number(word: bytes) -> bool:
    return word.isdigit() and len(word) <= MAX_DIGITS
