"""Journals of both kinds, and what goes into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mariadb_stage import MariaDb

from abraxas_py.broker import Record, Store
from abraxas_py.journal import Journal
from abraxas_py.journal.mysql import MysqlJournal
from abraxas_py.journal.mysql_link import MysqlPlace

Make = Callable[[], Journal]  # another server's journal in the same place


@contextmanager
def place_on(server: MariaDb) -> Iterator[MysqlPlace]:
    """An empty database, dropped at the end."""
    with server.database() as address:
        yield MysqlPlace(server.socket, "root", address.database)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def mysql(place: MysqlPlace, clock: Clock | None = None) -> MysqlJournal:
    """A journal that does not wait for the clock."""
    return MysqlJournal(place, clock)


def record(row: int, data: bytes = b"x", unique: bytes = b"") -> Record:
    """A job of that row."""
    return Record(row, b"H:%d" % row, b"f", unique, 1, 0.0, 0, False, b"", None, data)


def store(row: int, data: bytes = b"x") -> Store:
    """The change that keeps it."""
    return Store(row, record(row, data))


def kept(journal: Journal) -> list[Record]:
    """All that it has to give."""
    return [record for piece in journal.records() for record in piece]


def rows(journal: Journal) -> list[int]:
    """The rows of all that it has to give."""
    return [record.row for record in kept(journal)]
