"""Running jobs whose core is killed, or does not want them any more."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gearbox.blocking import connect
from gearbox.errors import RpcError

LONG = float(os.environ.get("GEARBOX_TEST_LONG", "12"))  # s; the full run is 80, more than a core waits for its workers


def test_a_long_job_outlives_its_core(gearbox: Any, tmp_path: Path) -> None:
    core = gearbox.core()
    runs = tmp_path / "runs"
    gearbox.worker("-q", "-I", "append", "a::long", "sh", "-c", f'echo run >> {runs}; sleep "$1"; echo done', "sh")
    with connect([gearbox.address]) as api:
        id = api.queue("a::long", [str(LONG)])
        gearbox.wait_for(runs.exists)
        core.send_signal(signal.SIGKILL)
        core.wait()
        gearbox.core()
        assert api.watch(id) == "done\n"
    assert runs.read_text() == "run\n"


def test_cancel_kills_the_command(gearbox: Any, tmp_path: Path) -> None:
    gearbox.core()
    pid_file = tmp_path / "pid"
    gearbox.worker(
        "-q", "a::long", "sh", "-c", f"sleep 1000 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait"
    )
    with connect([gearbox.address], who="the test") as api:
        id = api.queue("a::long")
        gearbox.wait_for(pid_file.exists)
        command = Path(f"/proc/{pid_file.read_text().strip()}/cmdline")
        assert command.read_bytes()
        assert api.cancel(id, "no longer wanted")
        with pytest.raises(RpcError) as cancelled:
            api.watch(id)
        assert cancelled.value.code == -28499
        gearbox.wait_for(lambda: not command.exists() or not command.read_bytes())
        events = api.history(id)["events"]
        assert events[-1]["to"] == "invalid"
        assert "the test" in events[-1]["who"]


def test_the_command_of_a_stopped_worker_is_killed_before_its_job_is_given_away(gearbox: Any, tmp_path: Path) -> None:
    gearbox.core()
    pid_file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait"
    worker = gearbox.worker("-q", "a::long", "sh", "-c", script)
    with connect([gearbox.address]) as api:
        id = api.queue("a::long")
        gearbox.wait_for(pid_file.exists)
        command = Path(f"/proc/{pid_file.read_text().strip()}/cmdline")
        worker.send_signal(signal.SIGSTOP)
        try:
            gearbox.wait_for(lambda: not command.exists() or not command.read_bytes(), 60)
            assert api.status([id])[0]["status"] == "running"
        finally:
            worker.send_signal(signal.SIGCONT)
        with pytest.raises(RpcError) as failed:
            api.watch(id)
        assert failed.value.code == -28504


def test_progress_is_seen_while_a_command_runs(gearbox: Any, tmp_path: Path) -> None:
    gearbox.core()
    go = tmp_path / "go"
    script = f'echo 42 > "$GEARBOX_PROGRESS"; until test -e {go}; do sleep 0.1; done'
    gearbox.worker("-q", "a::steps", "sh", "-c", script)
    with connect([gearbox.address]) as api:
        id = api.queue("a::steps")
        gearbox.wait_for(lambda: api.status([id])[0]["progress"])
        assert api.status([id])[0]["progress"]["n"] == 42
        go.touch()
        assert api.watch(id) == ""
