"""What the broker asks its shell to do, besides sending: that it does through the `send` of each peer.

`Store`, `Amend` and `Remove` are changes of what the journal keeps (`Persist`). Each has a number, by which the shell
reports the outcome: `Broker.persisted` when the change is durable, `Broker.refused` for a `Store` that cannot be. They
are to be made durable in the order of their numbers; a refused one leaves no trace.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Amend", "Close", "Effect", "Load", "Persist", "Record", "Remove", "Stop", "Store"]


class Close(NamedTuple):
    """Close a peer's connection, once what was sent to it before has left."""

    peer: int


class Stop(NamedTuple):
    """Stop the server: at once, or (`drain`) when the jobs that run have ended, taking no connections meanwhile."""

    drain: bool


class Record(NamedTuple):
    """A job as the journal keeps it."""

    row: int  # its key: never used twice, ascending in the order of submission
    handle: bytes
    function: bytes
    unique: bytes
    priority: int
    due_at: float  # Unix seconds; 0: at once
    retries: int
    is_dead: bool
    schedule: bytes  # of a recurring job, as `schedule.text` writes it; else empty
    reducer: bytes | None
    data: bytes | None  # None, where a restored job's payload stays on disk until it is wanted


class Store(NamedTuple):
    """Keep a job."""

    number: int
    record: Record


class Amend(NamedTuple):
    """Keep what has changed about a job that is kept."""

    number: int
    row: int
    due_at: float
    retries: int
    is_dead: bool


class Remove(NamedTuple):
    """Keep a job no more."""

    number: int
    row: int


class Load(NamedTuple):
    """Read payloads back, in this order, as many as are wise at once; answered by `Broker.loaded`."""

    rows: tuple[int, ...]


Persist = Store | Amend | Remove
Effect = Close | Stop | Store | Amend | Remove | Load
