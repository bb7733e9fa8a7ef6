"""Taking over the queue that gearmand has left in SQLite or MySQL: a table of one row for each background job.

gearmand keeps no handles and no reducers, so imported jobs get handles of ours and none of the latter. A row is known
by a digest of all it says; what was imported once is not imported again, also when it has long been worked off.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from abraxas_py.broker.effects import Record
from abraxas_py.errors import JournalError
from abraxas_py.journal import ROW_BITS

__all__ = ["Left", "read_queue"]

_COLUMNS = "unique_key, function_name, priority, data, when_to_run"
_TABLE = re.compile(r"[A-Za-z0-9_]+")


class Left(NamedTuple):
    """A row of gearmand's table."""

    unique: bytes
    function: bytes
    priority: int
    data: bytes
    due_at: int

    def __str__(self) -> str:
        """For people.

        >>> str(Left(b"daily", b"report", 1, b"", 0))
        "the job 'daily' of the function 'report'"
        """
        unique, function = (name.decode(errors="replace")[:200] for name in (self.unique, self.function))
        return f"the job {unique!r} of the function {function!r}"

    def digest(self) -> bytes:
        """The same for the same row, and for no other."""
        lengths = b"%d %d %d %d " % (len(self.unique), len(self.function), self.priority, self.due_at)
        return sha256(lengths + self.unique + self.function + self.data).digest()

    def record(self, row: int) -> Record:
        """The same job as one of ours."""
        handle = b"H:import:%d:%d" % divmod(row, 1 << ROW_BITS)
        return Record(
            row, handle, self.function, self.unique, self.priority, self.due_at, 0, False, b"", None, self.data
        )


def read_queue(source: str, table: str) -> Iterator[Left]:
    """The jobs in a file of SQLite's, or at `mysql://USER:PASSWORD@HOST:PORT/DATABASE`. Raises JournalError."""
    if not _TABLE.fullmatch(table):
        raise JournalError(f"{table!r} is no name of a table")
    return _read_mysql(source, table) if source.startswith("mysql://") else _read_sqlite(source, table)


def _read_sqlite(path: str, table: str) -> Iterator[Left]:
    try:
        # Not read-only: after a crash of gearmand's, its last transaction is to be rolled back first.
        connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=rw", uri=True)
    except sqlite3.Error as error:
        raise JournalError(f"cannot read {path}: {error}") from error
    try:
        connection.text_factory = bytes
        for row in connection.execute(f"SELECT {_COLUMNS} FROM {table} ORDER BY rowid"):
            yield _left(row)
    except sqlite3.Error as error:
        raise JournalError(f"cannot read gearmand's queue in {path}: {error}") from error
    finally:
        connection.close()


def _read_mysql(url: str, table: str) -> Iterator[Left]:
    import pymysql  # only who comes from there needs it
    from pymysql.cursors import SSCursor

    parts = urlsplit(url)
    try:
        connection = pymysql.connect(
            host=parts.hostname or "localhost",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or os.environ.get("MYSQL_PASSWORD", "")),
            database=parts.path.strip("/"),
            charset="utf8mb4",  # as gearmand's own connection, so that names come as it would read them
            use_unicode=False,
        )
        with connection, connection.cursor(SSCursor) as cursor:
            cursor.execute(f"SELECT {_COLUMNS} FROM {table}")
            for row in cursor:
                yield _left(row)
    except (pymysql.Error, ValueError) as error:
        raise JournalError(f"cannot read gearmand's queue on {parts.hostname}: {error}") from error


def _left(row: tuple[bytes | None, bytes | None, int | None, bytes | None, int | None]) -> Left:
    unique, function, priority, data, due_at = row
    return Left(unique or b"", function or b"", priority if priority in (0, 1, 2) else 1, data or b"", due_at or 0)
