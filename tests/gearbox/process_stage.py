"""Watching other processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio


def is_alive(pid: int) -> bool:
    """A zombie waiting for its parent counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], bool], timeout: float = 10) -> None:
    """Wait for what another process does; nothing in this one could tell."""
    with trio.fail_after(timeout):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)
