"""Kills what a worker leaves behind when it is killed itself, and what runs on after its lease while it is stopped.

A worker that gets SIGKILL can clean up nothing: its commands would run on, while their jobs are run again somewhere
else. Nor can one that was stopped (SIGSTOP, a frozen container) tell that it lost its lease. So it starts a small
process, tells it the process group of every command and until when it may run, and holds the only other end of its
standard input. When that closes, for whatever reason, the guard kills the groups that were not taken back; when a
group's time has passed, it kills that one. (A worker killed in the moment between starting a command and telling the
guard leaves that command running.)

It is Python without its libraries (8 MB, 20 ms), since POSIX' shell cannot wait for input and a time at once. It counts
on a clock that goes on while the machine sleeps.

(Linux' PR_SET_PDEATHSIG would kill the command alone, not what the command started, and fires as soon as the thread
ends that started the command.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

__all__ = ["Guard", "open_guard"]

SCRIPT = """
import os, select, signal, time
for number in signal.SIGHUP, signal.SIGINT, signal.SIGTERM:
    signal.signal(number, signal.SIG_IGN)
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
LOOK = 5.0  # seconds; select itself does not count while the machine sleeps
ends = {}  # group: when it has to end
rest = b""

def kill(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass

while True:
    left = min(ends.values(), default=float("inf")) - time.clock_gettime(CLOCK)
    if select.select([0], [], [], max(0.0, min(left, LOOK)))[0]:
        piece = os.read(0, 65536)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\\n")
        for line in lines:
            what, group, *seconds = line.split()
            group = int(group)
            if what == b"+":
                ends[group] = float("inf")
            elif what == b"-":
                ends.pop(group, None)
            elif group in ends:
                ends[group] = time.clock_gettime(CLOCK) + float(seconds[0])
    for group, at in ends.items():
        if at <= time.clock_gettime(CLOCK):
            kill(group)
            ends[group] = float("inf")
for group in ends:
    kill(group)
"""

END_TIMEOUT = 5.0  # seconds for the guard to do its last duty


class Guard:
    """Knows the process groups that must not outlive this process."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def add(self, group: int) -> None:
        """This group is to be killed, should we end."""
        self._tell(f"+ {group}\n")

    def remove(self, group: int) -> None:
        """This group has ended."""
        self._tell(f"- {group}\n")

    def hold(self, group: int, seconds: float) -> None:
        """This group is to be killed after that time, unless this is said again before."""
        self._tell(f"= {group} {max(seconds, 0.0):.3f}\n")

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # without a guard the commands still run
            os.write(self._pipe, line.encode())


@asynccontextmanager
async def open_guard() -> AsyncIterator[Guard]:
    """A guard for as long as the block lasts. Leaving the block kills the groups that were not removed."""
    process = subprocess.Popen(  # noqa: ASYNC220 (a millisecond, once)
        [sys.executable, "-I", "-S", "-c", SCRIPT, "gearbox-guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)  # a guard that is stuck must not stop the worker
    try:
        yield Guard(process.stdin.fileno())
    finally:
        process.stdin.close()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(process.wait, END_TIMEOUT)
