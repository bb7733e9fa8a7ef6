"""Writing that neither waits nor fails, in a thread: for what may hang, be full, or be read by nobody.

What the thread cannot get rid of is dropped beyond a limit, and counted, which is told when it can be written again.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakSet

__all__ = ["LIMIT_BYTES", "Spool", "settle", "write_all"]

LIMIT_BYTES = 2**20  # that may wait
FAREWELL = 1.0  # s at the end of the program, for what still waits


class Spool:
    """Lines, that `write` gets some at a time, in their order. It may block, and raise OSError: then they are lost."""

    def __init__(self, write: Callable[[bytes], object], close: Callable[[], object] = bool) -> None:
        self._write = write
        self._close = close
        self._pieces: deque[bytes] = deque()
        self._bytes = 0  # in pieces, and being written
        self._lost = 0  # lines
        self._is_closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="spool", daemon=True).start()
        _spools.add(self)

    def put(self, data: bytes) -> None:
        """Have it written, or drop it."""
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

    def settle(self, seconds: float = FAREWELL) -> None:
        """Wait until it is written, for so long at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, seconds)

    def close(self) -> None:
        """Nothing more will come: the thread ends when all is written, and has called `close` then."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while data := self._take():
            lost = 0
            try:
                self._write(data)
            except OSError:
                lost = data.count(b"\n")
            with self._changed:
                self._bytes -= len(data)
                self._lost += lost
                self._changed.notify_all()
        self._close()

    def _take(self) -> bytes:
        """What waits; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._is_closed)
            data = b"".join(self._pieces)
            self._pieces.clear()
            return data


def write_all(descriptor: int, data: bytes) -> None:
    """As `os.write`, to the last byte."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


_spools: WeakSet[Spool] = WeakSet()


@atexit.register
def settle() -> None:
    """Before the end: give what waits a moment."""
    until = time.monotonic() + FAREWELL
    for spool in list(_spools):
        spool.settle(max(until - time.monotonic(), 0.0))
