"""What the tools and the Python API do while g-core is killed and comes back."""

from __future__ import annotations

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gearbox.blocking import connect

KILLS = 3
RETRIES = 30  # a second apart: a job that is new after a restart fails until the workers are back


def test_every_call_of_queue_ends_with_one_job_while_the_core_is_killed(gearbox: Any) -> None:
    core = gearbox.core()
    gearbox.worker("-q", "-I", "append", "-j", "4", "a::echo", "echo")
    done = threading.Event()
    ids: dict[int, str] = {}

    def queue(number: int) -> None:
        with connect([gearbox.address]) as api:
            n = 0
            while not done.is_set():
                n += 1
                id = api.queue("a::echo", [f"{number}.{n}"], max_retries=RETRIES)
                assert id not in ids
                ids[id] = f"{number}.{n}\n"

    def run(number: int) -> None:
        n = 0
        while not done.is_set():
            n += 1
            text = f"tool {number}.{n}"
            ended = gearbox.client("run", "-q", "--retries", str(RETRIES), "a::echo", text)
            assert (ended.returncode, ended.stdout) == (0, f"{text}\n\n"), ended

    with ThreadPoolExecutor(4) as threads:
        tasks = [threads.submit(queue, 1), threads.submit(queue, 2), threads.submit(run, 3), threads.submit(run, 4)]
        for _ in range(KILLS):
            time.sleep(1.0)  # of load
            core.send_signal(signal.SIGKILL)
            core.wait()
            core = gearbox.core()
        done.set()
        for task in tasks:
            task.result(60)

    assert len(ids) > 10 * KILLS
    with connect([gearbox.address]) as api:
        for id, text in ids.items():
            assert api.watch(id) == text
        stats = api.stats("a::echo")
        texts = [row["arguments"][0] for row in api.status(range(1, stats["totalRuns"] + 1))]
    assert len(texts) == len(set(texts)) == stats["totalRuns"], "a call was carried out twice"


def test_g_client_waits_for_a_server_that_comes_back(gearbox: Any) -> None:
    core = gearbox.core()
    gearbox.worker("-q", "-I", "append", "a::slow", "sh", "-c", 'sleep 3; echo "$1"', "sh")
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(gearbox.client, "run", "a::slow", "x")
        gearbox.wait_for(lambda: any(row[0] == "a::slow" and row[2] == "1" for row in gearbox.functions()))
        core.send_signal(signal.SIGKILL)
        core.wait()
        gearbox.core()
        ended = running.result(60)
    assert (ended.returncode, ended.stdout) == (0, "x\n\n"), ended
    assert "=== Lost the connection, trying again\n" in ended.stderr
    rows = json.loads(gearbox.client("status", "-q", "-O", "json", "1", "2").stdout)
    assert [row["id"] for row in rows] == [1]
