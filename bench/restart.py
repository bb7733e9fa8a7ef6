"""How long `g-core` takes to start on a database with many jobs, and what it costs when nothing happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from bench.figures import Bench, Effort, Metric, Sample
from bench.machine import cpu_seconds, free_port, resident_mib
from gearbox.job import NewJob, Reported, Status
from gearbox.steps import life
from gearbox.store import Moment, Result, Store, open_store

__all__ = ["BENCHES", "start"]

FINISHED = 100_000
SCHEDULED = 1_000
BATCH = 250


def measure(effort: Effort) -> Sample:
    """Fill a database, start `g-core` on it, and watch it idle."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gearbox.db"
        fill(path, effort.count(FINISHED), effort.count(SCHEDULED))
        began = time.perf_counter()
        process, _ = start(path)
        try:
            took = time.perf_counter() - began
            idle = 10 * effort.seconds
            before = cpu_seconds(process.pid)
            time.sleep(idle)
            used = 100 * (cpu_seconds(process.pid) - before) / idle
            return {
                "start": took,
                "idle": used,
                "resident": resident_mib(process.pid),
                "database": path.stat().st_size / 2**20,
            }
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def fill(path: Path, finished: int, scheduled: int) -> None:
    """Jobs as a core would have left them, without Gearman."""
    store = open_store(str(path))
    for start in range(0, finished, BATCH):
        wanted = [NewJob("bench::job", arguments='["x"]')] * min(BATCH, finished - start)
        ids = queue(store, wanted)
        done = Reported(Status.COMPLETE, '"result"')
        store.run_batch([partial(life.report, id, 1, done) for id in ids], now())
    for start in range(0, scheduled, BATCH):
        days = [time.time() + 86400 * (1 + n) for n in range(start, min(start + BATCH, scheduled))]
        queue(store, [NewJob("bench::job", after_date=day) for day in days])
    store.close()


def queue(store: Store, jobs: list[NewJob]) -> list[int]:
    outcomes = store.run_batch([partial(life.queue, job) for job in jobs], now()).outcomes
    return [outcome.value for outcome in outcomes if isinstance(outcome, Result)]


def now() -> Moment:
    return Moment(time.time(), "bench", since=0.0, workers={"bench::job": 1})


def start(path: Path) -> tuple[subprocess.Popen[str], str]:
    """A `g-core` that serves, and its address."""
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [Path(sys.executable).parent / "g-core"],
        env=os.environ | {"GEARBOX_DATABASE": str(path), "GEARBOX_LISTEN": address, "GEARBOX_HTTP": "off"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    if "serves" not in line:
        sys.exit(line + process.stderr.read())
    return process, address


BENCHES = [
    Bench(
        "restart",
        f"g-core on a database with {FINISHED:,} finished and {SCHEDULED:,} scheduled jobs",
        (
            Metric("start", "s", is_main=True, more_is_better=False),
            Metric("idle", "% cpu", more_is_better=False),
            Metric("resident", "MiB", more_is_better=False),
            Metric("database", "MiB", more_is_better=False),
        ),
        lambda: {"gearbox": measure},
        rounds=3,
    )
]
