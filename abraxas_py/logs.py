"""Where a log goes: a file or syslog, that a thread writes to, so that one that hangs or is full holds nobody up."""

from __future__ import annotations

import logging
import logging.handlers
import os
import socket
from collections.abc import Callable

from abraxas_py.spool import Spool, write_all

__all__ = ["SYSLOG", "LogFile", "Syslog", "open_log"]

SYSLOG = "/dev/log"
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK  # the last: a FIFO nobody reads
MODE = 0o640


def open_log(path: str) -> int:
    """A descriptor for appending, never through a symbolic link. Raises OSError."""
    return os.open(path, FLAGS, MODE)


class LogFile:
    """A file that text is appended to. It is opened anew when it was moved away, as logrotate does.

    `complain` is told of the first failure, and of the next only after a success. `file` is a descriptor from
    `open_log`, which is ours from now on; for who may give up the right to open it.
    """

    def __init__(self, path: str, complain: Callable[[str], object], file: int | None = None) -> None:
        self._path = path
        self._complain = complain
        self._spool: Spool | None = None  # none, while nothing was to be written
        # The thread's
        self._file = file
        self._has_failed = False

    def write(self, text: str) -> None:
        if self._spool is None:
            self._spool = Spool(self._append, self._close)
        self._spool.put(text.encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Nothing: that is the thread's."""

    def close(self) -> None:
        """Nothing more will come."""
        if self._spool is None:
            self._close()
        else:
            self._spool.close()

    def _append(self, data: bytes) -> None:
        try:
            if self._file is not None and not self._is_in_place(self._file):
                self._close()
            if self._file is None:
                self._file = open_log(self._path)
            write_all(self._file, data)
        except OSError as problem:
            if not self._has_failed:
                self._complain(f"cannot write the log {self._path}: {problem.strerror}; all goes on without it")
            self._has_failed = True
            raise
        self._has_failed = False

    def _is_in_place(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self._path))
        except FileNotFoundError:
            return False
        except PermissionError:  # whoever may not look could not open it anew either
            return True

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Syslog(logging.handlers.SysLogHandler):
    """The machine's log, as a daemon's."""

    socket: socket.socket

    def __init__(self, address: str = SYSLOG) -> None:
        super().__init__(address, facility="daemon")
        self._spool = Spool(self._send, super().close)

    def emit(self, record: logging.LogRecord) -> None:
        priority = self.encodePriority(self.facility, self.mapPriority(record.levelname))
        lines = self.format(record).split("\n")
        self._spool.put("".join(f"<{priority}>{line}\n" for line in lines).encode(errors="backslashreplace"))

    def close(self) -> None:
        """Nothing more will come."""
        self._spool.close()

    def _send(self, data: bytes) -> None:
        for line in data.splitlines():
            try:
                self.socket.send(line)
            except OSError:  # it was started anew
                self.socket.close()
                self.createSocket()
                self.socket.send(line)
