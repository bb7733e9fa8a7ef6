"""Tables of earlier releases in a newer program, and cores of two versions on one database meanwhile.

`tests/servers/dumps` has what each release's own program left: `sqlite_N.sql`, `mysql_N.sql`, where N is the version of
its schema. Each has the jobs of `STATUSES`. A release that changes the schema leaves another one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mariadb_stage import DUMPS, MariaDb
from store_stage import NOW, complete, looked_at, queue, raw, read, run, status

from gearbox.errors import StoreOutdated
from gearbox.job import Status
from gearbox.steps import life
from gearbox.store import Store, open_store
from gearbox.store.address import MysqlAddress

on_mariadb = pytest.mark.mariadb

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

DONE, DOUBLE, RETRYING, CHILD, DATED, READY, ERRORED, CANCELLED = 1, 9, 2, 3, 4, 5, 6, 7
RUNNING, ENDED, MISSING, TARGET, MEMBER, GATE, LIMITED, HELD = 8, 10, 11, 12, 13, 14, 15, 16
STATUSES = {
    DONE: Status.COMPLETE,
    RETRYING: Status.WAITING,
    CHILD: Status.WAITING,  # after the one before it
    DATED: Status.WAITING,  # until NOW + 1000
    READY: Status.READY,
    ERRORED: Status.ERRORED,
    CANCELLED: Status.INVALID,
    RUNNING: Status.RUNNING,
    DOUBLE: Status.DUPLICATE,  # of the one before it
    ENDED: Status.ALMOST_DONE,
    MISSING: Status.MISSING,
    TARGET: Status.WAITING,  # for its pool, and until NOW + 1000
    MEMBER: Status.RUNNING,
    GATE: Status.RUNNING,
    LIMITED: Status.RUNNING,  # of a method that may run once at a time
    HELD: Status.READY,
}


@pytest.fixture(params=["sqlite_1", "sqlite_4", pytest.param("mysql_2", marks=on_mariadb)])
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | MysqlAddress]:
    """Where an earlier release has had its jobs."""
    dump = f"{request.param}.sql"
    if dump.startswith("sqlite"):
        path = str(tmp_path / "jobs.db")
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript((DUMPS / dump).read_text())
        yield path
        return
    server: MariaDb = request.getfixturevalue("mariadb")
    with server.database() as address:
        server.load(address.database, DUMPS / dump)
        yield address


@pytest.fixture
def fresh(earlier: str | MysqlAddress, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | MysqlAddress]:
    """Where this release makes the tables, in a database of the same kind."""
    if isinstance(earlier, str):
        yield str(tmp_path / "fresh.db")
        return
    with request.getfixturevalue("mariadb").database() as address:
        yield address


def test_jobs_of_an_earlier_release_go_on(earlier: str | MysqlAddress) -> None:
    store = open_store(earlier)
    assert {id: status(store, id) for id in STATUSES} == STATUSES
    done = read(store, lambda tx: tx.job(DONE))
    assert (done.arguments, done.result_data, done.dedupe) == ('["é", 1]', '"result"', "D")
    for id in STATUSES:
        seqs = [event.seq for event in read(store, partial(_audit, id=id))]
        assert seqs == list(range(1, len(seqs) + 1))
        assert seqs

    for id in (RUNNING, ENDED, MISSING, MEMBER, LIMITED):
        finish(store, id, NOW + 1)
    assert read(store, lambda tx: tx.resolve(DOUBLE)).id == RUNNING
    assert status(store, HELD) is Status.RUNNING
    looked_at(store, run(store, partial(life.go, GATE), NOW + 1))
    for now in (NOW + 10, NOW + 2000):
        looked_at(store, run(store, life.due, now), now)
    assert [status(store, id) for id in (RETRYING, DATED, TARGET, CHILD)] == [*[Status.RUNNING] * 3, Status.WAITING]
    looked_at(store, run(store, partial(life.look, READY)))
    finish(store, RETRYING, NOW + 2001)
    for id in (CHILD, DATED, TARGET, READY, HELD):
        finish(store, id, NOW + 2002)
    bad = {CANCELLED: Status.INVALID, ERRORED: Status.ERRORED, DOUBLE: Status.DUPLICATE}
    assert {id: status(store, id) for id in STATUSES} == dict.fromkeys(STATUSES, Status.COMPLETE) | bad
    assert queue(store).value == max(STATUSES) + 1
    store.close()


def finish(store: Store, id: int, now: float) -> None:
    looked_at(store, complete(store, id, now), now)


def _audit(tx: Any, id: int) -> Any:
    return tx.audit(id)


SQLITE_COLUMNS = """
SELECT tables.name, columns.name, columns.type, columns."notnull", columns.dflt_value, columns.pk
FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' ORDER BY 1, 2
"""
SQLITE_INDEXES = "SELECT name, sql FROM sqlite_master WHERE type != 'table' AND sql IS NOT NULL ORDER BY 1"
MYSQL_COLUMNS = """
SELECT table_name, column_name, column_type, is_nullable, column_default, generation_expression, collation_name
FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 2
"""
MYSQL_INDEXES = """
SELECT table_name, index_name, non_unique, seq_in_index, column_name
FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY 1, 2, 4
"""


def test_a_schema_that_was_brought_up_to_date_is_the_one_that_is_made_anew(
    earlier: str | MysqlAddress, fresh: str | MysqlAddress
) -> None:
    columns, indexes = (SQLITE_COLUMNS, SQLITE_INDEXES) if isinstance(earlier, str) else (MYSQL_COLUMNS, MYSQL_INDEXES)
    for place in (earlier, fresh):
        open_store(place).close()
    with raw(earlier) as old, raw(fresh) as new:
        assert old(columns) == new(columns)
        assert [[" ".join(str(word).split()) for word in row] for row in old(indexes)] == [
            [" ".join(str(word).split()) for word in row] for row in new(indexes)
        ]


# --- two versions at once ---


@pytest.fixture
def place(mariadb: MariaDb) -> Iterator[MysqlAddress]:
    with mariadb.database() as address:
        yield address


def upgrade(mariadb: MariaDb, place: MysqlAddress, schema: int, oldest: int) -> None:
    """What a program of tomorrow would do: it adds a column, and says which programs may still work."""
    mariadb.sql("ALTER TABLE gearbox_jobs ADD COLUMN colour VARCHAR(20) NOT NULL DEFAULT 'red'", place.database)
    mariadb.sql(f"UPDATE gearbox_meta SET value = {schema} WHERE name = 'schema'", place.database)
    mariadb.sql(f"UPDATE gearbox_meta SET value = {oldest} WHERE name = 'oldest'", place.database)


@on_mariadb
def test_an_older_core_works_on_and_starts_again_beside_a_newer_one(mariadb: MariaDb, place: MysqlAddress) -> None:
    old = open_store(place)
    before = queue(old).value
    upgrade(mariadb, place, 99, 1)
    complete(old, before)
    old.close()
    old = open_store(place)
    after = queue(old).value
    complete(old, after)
    assert status(old, before) is status(old, after) is Status.COMPLETE
    old.close()
    ((schema,),) = mariadb.sql("SELECT value FROM gearbox_meta WHERE name = 'schema'", place.database)
    assert schema == "99"  # nobody turns it back


@on_mariadb
@pytest.mark.parametrize("is_cut_off", [False, True], ids=["whole", "cut off after the column was there"])
def test_tables_of_the_version_before_get_their_column(mariadb: MariaDb, place: MysqlAddress, is_cut_off: bool) -> None:
    old = open_store(place)
    id = queue(old).value
    old.close()
    if not is_cut_off:
        mariadb.sql("ALTER TABLE gearbox_jobs DROP COLUMN traceparent", place.database)
    mariadb.sql("UPDATE gearbox_meta SET value = 2 WHERE name = 'schema'", place.database)
    new = open_store(place)
    assert status(new, id) is Status.RUNNING
    complete(new, queue(new, traceparent=TRACE).value)
    new.close()
    ((trace,),) = mariadb.sql("SELECT max(traceparent) FROM gearbox_jobs", place.database)
    assert trace == TRACE


@on_mariadb
def test_a_core_that_the_tables_are_too_new_for_stops_with_a_clear_line(mariadb: MariaDb, place: MysqlAddress) -> None:
    old = open_store(place)
    queue(old)
    upgrade(mariadb, place, 99, 98)
    with pytest.raises(StoreOutdated, match=r"need a program that knows schema version 98.*upgrade it"):
        run(old, life.due)
    old.close()
    with pytest.raises(StoreOutdated, match=r"need a program that knows schema version 98.*upgrade it"):
        open_store(place)
