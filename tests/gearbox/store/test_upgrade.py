"""Cores of two versions on one database, while one after the other is upgraded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mariadb_stage import MariaDb
from store_stage import complete, queue, run, status

from gearbox.errors import StoreOutdated
from gearbox.job import Status
from gearbox.steps import life
from gearbox.store import open_store
from gearbox.store.address import MysqlAddress

pytestmark = pytest.mark.mariadb

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def place(mariadb: MariaDb) -> Iterator[MysqlAddress]:
    with mariadb.database() as address:
        yield address


def upgrade(mariadb: MariaDb, place: MysqlAddress, schema: int, oldest: int) -> None:
    """What a program of tomorrow would do: it adds a column, and says which programs may still work."""
    mariadb.sql("ALTER TABLE gearbox_jobs ADD COLUMN colour VARCHAR(20) NOT NULL DEFAULT 'red'", place.database)
    mariadb.sql(f"UPDATE gearbox_meta SET value = {schema} WHERE name = 'schema'", place.database)
    mariadb.sql(f"UPDATE gearbox_meta SET value = {oldest} WHERE name = 'oldest'", place.database)


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


def test_a_core_that_the_tables_are_too_new_for_stops_with_a_clear_line(mariadb: MariaDb, place: MysqlAddress) -> None:
    old = open_store(place)
    queue(old)
    upgrade(mariadb, place, 99, 98)
    with pytest.raises(StoreOutdated, match=r"need a program that knows schema version 98.*upgrade it"):
        run(old, life.due)
    old.close()
    with pytest.raises(StoreOutdated, match=r"need a program that knows schema version 98.*upgrade it"):
        open_store(place)
