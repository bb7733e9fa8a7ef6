"""The journal in a file: what it refuses, and what it says of files that it cannot use."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from journal_stage import kept, record

from abraxas_py.broker import Store
from abraxas_py.errors import JournalBroken, JournalError, JournalRefused
from abraxas_py.journal.sqlite import SqliteJournal


@pytest.fixture
def journal(tmp_path: Path) -> SqliteJournal:
    return SqliteJournal(tmp_path / "queue")


def test_a_second_process_is_refused(journal: SqliteJournal, tmp_path: Path) -> None:
    journal.open()
    with pytest.raises(JournalError, match="in use by another process"):
        SqliteJournal(tmp_path / "queue").open()
    journal.close()
    SqliteJournal(tmp_path / "queue").open()


def test_nobody_else_may_read_a_new_file(journal: SqliteJournal, tmp_path: Path) -> None:
    journal.open()
    assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {
        "queue": 0o600,
        "queue-wal": 0o600,
    }
    journal.close()


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
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JournalError, match=says):
        journal.open()
    assert before is None or path.read_bytes() == before


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


def test_nothing_is_kept_in_a_file_that_was_removed(journal: SqliteJournal, tmp_path: Path) -> None:
    row = journal.open()
    journal.commit([Store(1, record(row))])
    (tmp_path / "queue").unlink()
    with pytest.raises(JournalBroken, match="was removed or replaced while it was in use"):
        journal.commit([Store(2, record(row + 1))])
    journal.close()
