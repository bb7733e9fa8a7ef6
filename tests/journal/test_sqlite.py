"""The journal in a file: what it keeps, what it refuses, and what it says of files that it cannot use."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from abraxas_py.broker import Amend, Record, Remove, Store
from abraxas_py.errors import JournalBroken, JournalError, JournalRefused
from abraxas_py.journal.sqlite import LARGEST_INSERT, LOAD_BYTES, SqliteJournal


@pytest.fixture
def journal(tmp_path: Path) -> SqliteJournal:
    return SqliteJournal(tmp_path / "queue")


def record(row: int, data: bytes = b"x", unique: bytes = b"") -> Record:
    return Record(row, b"H:%d" % row, b"f", unique, 1, 0.0, 0, False, b"", None, data)


def kept(journal: SqliteJournal) -> list[Record]:
    return [record for piece in journal.records() for record in piece]


def test_what_is_committed_is_there_at_the_next_start_in_its_order(journal: SqliteJournal) -> None:
    first = journal.open()
    count = 2 * LARGEST_INSERT + 7
    journal.commit([Store(n, record(first + n)) for n in range(count)])
    journal.commit([Remove(0, first), Remove(0, first + 1), Amend(0, first + 2, 5.5, 3, True)])
    journal.close()
    second = journal.open()
    assert second > first + count
    records = kept(journal)
    assert [one.row for one in records] == list(range(first + 2, first + count))
    assert records[0] == record(first + 2)._replace(data=None, due_at=5.5, retries=3, is_dead=True)
    journal.close()


def test_every_field_comes_back_as_it_was(journal: SqliteJournal) -> None:
    row = journal.open()
    odd = Record(row, b"H\xff", b"f\xff", b"-", 2, float("inf"), 7, False, b"* 1 2 3 4", b"", bytes(range(256)))
    journal.commit([Store(1, odd)])
    assert kept(journal) == [odd]
    assert journal.load([row]) == {row: odd.data}
    journal.close()


def test_payloads_come_in_the_order_asked_for_and_no_more_than_are_wise_at_once(journal: SqliteJournal) -> None:
    row = journal.open()
    large = b"x" * (LOAD_BYTES // 2 + 1)
    journal.commit([Store(n, record(row + n, data)) for n, data in enumerate([b"", large, large, b"y"])])
    assert journal.load([row + 3, row]) == {row: b"", row + 3: b"y"}
    assert journal.load([row + 2, row + 1, row]) == {row + 2: large}
    with pytest.raises(JournalError, match="is gone"):
        journal.load([row + 4])
    journal.close()


def test_a_second_process_is_refused(journal: SqliteJournal, tmp_path: Path) -> None:
    journal.open()
    with pytest.raises(JournalError, match="in use by another process"):
        SqliteJournal(tmp_path / "queue").open()
    journal.close()
    SqliteJournal(tmp_path / "queue").open()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b"not a database " * 1000), "is damaged"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE mine (a)").connection.close(), "of something else"),
        (lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 9").connection.close(), "newer version"),
        (lambda path: path.mkdir(), "cannot use the queue"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_alone(
    journal: SqliteJournal, tmp_path: Path, make: object, says: str
) -> None:
    path = tmp_path / "queue"
    make(path)  # type: ignore[operator]
    with pytest.raises(JournalError, match=says):
        journal.open()


def test_a_damaged_file_is_told_at_the_start(journal: SqliteJournal, tmp_path: Path) -> None:
    row = journal.open()
    journal.commit([Store(n, record(row + n, b"x" * 3000)) for n in range(200)])
    journal.close()
    path = tmp_path / "queue"
    data = bytearray(path.read_bytes())
    data[8 * 4096 : 40 * 4096] = b"\xff" * (32 * 4096)
    path.write_bytes(data)
    journal.open()
    with pytest.raises(JournalError, match="is damaged"):
        kept(journal)
    journal.close()


def test_a_batch_that_does_not_fit_leaves_nothing_and_the_next_one_may_fit(journal: SqliteJournal) -> None:
    row = journal.open()
    journal.commit([Store(1, record(row))])
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages + 2}")  # a disk of that size
    with pytest.raises(JournalRefused, match="No room left"):
        journal.commit([Store(2, record(row + 1)), Store(3, record(row + 2, b"x" * 100_000))])
    journal.commit([Store(4, record(row + 3))])
    assert [one.row for one in kept(journal)] == [row, row + 3]
    journal.close()


def test_a_disk_that_fails_leaves_open_what_is_kept(journal: SqliteJournal) -> None:
    row = journal.open()
    journal.commit([Store(1, record(row))])
    with pytest.raises(JournalBroken):
        journal.commit([Store(2, record(row))])  # a row that is there already stands for what must not be
    journal.close()
