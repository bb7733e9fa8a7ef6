"""Standard output and error of a program that has to go on, whatever becomes of them.

A terminal stopped with Ctrl-S, a pager, a collector of logs that hangs or has died, a full disk: `print` would wait, or
raise, in the midst of the event loop, and with it everybody who is served.
"""

from __future__ import annotations

import io
import os
import sys
from functools import partial
from typing import Any

from abraxas_py.spool import Spool, settle, write_all

__all__ = ["never_block", "settle"]

_spools: dict[tuple[int, int], Spool] = {}  # by file


class _Stream(io.RawIOBase):
    """A spool as a file."""

    def __init__(self, spool: Spool, descriptor: int) -> None:
        self._spool = spool
        self._descriptor = descriptor

    def write(self, data: Any) -> int:
        data = bytes(data)
        self._spool.put(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


def never_block() -> None:
    """From now on, writing to `sys.stdout` and `sys.stderr` neither waits nor raises. Not to be forked after."""
    for descriptor in range(3):  # one that is closed would soon be a socket's, or a database's
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    sys.stdout = _stream(1)
    sys.stderr = _stream(2)


def _stream(descriptor: int) -> io.TextIOWrapper:
    status = os.fstat(descriptor)
    file = status.st_dev, status.st_ino
    if file not in _spools:  # one for both, where they are the same: lines stay in their order
        _spools[file] = Spool(partial(write_all, descriptor))
    raw = _Stream(_spools[file], descriptor)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)  # type: ignore[arg-type]
