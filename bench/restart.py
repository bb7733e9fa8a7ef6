"""How long `g-core` takes to start on a database with many jobs, and what it costs when nothing happens.

`python -m bench restart [FINISHED] [SCHEDULED]`: fills a database with so many jobs (100,000 and 1,000), starts
`g-core` on it three times, and then watches it idle.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from gearbox.job import NewJob, Reported, Status
from gearbox.steps import life
from gearbox.store import Moment, Result, Store, open_store

BATCH = 250
STARTS = 3
IDLE = 20.0  # s


def main(finished: int = 100_000, scheduled: int = 1_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gearbox.db"
        began = time.perf_counter()
        fill(path, finished, scheduled)
        took = time.perf_counter() - began
        print(
            f"filled: {finished} finished, {scheduled} scheduled, {path.stat().st_size / 2**20:.0f} MiB, {took:.1f} s"
        )
        for _ in range(STARTS):
            began = time.perf_counter()
            process, _ = start(path)
            print(f"start to serving: {time.perf_counter() - began:.2f} s")
            process.send_signal(signal.SIGKILL)
            process.wait()
        process, _ = start(path)
        before = cpu_seconds(process.pid)
        time.sleep(IDLE)
        used = cpu_seconds(process.pid) - before
        print(f"idle: {100 * used / IDLE:.2f} % CPU, {resident_mib(process.pid):.0f} MiB resident")
        process.terminate()
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    process = subprocess.Popen(
        [Path(sys.executable).parent / "g-core"],
        env=os.environ | {"GEARBOX_DATABASE": str(path), "GEARBOX_LISTEN": address},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    if "serves" not in line:
        sys.exit(line + process.stderr.read())
    return process, address


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
