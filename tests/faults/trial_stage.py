"""A core, a worker and clients under load, around which something fails; ledgers outside say what came of it.

Whatever happens, no acknowledged job is lost, none is executed by two workers at once, none ends otherwise than
complete. What fails stands in the tests; how often in a row, and from which seed, in the environment.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import ledger_stage
import trio
from ledger_stage import Acknowledged, Runs
from mariadb_stage import MariaDb
from proxy_stage import Proxy
from site_stage import Program, Site

from abraxas_py import AbraxasError
from gearbox.client import Gearbox, open_gearbox
from gearbox.errors import RpcError
from gearbox.job import Status
from gearbox.store.address import MysqlAddress

__all__ = ["LONGEST", "ROUNDS", "Fault", "Outside", "Trial", "embedded", "external", "under_load"]

ROUNDS = int(os.environ.get("GEARBOX_TEST_FAULT_ROUNDS", "1"))
SEED = int(os.environ.get("GEARBOX_TEST_SEED", "1"))
LONGEST = float(os.environ.get("GEARBOX_TEST_FAULT_SECONDS", "3"))  # that a fault lasts
METHOD = "fault::job"
QUEUERS = 4
PAUSE = 0.15  # s of each between its calls: together about what the worker can run
WARM_UP = 0.5  # s of load before the first fault
RESUME_TIMEOUT = 60.0  # s until a job is acknowledged again after a fault
END_TIMEOUT = 150.0  # s for all jobs to end once the faults are over: a lease is 30 s, a missing job's grace 60 s
PACE = 5.0  # jobs/s that a busy machine does at least: while a worker is away, they pile up


@attrs.define
class Outside:
    """What the core uses, where that is not in its own program; `way` is how the core comes to it."""

    gearmand: Program
    gearmands_way: Proxy
    database: MariaDb
    databases_way: Proxy
    account: MysqlAddress


@attrs.define
class Trial:
    """A core and a worker under load; clients and worker come by proxies of their own."""

    core: Program
    worker: Program
    clients_way: Proxy
    workers_way: Proxy
    ledger: Acknowledged
    chance: random.Random
    outside: Outside | None = None
    refused: list[int] = attrs.field(factory=list)  # codes of calls that the core refused
    resumed: list[float] = attrs.field(factory=list)  # s from the end of each fault to the next acknowledged job


Fault = Callable[[Trial], Awaitable[None]]
Ground = Callable[[Path], AbstractAsyncContextManager[Trial]]


@asynccontextmanager
async def embedded(folder: Path, **environment: str) -> AsyncIterator[Trial]:
    """A core with a broker and a database of its own."""
    with Site(folder) as site:
        core = await trio.to_thread.run_sync(
            partial(site.core, "core", [], GEARBOX_DATABASE=str(folder / "jobs.db"), **environment)
        )
        async with trio.open_nursery() as nursery:
            yield await _crew(site, core, core.address, folder, nursery)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def external(folder: Path, gearmand: str, database: MariaDb, account: MysqlAddress) -> AsyncIterator[Trial]:
    """A core with the C++ gearmand and MariaDB."""
    with Site(folder) as site:
        async with trio.open_nursery() as nursery:
            server = await trio.to_thread.run_sync(site.gearmand, "gearmand", gearmand)
            gearmands_way, databases_way = Proxy(server.address), Proxy(f"127.0.0.1:{database.port}")
            for way in (gearmands_way, databases_way):
                await nursery.start(way.serve)
            account = attrs.evolve(account, port=int(databases_way.address.split(":")[1]), unix_socket=None)
            core = await trio.to_thread.run_sync(
                partial(site.core, "core", [gearmands_way], **MariaDb.environment(account))
            )
            trial = await _crew(site, core, server.address, folder, nursery)
            trial.outside = Outside(server, gearmands_way, database, databases_way, account)
            yield trial
            nursery.cancel_scope.cancel()


async def _crew(site: Site, core: Program, server: str, folder: Path, nursery: trio.Nursery) -> Trial:
    clients_way, workers_way = Proxy(server), Proxy(server)
    for way in (clients_way, workers_way):
        await nursery.start(way.serve)
    command = ledger_stage.command(folder / "ran")
    worker = await trio.to_thread.run_sync(
        partial(site.worker, "worker", [workers_way], METHOD, command, "-I", "append", "-j", "4")
    )
    ledger = Acknowledged(folder / "acknowledged")
    return Trial(core, worker, clients_way, workers_way, ledger, random.Random(SEED))


async def under_load(folder: Path, ground: Ground, fault: Fault, rounds: int = ROUNDS) -> Trial:
    """Apply the fault in rounds while jobs are queued and run; then look at the ledgers."""
    async with ground(folder) as trial:
        try:
            await _rounds(trial, fault, rounds)
            await _all_complete(trial)
        finally:
            trial.ledger.close()
    runs = Runs.read(folder / "ran")
    assert not runs.overlapped
    assert set(trial.ledger.jobs.values()) <= set(runs.ended)
    again = sum(runs.started[name] - 1 for name in trial.ledger.jobs.values())
    print(
        f"{rounds} rounds, seed {SEED}: {len(trial.ledger.jobs)} jobs acknowledged, all complete; {again} runs begun "
        f"anew; refused {dict(Counter(trial.refused))}; to the next acknowledged job {max(trial.resumed):.1f} s at most"
    )
    return trial


async def _rounds(trial: Trial, fault: Fault, rounds: int) -> None:
    done = trio.Event()
    async with open_gearbox([trial.clients_way.address], connect_timeout=5) as gearbox, trio.open_nursery() as nursery:
        for number in range(QUEUERS):
            nursery.start_soon(_queue, trial, gearbox, number, done)
        await trio.sleep(WARM_UP)
        for _ in range(rounds):
            await fault(trial)
            known, ended = len(trial.ledger.jobs), trio.current_time()
            with trio.fail_after(RESUME_TIMEOUT):
                while len(trial.ledger.jobs) == known:  # noqa: ASYNC110 -- looked at in hundredths of a second
                    await trio.sleep(0.01)
            trial.resumed.append(trio.current_time() - ended)
            await trio.sleep(trial.chance.uniform(0.2, 0.5))
        done.set()


async def _queue(trial: Trial, gearbox: Gearbox, number: int, done: trio.Event) -> None:
    count = 0
    while not done.is_set():
        count += 1
        name = f"{number}.{count}"
        try:
            with trio.fail_after(30):
                id = await gearbox.queue(METHOD, [name, f"0.{count % 3}"], max_retries=60, retry_delay=0.5)
        except RpcError as error:
            trial.refused.append(int(error.code))
        except (AbraxasError, trio.TooSlowError):
            pass  # not acknowledged: it may have been stored or not
        else:
            trial.ledger.note(id, name)
        await trio.sleep(PAUSE)


async def _all_complete(trial: Trial) -> None:
    assert trial.core.is_running
    ids = list(trial.ledger.jobs)
    rows = []
    with trio.move_on_after(END_TIMEOUT + len(ids) / PACE):
        async with open_gearbox([trial.clients_way.address]) as gearbox:
            while True:
                rows = await gearbox.status(ids)
                if all(row["status"] == Status.COMPLETE.value for row in rows):
                    break
                await trio.sleep(0.2)
    open_jobs = [row for row in rows if row["status"] != Status.COMPLETE.value]
    assert not open_jobs, f"{len(open_jobs)} of {len(ids)}: {open_jobs[:3]}"
    assert len(rows) == len(ids), "acknowledged and lost"
    assert all(str(row["data"]).strip() == trial.ledger.jobs[row["id"]] for row in rows), "somebody else's result"
