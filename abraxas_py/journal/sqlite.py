"""The journal in a file of SQLite's.

One connection, which holds the file for itself alone (`locking_mode = EXCLUSIVE`): a second process is refused, there
is no shared memory file that a full disk could turn into a bus error, and no second connection to reset the write-ahead
log under (SQLite before 3.51.3 can corrupt a database so). The log is synced at every commit (`synchronous = FULL`).

A batch is a handful of statements, whatever its size: for each statement the interpreter lock is given up and taken
again, which under load costs more than the statement.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path

from abraxas_py.broker.effects import Amend, Persist, Record, Remove, Store
from abraxas_py.errors import JournalBroken, JournalError, JournalRefused
from abraxas_py.inode import GONE, Inode
from abraxas_py.journal import ROW_BITS
from abraxas_py.journal.gearmand import Left

__all__ = ["SqliteJournal"]

VERSION = 1
SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE abraxas_jobs (
    row INTEGER PRIMARY KEY,
    handle BLOB NOT NULL,
    function BLOB NOT NULL,
    "unique" BLOB NOT NULL,
    priority INTEGER NOT NULL,
    due_at REAL NOT NULL,
    retries INTEGER NOT NULL,
    is_dead INTEGER NOT NULL,
    schedule BLOB NOT NULL,
    reducer BLOB,
    data BLOB NOT NULL -- last: a scan of the others does not read the pages that a long one overflows into
);
CREATE TABLE abraxas_starts (start INTEGER PRIMARY KEY);
INSERT INTO abraxas_starts VALUES (0);
CREATE TABLE abraxas_imports (digest BLOB PRIMARY KEY) WITHOUT ROWID; -- what came from elsewhere, gone or not
PRAGMA user_version = 1;
COMMIT;
"""
COLUMNS = 'row, handle, function, "unique", priority, due_at, retries, is_dead, schedule, reducer'
INSERT = f"INSERT INTO abraxas_jobs ({COLUMNS}, data) VALUES "
VALUES = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
AMEND = "UPDATE abraxas_jobs SET due_at = ?, retries = ?, is_dead = ? WHERE row = ?"
REMOVE = "DELETE FROM abraxas_jobs WHERE row IN (SELECT value FROM json_each(?))"
RECORDS = f"SELECT {COLUMNS}, CASE WHEN \"unique\" = x'2d' THEN data END FROM abraxas_jobs ORDER BY row"
# All payloads in one value, and so in one step.
LOAD = (
    "SELECT group_concat(row || ' ' || hex(data), ' ') FROM abraxas_jobs WHERE row IN (SELECT value FROM json_each(?))"
)
IMPORT = "INSERT OR IGNORE INTO abraxas_imports VALUES (?)"
SIZES = "SELECT row, length(data) FROM abraxas_jobs WHERE row IN (SELECT value FROM json_each(?))"

LARGEST_INSERT = 256  # rows of a statement: 2,816 values, of the 32,766 that SQLite takes
PIECE = 20_000  # rows that are restored at a time
LOAD_BYTES = 8 * 1024 * 1024  # payloads that are read at a time
CACHE_KIB = 16 * 1024

_new = tuple.__new__  # see `broker.state`


class SqliteJournal:
    """`Journal` in the file `path`."""

    is_shared = False
    largest_bytes = inf  # a gigabyte, which no packet has

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._connection: sqlite3.Connection | None = None

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None, "the journal is not open"
        return self._connection

    def open(self) -> int:
        """See `Journal`. Raises JournalError for a file that another process uses, or that cannot be used."""
        with suppress(OSError):  # where it is there already, or SQLite will say what is wrong
            Path(self._path).touch(0o600, exist_ok=False)  # payloads are nobody else's business
        try:
            self._connection = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            first = self._prepare(self._connection)
            self._file = Inode(self._path)
            return first
        except sqlite3.Error as error:
            self.close()
            raise JournalError(_unusable(self._path, error)) from error
        except JournalError:
            self.close()
            raise

    def _prepare(self, connection: sqlite3.Connection) -> int:
        execute = connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        (version,) = execute("PRAGMA user_version").fetchone()
        if version == 0 and execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise JournalError(f"{self._path} is a database of something else: name another file")
        if version > VERSION:
            raise JournalError(f"{self._path} was made by a newer version: upgrade, or name another file")
        execute("PRAGMA journal_mode = WAL")  # which is written to the file
        execute("PRAGMA synchronous = FULL")
        execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if version == 0:
            connection.executescript(SCHEMA)
        execute("UPDATE abraxas_starts SET start = start + 1")
        (start,) = execute("SELECT start FROM abraxas_starts").fetchone()
        return (int(start) << ROW_BITS) + 1

    def records(self) -> Iterator[list[Record]]:
        """See `Journal`."""
        try:
            cursor = self._db.execute(RECORDS)
            while rows := cursor.fetchmany(PIECE):
                yield [_new(Record, row) for row in rows]
        except sqlite3.Error as error:
            raise JournalError(_unusable(self._path, error)) from error

    def commit(self, changes: Sequence[Persist]) -> None:
        """See `Journal`."""
        connection = self._db
        try:
            connection.execute("BEGIN IMMEDIATE")
            _insert(connection, [change.record for change in changes if isinstance(change, Store)])
            for change in changes:
                if isinstance(change, Amend):
                    connection.execute(AMEND, (change.due_at, change.retries, change.is_dead, change.row))
            gone = [change.row for change in changes if isinstance(change, Remove)]
            if gone:
                connection.execute(REMOVE, (json.dumps(gone),))
            if not self._file.is_in_place():
                raise JournalBroken(f"the journal {self._path} {GONE}")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            # After some errors (a full disk) SQLite has rolled back by itself: asking again would be another error.
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            if connection.in_transaction:
                raise JournalBroken(f"{self._path}: {error}, and it cannot be taken back") from error
            self._make_room()
            raise _judge(self._path, error) from error

    def _make_room(self) -> None:
        """Empty the write-ahead log, which on a full disk may be what fills it."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def adopt(self, jobs: Iterable[Left]) -> tuple[int, int]:
        """Take over what another server has left, all or nothing: how many jobs, and how many were taken over before.

        The journal is opened for this, and closed again. Raises JournalError.
        """
        row = self.open()
        taken = known = 0
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for job in jobs:
                if not self._db.execute(IMPORT, (job.digest(),)).rowcount:
                    known += 1
                    continue
                _insert(self._db, [job.record(row + taken)])
                taken += 1
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise JournalError(f"nothing was taken over into {self._path}: {error}") from error
        finally:
            self.close()
        return taken, known

    def load(self, rows: Sequence[int]) -> dict[int, bytes]:
        """See `Journal`."""
        try:
            lengths = dict(self._db.execute(SIZES, (json.dumps(rows),)))
            wanted: list[int] = []
            total = 0
            for row in rows:
                total += lengths.get(row, 0)
                if wanted and total > LOAD_BYTES:
                    break
                wanted.append(row)
            (text,) = self._db.execute(LOAD, (json.dumps(wanted),)).fetchone()
        except sqlite3.Error as error:
            raise _judge(self._path, error) from error
        words = iter((text or "").split(" "))
        payloads = {int(row): bytes.fromhex(word) for row, word in zip(words, words, strict=True)} if text else {}
        if rows[0] not in payloads:
            raise JournalError(f"{self._path}: row {rows[0]} is gone")
        return payloads

    def watch(self) -> bool:
        """See `Journal`; nobody else has the file."""
        return False

    def close(self) -> None:
        """See `Journal`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _insert(connection: sqlite3.Connection, records: list[Record]) -> None:
    """In statements of a few sizes, so that they are compiled once."""
    done, size = 0, LARGEST_INSERT
    while done < len(records):
        while size > len(records) - done:
            size //= 2
        values = [value for record in records[done : done + size] for value in record]
        connection.execute(INSERT + ", ".join([VALUES] * size), values)
        done += size


def _judge(path: str, error: sqlite3.Error) -> JournalError:
    """What an error of a transaction that was rolled back means."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return JournalRefused(f"No room left for {path}")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_NOMEM):
        return JournalRefused(f"{path}: {error}")
    # After a failed sync nobody knows what is on the disk, and a second one would lie.
    return JournalBroken(f"{path}: {error}")


def _unusable(path: str, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"the queue {path} is in use by another process: stop that, or name another file"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"the queue {path} is damaged ({error}): move it away, and save what `sqlite3 FILE .recover` can"
    return f"cannot use the queue {path}: {error}"
