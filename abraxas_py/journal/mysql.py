"""The journal in a table on MySQL or MariaDB, which several servers may share.

Each start of a server has a row in `<table>_brokers`, whose number makes the upper bits of the rows of its jobs. Whose
a start's jobs are, its `owner` says: itself while it lives, another start after its death, nobody (0) after an orderly
end. To take over from the dead is to change that one column, however many jobs there are.

A commit raises `beats` in its own server's row, where that is its own still. This one statement is the heartbeat; the
fence, for it finds nothing if the server was declared dead, and otherwise holds the row, so whoever declares it dead
waits for the commit; and the mark by which a new connection sees what became of a commit whose answer was lost.

Values go as hexadecimal digits: no character set and no SQL mode can read them otherwise.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, TypeVar

import pymysql
from pymysql.constants import ER

from abraxas_py.broker.effects import Amend, Persist, Record, Remove, Store
from abraxas_py.errors import JournalError, JournalFenced, JournalUncertain
from abraxas_py.journal import ROW_BITS
from abraxas_py.journal.gearmand import Left
from abraxas_py.journal.leases import GRACE, Beat, Observer
from abraxas_py.journal.mysql_codes import code_of
from abraxas_py.journal.mysql_link import MysqlLink, MysqlPlace, is_passing, judge, reason_of
from abraxas_py.protocol.packets import MAX_FUNCTION_BYTES, MAX_UNIQUE_BYTES

__all__ = ["MysqlJournal"]

log = logging.getLogger("abraxas.journal")
Answer = TypeVar("Answer")

PAUSES = (0.0, 0.02, 0.1, 0.3, 1.0)  # s before each try of what another transaction or a lost connection was in the way
INSISTENCE = 3.0  # s after which there is no further try
OBSERVATION = 0.5  # s between two looks, while a start waits to see whether others live
REMEMBERED = 86_400  # s that a dead start's row is kept after its last job: it may ask what became of a commit

CHUNK = 1 << 20  # bytes of statements that are sent at once, where the server takes so many
SPARE = 4096  # bytes of a packet for all but the payload
PIECE = 20_000  # rows that are restored at a time
LOAD_BYTES = 8 * 1024 * 1024  # payloads that are read at a time

VARIABLES = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN "
    "('max_allowed_packet', 'innodb_flush_log_at_trx_commit', 'read_only', 'innodb_read_only')"
)
CREATE_JOBS = """CREATE TABLE IF NOT EXISTS `{jobs}` (
    `id` BIGINT UNSIGNED NOT NULL PRIMARY KEY COMMENT 'the number of a start, and of a job in it',
    `handle` VARBINARY(255) NOT NULL,
    `function` VARBINARY(512) NOT NULL,
    `unique` VARBINARY(64) NOT NULL,
    `priority` TINYINT UNSIGNED NOT NULL,
    `due_at` DOUBLE NULL COMMENT 'Unix seconds; 0: at once, NULL: never',
    `retries` INT UNSIGNED NOT NULL,
    `is_dead` BOOLEAN NOT NULL,
    `schedule` VARBINARY(512) NOT NULL,
    `reducer` VARBINARY(512) NULL,
    `data` LONGBLOB NOT NULL
) ENGINE = InnoDB"""
CREATE_OTHERS = (
    """CREATE TABLE IF NOT EXISTS `{jobs}_brokers` (
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'the number of a start',
    `owner` BIGINT UNSIGNED NOT NULL COMMENT 'whose its jobs are: its own, those of another, of nobody (0)',
    `beats` BIGINT UNSIGNED NOT NULL,
    `name` VARBINARY(255) NOT NULL COMMENT 'of the host and process, for people',
    `began_at` BIGINT NOT NULL,
    `beat_at` BIGINT NOT NULL COMMENT 'Unix seconds'
) ENGINE = InnoDB""",
    """CREATE TABLE IF NOT EXISTS `{jobs}_imports` (
    `digest` BINARY(32) NOT NULL PRIMARY KEY COMMENT 'of what came from elsewhere, gone or not'
) ENGINE = InnoDB""",
)
COLUMNS = "`id`, `handle`, `function`, `unique`, `priority`, `due_at`, `retries`, `is_dead`, `schedule`, `reducer`"
INSERT = "INSERT INTO `{jobs}` (" + COLUMNS + ", `data`) VALUES "
AMEND = "UPDATE `{jobs}` SET `due_at` = {due_at}, `retries` = {retries:d}, `is_dead` = {is_dead:d} WHERE `id` = {row:d}"
REMOVE = "DELETE FROM `{jobs}` WHERE `id` IN ({rows})"
RECORDS = (
    "SELECT " + COLUMNS + ", CASE WHEN `unique` = x'2d' THEN `data` END "
    "FROM `{jobs}` WHERE `id` > {after:d} AND `id` <= {last:d} ORDER BY `id` LIMIT {limit:d}"
)
SIZES = "SELECT `id`, LENGTH(`data`) FROM `{jobs}` WHERE `id` IN ({rows})"
LOAD = "SELECT `id`, `data` FROM `{jobs}` WHERE `id` IN ({rows})"
IMPORT = "INSERT IGNORE INTO `{jobs}_imports` VALUES (x'{digest}')"

BEGIN = (
    "INSERT INTO `{jobs}_brokers` (`owner`, `beats`, `name`, `began_at`, `beat_at`) "
    "VALUES (0, 0, x'{name}', UNIX_TIMESTAMP(), UNIX_TIMESTAMP())"
)
OWN = "UPDATE `{jobs}_brokers` SET `owner` = `id` WHERE `id` = {me:d}"
STAND = (
    "UPDATE `{jobs}_brokers` SET `beats` = {beats:d}, `beat_at` = UNIX_TIMESTAMP() "
    "WHERE `id` = {me:d} AND `owner` = {me:d}"
)
LOCK = "CONCAT(LEFT(CONCAT(DATABASE(), '.{jobs}'), 40), '.', %s)"  # its name may have 64 characters
TAKE_LOCK = f"SELECT GET_LOCK({LOCK % '{me:d}'}, 0)"
STARTS = f"SELECT `id`, `owner`, `beats`, IS_FREE_LOCK({LOCK % '`id`'}) FROM `{{jobs}}_brokers`"
INHERIT = "UPDATE `{jobs}_brokers` SET `owner` = {me:d} WHERE `owner` = {other:d}"
BURY = INHERIT + " AND `id` = {other:d} AND `beats` = {beats:d}"
LEAVE = "UPDATE `{jobs}_brokers` SET `owner` = 0 WHERE `owner` = {me:d}"
OUTCOME = "SELECT `beats` FROM `{jobs}_brokers` WHERE `id` = {me:d} FOR UPDATE"
FORGET = (
    "DELETE FROM `{jobs}_brokers` WHERE `id` = {start:d} AND `owner` = {me:d} "
    "AND `beat_at` < UNIX_TIMESTAMP() - {remembered:d}"
)


class MysqlJournal:
    """`Journal` in the table at `place`. `clock` gives seconds, and goes on while the machine sleeps."""

    is_shared = True

    def __init__(self, place: MysqlPlace, clock: Callable[[], float] | None = None) -> None:
        self._place = place
        self._clock = clock or _steady
        self._link = MysqlLink(place)
        self._locked_in = 0  # the session that holds our lock
        self._me = 0  # the number of this start
        self._beats = 0
        self._is_unknown = False  # whether the commit that made `_beats` what it is was made
        self._observer = Observer()
        self._owned: set[int] = set()  # starts whose jobs are this one's
        self._unread: dict[int, int] = {}  # those of them whose jobs were not given yet, and up to which row they were
        self.largest_bytes = inf
        self._chunk = CHUNK

    # Beginning and end

    def open(self) -> int:
        """See `Journal`. Waits for some seconds where another server seems to have died: perhaps it is back at once."""
        self._is_unknown = False
        try:
            self._asking(self._prepare)
        except JournalError as error:
            self._link.drop()
            raise JournalError(f"cannot use the queue: {error}") from error
        return (self._me << ROW_BITS) + 1

    def _prepare(self) -> None:
        variables = dict(self._link.rows(VARIABLES))
        if "ON" in (variables["read_only"].upper(), variables["innodb_read_only"].upper()):
            raise JournalError(f"{self._place} is read-only, perhaps a replica: name the primary")
        flush = variables["innodb_flush_log_at_trx_commit"]
        if flush != "1":
            log.warning("a crash may lose acknowledged jobs innodb_flush_log_at_trx_commit=%s", flush)
        self.largest_bytes = int(variables["max_allowed_packet"]) // 2 - SPARE
        self._chunk = min(CHUNK, self.largest_bytes)
        self._link.run(CREATE_JOBS)
        self._check_columns()
        for statement in CREATE_OTHERS:
            self._link.run(statement)
        self._link.run("START TRANSACTION")
        self._link.run(BEGIN, name=f"{socket.gethostname()}:{os.getpid()}".encode()[:255].hex())
        ((self._me,),) = self._link.rows("SELECT LAST_INSERT_ID()")
        self._link.names["me"] = self._me
        self._link.run(OWN)
        self._link.run("COMMIT")
        self._beats = 0
        self._owned, self._unread = {self._me}, {}
        self._take_lock()
        self._observer.forget()
        until = self._clock() + GRACE + OBSERVATION
        while self._look() and self._clock() < until:
            time.sleep(OBSERVATION)

    def _check_columns(self) -> None:
        try:
            self._records(0, 1)
        except pymysql.Error as error:
            if code_of(error) != ER.BAD_FIELD_ERROR:
                raise
            raise JournalError(
                f"the table {self._place.table} in {self._place} is of something else: name another one, and take over "
                "what gearmand has left in this one with `abraxas import`"
            ) from error

    def close(self) -> None:
        """See `Journal`."""
        if self._link.session:
            with suppress(pymysql.Error):
                self._link.run(LEAVE)
        self._link.drop()

    # What is kept

    def records(self) -> Iterator[list[Record]]:
        """See `Journal`."""
        while self._unread:
            start, after = next(iter(self._unread.items()))
            while records := self._asking(self._records, after, (start + 1 << ROW_BITS) - 1):
                after = self._unread[start] = records[-1].row
                yield records
                self._asking(self._stand)
            if after == start << ROW_BITS:
                self._asking(partial(self._link.run, FORGET, start=start, remembered=REMEMBERED))
            del self._unread[start]

    def _records(self, after: int, last: int) -> list[Record]:
        return [
            Record(row, handle, function, unique, priority, inf if due_at is None else due_at, *rest)
            for row, handle, function, unique, priority, due_at, *rest in self._link.rows(
                RECORDS, after=after, last=last, limit=PIECE
            )
        ]

    def load(self, rows: Sequence[int]) -> dict[int, bytes]:
        """See `Journal`."""
        return self._asking(self._load, rows)

    def _load(self, rows: Sequence[int]) -> dict[int, bytes]:
        lengths = dict(self._link.rows(SIZES, rows=_listed(rows)))
        wanted: list[int] = []
        total = 0
        for row in rows:
            total += lengths.get(row, 0)
            if wanted and total > LOAD_BYTES:
                break
            wanted.append(row)
        payloads = dict(self._link.rows(LOAD, rows=_listed(wanted)))
        if rows[0] not in payloads:
            raise JournalError(f"{self._place}: row {rows[0]} is gone")
        return payloads

    # Changes

    def commit(self, changes: Sequence[Persist]) -> None:
        """See `Journal`."""
        if not changes:
            return
        self._asking(self._commit, self._statements(changes))

    def _commit(self, statements: Sequence[str]) -> None:
        """One transaction, if it was not made before."""
        if self._is_unknown and self._was_made():
            return
        self._stand("START TRANSACTION;")
        for packet in _joined(";", statements, self._chunk):
            self._link.send(packet)
        self._is_unknown = True
        try:
            self._link.run("COMMIT")
        except pymysql.Error as error:
            self._is_unknown = is_passing(error)
            raise
        self._is_unknown = False

    def _was_made(self) -> bool:
        """Whether the commit whose answer was lost was made; final, since its transaction held the row."""
        rows = self._link.rows(OUTCOME)
        self._is_unknown = False
        return any(beats == self._beats for (beats,) in rows)

    def _stand(self, before: str = "") -> None:
        """Raise the number, and stand for not being dead until the transaction ends. Raises JournalFenced."""
        self._beats += 1
        if not self._link.run(before + STAND, beats=self._beats):
            self._link.run("ROLLBACK")
            raise JournalFenced(f"the servers that share {self._place} have declared this one dead")
        self._link.forget_lost()  # whose transaction would have held the row

    def _statements(self, changes: Sequence[Persist]) -> list[str]:
        text, most = self._link.text, self._chunk // 2
        values = (_values(change.record) for change in changes if isinstance(change, Store))
        statements = [text(INSERT) + some for some in _joined(",", values, most)]
        for change in changes:
            if isinstance(change, Amend):
                _, row, due_at, retries, is_dead = change
                statements.append(text(AMEND, row=row, due_at=_instant(due_at), retries=retries, is_dead=is_dead))
        gone = (str(change.row) for change in changes if isinstance(change, Remove))
        statements += [text(REMOVE, rows=some) for some in _joined(",", gone, most)]
        return statements

    # Other servers

    def watch(self) -> bool:
        """See `Journal`."""
        assert not self._is_unknown, "the last changes are to be given again first"
        try:
            self._asking(self._watch)
        except JournalError:
            self._observer.forget()
            raise
        return bool(self._unread)

    def _watch(self) -> None:
        self._stand()
        if self._locked_in != self._link.session:
            self._take_lock()
        self._look()

    def _take_lock(self) -> None:
        """While this connection lasts, others see by the lock that this server does."""
        ((got,),) = self._link.rows(TAKE_LOCK)
        if got == 1:  # not at once, where the server has not seen that the old connection is gone
            self._locked_in = self._link.session

    def _look(self) -> bool:
        """See who is dead, and take over; whether somebody may be."""
        beats, is_left = [], False
        for start, owner, number, is_free in self._link.rows(STARTS):
            if owner == start and start != self._me:
                beats.append(Beat(start, number, not is_free))
            elif owner == self._me and start not in self._owned:  # a commit whose answer was lost
                self._inherit(start)
            is_left |= owner == 0
        expired = self._observer.expired(beats, self._clock())
        if expired or is_left:
            self._take_over(expired)
        return any(not beat.has_lock for beat in beats if beat not in expired)

    def _take_over(self, expired: Sequence[Beat]) -> None:
        self._stand("START TRANSACTION;")
        for dead in expired:
            if self._link.run(BURY, other=dead.id, beats=dead.number):
                self._link.run(INHERIT, other=dead.id)
                log.warning("a server is dead, its jobs are taken over start=%d", dead.id)
        self._link.run(INHERIT, other=0)
        self._link.run("COMMIT")
        for start, owner, _, _ in self._link.rows(STARTS):
            if owner == self._me and start not in self._owned:
                self._inherit(start)

    def _inherit(self, start: int) -> None:
        self._owned.add(start)
        self._unread[start] = start << ROW_BITS

    # What another program has left

    def adopt(self, jobs: Iterable[Left]) -> tuple[int, int]:
        """As `SqliteJournal.adopt`; a server that uses the table takes the jobs up within seconds."""
        row = self.open()
        taken = known = 0
        try:
            self._stand("START TRANSACTION;")
            for job in jobs:
                if not self._link.run(IMPORT, digest=job.digest().hex()):
                    known += 1
                    continue
                if misfit := _misfit(job, self.largest_bytes):
                    raise JournalError(f"nothing was taken over into {self._place}: {job} {misfit}")
                self._link.send(self._link.text(INSERT) + _values(job.record(row + taken)))
                taken += 1
            self._link.run("COMMIT")
        except pymysql.Error as error:
            self._link.drop()
            raise JournalError(f"nothing was taken over into {self._place}: {reason_of(error)}") from error
        except JournalError:
            self._link.drop()  # and with it what was not committed
            raise
        self.close()
        return taken, known

    # The connection

    def _asking(self, ask: Callable[..., Answer], *arguments: Any) -> Answer:
        """Do what may be done again, as often as another transaction or a lost connection is in the way.

        Raises JournalRefused, or JournalUncertain while nobody can tell whether a commit was made.
        """
        until = self._clock() + INSISTENCE
        for pause in PAUSES:
            time.sleep(pause)
            try:
                return ask(*arguments)
            except pymysql.Error as error:
                failure = error
                self._link.mend(error)
            if not is_passing(failure) or self._clock() > until:
                break
        if self._is_unknown:
            raise JournalUncertain(f"{self._place}: {reason_of(failure)}") from failure
        raise judge(self._place, failure) from failure


def _misfit(job: Left, largest_bytes: float) -> str:
    """Why the table cannot hold what another program has left; empty where it can."""
    if len(job.unique) > MAX_UNIQUE_BYTES:
        return f"has a unique of more than {MAX_UNIQUE_BYTES} bytes: delete its row"
    if len(job.function) > MAX_FUNCTION_BYTES:
        return f"has a function of more than {MAX_FUNCTION_BYTES} bytes: delete its row"
    if len(job.data) > largest_bytes:
        return "is too large: raise max_allowed_packet"
    return ""


def _values(record: Record) -> str:
    row, handle, function, unique, priority, due_at, retries, is_dead, schedule, reducer, data = record
    assert data is not None
    last = "NULL" if reducer is None else f"x'{reducer.hex()}'"
    return (
        f"({row},x'{handle.hex()}',x'{function.hex()}',x'{unique.hex()}',{priority:d},{_instant(due_at)},{retries},"
        f"{is_dead:d},x'{schedule.hex()}',{last},x'{data.hex()}')"
    )


def _instant(at: float) -> str:
    return "NULL" if at == inf else repr(float(at))


def _joined(separator: str, texts: Iterable[str], most: int) -> Iterator[str]:
    """The texts in order, in pieces of no more characters than `most`; a longer text is a piece of its own.

    >>> list(_joined(",", ["1", "2", "3456", "7", "8"], 3))
    ['1,2', '3456', '7,8']
    """
    some: list[str] = []
    length = 0
    for text in texts:
        if some and length + len(text) > most:
            yield separator.join(some)
            some, length = [], 0
        some.append(text)
        length += len(text) + len(separator)
    if some:
        yield separator.join(some)


def _listed(rows: Iterable[int]) -> str:
    return ",".join(map(str, rows))


def _steady() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
