"""A method's log file: a line for each event of its jobs.

    21 Nov 26 16:26:39 [000.012345] ==> Starting job (136)

First the time by the machine's clock and zone, then the seconds since the job was assigned, to the microsecond. (The
original's last digits were milliseconds with zeros before them.)

The path comes from the operator alone. The file is opened for appending, never through a symbolic link, and readable
for its group; control characters are escaped, so that no job can forge a line. Whatever fails here is told once and
costs no job anything; nor does a disk that hangs, for the file is a thread's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from abraxas_py.logs import LogFile
from gearbox.cli.debug import printable

__all__ = ["JobLog", "Log", "NoLog", "format_lines"]


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

    def close(self) -> None:
        """No more lines will come."""


class NoLog:
    """For methods without a log."""

    def write(self, elapsed: float, *lines: str) -> None: ...

    def close(self) -> None: ...


class JobLog:
    """A log in a file. `complain` is told of the first failure, and of the next only after a success."""

    def __init__(self, path: str, *, is_timed: bool = True, complain: Callable[[str], object]) -> None:
        self._file = LogFile(path, complain)
        self._is_timed = is_timed

    def write(self, elapsed: float, *lines: str) -> None:
        self._file.write(format_lines(lines, datetime.now() if self._is_timed else None, elapsed))

    def close(self) -> None:
        self._file.close()
