"""What a core depends on goes away and comes back, under load: MariaDB, gearmand, and the ways to them.

The core is not started anew. Calls that it cannot store are refused with 503; what it has acknowledged ends as it
should.

In CI one round of some of the faults; `GEARBOX_TEST_FAULT_ROUNDS=50 pytest tests/faults/test_outages.py` for a campaign
of all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import attrs
import pymysql
import pytest
import trio
from mariadb_stage import DURABLE, MariaDb
from trial_stage import LONGEST, ROUNDS, Fault, Outside, Trial, external, under_load

from gearbox.store.address import MysqlAddress

pytestmark = [pytest.mark.mariadb, pytest.mark.gearmand]

UNAVAILABLE = 503


@pytest.fixture
def gearmand() -> str:
    path = shutil.which("gearmand") or shutil.which("gearmand", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        message = "gearmand is missing (Debian: gearman-job-server)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture
def database(mariadb: MariaDb) -> Iterator[tuple[MariaDb, MysqlAddress]]:
    """A server of the test's own, and an account that may not do what an administrator may."""
    with tempfile.TemporaryDirectory(prefix="gearbox", dir=mariadb.folder.parent) as folder:
        server = MariaDb(Path(folder), DURABLE)
        server.install(like=mariadb)
        server.start()
        try:
            with server.database() as address:
                server.sql("CREATE USER someone@'127.0.0.1'")
                server.sql(f"GRANT ALL ON {address.database}.* TO someone@'127.0.0.1'")
                yield server, attrs.evolve(address, user="someone")
        finally:
            server.stop()


async def _last(trial: Trial) -> Outside:
    """Let it last; what is outside the core."""
    assert trial.outside is not None
    await trio.sleep(trial.chance.uniform(0.3, LONGEST))
    return trial.outside


def _outside(trial: Trial) -> Outside:
    assert trial.outside is not None
    return trial.outside


async def kill_the_database(trial: Trial) -> None:
    server = _outside(trial).database
    await trio.to_thread.run_sync(server.stop, SIGKILL)
    await _last(trial)
    await trio.to_thread.run_sync(server.start)


async def stop_the_database(trial: Trial) -> None:
    server = _outside(trial).database
    server.signal(SIGSTOP)
    await _last(trial)
    server.signal(SIGCONT)


async def make_the_database_read_only(trial: Trial) -> None:
    server = _outside(trial).database
    server.sql("SET GLOBAL read_only = 1")
    await _last(trial)
    server.sql("SET GLOBAL read_only = 0")


async def drop_its_connections(trial: Trial) -> None:
    server = _outside(trial).database
    for (number,) in server.sql("SELECT id FROM information_schema.processlist WHERE user = 'someone'"):
        with suppress(pymysql.Error):  # it has just gone by itself
            server.sql(f"KILL {number}")


async def take_all_its_places(trial: Trial) -> None:
    outside = _outside(trial)
    server, account = outside.database, attrs.evolve(outside.account, port=outside.database.port)
    with ExitStack() as others:
        server.sql("SET GLOBAL max_connections = 10")
        await drop_its_connections(trial)
        with suppress(pymysql.Error):
            while True:
                others.enter_context(pymysql.connect(host=account.host, port=account.port, user=account.user))
        await _last(trial)
    server.sql("SET GLOBAL max_connections = 100")


async def lock_its_rows_the_other_way(trial: Trial) -> None:
    """Transactions that deadlock with its own, one after the other."""
    outside = _outside(trial)
    is_over = threading.Event()

    def lock() -> None:
        with outside.database.connect(outside.account.database) as connection, connection.cursor() as cursor:
            while not is_over.is_set():
                with suppress(pymysql.Error):
                    cursor.execute("BEGIN")
                    for order in ("id DESC", "updated"):
                        cursor.execute(f"SELECT id FROM gearbox_jobs ORDER BY {order} LIMIT 20 FOR UPDATE")
                    cursor.execute("UPDATE gearbox_counts SET jobs = jobs")
                cursor.execute("ROLLBACK")
                is_over.wait(0.005)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, lock)
        await _last(trial)
        is_over.set()


async def kill_gearmand(trial: Trial) -> None:
    _outside(trial).gearmand.kill()
    outside = await _last(trial)
    await trio.to_thread.run_sync(outside.gearmand.start)


async def stop_gearmand(trial: Trial) -> None:
    _outside(trial).gearmand.stop()
    outside = await _last(trial)
    outside.gearmand.cont()


async def stop_the_core(trial: Trial) -> None:
    """If it lasts, the database has ended its connections, and gearmand's buffers are full."""
    trial.core.stop()
    await _last(trial)
    trial.core.cont()


async def cut(trial: Trial, way: str, **how: bool | float) -> None:
    proxy = getattr(_outside(trial), way)
    proxy.set(**how)
    await _last(trial)
    proxy.set()


async def reset_within_a_packet(trial: Trial, way: str) -> None:
    proxy = getattr(_outside(trial), way)
    proxy.reset_after(trial.chance.randint(0, 3000))
    await _last(trial)
    proxy.set()


BRIEF = [  # in CI, too
    pytest.param(kill_the_database, id="the database is killed"),
    pytest.param(make_the_database_read_only, id="the database is read-only"),
    pytest.param(take_all_its_places, id="the database has no free place"),
    pytest.param(kill_gearmand, id="gearmand is killed"),
]
ALL = [
    *BRIEF,
    pytest.param(stop_the_database, id="the database is stopped"),
    pytest.param(drop_its_connections, id="the database drops its connections"),
    pytest.param(lock_its_rows_the_other_way, id="somebody locks rows the other way"),
    pytest.param(stop_gearmand, id="gearmand is stopped"),
    pytest.param(stop_the_core, id="the core is stopped"),
    pytest.param(partial(cut, way="databases_way", is_up_cut=True), id="the database hears nothing"),
    pytest.param(partial(cut, way="databases_way", is_down_cut=True), id="the database is not heard"),
    pytest.param(partial(cut, way="databases_way", delay=0.5), id="half a second to the database"),
    pytest.param(partial(reset_within_a_packet, way="databases_way"), id="connections to the database break"),
    pytest.param(partial(cut, way="gearmands_way", is_up_cut=True), id="gearmand hears nothing of the core"),
    pytest.param(partial(cut, way="gearmands_way", is_down_cut=True), id="the core hears nothing of gearmand"),
    pytest.param(partial(cut, way="gearmands_way", delay=0.5), id="half a second to gearmand"),
    pytest.param(partial(reset_within_a_packet, way="gearmands_way"), id="connections to gearmand break"),
]


@pytest.mark.parametrize("fault", BRIEF if ROUNDS == 1 else ALL)
def test_it_goes_on_when_they_are_back(
    fault: Fault, gearmand: str, database: tuple[MariaDb, MysqlAddress], tmp_path: Path
) -> None:
    server, account = database
    ground = partial(external, gearmand=gearmand, database=server, account=account)
    trial = trio.run(under_load, tmp_path, ground, fault)
    print("deadlocks:", server.sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1])
    assert trial.core.lives == trial.worker.lives == 1
    assert set(trial.refused) <= {UNAVAILABLE}
