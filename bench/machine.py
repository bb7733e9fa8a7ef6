"""Processes under measurement: started, waited for, looked at (Linux's /proc), and stopped."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["can_hold", "cpu_seconds", "free_port", "held", "resident_mib", "running", "wait_for_port"]

CONTROL_GROUPS = Path("/sys/fs/cgroup")
PERIOD = 10_000  # µs in which a process that is held gets its share; short, since it may stop while it holds a lock
START_TIMEOUT = 30.0  # s
STOP_TIMEOUT = 10.0  # s


def free_port() -> int:
    """A port below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str] | None = None, folder: str | None = None
) -> Iterator[int]:
    """A quiet process, for the time of a block: its id."""
    process = subprocess.Popen(
        command,
        env=os.environ | (environment or {}),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(port: int) -> None:
    """Wait until something listens there."""
    until = time.monotonic() + START_TIMEOUT
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        if time.monotonic() > until:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.02)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """How much of a process is in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def can_hold() -> bool:
    """Whether processes can be held to a share of a processor here: it takes root, and Linux' control groups."""
    folder = _controller()
    return folder is not None and os.access(folder, os.W_OK)


@contextmanager
def held(pid: int, share: float) -> Iterator[None]:
    """Give a process, and those that it starts from now on, a share of one processor at most, for a block's time."""
    parent = _controller()
    assert parent is not None
    folder = parent / f"bench-{pid}"
    folder.mkdir()
    quota = round(PERIOD * share)
    if parent.name == "cpu":
        (folder / "cpu.cfs_period_us").write_text(f"{PERIOD}")
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}")
    else:
        (parent / "cgroup.subtree_control").write_text("+cpu")
        (folder / "cpu.max").write_text(f"{quota} {PERIOD}")
    (folder / "cgroup.procs").write_text(f"{pid}")
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            (parent / "cgroup.procs").write_text(f"{pid}")
        folder.rmdir()


def _controller() -> Path | None:
    """The folder of the processor's controller, of the first or the second kind."""
    first, second = CONTROL_GROUPS / "cpu", CONTROL_GROUPS / "cgroup.controllers"
    if (first / "cpu.cfs_quota_us").exists():
        return first
    return CONTROL_GROUPS if second.exists() and "cpu" in second.read_text().split() else None
