"""Faults of the machine and the network around a core with a broker and a database of its own, under load.

No acknowledged job is lost, none is executed by two workers at once, none ends otherwise than complete, and no process
has to be started anew but those that the fault ended.

In CI one round of each fault; `GEARBOX_TEST_FAULT_ROUNDS=50 pytest tests/faults/test_processes.py` for a campaign.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import disk_stage
import pytest
import trio
from disk_stage import IO_ERROR
from trial_stage import LONGEST, ROUNDS, Fault, Trial, embedded, under_load

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


async def stop_the_core(trial: Trial) -> None:
    trial.core.stop()
    await trio.sleep(trial.chance.uniform(0.3, LONGEST))
    trial.core.cont()


async def stop_the_worker(trial: Trial) -> None:
    trial.worker.stop()
    await trio.sleep(trial.chance.uniform(0.3, LONGEST))
    trial.worker.cont()


async def kill_the_worker(trial: Trial) -> None:
    trial.worker.kill()
    await trio.sleep(trial.chance.uniform(0.05, LONGEST))
    await trio.to_thread.run_sync(trial.worker.start)


async def cut(trial: Trial, way: str, **how: bool | float) -> None:
    proxy = getattr(trial, way)
    proxy.set(**how)
    await trio.sleep(trial.chance.uniform(0.5, LONGEST))
    proxy.set()


async def reset_within_a_packet(trial: Trial) -> None:
    for way in (trial.workers_way, trial.clients_way):
        way.reset_after(trial.chance.randint(0, 3000))
        await trio.sleep(trial.chance.uniform(0.3, 1))
        way.set()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(stop_the_core, id="the core is stopped"),
        pytest.param(stop_the_worker, id="the worker is stopped"),
        pytest.param(partial(cut, way="workers_way", is_up_cut=True), id="the worker is not heard"),
        pytest.param(partial(cut, way="workers_way", is_down_cut=True), id="the worker hears nothing"),
        pytest.param(partial(cut, way="clients_way", is_down_cut=True), id="clients hear nothing"),
        pytest.param(partial(cut, way="workers_way", delay=0.5), id="half a second for each piece"),
        pytest.param(reset_within_a_packet, id="connections break within a packet"),
    ],
)
def test_nothing_is_lost_and_nothing_runs_twice_at_once(fault: Fault, tmp_path: Path) -> None:
    trial = trio.run(under_load, tmp_path, embedded, fault)
    assert trial.core.lives == trial.worker.lives == 1


def test_the_worker_is_killed(tmp_path: Path) -> None:
    trial = trio.run(under_load, tmp_path, embedded, kill_the_worker)
    assert trial.core.lives == 1


def test_a_disk_that_fails_to_sync_ends_the_core_and_the_next_start_goes_on(disk: Path, tmp_path: Path) -> None:
    statuses = []
    armed = tmp_path / "armed"

    async def start_again(trial: Trial) -> None:
        """As a supervisor does."""
        armed.touch()
        with trio.fail_after(20):
            while trial.core.is_running:  # noqa: ASYNC110 -- a process tells nobody
                await trio.sleep(0.05)
        assert "the disk of the database" in trial.core.said()
        statuses.append(trial.core.status)
        trial.core.environment = {name: text for name, text in trial.core.environment.items() if name != "LD_PRELOAD"}
        await trio.to_thread.run_sync(trial.core.start)

    environment = disk_stage.faults(disk, "eio", "sync", 5, DISK_ARMED=str(armed))
    trio.run(under_load, tmp_path, partial(embedded, **environment), start_again, 1)
    assert statuses == [IO_ERROR]


def test_a_full_disk_refuses_jobs_and_needs_no_restart(disk: Path, tmp_path: Path) -> None:
    armed, freed = tmp_path / "armed", tmp_path / "freed"

    async def free(trial: Trial) -> None:
        armed.touch()
        with trio.fail_after(20):
            while len(trial.refused) < 5:  # noqa: ASYNC110
                await trio.sleep(0.05)
        freed.touch()

    environment = disk_stage.faults(disk, "full", "write", 5, DISK_ARMED=str(armed), DISK_FREED=str(freed))
    trial = trio.run(under_load, tmp_path, partial(embedded, **environment), free, 1)
    assert set(trial.refused) == {507}
    assert trial.core.lives == trial.worker.lives == 1


@pytest.mark.parametrize("jump", ["+1h", "-10y"] if ROUNDS == 1 else ["+1h", "-1h", "+10y", "-10y"])
def test_the_clock_jumps(jump: str, tmp_path: Path) -> None:
    if not Path(FAKETIME).exists():
        if os.environ.get("CI"):
            pytest.fail("libfaketime is missing (Debian: faketime)")
        pytest.skip("libfaketime is missing (Debian: faketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0")

    async def set_the_clock(trial: Trial) -> None:
        """There, and in the next round back."""
        clock.write_text(jump if clock.read_text() == "+0" else "+0")
        await trio.sleep(2)

    environment = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    trial = trio.run(under_load, tmp_path, partial(embedded, **environment), set_the_clock)
    assert trial.core.lives == trial.worker.lives == 1
