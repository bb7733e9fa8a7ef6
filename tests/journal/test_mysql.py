"""The journal in a table: faults of the server and of the way to it, and servers that take over from each other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import pytest
from journal_stage import Clock, kept, mysql, place_on, record, rows, store
from mariadb_stage import DURABLE, MariaDb
from mysql_proxy_stage import Proxy

from abraxas_py.broker import Amend, Remove
from abraxas_py.errors import JournalError, JournalFenced, JournalRefused, JournalUncertain
from abraxas_py.journal import mysql_link
from abraxas_py.journal.gearmand import Left
from abraxas_py.journal.leases import GRACE, LEASE
from abraxas_py.journal.mysql import MysqlJournal
from abraxas_py.journal.mysql_link import SILENCE, MysqlPlace

pytestmark = pytest.mark.mariadb


@pytest.fixture
def place(mariadb: MariaDb) -> Iterator[MysqlPlace]:
    with place_on(mariadb) as place:
        yield place


@pytest.fixture
def proxy(mariadb: MariaDb) -> Iterator[Proxy]:
    proxy = Proxy(mariadb.port)
    yield proxy
    proxy.close()


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for a lock, not three."""
    usual = f"lock_wait_timeout = {mysql_link.LOCK_WAIT}"
    assert usual in mysql_link.SESSION
    monkeypatch.setattr(mysql_link, "SESSION", mysql_link.SESSION.replace(usual, "lock_wait_timeout = 1"))


def through(proxy: Proxy, place: MysqlPlace) -> MysqlJournal:
    """A journal whose connection can be cut."""
    journal = mysql(replace(place, host="127.0.0.1", port=proxy.port))
    journal.open()
    return journal


def pass_away(journal: MysqlJournal) -> None:
    """As if its process were killed: the connection ends without a word."""
    journal._link.drop()


def connections(server: MariaDb, place: MysqlPlace) -> int:
    asked = f"SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{place.database}'"
    return int(server.sql(asked)[0][0])


def jobs(server: MariaDb, place: MysqlPlace) -> int:
    return int(server.sql(f"SELECT COUNT(*) FROM {place.table}", place.database)[0][0])


# The way to the server


def test_a_connection_that_is_lost_in_a_transaction_costs_nothing(
    mariadb: MariaDb, place: MysqlPlace, proxy: Proxy
) -> None:
    journal = through(proxy, place)
    row = journal.open()
    proxy.cut_before(b"INSERT INTO `abraxas_jobs`")
    journal.commit([store(row)])
    proxy.cut_after(b"INSERT INTO `abraxas_jobs`")
    journal.commit([store(row + 1)])
    assert proxy.cuts == 2
    assert jobs(mariadb, place) == 2
    journal.close()


@pytest.mark.parametrize("is_made", [False, True])
def test_a_commit_whose_answer_is_lost_is_made_once(
    mariadb: MariaDb, place: MysqlPlace, proxy: Proxy, *, is_made: bool
) -> None:
    journal = through(proxy, place)
    row = journal.open()
    journal.commit([store(row)])
    (proxy.cut_after if is_made else proxy.cut_before)(b"COMMIT")
    journal.commit([store(row + 1), Amend(2, row, 7.5, 3, False)])
    (proxy.cut_after if is_made else proxy.cut_before)(b"COMMIT")
    journal.commit([Remove(3, row)])
    assert proxy.cuts == 2
    assert mariadb.sql(f"SELECT id FROM {place.table}", place.database) == [(row + 1,)]
    journal.close()


def test_a_commit_is_in_doubt_until_the_server_can_be_asked() -> None:
    with tempfile.TemporaryDirectory(prefix="abraxas", dir="/dev/shm") as folder:
        server = MariaDb(Path(folder), DURABLE)
        server.install()
        server.start()
        server.sql("CREATE DATABASE queue")
        proxy = Proxy(server.port)
        journal = mysql(MysqlPlace("127.0.0.1", "root", "queue", port=proxy.port))
        row = journal.open()
        changes = [store(row)]
        proxy.cut_after(b"COMMIT")
        sent = journal._link.send

        def kill_at_commit(text: str) -> int:
            try:
                return sent(text)
            finally:
                if text == "COMMIT":
                    server.stop(SIGKILL)

        journal._link.send = kill_at_commit  # type: ignore[method-assign]
        with pytest.raises(JournalUncertain):
            journal.commit(changes)
        journal._link.send = sent  # type: ignore[method-assign]
        with pytest.raises(JournalUncertain):
            journal.commit(changes)
        server.start()
        journal.commit(changes)
        assert jobs(server, MysqlPlace("", "", "queue")) == 1
        server.stop(SIGKILL)
        with pytest.raises(JournalRefused, match="out of reach"):
            journal.commit([store(row + 1)])
        server.start()
        journal.commit([store(row + 1)])
        assert jobs(server, MysqlPlace("", "", "queue")) == 2
        assert journal.watch() is False
        proxy.close()
        journal.close()
        server.stop()


def test_a_lock_that_is_not_given_up_leaves_nothing_behind(mariadb: MariaDb, place: MysqlPlace) -> None:
    journal = mysql(place)
    row = journal.open()
    journal.commit([store(row)])
    with mariadb.connect(place.database) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT * FROM {place.table} WHERE id = {row} FOR UPDATE")
        with pytest.raises(JournalRefused, match="Lock wait timeout"):
            journal.commit([store(row + 1), Remove(2, row)])
        cursor.execute("ROLLBACK")
    assert mariadb.sql(f"SELECT id FROM {place.table}", place.database) == [(row,)]
    journal.commit([store(row + 1), Remove(2, row)])
    assert mariadb.sql(f"SELECT id FROM {place.table}", place.database) == [(row + 1,)]
    journal.close()


def test_a_lost_connection_that_the_server_still_holds_is_ended(place: MysqlPlace, short_wait: None) -> None:
    journal = mysql(place)
    row = journal.open()
    journal._stand("START TRANSACTION;")
    unseen = journal._link._connection
    close, unseen._force_close = unseen._force_close, lambda: None
    pass_away(journal)
    journal.commit([store(row)])
    close()
    journal.close()


def test_a_number_that_somebody_else_has_by_now_is_left_alone(
    mariadb: MariaDb, place: MysqlPlace, short_wait: None
) -> None:
    journal = mysql(place)
    row = journal.open()
    pass_away(journal)
    with mariadb.connect(place.database) as other, mariadb.connect(place.database) as locking:
        journal._link._lost_session = other.thread_id()  # as after a restart of the server, whose numbers begin anew
        journal.commit([store(row)])
        locking.query("BEGIN")
        locking.query(f"SELECT * FROM {place.table}_brokers FOR UPDATE")
        with pytest.raises(JournalRefused, match="Lock wait timeout"):
            journal.commit([store(row + 1)])
        other.query("SELECT 1")
    journal.close()


def test_a_server_that_becomes_read_only_refuses_and_then_takes_again(mariadb: MariaDb, place: MysqlPlace) -> None:
    mariadb.sql("CREATE USER plain@'%' IDENTIFIED BY 'p'")
    mariadb.sql(f"GRANT ALL ON {place.database}.* TO plain@'%'")
    journal = mysql(MysqlPlace("127.0.0.1", "plain", place.database, "p", mariadb.port))
    row = journal.open()
    try:
        mariadb.sql("SET GLOBAL read_only = 1")
        with pytest.raises(JournalRefused, match="has become read-only"):
            journal.commit([store(row)])
        with pytest.raises(JournalError, match="is read-only, perhaps a replica"):
            mysql(MysqlPlace("127.0.0.1", "plain", place.database, "p", mariadb.port)).open()
    finally:
        mariadb.sql("SET GLOBAL read_only = 0")
    journal.commit([store(row)])
    journal.close()
    mariadb.sql("DROP USER plain@'%'")


def test_large_batches_and_large_payloads_go_in_pieces_that_the_server_takes(
    mariadb: MariaDb, place: MysqlPlace
) -> None:
    journal = mysql(place)
    row = journal.open()
    most = int(journal.largest_bytes)
    journal.commit([store(row + n, bytes(300_000)) for n in range(100)])
    journal.commit([store(row + 200, bytes(most)), store(row + 201, b"x")])
    assert len(journal.load([row + 200])[row + 200]) == most
    with pytest.raises(JournalRefused):  # the `Writer` does not even ask
        journal.commit([store(row + 300, bytes(most + 8192))])
    assert jobs(mariadb, place) == 102
    journal.close()


def test_the_largest_payload_fits_behind_small_ones(mariadb: MariaDb, place: MysqlPlace) -> None:
    journal = mysql(place)
    row = journal.open()
    small = [store(row + n, bytes(200)) for n in range(1000)]
    journal.commit([*small, store(row + 1000, bytes(int(journal.largest_bytes)))])
    assert jobs(mariadb, place) == 1001
    journal.close()


@pytest.mark.parametrize("packet_bytes", [1 << 20, 1 << 16])
def test_many_small_changes_go_in_packets_that_the_server_takes(
    mariadb: MariaDb, place: MysqlPlace, packet_bytes: int
) -> None:
    mariadb.sql(f"SET GLOBAL max_allowed_packet = {packet_bytes}")
    try:
        journal = mysql(place)
        row = journal.open()
        some = range(row, row + packet_bytes // 100)
        journal.commit([store(one, bytes(2000)) for one in some])
        journal.commit([Amend(1, one, 0.0, 1, False) for one in some])
        assert mariadb.sql(f"SELECT SUM(retries) FROM {place.table}", place.database) == [(len(some),)]
        journal.commit([Remove(1, one) for one in range(row, row + packet_bytes // 10)])
        assert jobs(mariadb, place) == 0
        journal.close()
    finally:
        mariadb.sql("SET GLOBAL max_allowed_packet = DEFAULT")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        ("CREATE TABLE abraxas_jobs (unique_key VARCHAR(64), function_name VARCHAR(255))", "abraxas import"),
        ("DROP DATABASE {database}", "Unknown database"),
    ],
)
def test_what_is_no_queue_is_left_alone(mariadb: MariaDb, place: MysqlPlace, make: str, says: str) -> None:
    mariadb.sql(make.format(database=place.database), place.database)
    with pytest.raises(JournalError, match=says):
        mysql(place).open()
    if "CREATE" in make:
        assert mariadb.sql("SHOW TABLES", place.database) == [("abraxas_jobs",)]


def test_names_are_taken_as_bytes_and_a_clock_of_the_server_means_nothing(mariadb: MariaDb, place: MysqlPlace) -> None:
    mariadb.sql("SET GLOBAL time_zone = '+05:00', GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'")
    try:
        journal = mysql(place)
        row = journal.open()
        odd = record(row)._replace(function="caf\u00e9 ".encode(), unique=b"A\\' ", due_at=1e9 + 0.25)
        journal.commit([store(row)._replace(record=odd), store(row + 1)])
        journal.close()
        journal = mysql(place)
        journal.open()
        assert kept(journal)[0] == odd._replace(data=None)
        journal.close()
    finally:
        mariadb.sql("SET GLOBAL time_zone = DEFAULT, GLOBAL sql_mode = DEFAULT")


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (
            Left("é".encode() * 40, b"f", 1, b"", 0),
            "'é{40}' of the function 'f' has a unique of more than 64 bytes",
        ),
        (
            Left(b"u", b"f" * 600, 1, b"", 0),
            "'u' of the function 'f{200}' has a function of more than 512 bytes",
        ),
        (
            Left(b"u", b"f", 1, bytes(9_000_000), 0),
            "'u' of the function 'f' is too large: raise max_allowed_packet",
        ),
    ],
    ids=["unique", "function", "data"],
)
def test_what_of_another_program_does_not_fit_is_named(
    mariadb: MariaDb, place: MysqlPlace, odd: Left, says: str
) -> None:
    with pytest.raises(JournalError, match=f"nothing was taken over into .*: the job {says}"):
        mysql(place).adopt([Left(b"a", b"f", 1, b"", 0), odd])
    assert jobs(mariadb, place) == 0


# Several servers


def test_a_server_that_is_killed_is_found_out_by_its_connection(place: MysqlPlace) -> None:
    clock = Clock()
    first, second = mysql(place), mysql(place, clock)
    row = first.open()
    second.open()
    first.commit([store(row), store(row + 1)])
    first.commit([Remove(3, row)])
    assert second.watch() is False
    pass_away(first)
    assert second.watch() is False
    clock.now += GRACE - 0.1
    assert second.watch() is False
    clock.now += 0.1
    assert second.watch() is True
    assert rows(second) == [row + 1]
    assert second.watch() is False
    with pytest.raises(JournalFenced):
        first.commit([Remove(4, row + 1)])
    with pytest.raises(JournalFenced):
        first.watch()
    assert second.load([row + 1]) == {row + 1: b"x"}
    third = first.open()
    assert third > row
    assert rows(first) == []
    second.close()
    first.close()


def test_a_server_that_stands_still_is_given_the_whole_lease(place: MysqlPlace) -> None:
    clock = Clock()
    first, second = mysql(place), mysql(place, clock)
    row = first.open()
    first.commit([store(row)])
    second.open()
    for _ in range(3):
        clock.now += LEASE - 1
        assert second.watch() is False
        first.watch()
        assert second.watch() is False
    clock.now += LEASE
    assert second.watch() is True
    assert rows(second) == [row]
    with pytest.raises(JournalFenced):
        first.commit([store(row + 1)])
    second.close()
    first.close()


def test_a_server_that_stands_still_in_a_transaction_is_found_dead_all_the_same(
    place: MysqlPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    watching = mysql(place, clock)
    watching.open()
    silent = f"wait_timeout = {SILENCE}"
    assert silent in mysql_link.SESSION
    monkeypatch.setattr(mysql_link, "SESSION", mysql_link.SESSION.replace(silent, "wait_timeout = 1"))
    stopped = mysql(place)
    row = stopped.open()
    stopped.commit([store(row)])
    stopped._stand("START TRANSACTION;")  # and not a word after it
    assert watching.watch() is False
    time.sleep(1.5)  # the database's own clock
    clock.now += LEASE
    assert watching.watch() is True
    assert rows(watching) == [row]
    with pytest.raises(JournalFenced):
        stopped.commit([Remove(2, row)])
    watching.close()


def test_a_server_that_has_lost_its_connection_is_back_in_time(place: MysqlPlace) -> None:
    clock = Clock()
    first, second = mysql(place), mysql(place, clock)
    row = first.open()
    second.open()
    pass_away(first)
    second.watch()
    clock.now += GRACE - 1
    first.commit([store(row)])
    first.watch()
    assert second.watch() is False
    clock.now += GRACE + 1
    assert second.watch() is False
    second.close()
    first.close()


def test_after_an_orderly_end_others_go_on_at_once(place: MysqlPlace) -> None:
    first, second = mysql(place), mysql(place)
    row = first.open()
    second.open()
    first.commit([store(row)])
    first.close()
    assert second.watch() is True
    assert rows(second) == [row]
    second.close()
    third = mysql(place)
    third.open()
    assert rows(third) == [row]
    third.close()


def test_one_alone_takes_over_and_also_what_the_dead_had_taken_over(mariadb: MariaDb, place: MysqlPlace) -> None:
    clock = Clock()
    dead = [mysql(place) for _ in range(3)]
    first_rows = [journal.open() for journal in dead]
    for journal, row in zip(dead, first_rows, strict=True):
        journal.commit([store(row)])
    others = [mysql(place, clock) for _ in range(3)]
    for journal in others:
        journal.open()
    dead[0].close()
    assert dead[1].watch() is True
    assert rows(dead[1]) == first_rows[:1]
    for journal in dead[1:]:
        pass_away(journal)
    until = time.monotonic() + 10
    while connections(mariadb, place) > len(others):  # the server sees the end of each by itself, and may be late
        assert time.monotonic() < until
        time.sleep(0.01)
    for journal in others:
        journal.watch()
    clock.now += GRACE
    found = []
    for journal in others:
        journal.watch()
        found.append(rows(journal))
    assert sorted(row for some in found for row in some) == first_rows
    assert sum(map(bool, found)) == 1
    for journal in others:
        journal.close()


def test_a_start_after_a_crash_waits_until_it_is_sure(place: MysqlPlace) -> None:
    first, second = mysql(place), mysql(place)
    row = first.open()
    first.commit([store(row)])
    pass_away(first)
    second.open()
    assert rows(second) == [row]
    second.close()


def test_whoever_could_not_look_blames_nobody(place: MysqlPlace, proxy: Proxy) -> None:
    clock = Clock()
    first = mysql(place)
    row = first.open()
    first.commit([store(row)])
    second = mysql(replace(place, host="127.0.0.1", port=proxy.port), clock)
    second.open()
    pass_away(first)
    second.watch()
    proxy.close()
    second._link.drop()
    with pytest.raises(JournalRefused):
        second.watch()
    second._link.place = place
    clock.now += LEASE
    assert second.watch() is False
    clock.now += GRACE
    assert second.watch() is True
    second.close()


def test_what_is_given_in_pieces_is_not_given_twice(place: MysqlPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abraxas_py.journal.mysql.PIECE", 2)
    first, second = mysql(place), mysql(place)
    row = first.open()
    second.open()
    first.commit([store(row + n) for n in range(5)])
    first.close()
    assert second.watch() is True
    assert [one.row for one in next(second.records())] == [row, row + 1]
    assert second.watch() is True
    assert rows(second) == [row + 2, row + 3, row + 4]
    second.close()
