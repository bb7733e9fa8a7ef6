"""Jobs that do nothing, from the call of `queue` to `complete`: what the scheduler costs.

`g-core` on an empty SQLite file and one worker process; first one job at a time (latency), then many from 64 callers at
once (throughput). Everything is durable before it is acknowledged: queue call, leave to start, result.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio

from abraxas_py import open_admin
from bench.figures import Bench, Effort, Metric, Sample
from bench.machine import cpu_seconds
from bench.peers import peers
from bench.restart import start
from gearbox.client import Gearbox, open_gearbox

__all__ = ["BENCHES"]

OURS = "gearbox (SQLite)"
JOBS = 20_000
SINGLE = 200  # jobs one at a time
CALLERS = 64
BATCH = 64  # calls in one Gearman job, by those who make batches themselves
METHOD = "bench::nothing"
WORKER = f"""
import sys
from gearbox.worker import Worker
worker = Worker([sys.argv[1]])
@worker.method({METHOD!r}, concurrency=64)
async def nothing():
    return None
worker.run()
"""


def durable(effort: Effort) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        core, address = start(Path(folder) / "gearbox.db")
        worker = subprocess.Popen([sys.executable, "-c", WORKER, address], stdout=subprocess.DEVNULL)
        try:
            return trio.run(measure, address, effort.count(JOBS))
        finally:
            for process in (worker, core):
                process.terminate()
                process.wait()


async def measure(address: str, jobs: int) -> Sample:
    await wait_for_worker(address)
    async with open_gearbox([address]) as gearbox:
        took = []
        for _ in range(SINGLE):
            began = time.perf_counter()
            await gearbox.watch(await gearbox.queue(METHOD))
            took.append(1000 * (time.perf_counter() - began))
        quantiles = statistics.quantiles(took, n=100)

        began = time.perf_counter()
        ids: list[int] = []
        async with trio.open_nursery() as nursery:
            for _ in range(CALLERS):
                nursery.start_soon(queue, gearbox, max(1, jobs // CALLERS), ids)
        queued = time.perf_counter() - began
        while (await gearbox.stats(METHOD))["states"].get("complete", 0) < SINGLE + len(ids):  # noqa: ASYNC110
            await trio.sleep(0.05)
        done = time.perf_counter() - began
        return {
            "complete": len(ids) / done,
            "queued": len(ids) / queued,
            "p50": quantiles[49],
            "p99": quantiles[98],
        }


async def queue(gearbox: Gearbox, jobs: int, ids: list[int]) -> None:
    for _ in range(jobs):
        ids.append(await gearbox.queue(METHOD))


async def wait_for_worker(address: str) -> None:
    with trio.fail_after(20):
        async with open_admin(address) as admin:
            while not any(row.function == METHOD.encode() and row.workers for row in await admin.status()):  # noqa: ASYNC110
                await trio.sleep(0.05)


def bare(gate: str, batch: int, effort: Effort) -> Sample:
    """The same by a caller and a worker that cost nothing (`gearbox_load`), and what the core's process pays a job."""
    with tempfile.TemporaryDirectory() as folder:
        core, address = start(Path(folder) / "gearbox.db")
        load = [sys.executable, "-m", "bench.gearbox_load"]
        host, _, port = address.rpartition(":")
        worker = subprocess.Popen([*load, "work", host, port, "256", gate, str(batch)])
        try:
            trio.run(wait_for_worker, address)
            jobs = effort.count(JOBS)
            before, began = cpu_seconds(core.pid), time.perf_counter()
            caller = [*load, "queue", host, port, str(jobs), "256", str(batch)]
            said = subprocess.run(caller, capture_output=True, text=True)
            if said.returncode:
                raise RuntimeError(said.stderr)
            trio.run(wait_for_end, address, jobs)
            took = time.perf_counter() - began
            cpu = cpu_seconds(core.pid) - before
            return {"complete": jobs / took, "queued": float(said.stdout.split()[0]), "cpu": 1e6 * cpu / jobs}
        finally:
            for process in (worker, core):
                process.terminate()
                process.wait()


async def wait_for_end(address: str, jobs: int) -> None:
    with trio.fail_after(300):
        async with open_gearbox([address]) as gearbox:
            while (await gearbox.stats(METHOD))["states"].get("complete", 0) < jobs:  # noqa: ASYNC110
                await trio.sleep(0.05)


BENCHES = [
    Bench(
        "scheduler",
        "Jobs that do nothing, from queue to complete, durable at every step: 64 callers; latency of one at a time",
        (
            Metric("complete", "jobs/s", is_main=True),
            Metric("queued", "jobs/s"),
            Metric("p50", "ms", is_main=True, more_is_better=False),
            Metric("p99", "ms", more_is_better=False),
            Metric("cpu", "µs of the core a job", more_is_better=False),
        ),
        lambda: {
            OURS: durable,
            "the same, bare caller and worker": partial(bare, "gate", 1),
            "the same, calls in batches": partial(bare, "gate", BATCH),
            "the same, worker without leave": partial(bare, "none", 1),
            "the same, without leave, calls in batches": partial(bare, "none", BATCH),
            **peers(),
        },
        reference=OURS,
    )
]
