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
    output = Spool(partial(write_all, 1))
    is_one = os.path.sameopenfile(1, 2)  # then its lines stay in their order
    sys.stdout = _stream(output, 1)
    sys.stderr = _stream(output if is_one else Spool(partial(write_all, 2)), 2)


def _stream(spool: Spool, descriptor: int) -> io.TextIOWrapper:
    raw = _Stream(spool, descriptor)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)  # type: ignore[arg-type]
