"""What the store says to the server between two commits: statements of ours, many rows at a time, and new ids."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pymysql

from gearbox.errors import StoreError
from gearbox.store.address import MysqlAddress
from gearbox.store.clock import steady
from gearbox.store.mysql.link import connect, is_lost, translated
from gearbox.store.mysql.words import translator

__all__ = ["Session"]

SPARE = 4096  # bytes of a packet for all that is not a job's arguments or data
CHUNK = 1 << 20  # bytes of statements that are sent at once
IDS_MOST = 256  # ids taken at once
IDS_KEPT = 1.0  # s; ids are to grow with time, so what is left of an old portion is thrown away

KEEP_IDS = "INSERT INTO gearbox_ids (id) SELECT MAX(id) FROM gearbox_jobs HAVING MAX(id) IS NOT NULL"
TAKE_IDS = "INSERT INTO gearbox_ids (id) VALUES "


class Session:
    """One connection with the transaction that is open in it."""

    def __init__(self, address: MysqlAddress) -> None:
        self.address = address
        self._translate = translator(address.table)
        self._connection = connect(address)
        self._cursor = self._connection.cursor()
        self.id: int = self._connection.thread_id()
        self.has_written = False
        self._ids: list[int] = []  # the next one last
        self._ids_at = 0.0
        self._ids_next = 1  # how many to take
        try:
            self._cursor.execute("SELECT @@max_allowed_packet, @@auto_increment_increment")
            packet, self._ids_step = self._cursor.fetchone()
            # after a failover or a restored dump, the counter may be behind
            self._cursor.execute(self._translate(KEEP_IDS))
            self._connection.rollback()
        except pymysql.Error as error:
            self.drop()
            raise translated(error, address) from error
        # half, so that escapes fit, and a row with both on its way back
        self.largest = packet // 2 - SPARE
        self._chunk = min(CHUNK, self.largest)
        self._cursor.max_stmt_length = self._chunk

    def execute(self, statement: str, values: Mapping[str, Any]) -> Any:
        """Run a statement of ours."""
        text = self._translate(statement)
        self._mark(text)
        self._cursor.execute(text, values)
        return self._cursor

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> int:
        """An INSERT goes as one for many rows, others go side by side in one packet."""
        text = self._translate(statement)
        self._mark(text)
        cursor = self._cursor
        if text.lstrip().startswith("INSERT"):
            return int(cursor.executemany(text, rows) or 0)
        matched = length = 0
        some: list[str] = []
        for row in rows:
            one = cursor.mogrify(text, row)
            if some and length + len(one) > self._chunk // 4:  # a character is up to four bytes
                matched += self._run(some)
                some, length = [], 0
            some.append(one)
            length += len(one)
        return matched + self._run(some)

    def _run(self, statements: Sequence[str]) -> int:
        cursor = self._cursor
        cursor.execute(";".join(statements))
        matched = cursor.rowcount
        while cursor.nextset():
            matched += cursor.rowcount
        return int(matched)

    def _mark(self, text: str) -> None:
        if re.match(r"\s*(INSERT|UPDATE|DELETE)", text):
            self.has_written = True

    def plain(self, statement: str) -> Any:
        """Run a statement as it is."""
        self._cursor.execute(statement)
        return self._cursor

    def new_id(self) -> int:
        """From a counter that no rollback turns back: rows that were never to stay have used its values up."""
        if not self._ids or steady() > self._ids_at + IDS_KEPT:
            number = self._ids_next
            self._ids_next = min(number * 4, IDS_MOST)
            cursor = self._cursor
            cursor.execute("SAVEPOINT ids")
            cursor.execute(self._translate(TAKE_IDS + ", ".join(["(NULL)"] * number)))
            first = cursor.lastrowid
            cursor.execute("ROLLBACK TO SAVEPOINT ids")
            self._ids = [first + n * self._ids_step for n in reversed(range(number))]
            self._ids_at = steady()
        return self._ids.pop()

    def commit(self) -> None:
        self._connection.commit()
        self._ids_next = 1
        self.has_written = False

    def roll_back(self) -> None:
        """Raises pymysql.Error if the connection is lost, which rolls back too."""
        self.has_written = False
        self._connection.rollback()

    def drop(self) -> None:
        """Close without a word, as when the connection is lost."""
        self._connection._force_close()

    def failed(self, error: pymysql.Error) -> tuple[StoreError, bool]:
        """What it means, and whether this session is over."""
        failure = translated(error, self.address)
        return failure, is_lost(error)
