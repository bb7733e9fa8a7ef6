"""What can go wrong in Gearbox, by whose fault it is.

`RpcError` is the caller's or the job's: it travels over the wire as JSON-RPC's `error` object and is raised again
at the other end. `StoreError` is the database's, `ConfigError` the operator's.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

__all__ = [
    "Code",
    "ConfigError",
    "GearboxError",
    "RpcError",
    "StoreAway",
    "StoreBroken",
    "StoreBusy",
    "StoreError",
    "StoreFenced",
    "StoreFull",
    "StoreOutdated",
    "StoreUncertain",
]


class Code(IntEnum):
    """The error codes that Gearbox itself gives. A worker's own codes pass through as they are."""

    BAD_REQUEST = 400  # an argument of the call is wrong
    NOT_FOUND = 404  # no job with that id
    TIMEOUT = 408  # the caller's own limit passed; the job is not affected
    CONFLICT = 409  # the job exists but is past what was asked of it
    TOO_LARGE = 413  # arguments or data over the limit
    INTERNAL = 500
    UNAVAILABLE = 503  # the database cannot be reached
    STORAGE_FULL = 507  # no room for the row: nothing was stored

    PARSE_ERROR = -32700  # JSON-RPC 2.0 section 5.1
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INTERNAL_ERROR = -32603

    INVALID = -28000  # the job can never run
    NO_WORKER = -28404  # nobody offered the method when the job was due
    TIMED_OUT = -28408  # an attempt ran longer than the job's `timeout`
    EXPIRED = -28410  # the job's `expires` came before its first try
    NO_LEAVE = -28409  # a worker's answer: the attempt is somebody else's, nothing was run
    CANCELLED = -28499
    JOB_ERRORED = -28500  # the job failed; `data` is what its worker sent
    WORKER_FAILED = -28502  # the worker ended the job without an answer that can be read
    WENT_MISSING = -28504  # the job ended, or its worker left, and no result came
    AFTER_ERRORED = -28523  # the job named by after_id failed
    BEFORE_ERRORED = -28524  # a job of the pool (before_id) failed


class GearboxError(Exception):
    """The root of all errors of this package."""


class RpcError(GearboxError):
    """An `error` object of JSON-RPC 2.0.

    `code` is an int, except from workers of other makers, which may send text. `data` is any JSON value; None means
    that there is none.
    """

    def __init__(self, code: int | str, message: str, data: Any = None) -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"

    def as_json(self) -> dict[str, Any]:
        """`{"code", "message"}`, and `"data"` only where there is some."""
        value: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            value["data"] = self.data
        return value


class StoreError(GearboxError):
    """The database refused or could not be reached. The transaction was rolled back."""


class StoreBusy(StoreError):
    """The same transaction may succeed when it is tried again."""


class StoreAway(StoreError):
    """The database cannot be reached now."""


class StoreFull(StoreError):
    """No room on the disk: nothing of the transaction was stored."""


class StoreBroken(StoreError):
    """The disk failed to read, write or sync: whether the transaction is stored is unknown, and must not be asked.

    A sync that is tried again may say that all is well although what it was to sync is lost. So nothing more may be
    acknowledged, nor the store be closed in the usual way: the process must end, and start anew from what is there.
    """


class StoreOutdated(StoreError):
    """Another program has brought the tables to a version with which this one cannot work: it has to be upgraded."""


class StoreFenced(StoreError):
    """The other cores on the database have declared this one dead: it may change nothing any more."""


class StoreUncertain(StoreError):
    """The transaction was committed or not: `Store.settle` tells, once the database can be reached."""


class ConfigError(GearboxError):
    """Settings that cannot work. `messages` holds one sentence for each fault, with where it is and what to do."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = tuple(messages)
