"""What every journal does, in a file or in a table on a server: keep, change, remove, and give back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_stage import Make, kept, mysql, place_on, record

from abraxas_py.broker import Amend, Record, Remove, Store
from abraxas_py.errors import JournalError
from abraxas_py.journal.gearmand import Left
from abraxas_py.journal.mysql import LOAD_BYTES as MYSQL_LOAD_BYTES
from abraxas_py.journal.sqlite import LARGEST_INSERT, LOAD_BYTES, SqliteJournal

assert MYSQL_LOAD_BYTES == LOAD_BYTES  # one test for both


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mariadb)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes journals in one place."""
    if request.param == "sqlite":
        yield lambda: SqliteJournal(tmp_path / "queue")
    else:
        with place_on(request.getfixturevalue("mariadb")) as place:
            yield lambda: mysql(place)


def test_what_is_committed_is_there_at_the_next_start_in_its_order(make: Make) -> None:
    journal = make()
    first = journal.open()
    count = 2 * LARGEST_INSERT + 7
    journal.commit([Store(n, record(first + n)) for n in range(count)])
    journal.commit([Remove(0, first), Remove(0, first + 1), Amend(0, first + 2, 5.5, 3, True)])
    journal.close()
    journal = make()
    second = journal.open()
    assert second > first + count
    records = kept(journal)
    assert [one.row for one in records] == list(range(first + 2, first + count))
    assert records[0] == record(first + 2)._replace(data=None, due_at=5.5, retries=3, is_dead=True)
    assert kept(journal) == ([] if journal.is_shared else records)
    journal.close()


def test_every_field_comes_back_as_it_was(make: Make) -> None:
    journal = make()
    row = journal.open()
    odd = Record(row, b"H\xff\0'", b"f\\\xff", b"-", 2, float("inf"), 7, False, b"* 1 2 3 4", b"", bytes(range(256)))
    even = odd._replace(row=row + 1, unique=b"u'", due_at=1234567890.123456, is_dead=True, reducer=None, data=b"")
    journal.commit([Store(1, odd), Store(2, even)])
    journal.close()
    journal = make()
    journal.open()
    assert kept(journal) == [odd, even._replace(data=None)]
    assert journal.load([row, row + 1]) == {row: odd.data, row + 1: b""}
    journal.close()


def test_a_batch_may_hold_all_of_a_job_s_life(make: Make) -> None:
    journal = make()
    row = journal.open()
    journal.commit([Store(1, record(row)), Amend(2, row, 0.0, 1, False), Remove(3, row), Store(4, record(row + 1))])
    journal.commit([Remove(5, row)])  # of what is gone already
    journal.close()
    journal = make()
    journal.open()
    assert [one.row for one in kept(journal)] == [row + 1]
    journal.close()


def test_payloads_come_in_the_order_asked_for_and_no_more_than_are_wise_at_once(make: Make) -> None:
    journal = make()
    row = journal.open()
    large = b"x" * (LOAD_BYTES // 2 + 1)
    for n, data in enumerate([b"", large, large, b"y"]):
        journal.commit([Store(n, record(row + n, data))])
    assert journal.load([row + 3, row]) == {row: b"", row + 3: b"y"}
    assert journal.load([row + 2, row + 1, row]) == {row + 2: large}
    with pytest.raises(JournalError, match="is gone"):
        journal.load([row + 4])
    journal.close()


def test_what_another_program_has_left_is_taken_over_once(make: Make) -> None:
    left = [Left(b"a", b"f", 0, b"1\0", 0), Left(b"", b"f", 2, b"2'", 12345), Left(b"a", b"f", 0, b"1", 0)]
    assert make().adopt(left) == (3, 0)  # type: ignore[attr-defined]
    assert make().adopt(left) == (0, 3)  # type: ignore[attr-defined]
    journal = make()
    journal.open()
    found = kept(journal)
    assert [(one.unique, one.function, one.priority, one.due_at) for one in found] == [
        (one.unique, one.function, one.priority, one.due_at) for one in left
    ]
    assert len({one.handle for one in found}) == 3
    assert list(journal.load([one.row for one in found]).values()) == [one.data for one in left]
    journal.close()


def test_nothing_is_taken_over_of_what_cannot_be_read_to_its_end(make: Make) -> None:
    def broken() -> Iterator[Left]:
        yield Left(b"a", b"f", 0, b"1", 0)
        raise JournalError("cannot be read")

    with pytest.raises(JournalError, match="cannot be read"):
        make().adopt(broken())  # type: ignore[attr-defined]
    journal = make()
    journal.open()
    assert kept(journal) == []
    journal.close()
