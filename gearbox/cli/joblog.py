"""A method's log file: a line for each event of its jobs.

    21 Nov 26 16:26:39 [000.012345] ==> Starting job (136)

First the time by the machine's clock and zone, then the seconds since the job was assigned, to the microsecond. (The
original's last digits were milliseconds with zeros before them.)

The path comes from the operator alone. The file is opened for appending, never through a symbolic link, and readable
for its group; control characters are escaped, so that no job can forge a line. Whatever fails here is told once and
costs no job anything; nor does a disk that hangs, for the file is a thread's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from abraxas_py.spool import Spool, write_all
from gearbox.cli.debug import printable

__all__ = ["JobLog", "Log", "NoLog", "format_lines"]

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK  # the last: a FIFO nobody reads
MODE = 0o640


def format_lines(lines: Sequence[str], now: datetime | None, elapsed: float) -> str:
    r"""Lines of the log; without timestamps if there is no `now`. `elapsed` is in seconds.

    >>> format_lines(["==> Starting job (136)"], datetime(2026, 11, 21, 16, 26, 39), 0.012345)
    '21 Nov 26 16:26:39 [000.012345] ==> Starting job (136)\n'
    """
    prefix = "" if now is None else f"{now.day:02d} {MONTHS[now.month - 1]} {now:%y %H:%M:%S} [{elapsed:010.6f}] "
    return "".join(f"{prefix}{printable(line)}\n" for line in lines)


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # in every locale


class Log(Protocol):
    """Where the events of jobs go."""

    def write(self, elapsed: float, *lines: str) -> None:
        """Add lines, `elapsed` seconds after their job was assigned."""

    def reopen(self) -> None:
        """Go on in a file of the same name: the old one was moved away."""

    def close(self) -> None:
        """No more lines will come."""


class NoLog:
    """For methods without a log."""

    def write(self, elapsed: float, *lines: str) -> None: ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class JobLog:
    """A log in a file. `complain` is told of the first failure, and of the next only after a success."""

    def __init__(self, path: str, *, is_timed: bool = True, complain: Callable[[str], object]) -> None:
        self._path = path
        self._is_timed = is_timed
        self._complain = complain
        self._spool: Spool | None = None  # none, while nothing was to be written
        self._is_moved = False
        # The thread's
        self._file: int | None = None
        self._has_failed = False

    def write(self, elapsed: float, *lines: str) -> None:
        if self._spool is None:
            self._spool = Spool(self._append, self._close)
        self._spool.put(format_lines(lines, datetime.now() if self._is_timed else None, elapsed).encode())

    def reopen(self) -> None:
        self._is_moved = True

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()

    def settle(self) -> None:
        """Give what was written a moment."""
        if self._spool is not None:
            self._spool.settle()

    def _append(self, data: bytes) -> None:
        if self._is_moved:
            self._is_moved = False
            self._close()
        try:
            if self._file is None:
                self._file = os.open(self._path, FLAGS, MODE)
            write_all(self._file, data)
        except OSError as problem:
            if not self._has_failed:
                self._complain(f"cannot write the log {self._path}: {problem.strerror}; jobs go on without it")
            self._has_failed = True
            raise
        self._has_failed = False

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
