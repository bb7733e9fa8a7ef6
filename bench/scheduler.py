"""Jobs that do nothing, from the call of `queue` to `complete`: what the scheduler costs.

`python -m bench scheduler [JOBS]`: starts `g-core` on an empty SQLite file and one worker process; then one job at a
time (latency), and JOBS jobs (5,000) from 64 callers at once (throughput). Everything is durable before it is
acknowledged: queue call, leave to start, result.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

from abraxas_py import open_admin
from bench.restart import start
from gearbox.client import Gearbox, open_gearbox

ROUNDS = 200  # jobs one at a time
CALLERS = 64
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


def main(jobs: int = 5_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        core, address = start(Path(folder) / "gearbox.db")
        worker = subprocess.Popen([sys.executable, "-c", WORKER, address], stdout=subprocess.DEVNULL)
        try:
            trio.run(measure, address, jobs)
        finally:
            for process in (worker, core):
                process.terminate()
                process.wait()


async def measure(address: str, jobs: int) -> None:
    await wait_for_worker(address)
    async with open_gearbox([address]) as gearbox:
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            await gearbox.watch(await gearbox.queue(METHOD))
            took.append(1000 * (time.perf_counter() - began))
        quantiles = statistics.quantiles(took, n=100)
        print(f"one job, queue to result: p50 {quantiles[49]:.1f} ms, p99 {quantiles[98]:.1f} ms ({ROUNDS} jobs)")

        began = time.perf_counter()
        ids: list[int] = []
        async with trio.open_nursery() as nursery:
            for _ in range(CALLERS):
                nursery.start_soon(queue, gearbox, jobs // CALLERS, ids)
        queued = time.perf_counter() - began
        while (await gearbox.stats(METHOD))["states"].get("complete", 0) < ROUNDS + len(ids):  # noqa: ASYNC110
            await trio.sleep(0.05)
        done = time.perf_counter() - began
        print(f"{len(ids)} jobs: queued {len(ids) / queued:.0f}/s, queued and complete {len(ids) / done:.0f}/s")


async def queue(gearbox: Gearbox, jobs: int, ids: list[int]) -> None:
    for _ in range(jobs):
        ids.append(await gearbox.queue(METHOD))


async def wait_for_worker(address: str) -> None:
    with trio.fail_after(20):
        async with open_admin(address) as admin:
            while not any(row.function == METHOD.encode() and row.workers for row in await admin.status()):  # noqa: ASYNC110
                await trio.sleep(0.05)
