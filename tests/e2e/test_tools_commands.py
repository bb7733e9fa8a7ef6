"""g-client's further commands and workers in Python, against a real g-core."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from gearbox.blocking import connect

WORKER = """
import sys
from gearbox.errors import RpcError
from gearbox.worker import Worker, current_job

worker = Worker([sys.argv[1]], stop_timeout=5)

@worker.method("py::square", concurrency=2)
def square(number):
    return number * number

@worker.method("py::total")
async def total():
    return sum(one["result"] for one in current_job().pool)

@worker.method("py::fail")
async def fail():
    raise RpcError(42, "no", {"k": 1})

worker.run()
"""


def python_worker(gearbox: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", WORKER, gearbox.address], text=True)
    gearbox.processes.append(process)
    gearbox.wait_for(lambda: {"py::square", "py::total", "py::fail"} <= {row[0] for row in gearbox.functions()})
    return process


def test_a_pool_in_python_from_a_file_with_its_graph_and_history(gearbox: Any, tmp_path: Path) -> None:
    gearbox.core()
    worker = python_worker(gearbox)
    jobs = [{"name": "py::square", "args": [n], "before_ref": "total"} for n in range(1, 11)]
    file = tmp_path / "jobs.json"
    file.write_text(json.dumps([*jobs, {"name": "py::total", "ref": "total"}]))
    queued = gearbox.client("queue-many", "-q", str(file))
    ids = [int(line) for line in queued.stdout.splitlines()]
    assert len(ids) == 11, queued
    assert gearbox.client("watch", "-q", str(ids[-1])).stdout == "385\n"

    tree = gearbox.client("graph", str(ids[-1])).stdout.splitlines()
    assert tree[0] == f"{ids[-1]} py::total  complete  <=="
    assert len(tree) == 11
    assert gearbox.client("graph", "-O", "svg", str(ids[0])).stdout.startswith("<svg ")
    assert gearbox.client("graph", "-O", "dot", str(ids[0])).stdout.startswith("digraph ")
    history = gearbox.client("history", str(ids[-1])).stdout
    assert "its pool is not done" in history
    assert "(g-client)" in history
    assert "  #1  claimed " in history
    assert f"job {ids[0]} was completed" in gearbox.client("why", str(ids[0])).stdout
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0


def test_a_failed_pool_is_retried_as_a_whole(gearbox: Any) -> None:
    gearbox.core()
    python_worker(gearbox)
    with connect([gearbox.address], who="the test") as api:
        end, good, bad = api.queue_many(
            [
                {"name": "py::total", "ref": "end"},
                {"name": "py::square", "args": [3], "before_ref": "end"},
                {"name": "py::fail", "before_ref": "end"},
            ]
        )
        failed = gearbox.client("watch", "-q", str(bad))
        assert (failed.returncode, failed.stderr) == (1, "code: 42\nmessage: no\ndata: { k: 1 }\n")
        assert "-28524" in gearbox.client("watch", "-q", str(end)).stderr
        retried = gearbox.client("retry", str(end))
        assert retried.returncode == 0, retried
        again = int(retried.stdout)
        assert f"=== Job {bad} is retried as " in retried.stderr
        gearbox.client("watch", "-q", str(again))
        graph = api.graph(good)
        assert {"from": end, "to": again, "kind": "retry"} in graph["edges"]


def test_methods_are_paused_limited_and_scheduled(gearbox: Any) -> None:
    gearbox.core()
    python_worker(gearbox)
    assert gearbox.client("pause", "py::square").returncode == 0
    id = gearbox.client("queue", "-q", "-J", "py::square", "[5]").stdout.strip()
    assert "its method py::square is paused" in gearbox.client("why", id).stdout
    (row,) = [row for row in json.loads(gearbox.client("methods", "--json").stdout) if row["method"] == "py::square"]
    assert row["is_paused"]
    assert "(paused)" in gearbox.client("top").stdout
    assert gearbox.client("resume", "py::square").returncode == 0
    assert gearbox.client("watch", "-q", id).stdout == "25\n"
    assert gearbox.client("limit", "py::square", "1").returncode == 0

    entry = gearbox.client("schedule", "-J", "nightly", "0 3 * * *", "py::square", "[7]", "--timezone", "Europe/Berlin")
    assert "Europe/Berlin" in entry.stdout, entry
    now = gearbox.client("run-now", "-q", "nightly").stdout.strip()
    assert gearbox.client("watch", "-q", now).stdout == "49\n"
    assert json.loads(gearbox.client("schedules", "--json").stdout)[0]["last_job"] == int(now)
    assert gearbox.client("unschedule", "nightly").stderr == "=== nightly is forgotten\n"
    assert json.loads(gearbox.client("schedules", "--json").stdout) == []


def test_a_try_that_runs_too_long_is_stopped(gearbox: Any) -> None:
    gearbox.core()
    gearbox.worker("-q", "a::long", "sleep", "1000")
    stopped = gearbox.client("run", "-q", "--run-limit", "1", "a::long")
    assert stopped.returncode == 1
    assert "code: -28408\n" in stopped.stderr
    expired = gearbox.client("run", "-q", "--expires", "in 1 second", "--after", "in 1 hour", "a::long")
    assert "code: -28410\n" in expired.stderr
