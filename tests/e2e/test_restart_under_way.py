"""A broker that is killed while a thousand jobs run: they finish on their first attempt, and none is lost (I17)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import trio

from gearbox.client import open_gearbox

JOBS = int(os.environ.get("GEARBOX_TEST_RUNNING", "300"))  # the full number is 1,000
WORKER = """
import sys
import trio
from gearbox.worker import Worker

address, jobs, ledger = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "a", buffering=1)
worker = Worker([address])

@worker.method("many::sleep", concurrency=jobs)
async def sleep(n: int) -> int:
    ledger.write(f"{n}\\n")
    await trio.sleep(10)
    return n

worker.run()
"""


def test_running_jobs_outlive_the_broker(gearbox: Any, tmp_path: Path) -> None:
    trio.run(kill_while_running, gearbox, tmp_path)


async def kill_while_running(gearbox: Any, tmp_path: Path) -> None:
    core = gearbox.core()
    ledger = tmp_path / "ran"
    command = [sys.executable, "-c", WORKER, gearbox.address, str(JOBS), str(ledger)]
    gearbox.processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True))  # noqa: ASYNC220
    gearbox.wait_for(lambda: any(row[0] == "many::sleep" and row[3] != "0" for row in gearbox.functions()))
    async with open_gearbox([gearbox.address], connect_timeout=30) as g:
        ids = await g.queue_many([{"name": "many::sleep", "args": [n]} for n in range(JOBS)])
        with trio.fail_after(30):
            while len(ledger.read_text().split()) < JOBS:  # noqa: ASYNC110
                await trio.sleep(0.1)
        core.send_signal(signal.SIGKILL)
        core.wait()
        await trio.to_thread.run_sync(gearbox.core)

        results: dict[int, int] = {}

        async def watch(id: int) -> None:
            results[id] = await g.watch(id)

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for id in ids:
                    nursery.start_soon(watch, id)
        attempts = Counter([len((await g.history(id))["attempts"]) for id in ids])
    assert results == dict(zip(ids, range(JOBS), strict=True))
    runs = Counter(ledger.read_text().split())
    assert max(runs.values()) == 1
    assert attempts == {1: JOBS}
