"""A table of the original Gearbox is taken over: its rows are there, and each has an answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import pytest
from mariadb_stage import MariaDb
from store_stage import complete, looked_at, queue, raw, read, run, status

from gearbox.errors import StoreError
from gearbox.job import ACTIVE, TERMINAL, Priority, Status
from gearbox.rules.answers import answer
from gearbox.steps import life, orphans
from gearbox.store import Store, open_store
from gearbox.store.address import MysqlAddress

pytestmark = pytest.mark.mariadb


@pytest.fixture
def address(mariadb: MariaDb) -> Iterator[MysqlAddress]:
    """A database with an original's table."""
    with mariadb.database() as address:
        mariadb.load_original(address.database)
        yield address


@pytest.fixture
def store(address: MysqlAddress) -> Iterator[Store]:
    store = open_store(address)
    yield store
    store.close()


def answers(store: Store) -> dict[int, Any]:
    found = {}
    for id in read(store, lambda tx: [job.id for job in tx.jobs(range(1, 100))]):
        job = read(store, lambda tx, id=id: tx.resolve(id))
        if job.status in TERMINAL:
            told = answer(job)
            found[id] = told if isinstance(told, str) else (told.code, told.message, told.data)
    return found


def test_all_rows_are_there_with_their_ids_and_the_original_is_kept(store: Store, address: MysqlAddress) -> None:
    same = "id, method_name, arguments, priority, after_id, before_id, max_retries, retries, dedupe, progress_status"
    with raw(address) as sql:
        was = sql(f"SELECT {same} FROM gearbox_jobs_original ORDER BY id")
        assert sql(f"SELECT {same} FROM gearbox_jobs ORDER BY id") == was
        times = "id, created, updated, after_date, progress_updated"
        assert sql(f"SELECT {times} FROM gearbox_jobs WHERE progress_status IS NOT NULL") == sql(
            f"SELECT {times} FROM gearbox_jobs_original WHERE progress_status IS NOT NULL"
        )
    statuses = {job.id: job.status.value for job in read(store, lambda tx: tx.jobs([row[0] for row in was]))}
    with raw(address) as sql:
        assert dict(sql("SELECT id, status FROM gearbox_jobs_original")) == statuses | {34: "duplicate"}
    assert statuses[34] == "invalid"


def test_every_row_that_ended_has_its_answer(store: Store) -> None:
    told = answers(store)
    assert {id: told[id] for id in (1, 2, 3, 4, 5, 6, 31, 33, 49)} == {
        1: '{"a":[1,2],"b":null}',
        2: '"text\\n"',
        3: "null",
        4: '"null\\n\\"x\\"\\n\\"y\\""',
        5: "5",
        6: '"é漢😀"',
        31: "5",
        33: "5",
        49: "1",
    }
    assert {id: told[id][:2] for id in (20, 21, 22, 23, 24, 25, 26, 30, 32, 34)} == {
        20: (42, "m"),
        21: (-28500, "went missing"),
        22: (-28500, "the job errored"),
        23: (-28404, "No worker available"),
        24: (-28523, "Dependency (after) errored"),
        25: (-28500, "the job errored"),
        26: (-28500, "not JSON {"),
        30: (-28000, "the job is invalid"),
        32: (42, "m"),
        34: (-28000, "a duplicate of a job that was deleted"),
    }
    assert told[25][2] == {"stderr": "err\n", "stdout": "out\n"}


def test_what_had_not_ended_goes_on(store: Store) -> None:
    now = store.now()
    workers = {"test::echo": 1, "test::slow": 1}
    result = run(store, partial(orphans.recover, 60.0, 0), now, workers)
    looked_at(store, result, now)
    for id in [*read(store, lambda tx: tx.due(now, 100)), 40, 48]:
        looked_at(store, run(store, partial(life.look, id), now, workers), now)
    assert {id: status(store, id).value for id in (40, 41, 42, 43, 44, 45, 46, 47, 48, 60, 61, 62, 63, 64, 65)} == {
        40: "running",
        41: "waiting",
        42: "running",
        43: "running",
        44: "running",
        45: "errored",  # its parent had failed
        46: "running",  # its parent is a duplicate of one that ended well
        47: "waiting",  # for its pool
        48: "running",
        60: "missing",  # until its worker brings the result
        61: "missing",
        62: "missing",
        63: "running",  # a noopwait waits for its noopgo
        64: "almost-done",
        65: "missing",
    }
    complete(store, 60, now + 5, data='"late"')
    complete(store, 64, now + 5, data='"all"')
    looked_at(store, complete(store, 48, now + 5), now + 5)
    assert answers(store)[60] == '"late"'
    assert answers(store)[64] == '"all"'
    assert run(store, partial(life.go, 63), now + 6).value is True
    for id in (61, 62):
        looked_at(store, run(store, partial(life.look, id), now + 70, workers), now + 70)
        assert status(store, id) is Status.ERRORED


def test_the_audit_and_the_statistics_hold_what_was_adopted(store: Store, address: MysqlAddress) -> None:
    (event,) = read(store, lambda tx: tx.audit(1))
    assert (event.was, event.status, event.why) == (None, Status.COMPLETE, "adopted from the original")
    for job in read(store, lambda tx: tx.jobs(range(1, 100))):
        attempts = read(store, lambda tx, id=job.id: tx.attempts(id))
        assert len(attempts) == job.epoch == (job.status in ACTIVE)
        assert (job.completed is None) == (job.status not in TERMINAL)
        assert job.next_at == job.look_at()
    stats = read(store, lambda tx: tx.stats("test::cat"))
    assert stats["totalRuns"] == 5
    assert stats["states"] == {"complete": 4, "invalid": 1}
    assert stats["averageCompletionTime"] == pytest.approx(1.0)
    assert stats["averageRetries"] == pytest.approx(0.25)
    assert stats["earliest"] == "2026-06-01T10:00:00.000Z"


def test_no_id_is_given_again(store: Store) -> None:
    assert queue(store).value >= 140


def test_a_second_start_adopts_nothing_more(store: Store, address: MysqlAddress) -> None:
    complete(store, 60)
    open_store(address).close()
    assert status(store, 60) is Status.COMPLETE


def test_an_adoption_that_was_cut_off_goes_on(address: MysqlAddress) -> None:
    with raw(address) as sql:
        sql("RENAME TABLE gearbox_jobs TO gearbox_jobs_original")  # and then the power failed
    store = open_store(address)
    assert len(answers(store)) == 19
    store.close()


def test_another_name(mariadb: MariaDb) -> None:
    with mariadb.database() as address:
        mariadb.load_original(address.database, "legacy")
        stores = [open_store(attrs.evolve(address, table="legacy")), open_store(address)]
        assert len(answers(stores[0])) == 19
        assert answers(stores[1]) == {}
        assert queue(stores[1]).value == 1
        with raw(address) as sql:
            assert sql("SELECT COUNT(*) FROM legacy_events")[0][0] == sql("SELECT COUNT(*) FROM legacy")[0][0]
        for store in stores:
            store.close()


def test_a_table_that_is_something_else_is_left_alone(mariadb: MariaDb) -> None:
    with mariadb.database() as address:
        with raw(address) as sql:
            sql("CREATE TABLE gearbox_jobs (id INT PRIMARY KEY, title TEXT)")
        with pytest.raises(StoreError, match="DB_TABLE_JOBS"):
            open_store(address)
        with raw(address) as sql:
            assert sql("SELECT COUNT(*) FROM gearbox_jobs") == [(0,)]


def test_instants_are_read_in_the_zone_of_the_server(mariadb: MariaDb) -> None:
    mariadb.sql("SET GLOBAL time_zone = '+02:00'")
    try:
        with mariadb.database() as address:
            mariadb.load_original(address.database)
            store = open_store(address)
            job = read(store, lambda tx: tx.job(1))
            assert job.created == 1_780_300_800.0  # 2026-06-01 08:00 UTC
            store.close()
    finally:
        mariadb.sql("SET GLOBAL time_zone = 'SYSTEM'")


def test_rows_of_a_server_that_was_not_strict_are_made_clear(address: MysqlAddress) -> None:
    with raw(address) as sql:
        sql("SET sql_mode = ''")
        same = "INSERT INTO gearbox_jobs (id, method_name, arguments, dedupe"
        sql(f"{same}, priority) VALUES (150, 'a::b', 'null', 'd150', 'urgent')")
        sql(f"{same}, status) VALUES (151, 'a::b', 'null', 'd151', 'bogus')")
        for id, created, updated in ((152, 0, "'2026-06-01 10:00:00'"), (153, "'2026-06-01 10:00:00'", 0), (154, 0, 0)):
            sql(f"{same}, created, updated) VALUES ({id}, 'a::b', 'null', 'd{id}', {created}, {updated})")
    store = open_store(address)
    jobs = read(store, lambda tx: tx.jobs(range(150, 155)))
    assert [job.priority for job in jobs] == [Priority.NORMAL] * 5
    assert [job.status for job in jobs] == [Status.READY, Status.INVALID, *[Status.READY] * 3]
    assert [job.created == job.updated == 1_780_308_000.0 for job in jobs[2:]] == [True, True, False]
    assert store.now() - 60 < jobs[4].created <= store.now() + 1
    assert jobs[1].completed is not None
    assert (answer(jobs[1]).code, answer(jobs[1]).message) == (-28000, "the job is invalid")
    store.close()
