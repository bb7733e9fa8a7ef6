"""The process around a server: going into the background, user, log, signals, and what systemd is told."""

from __future__ import annotations

import gc
import logging
import os
import pwd
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from abraxas_py.errors import AbraxasError
from abraxas_py.logs import SYSLOG, LogFile, Syslog, open_log
from abraxas_py.server import Server

__all__ = [
    "ProcessError",
    "daemonise",
    "log_to",
    "notify",
    "obey_signals",
    "pid_file",
    "spare_collector",
    "switch_user",
    "watchdog",
]

log = logging.getLogger("abraxas.process")

LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"


class ProcessError(AbraxasError):
    """Something that was asked for on the command line cannot be had; the text names the flag."""


def spare_collector() -> None:
    """Have the garbage collector look at waiting jobs less often: they are no garbage, and nearly all there is.

    With its defaults it took a fifth of the time of a submission. What becomes garbage here has no cycles, except a
    few for each connection, so a collection every 100,000 objects is soon enough.
    """
    if hasattr(gc, "freeze"):  # PyPy's collector goes over what is young, as it is
        gc.freeze()
        gc.set_threshold(100_000)


def daemonise() -> None:
    """Go on in the background, without a terminal; the parent ends here. Before any thread or trio run."""
    for _ in range(2):  # the second time, so that no terminal can become ours by opening one
        if os.fork():
            os._exit(0)
        with suppress(OSError):
            os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def log_to(target: str, level: int, *, has_syslog: bool = False) -> None:
    """Have the server's log written to `stderr`, `none` or a file, and to syslog. Raises ProcessError.

    The file is opened anew whenever it was moved away, and never through a link.
    """
    handler: logging.Handler
    if has_syslog:
        if not os.path.exists(SYSLOG):
            raise ProcessError(f"--syslog: there is no {SYSLOG} on this machine; --log-file=FILE writes to a file")
        handler = Syslog()
    elif target == "stderr":
        handler = logging.StreamHandler(sys.stderr)
    elif target == "none":
        handler = logging.NullHandler()
    else:
        if os.path.islink(target):
            raise ProcessError(f"--log-file: {target} is a symbolic link")
        try:
            file = open_log(target)
        except OSError as error:
            raise ProcessError(f"--log-file: cannot write to {target}: {error.strerror}") from error
        handler = logging.StreamHandler(LogFile(target, _complain, file))
    handler.setFormatter(_OneLine(LINE))
    root = logging.getLogger("abraxas")
    root.addHandler(handler)
    root.setLevel(level)


def _complain(problem: str) -> None:
    print(f"abraxas: {problem}", file=sys.stderr)


class _OneLine(logging.Formatter):
    """What peers sent must not forge lines of the log."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.exc_info:
            return text
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@contextmanager
def pid_file(path: str) -> Iterator[None]:
    """Keep a file with our process id while the block runs. Raises ProcessError."""
    if not path:
        yield
        return
    try:
        Path(path).write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise ProcessError(f"--pid-file: cannot write {path}: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            if Path(path).is_file():  # a device such as /dev/null stays
                os.unlink(path)


def switch_user(name: str) -> None:
    """Give up the rights of root for those of a user; nothing where we are that user already. Raises ProcessError."""
    try:
        user = pwd.getpwnam(name)
        if os.geteuid() == user.pw_uid:
            return
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except KeyError as error:
        raise ProcessError(f"--user: there is no user {name}") from error
    except OSError as error:
        raise ProcessError(f"--user: cannot become {name}: {error.strerror} (only root can)") from error


def allow_descriptors(count: int) -> None:
    """Raise (or lower) how many connections the process may have. Raises ProcessError."""
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))
    except (OSError, ValueError) as error:
        raise ProcessError(f"--file-descriptors: cannot have {count}: {error}") from error


def notify(message: str) -> None:
    """Tell systemd, where it started us (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.connect("\0" + address[1:] if address.startswith("@") else address)
            notifier.sendall(message.encode())


async def watchdog() -> None:
    """Tell systemd's watchdog that the loop turns, twice in its interval; returns at once where there is none."""
    interval = int(os.environ.get("WATCHDOG_USEC", 0)) / 2_000_000
    while interval > 0:
        notify("WATCHDOG=1")
        await trio.sleep(interval)


async def obey_signals(server: Server, drain_timeout: float, *, task_status: trio.TaskStatus[None]) -> None:
    """TERM, INT and USR1 drain and then stop; the second of them stops at once. HUP writes to the log, no more."""
    stopping = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    with trio.open_signal_receiver(*stopping, signal.SIGHUP) as signals:
        task_status.started()
        is_draining = False
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if number == signal.SIGHUP:
                    log.info("log reopened")  # which this line does, if it was moved away
                elif is_draining:
                    server.stop()
                else:
                    is_draining = True
                    log.info("draining signal=%s timeout=%g", signal.Signals(number).name, drain_timeout)
                    notify("STOPPING=1")
                    server.stop(drain=True)
                    nursery.start_soon(_stop_after, server, drain_timeout)


async def _stop_after(server: Server, seconds: float) -> None:
    await trio.sleep(seconds)
    server.stop()
