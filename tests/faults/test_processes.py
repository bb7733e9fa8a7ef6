"""Faults of the machine and the network around a core, its worker and its clients, under load.

Whatever happens, by the ledgers outside the system: no acknowledged job is lost, none is executed by two workers at
once, none ends otherwise than complete, and no process has to be started anew but those that the fault ended.

In CI one round of each fault; `GEARBOX_TEST_FAULT_ROUNDS=50 pytest tests/faults/test_processes.py` for a campaign.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
import disk_stage
import ledger_stage
import pytest
import trio
from disk_stage import IO_ERROR
from ledger_stage import Acknowledged, Runs
from proxy_stage import Proxy
from site_stage import Program, Site

from abraxas_py import AbraxasError
from gearbox.client import Gearbox, open_gearbox
from gearbox.errors import RpcError
from gearbox.job import Status

ROUNDS = int(os.environ.get("GEARBOX_TEST_FAULT_ROUNDS", "1"))
SEED = int(os.environ.get("GEARBOX_TEST_SEED", "1"))
METHOD = "fault::job"
QUEUERS = 4
WARM_UP = 0.5  # s of load before the first fault
END_TIMEOUT = 150.0  # s for all jobs to end once the faults are over: a lease is 30 s, a missing job's grace 60 s
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@attrs.define
class Trial:
    """A core and a worker under load; clients and worker come by proxies of their own."""

    site: Site
    core: Program
    worker: Program
    clients_way: Proxy
    workers_way: Proxy
    ledger: Acknowledged
    chance: random.Random
    refused: list[int] = attrs.field(factory=list)  # codes of calls that the core refused


Fault = Callable[[Trial], Awaitable[None]]


async def _under_load(folder: Path, fault: Fault, **environment: str) -> Trial:
    """Apply the fault in rounds while jobs are queued and run; then look at the ledgers."""
    with Site(folder) as site:
        core = await trio.to_thread.run_sync(
            partial(site.core, "core", [], GEARBOX_DATABASE=str(folder / "jobs.db"), **environment)
        )
        async with trio.open_nursery() as nursery:
            ways = Proxy(core.address), Proxy(core.address)
            for way in ways:
                await nursery.start(way.serve)
            clients_way, workers_way = ways
            command = ledger_stage.command(folder / "ran")
            worker = await trio.to_thread.run_sync(
                partial(site.worker, "worker", [workers_way], METHOD, command, "-I", "append", "-j", "4")
            )
            ledger = Acknowledged(folder / "acknowledged")
            trial = Trial(site, core, worker, clients_way, workers_way, ledger, random.Random(SEED))
            await _rounds(trial, fault)
            await _all_complete(trial)
            nursery.cancel_scope.cancel()
    runs = Runs.read(folder / "ran")
    assert not runs.overlapped
    assert set(ledger.jobs.values()) <= set(runs.ended)
    ledger.close()
    return trial


async def _rounds(trial: Trial, fault: Fault) -> None:
    done = trio.Event()
    async with open_gearbox([trial.clients_way.address], connect_timeout=5) as gearbox, trio.open_nursery() as nursery:
        for number in range(QUEUERS):
            nursery.start_soon(_queue, trial, gearbox, number, done)
        await trio.sleep(WARM_UP)
        for _ in range(ROUNDS):
            await fault(trial)
            await trio.sleep(trial.chance.uniform(0.2, 0.5))
        done.set()
    assert len(trial.ledger.jobs) >= 5 * ROUNDS


async def _queue(trial: Trial, gearbox: Gearbox, number: int, done: trio.Event) -> None:
    count = 0
    while not done.is_set():
        count += 1
        name = f"{number}.{count}"
        try:
            with trio.fail_after(30):
                id = await gearbox.queue(METHOD, [name, f"0.{count % 3}"], max_retries=20, retry_delay=0.1)
        except RpcError as error:
            trial.refused.append(int(error.code))
        except (AbraxasError, trio.TooSlowError):
            pass  # not acknowledged: it may have been stored or not
        else:
            trial.ledger.note(id, name)
        await trio.sleep(0.05)


async def _all_complete(trial: Trial) -> None:
    assert trial.core.is_running
    ids = list(trial.ledger.jobs)
    rows = []
    with trio.move_on_after(END_TIMEOUT):
        async with open_gearbox([trial.core.address]) as gearbox:
            while True:
                rows = await gearbox.status(ids)
                if all(row["status"] == Status.COMPLETE.value for row in rows):
                    break
                await trio.sleep(0.2)
    open_jobs = [row for row in rows if row["status"] != Status.COMPLETE.value]
    assert not open_jobs, open_jobs[:3]
    assert len(rows) == len(ids), "acknowledged and lost"
    assert all(str(row["data"]).strip() == trial.ledger.jobs[row["id"]] for row in rows), "somebody else's result"


# --- the faults ---


async def stop_the_core(trial: Trial) -> None:
    trial.core.stop()
    await trio.sleep(trial.chance.uniform(0.3, 3))
    trial.core.cont()


async def stop_the_worker(trial: Trial) -> None:
    trial.worker.stop()
    await trio.sleep(trial.chance.uniform(0.3, 3))
    trial.worker.cont()


async def cut(trial: Trial, way: str, **how: bool | float) -> None:
    proxy: Proxy = getattr(trial, way)
    proxy.set(**how)  # type: ignore[arg-type]
    await trio.sleep(trial.chance.uniform(0.5, 3))
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
    trial = trio.run(_under_load, tmp_path, fault)
    assert trial.core.lives == trial.worker.lives == 1


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

    with _one_round():
        trio.run(
            partial(
                _under_load, tmp_path, start_again, **disk_stage.faults(disk, "eio", "sync", 5, DISK_ARMED=str(armed))
            )
        )
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
    with _one_round():
        trial = trio.run(partial(_under_load, tmp_path, free, **environment))
    assert set(trial.refused) == {507}
    assert trial.core.lives == trial.worker.lives == 1


@contextmanager
def _one_round() -> Iterator[None]:
    """For faults that happen once in a process's life."""
    global ROUNDS
    rounds, ROUNDS = ROUNDS, 1
    yield
    ROUNDS = rounds


@pytest.mark.parametrize("jump", ["+1h", "-10y"] if ROUNDS == 1 else ["+1h", "-1h", "+10y", "-10y"])
def test_the_clock_jumps(jump: str, tmp_path: Path) -> None:
    if not Path(FAKETIME).exists():
        if os.environ.get("CI"):
            pytest.fail("libfaketime is missing (Debian: faketime)")
        pytest.skip("libfaketime is missing (Debian: faketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0")

    async def set_the_clock(trial: Trial) -> None:
        clock.write_text(jump)
        await trio.sleep(2)

    environment = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with _one_round():
        trial = trio.run(partial(_under_load, tmp_path, set_the_clock, **environment))
    assert trial.core.lives == trial.worker.lives == 1
