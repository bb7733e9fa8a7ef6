"""A connection to MySQL or MariaDB, as the journal uses it, and its errors in our words."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pymysql
from pymysql.constants import CLIENT, CR, ER

from abraxas_py.errors import JournalRefused
from abraxas_py.journal.leases import LEASE
from abraxas_py.journal.mysql_codes import BUSY, CUT, FULL, READ_ONLY, code_of
from abraxas_py.journal.mysql_connection import open_connection

__all__ = ["DEFAULT_TABLE", "MysqlLink", "MysqlPlace", "is_passing", "judge", "reason_of"]

DEFAULT_TABLE = "abraxas_jobs"
CONNECT_TIMEOUT = 2  # s; shorter than `leases.GRACE`, so that nobody is declared dead for waiting
ANSWER_TIMEOUT = 20  # s for one packet of statements
LOCK_WAIT = 3  # s
# s without a word from us, after which the server ends the connection and lets go of what its transaction has locked: a
# broker that is stopped in the middle of one could not be declared dead otherwise. One that works speaks every second.
SILENCE = int(LEASE)
SESSION = (
    "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
    f"innodb_lock_wait_timeout = {LOCK_WAIT}, wait_timeout = {SILENCE}"
)
# REPEATABLE READ would lock the gaps between rows, too.
ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

LOST = CUT | {CR.CR_CONN_HOST_ERROR}


@dataclass(frozen=True, slots=True)
class MysqlPlace:
    """Where a journal's table is. A `host` that begins with / is the path of the server's socket."""

    host: str
    user: str
    database: str
    password: str = field(default="", repr=False)
    port: int = 3306
    table: str = DEFAULT_TABLE
    tls: Callable[[], ssl.SSLContext | None] = lambda: None  # None: encrypted where the server can, whoever that is

    def __str__(self) -> str:
        """For people.

        >>> str(MysqlPlace("db", "abraxas", "jobs", "secret"))
        'mysql://abraxas@db:3306/jobs'
        """
        where = self.host if self.host.startswith("/") else f"{self.host}:{self.port}"
        return f"mysql://{self.user}@{where}/{self.database}"


class MysqlLink:
    """One connection at a time, made when it is needed; `names` are what statements have in braces."""

    def __init__(self, place: MysqlPlace) -> None:
        self.place = place
        self.names: dict[str, object] = {"jobs": place.table}
        self._connection: Any = None
        self._lost_session = 0  # of the last connection that was lost, while it may be in the way

    @property
    def session(self) -> int:
        """By which the server knows this connection; 0: there is none."""
        return 0 if self._connection is None else int(self._connection.thread_id())

    def text(self, statement: str, **values: object) -> str:
        """A statement with its names and values."""
        return statement.format(**self.names, **values)

    def run(self, statement: str, **values: object) -> int:
        """Run a statement, or several; how many rows the last one found."""
        return self.send(self.text(statement, **values))

    def rows(self, statement: str, **values: object) -> Sequence[Any]:
        """What a statement finds."""
        self.run(statement, **values)
        rows: Sequence[Any] = self._connection._result.rows
        return rows

    def send(self, text: str) -> int:
        """As `run`, for what has its values already."""
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        found: int = connection.query(text.encode("ascii"))
        while connection._result.has_next:
            found = connection.next_result()
        return found

    def _connect(self) -> Any:
        place = self.place
        is_local = place.host.startswith("/")
        try:
            tls = place.tls()
        except OSError as error:
            raise pymysql.err.OperationalError(CR.CR_CONN_HOST_ERROR, str(error)) from error
        return open_connection(
            SESSION,
            ISOLATION,
            host="localhost" if is_local else place.host,
            port=place.port,
            unix_socket=place.host if is_local else None,
            user=place.user,
            password=place.password,
            database=place.database,
            charset="utf8mb4",  # of names and messages; what jobs are made of is binary
            # an UPDATE counts the rows that it found, not those that it made different
            client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=ANSWER_TIMEOUT,
            write_timeout=ANSWER_TIMEOUT,
            autocommit=True,
            ssl=tls,
            ssl_disabled=is_local,
        )

    def mend(self, error: pymysql.Error) -> None:
        """Leave nothing of a transaction: a lock wait that ends takes back its own statement only."""
        if _is_lost(error):
            self.drop()
            return
        try:
            self.run("ROLLBACK")
            if code_of(error) == ER.LOCK_WAIT_TIMEOUT and self._lost_session:
                # The server has not seen that the old connection is gone, whose transaction holds the row.
                lost = self._lost_session
                self.forget_lost()
                with suppress(pymysql.err.OperationalError):
                    self.run(f"KILL {lost}")
        except pymysql.Error:
            self.drop()

    def forget_lost(self) -> None:
        """The lost connection is not in the way any more; after a restart of the server, its number is another's."""
        self._lost_session = 0

    def drop(self) -> None:
        """Close without a word, as when the connection is lost."""
        if self._connection is not None:
            self._lost_session = self.session
            self._connection._force_close()
        self._connection = None


def _is_lost(error: pymysql.Error) -> bool:
    """Whether the connection is gone, or there was none."""
    return isinstance(error, pymysql.err.InterfaceError) or code_of(error) in LOST


def is_passing(error: pymysql.Error) -> bool:
    """Whether to try again: the connection is lost, or another transaction was in the way."""
    return _is_lost(error) or code_of(error) in BUSY


def judge(place: MysqlPlace, error: pymysql.Error) -> JournalRefused:
    """What an error means after which nothing was changed."""
    if _is_lost(error):
        return JournalRefused(f"{place} is out of reach: {reason_of(error)}")
    if code_of(error) in FULL:
        return JournalRefused(f"No room left for {place}")
    if code_of(error) in READ_ONLY:
        return JournalRefused(f"{place} has become read-only: is it a replica now?")
    return JournalRefused(f"{place}: {reason_of(error)}")


def reason_of(error: BaseException) -> str:
    """What an error says."""
    return str(error.args[1] if len(error.args) > 1 else error)
