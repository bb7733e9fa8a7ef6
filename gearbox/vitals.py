"""How the process itself is: memory, how late its loop is, how long the database takes to commit."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import attrs
import trio

from gearbox.store.rollups import Bucket, bucket_of

__all__ = ["Vitals", "memory_bytes"]

SAMPLE_EVERY = 1.0  # s between looks at the loop's lateness


@attrs.define
class Vitals:
    """What has been seen since the start. Histograms are by `rollups.bucket_of`."""

    started: float = attrs.field(factory=time.time)
    commits: dict[int, Bucket] = attrs.field(factory=dict)  # s that a transaction took
    lags: dict[int, Bucket] = attrs.field(factory=dict)  # s that the loop was late
    steps: int = 0

    def committed(self, seconds: float, steps: int) -> None:
        self.steps += steps
        self.commits.setdefault(bucket_of(seconds), Bucket()).add(seconds)

    async def watch_loop(self) -> None:
        """Measure how much later than asked for a sleep ends, for ever."""
        while True:
            due = trio.current_time() + SAMPLE_EVERY
            await trio.sleep_until(due)
            lag = max(trio.current_time() - due, 0.0)
            self.lags.setdefault(bucket_of(lag), Bucket()).add(lag)


def memory_bytes() -> int:
    """What the process holds in memory now; where the system does not tell, the most that it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
