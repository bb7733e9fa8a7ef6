"""Kills what a worker leaves behind when it is killed itself.

A worker that gets SIGKILL can clean up nothing: its commands would run on, while their jobs are run again somewhere
else. So it starts a small shell process, tells it the process group of every command, and holds the only other end of
its standard input. When that closes, for whatever reason, the guard kills the groups that were not taken back. (A
worker killed in the moment between starting a command and telling the guard leaves that command running.)

(Linux' PR_SET_PDEATHSIG would do the same for the command alone, not for what the command started, and fires as soon as
the thread ends that started the command.)
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

__all__ = ["Guard", "open_guard"]

SCRIPT = """
trap '' HUP INT TERM
groups=' '
while read -r what group; do
    case $what in
    +) groups="$groups$group " ;;
    -) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done 2>/dev/null
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

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # without a guard the commands still run
            os.write(self._pipe, line.encode())


@asynccontextmanager
async def open_guard() -> AsyncIterator[Guard]:
    """A guard for as long as the block lasts. Leaving the block kills the groups that were not removed."""
    process = subprocess.Popen(  # noqa: ASYNC220 (a millisecond, once)
        ["/bin/sh", "-c", SCRIPT, "gearbox-guard"],
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
