"""Standard output and error of a program that has to go on, whatever becomes of them.

A terminal stopped with Ctrl-S, a pager, a collector of logs that hangs or has died, a full disk: `print` would wait, or
raise, in the midst of the event loop, and with it everybody who is served. After `never_block` what is written goes
through a thread. What that cannot get rid of is dropped, beyond a limit, and counted, which is told as soon as somebody
reads again.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any

__all__ = ["Spool", "never_block", "settle"]

LIMIT_BYTES = 2**20  # that may wait for a reader
FAREWELL = 1.0  # s at the end for what still waits

_spools: dict[tuple[int, int], Spool] = {}  # by file


class Spool:
    """Writes to a descriptor in a thread; `put` neither waits nor fails."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pieces: deque[bytes] = deque()
        self._bytes = 0  # in pieces, and being written
        self._lost = 0  # lines
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="stdio", daemon=True).start()

    def put(self, data: bytes) -> None:
        """Have it written, in order; or drop it."""
        with self._changed:
            if self._bytes + len(data) > LIMIT_BYTES:
                self._lost += data.count(b"\n")
                return
            if self._lost:
                data = b"=== %d lines could not be written here\n" % self._lost + data
                self._lost = 0
            self._pieces.append(data)
            self._bytes += len(data)
            self._changed.notify_all()

    def settle(self, seconds: float) -> None:
        """Wait for it to be written, for so long at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces)
                data = b"".join(self._pieces)
                self._pieces.clear()
            lost = self._write(data)
            with self._changed:
                self._bytes -= len(data)
                self._lost += lost
                self._changed.notify_all()

    def _write(self, data: bytes) -> int:
        """The number of lines that could not be."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            return bytes(rest).count(b"\n")
        return 0


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
    atexit.register(settle)


def _stream(descriptor: int) -> io.TextIOWrapper:
    status = os.fstat(descriptor)
    file = status.st_dev, status.st_ino
    if file not in _spools:  # one for both, where they are the same: lines stay in their order
        _spools[file] = Spool(descriptor)
    raw = _Stream(_spools[file], descriptor)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)  # type: ignore[arg-type]


def settle() -> None:
    """Before the end: give what was written a moment."""
    with suppress(ValueError):  # closed already
        sys.stdout.flush()
        sys.stderr.flush()
    for spool in _spools.values():
        spool.settle(FAREWELL)
