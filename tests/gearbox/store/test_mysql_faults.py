"""What may happen between the store and a MySQL server, each against a real one."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Any

import attrs
import pymysql.err
import pytest
from mariadb_stage import DURABLE, MariaDb
from mysql_proxy_stage import Proxy
from store_stage import NOW, complete, fail, moment, queue, raw, read, run, status

from gearbox.errors import RpcError, StoreBusy, StoreError, StoreFenced, StoreUncertain
from gearbox.job import Ended, NewJob, Outcome, Reported, Status
from gearbox.rules.leases import CORE_LEASE
from gearbox.rules.recurrence import Missed, Overlap, Schedule
from gearbox.steps import cores, life, recurring
from gearbox.store import Lock, Moment, Result, Store, Tx, open_store
from gearbox.store import mysql as mysql_store
from gearbox.store.address import MysqlAddress
from gearbox.store.mysql.link import SILENCE

pytestmark = pytest.mark.mariadb

ONE = partial(life.queue, NewJob("a::b", submit_token="one"))


@pytest.fixture
def address(mariadb: MariaDb, mysql: MysqlAddress) -> Iterator[MysqlAddress]:
    """A database with empty tables."""
    yield mysql
    mariadb.reset(mysql.database)


@pytest.fixture
def own(mariadb: MariaDb) -> Iterator[MariaDb]:
    """A server that a test may stop or set up badly; its log is on the disk at every commit."""
    with tempfile.TemporaryDirectory(prefix="gearbox", dir=mariadb.folder.parent) as folder:
        server = MariaDb(Path(folder), DURABLE)
        server.install(like=mariadb)
        yield server
        server.stop()


@pytest.fixture
def proxy(mariadb: MariaDb) -> Iterator[Proxy]:
    proxy = Proxy(mariadb.port)
    yield proxy
    proxy.close()


def through(proxy: Proxy, address: MysqlAddress) -> MysqlAddress:
    return attrs.evolve(address, port=proxy.port, unix_socket=None)


def rows(address: MysqlAddress) -> list[Any]:
    with raw(address) as sql:
        return sql("SELECT id, status FROM gearbox_jobs ORDER BY id")


def limited_user(server: MariaDb, address: MysqlAddress) -> MysqlAddress:
    """Who may not do what an administrator may: write where nobody should, and connect when all places are taken."""
    server.sql("CREATE USER IF NOT EXISTS someone@localhost")
    server.sql(f"GRANT ALL ON {address.database}.* TO someone@localhost")
    return attrs.evolve(address, user="someone")


# --- rows ---


def test_a_row_that_cannot_be_read_fails_its_own_step_only(address: MysqlAddress) -> None:
    store = open_store(address)
    odd, other = (queue(store, workers=None).value for _ in range(2))
    with raw(address) as sql:
        sql("SET sql_mode = ''")
        sql(f"UPDATE gearbox_jobs SET priority = 'urgent' WHERE id = {odd}")
    batch = store.run_batch([partial(life.look, odd), partial(life.look, other), ONE], moment())
    assert [isinstance(outcome, Result) for outcome in batch.outcomes] == [False, True, True]
    assert rows(address) == [(odd, "ready"), (other, "running"), (other + 1, "running")]
    store.close()


# --- locks ---


def test_one_of_two_batches_in_a_deadlock_is_run_again_and_none_is_half_stored(address: MysqlAddress) -> None:
    stores = [open_store(address) for _ in range(2)]
    first, second = (queue(stores[0]).value for _ in range(2))
    both_have_one = threading.Barrier(2, timeout=10)
    outcomes: list[Any] = [None, None]

    def change(n: int) -> None:
        ids = (first, second) if n == 0 else (second, first)

        def locking(tx: Tx, moment: Moment) -> Result:
            both_have_one.wait()  # which is the job to be cancelled: that was foreseen
            tx.job(ids[0], Lock.EXCLUSIVE)
            return Result()

        steps = [partial(life.queue, NewJob(f"by::{n}")), locking, partial(life.cancel, ids[1], None)]
        try:
            outcomes[n] = stores[n].run_batch(steps, moment())
        except StoreBusy as error:
            outcomes[n] = error

    threads = [threading.Thread(target=change, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (loser,) = [n for n in range(2) if isinstance(outcomes[n], StoreBusy)]
    assert len(rows(address)) == 3
    assert [job.method for job in read(stores[0], lambda tx: tx.current(10))].count(f"by::{loser}") == 0
    again = [partial(life.queue, NewJob(f"by::{loser}"))]
    assert isinstance(stores[loser].run_batch(again, moment()).outcomes[0], Result)
    for store in stores:
        store.close()


def test_a_lock_that_is_not_given_up_voids_the_whole_batch(address: MysqlAddress) -> None:
    store = open_store(address)
    id = queue(store).value
    with raw(address) as sql:
        sql("BEGIN")
        sql(f"SELECT id FROM gearbox_jobs WHERE id = {id} FOR UPDATE")
        with pytest.raises(StoreBusy, match="Lock wait"):
            store.run_batch([ONE, partial(life.cancel, id, None)], moment())
    assert rows(address) == [(id, "running")]
    assert run(store, partial(life.cancel, id, None)).value is True
    store.close()


def test_a_core_that_stops_in_a_transaction_holds_the_others_up_until_the_server_ends_it(address: MysqlAddress) -> None:
    assert 0 < SILENCE < CORE_LEASE
    one, other = open_store(address), open_store(address)
    session = one._session  # type: ignore[attr-defined]
    assert session.plain("SELECT @@wait_timeout").fetchone() == (SILENCE,)
    session.plain("SET wait_timeout = 1")
    id = queue(one).value
    as_one = attrs.evolve(moment(), owner="one")
    one.run_batch([partial(cores.join, "here:1")], as_one)
    has_locked, goes_on = threading.Event(), threading.Event()
    outcomes: list[Any] = []

    def stop(tx: Tx, moment: Moment) -> Result:
        tx.job(id, Lock.EXCLUSIVE)
        has_locked.set()
        goes_on.wait(20)
        return Result()

    def be_stopped() -> None:
        try:
            outcomes.append(one.run_batch([cores.stand, stop, partial(life.cancel, id, None)], as_one))
        except StoreBusy as error:
            outcomes.append(error)

    thread = threading.Thread(target=be_stopped)
    thread.start()
    assert has_locked.wait(10)
    (row,) = read(other, lambda tx: tx.cores())
    began = time.monotonic()
    (buried,) = other.run_batch([partial(cores.bury, [row])], moment()).outcomes
    assert buried.value == [row]
    complete(other, id)
    assert time.monotonic() - began < 3  # a wait for a lock, had it been held, fails after so long
    goes_on.set()
    thread.join(10)
    assert isinstance(outcomes[0], StoreBusy)
    with pytest.raises(StoreFenced):
        one.run_batch([cores.stand], as_one)
    assert status(other, id) is Status.COMPLETE
    for store in (one, other):
        store.close()


# --- lost connections ---


def test_a_connection_that_the_server_closed_costs_one_try(mariadb: MariaDb, address: MysqlAddress) -> None:
    store = open_store(address)
    queue(store)
    mariadb.sql(f"KILL {store._session.id}")  # type: ignore[attr-defined]
    with pytest.raises(StoreBusy):
        queue(store)
    assert queue(store).value > 0
    assert len(rows(address)) == 2
    store.close()


@pytest.mark.parametrize("statement", [b"INSERT INTO gearbox_jobs", b"INSERT INTO gearbox_events", b"COMMIT"])
def test_a_batch_whose_connection_is_lost_before_the_commit_is_not_stored(
    proxy: Proxy, address: MysqlAddress, statement: bytes
) -> None:
    store = open_store(through(proxy, address))
    proxy.cut_before(statement)
    with pytest.raises(StoreBusy):
        store.run_batch([ONE], moment())
    assert proxy.cuts == 1
    assert rows(address) == []
    assert isinstance(store.run_batch([ONE], moment()).outcomes[0], Result)
    assert len(rows(address)) == 1
    store.close()


def test_a_commit_whose_answer_is_lost_is_found_again(proxy: Proxy, address: MysqlAddress) -> None:
    store = open_store(through(proxy, address))
    id = queue(store).value
    proxy.cut_after(b"COMMIT")
    report = partial(life.report, id, 1, Reported(data='"more"', separator="\n"))
    queued, reported = store.run_batch([ONE, report], moment()).outcomes
    assert proxy.cuts == 1
    assert isinstance(queued, Result)
    assert isinstance(reported, Result)
    assert [row[0] for row in rows(address)] == [id, queued.value]
    assert read(store, lambda tx: tx.job(id)).result_data == '"more"'
    store.close()


# --- the server itself ---


def test_a_batch_that_nobody_can_tell_of_is_settled_when_the_server_is_back(
    own: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_store, "INSISTENCE", 0.5)
    own.start()
    with own.database() as address:
        proxy = Proxy(own.port)
        store = open_store(through(proxy, address))
        queue(store)
        for cut, is_stored in ((proxy.cut_after, True), (proxy.cut_before, False)):
            known = len(rows(address))
            cut(b"COMMIT")
            killer = threading.Thread(target=_kill_when, args=(own, proxy, proxy.cuts + 1))
            killer.start()
            with pytest.raises(StoreUncertain):
                store.run_batch([partial(life.queue, NewJob("a::b"))], moment())
            with pytest.raises(StoreUncertain):
                store.run_batch([ONE], moment())
            with pytest.raises(StoreError, match="cannot use"):
                store.settle()
            killer.join()
            own.start()
            batch = store.settle()
            assert (batch is not None) == is_stored
            assert len(rows(address)) == known + is_stored
            assert queue(store).value > 0
        store.close()
        proxy.close()


def _kill_when(server: MariaDb, proxy: Proxy, cuts: int) -> None:
    while proxy.cuts < cuts:
        pass
    server.stop(SIGKILL)


def test_what_was_acknowledged_survives_kill_9_and_nothing_is_there_twice(own: MariaDb) -> None:
    own.start()
    with own.database() as address:
        store = open_store(attrs.evolve(address, unix_socket=None))
        acknowledged: dict[str, int] = {}
        is_over = threading.Event()
        calls = threading.Semaphore(0)

        def write() -> None:
            number = 0
            while not is_over.is_set():
                token = f"call {number}"
                try:
                    if store._uncertain is not None:  # type: ignore[attr-defined]
                        store.settle()
                    step = partial(life.queue, NewJob("a::b", submit_token=token))
                    (outcome,) = store.run_batch([step], moment()).outcomes
                except StoreError:
                    continue
                assert isinstance(outcome, Result)
                acknowledged[token] = outcome.value
                number += 1
                calls.release()

        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(3):
            for _ in range(40):
                assert calls.acquire(timeout=20)
            own.stop(SIGKILL)
            own.start()
        is_over.set()
        writer.join(20)
        with raw(address) as sql:
            stored = dict(sql("SELECT submit_token, id FROM gearbox_jobs"))
            events = sql("SELECT COUNT(*) FROM gearbox_events")[0][0]
        assert len(acknowledged) >= 120
        assert acknowledged.items() <= stored.items()
        assert len(stored) - len(acknowledged) <= 1
        assert events == 2 * len(stored)
        store.close()


def test_a_server_that_became_read_only(mariadb: MariaDb, address: MysqlAddress) -> None:
    store = open_store(limited_user(mariadb, address))
    id = queue(store).value
    mariadb.sql("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(StoreError, match="read-only"):
            queue(store)
        with pytest.raises(StoreError, match="name the primary"):
            open_store(address)
    finally:
        mariadb.sql("SET GLOBAL read_only = 0")
    assert complete(store, id).actions
    store.close()


def test_a_server_without_a_free_place(mariadb: MariaDb, address: MysqlAddress) -> None:
    user = limited_user(mariadb, address)
    store = open_store(user)
    queue(store)
    others: list[Any] = []
    with raw(address) as sql:  # who comes when all places are taken may find the administrator's taken as well
        ((most,),) = sql("SELECT @@max_connections")
        try:
            sql("SET GLOBAL max_connections = 10")
            with pytest.raises(StoreError, match="Too many connections"):
                others.extend(open_store(user) for _ in range(12))
            sql(f"KILL {store._session.id}")  # type: ignore[attr-defined]
            others.append(Taken(user))
            with pytest.raises(StoreError):
                queue(store)
            with pytest.raises(StoreError, match="Too many connections"):
                queue(store)
        finally:
            sql(f"SET GLOBAL max_connections = {most}")
            for other in others:
                other.close()
    assert queue(store).value > 0
    store.close()


class Taken:
    """Somebody else's connection, as soon as one can be had."""

    def __init__(self, address: MysqlAddress) -> None:
        until = time.monotonic() + 10
        while True:
            self._context = raw(address)
            try:
                self._context.__enter__()
                return
            except pymysql.err.OperationalError:  # a connection that is killed takes its time to go
                assert time.monotonic() < until
                time.sleep(0.01)

    def close(self) -> None:
        self._context.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--log-bin=b", "--binlog-format=STATEMENT"), "binlog_format is STATEMENT"),
        (("--read-only=1",), "read-only"),
    ],
)
def test_a_server_that_cannot_be_used_is_refused(own: MariaDb, options: tuple[str, ...], message: str) -> None:
    own.start(*options)
    with own.database() as address, pytest.raises(StoreError, match=message):
        open_store(address)


def test_settings_by_which_jobs_may_get_lost_are_told(own: MariaDb, capsys: pytest.CaptureFixture[str]) -> None:
    own.start("--innodb-flush-log-at-trx-commit=2", "--log-bin=b", "--sync-binlog=0", "--sql-mode=")
    with own.database() as address:
        open_store(address).close()
    said = capsys.readouterr().out
    for name in ("innodb_flush_log_at_trx_commit is 2", "sync_binlog is 0", "sql_mode is not strict"):
        assert name in said


# --- what is too large ---


@pytest.fixture
def small(own: MariaDb) -> Iterator[Store]:
    """A store on a server with small packets."""
    own.start("--max-allowed-packet=1M")
    with own.database() as address:
        store = open_store(address)
        yield store
        store.close()


def text(size: int) -> str:
    return '"' + '\\"' * (size // 2 - 1) + '"'


def test_arguments_that_are_too_large_are_refused_alone(small: Store) -> None:
    steps = [partial(life.queue, NewJob("a::b", arguments=arguments)) for arguments in ("1", text(1 << 20), "2")]
    first, refused, last = small.run_batch(steps, moment()).outcomes
    assert isinstance(first, Result)
    assert isinstance(last, Result)
    assert isinstance(refused, RpcError)
    assert refused.code == 413


@pytest.mark.parametrize("size", [600_000, 3 << 20], ids=["more than a job may have", "more than a packet"])
def test_a_recurring_entry_whose_jobs_could_not_be_stored_is_refused_alone(small: Store, size: int) -> None:
    template = f'{{"name":"a::b","args":{text(size)}}}'
    entry = Schedule("nightly", "0 3 * * *", "UTC", Overlap.SKIP, Missed.ONCE, template, 0.0, "", 0.0)
    refused, stored = small.run_batch([partial(recurring.schedule, entry), ONE], moment()).outcomes
    assert isinstance(refused, RpcError)
    assert refused.code == 413
    assert isinstance(stored, Result)
    assert read(small, lambda tx: tx.schedules()) == []


def test_a_result_that_is_too_large_is_an_error_not_cut(small: Store) -> None:
    largest = small._session.largest  # type: ignore[union-attr]
    id = queue(small, arguments=text(largest)).value
    complete(small, id, data=text(largest))
    assert read(small, lambda tx: tx.job(id)).result_data == text(largest)
    for size in (largest + 2, 1 << 20, 3 << 20):
        id = queue(small).value
        complete(small, id, data=text(size))
        assert status(small, id) is Status.ERRORED
        assert '"code":413' in read(small, lambda tx, id=id: tx.job(id)).result_data


def test_data_that_grows_too_large_by_pieces_is_an_error(small: Store) -> None:
    id = queue(small, max_retries=1).value
    piece = Reported(data=text(300_000), separator="\n")
    for _ in range(2):
        run(small, partial(life.report, id, 1, piece))
    job = read(small, lambda tx: tx.job(id))
    assert (job.status, job.retries) == (Status.WAITING, 1)
    assert '"code":413' in job.result_data
    assert fail(small, id).actions == ()


@pytest.mark.parametrize("size", [600_000, 3 << 20])
@pytest.mark.parametrize("outcome", [Outcome.WORKER_FAILED, Outcome.REFUSED])
def test_an_attempt_that_ended_with_too_large_an_error_has_ended(small: Store, size: int, outcome: Outcome) -> None:
    id = queue(small, max_retries=1).value
    for epoch in (1, 2):
        ended = Ended({"code": -28502, "message": "z" * size}, outcome)
        run(small, partial(life.settle, id, epoch, ended))
        run(small, partial(life.look, id), now=NOW + 9)
    job = read(small, lambda tx: tx.job(id))
    assert (job.status, job.retries) == (Status.ERRORED, 1)
    assert '"code":413' in job.result_data
    assert [attempt.outcome for attempt in read(small, lambda tx: tx.attempts(id))] == [outcome, outcome]
