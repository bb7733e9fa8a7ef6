"""The guard, with real processes: nothing that a killed worker started lives on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from process_stage import is_alive, until

from gearbox.work.guard import open_guard


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "1000"], start_new_session=True)


async def test_leaving_kills_what_was_added_and_not_removed() -> None:
    first, second, third = sleeper(), sleeper(), sleeper()
    try:
        async with open_guard() as guard:
            for process in (first, second, third):
                guard.add(process.pid)
            guard.remove(second.pid)
        assert first.wait(10) == third.wait(10) == -signal.SIGKILL
        assert second.poll() is None
    finally:
        second.kill()
        second.wait()


async def test_a_killed_worker_takes_its_commands_along(tmp_path: Path) -> None:
    pid_file, told = tmp_path / "pid", tmp_path / "told"
    program = f"""
import trio
from gearbox.work.child import run
from gearbox.work.guard import open_guard
from gearbox.work.runner import Input, Output
async def main():
    async with open_guard() as guard:
        def started(group):
            guard.add(group)
            open("{told}", "w").close()
        command = "sleep 1000 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait"
        await run(command, Input.IGNORE, Output.STRING, None, started=started, ended=guard.remove)
trio.run(main)
"""
    worker = subprocess.Popen([sys.executable, "-c", program])  # noqa: ASYNC220
    await until(lambda: pid_file.exists() and told.exists(), 20)
    pid = int(pid_file.read_text())
    assert is_alive(pid)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    await until(lambda: not is_alive(pid), 20)


async def test_a_group_that_is_not_held_any_more_is_killed_while_the_worker_is_stopped() -> None:
    held, forgotten, unlimited = sleeper(), sleeper(), sleeper()
    processes = (held, forgotten, unlimited)
    try:
        async with open_guard() as guard:
            for process in processes:
                guard.add(process.pid)
            guard.hold(forgotten.pid, 0.2)
            guard.hold(held.pid, 0.2)
            guard.hold(held.pid, 1000)
            await until(lambda: not is_alive(forgotten.pid), 20)
            assert is_alive(held.pid)
            assert is_alive(unlimited.pid)
    finally:
        for process in processes:
            process.kill()
            process.wait()
