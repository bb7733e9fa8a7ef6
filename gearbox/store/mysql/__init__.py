"""The store on MySQL 8 and MariaDB 10.6 or newer: one database, any number of cores, one commit for a batch.

Transactions are READ COMMITTED. What a step may change it reads under a row lock (`Lock`), so it decides on what is
there, not on what was; unique keys see to what no row can be locked for (a dedupe, a submit token, a job's retry). A
batch that runs into another core's row, a deadlock, or a lock that is not given up, is rolled back (`StoreBusy`): the
core runs all of it again, and sees that row. A lock wait that ends rolls back one statement only, so the store always
rolls back the rest.

A commit whose answer is lost may or may not have been made. Every batch that writes puts its number into this store's
row of `gearbox_writers`, so a new connection can ask; it asks with a lock on the row, which the old transaction holds
until it is over, and so the answer is final. Until there is one, `settle` has to be called before the next batch.

The time is the server's, carried on by this machine's steady clock from one batch to the next. So all cores agree to
within the time that a question takes, and nobody else's wall clock matters. Each batch holds the row that says by how
much spans were moved because that clock was set, so that no core writes by the old time what another one has moved.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from math import inf

import pymysql
import structlog

from gearbox.errors import StoreBusy, StoreError, StoreUncertain
from gearbox.job import Control
from gearbox.store import Batch, Lock, Moment, Step
from gearbox.store.address import MysqlAddress
from gearbox.store.clock import Look, follow, steady
from gearbox.store.foresight import foresee
from gearbox.store.mysql.link import connect, is_failure, is_lost, translated
from gearbox.store.mysql.schema import check, migrate
from gearbox.store.mysql.server import ASKED, kind_of, refusal, warnings
from gearbox.store.mysql.session import Session
from gearbox.store.mysql.tx import MysqlTx
from gearbox.store.mysql.words import renamed
from gearbox.store.running import run_steps

__all__ = ["MysqlStore"]

log = structlog.get_logger("gearbox:core")

INSISTENCE = 5.0  # s to find out what became of a commit
DUE_PAUSE = 0.1  # s before another look at jobs that are due, but in another core's hands
WRITER_KEPT = 7 * 86400 * 1_000_000  # µs; rows of stores that were killed

SELECT_CLOCK = """
SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)),
    (SELECT value FROM gearbox_meta WHERE name = 'controls'),
    (SELECT value FROM gearbox_meta WHERE name = 'oldest'), value
FROM gearbox_meta WHERE name = 'clock'"""
SELECT_DATABASE = "SELECT value FROM gearbox_meta WHERE name = 'database'"
SELECT_VARIABLES = f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({', '.join(repr(name) for name in ASKED)})"
PUT_WRITER = """
INSERT INTO gearbox_writers (id, batch, seen_at) VALUES (:id, :batch, :now)
ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, seen_at = excluded.seen_at
"""
SELECT_WRITER = "SELECT batch FROM gearbox_writers WHERE id = :id FOR UPDATE"
DELETE_WRITER = "DELETE FROM gearbox_writers WHERE id = :id OR seen_at < :old"


class MysqlStore:
    """`store.Store` in the database at `address`. Raises `StoreError` with what to do, if it cannot be used."""

    is_shared = True

    def __init__(self, address: MysqlAddress) -> None:
        self.address = address
        self._session: Session | None = None
        self._writer = uuid.uuid4().hex
        self._batches = 0
        self._uncertain: Batch | None = None
        self._lost = 0  # the session that it was sent in
        self._controls: dict[str, Control] = {}
        self._controls_version: str | None = "not read"
        try:
            self.database = self._prepare()
            self._session = Session(address)
            self._last_look, _ = self._look(self._session, Lock.NONE)  # as of the last batch that was stored
            self._session.roll_back()
        except pymysql.Error as error:
            raise translated(error, address) from error

    def _prepare(self) -> str:
        """Judge the server and see to the tables; the database's own letters."""
        connection = connect(self.address, answer_timeout=None)  # a migration may take as long as it needs
        try:
            with connection.cursor() as cursor:
                cursor.execute(SELECT_VARIABLES)
                variables = {name.lower(): value for name, value in cursor.fetchall()}
                connection.rollback()
                problem = refusal(variables)
                if problem is not None:
                    raise StoreError(f"cannot use the database {self.address}: {problem}")
                for warning in warnings(variables):
                    log.warning(warning)
                self._known = migrate(connection, self.address, kind_of(variables["version"]))
                cursor.execute(renamed(SELECT_DATABASE, self.address.table))
                return str(cursor.fetchone()[0])
        finally:
            connection.close()

    def now(self) -> float:
        return steady() + self._last_look.lead

    def close(self) -> None:
        if self._session is None:
            return
        old = round(self.now() * 1e6) - WRITER_KEPT
        with suppress(pymysql.Error):  # another store deletes the row, in time
            self._session.execute(DELETE_WRITER, {"id": self._writer, "old": old})
            self._session.commit()
        self._drop()

    # --- a batch ---

    def run_batch(self, steps: Sequence[Step], moment: Moment) -> Batch:
        if self._uncertain is not None:
            raise StoreUncertain("the last batch has to be settled first")
        try:
            return self._run_batch(steps, moment, with_savepoints=False)
        except StoreError:
            raise
        except Exception:  # `Entangled`, or what a step did cannot be written: each is written by itself
            return self._run_batch(steps, moment, with_savepoints=True)

    def _run_batch(self, steps: Sequence[Step], moment: Moment, *, with_savepoints: bool) -> Batch:
        session = self._session = self._session or Session(self.address)
        tx = MysqlTx(session, self._controls, session.largest)
        try:
            look = self._begin(tx, session)
            set_by = look.set_since(self._last_look)
            if set_by:
                moment = moment.at(look.now)
                look = follow(session, look, self._last_look)
            if not with_savepoints:  # a row that cannot be read fails the step that is about it, and no other
                tx.prepare(foresee(steps))
            outcomes = run_steps(steps, tx, moment, is_failure, session.plain if with_savepoints else None)
            tx.flush()
            actions = tx.follow()
            next_at = tx.next_at()
            if session.has_written:
                self._batches += 1
                row = {"id": self._writer, "batch": self._batches, "now": round(moment.now * 1e6)}
                session.execute(PUT_WRITER, row)
        except BaseException as error:
            self._roll_back(tx, session)
            if is_failure(error):
                raise self._failed(error) from error
            raise
        if next_at is None:
            next_at = inf
        elif tx.is_nothing_due:
            next_at = max(next_at, moment.now + DUE_PAUSE)
        done = self._commit(tx, session, Batch(outcomes, actions, next_at, set_by))
        self._last_look = look
        return done

    def _begin(self, tx: MysqlTx, session: Session) -> Look:
        look, version = self._look(session, Lock.SHARED)
        if look.set_since(self._last_look) or look.moved != self._last_look.moved:
            look, version = self._look(session, Lock.EXCLUSIVE)  # nobody else is at it, and the answer was not held up
        if version != self._controls_version:
            tx.load_controls()
            self._controls_version = version
        return look

    def _look(self, session: Session, lock: Lock) -> tuple[Look, str | None]:
        """At the server's clock; and the version of the controls."""
        began = steady()
        micros, version, oldest, moved = session.execute(SELECT_CLOCK + MysqlTx.LOCKS[lock], {}).fetchone()
        check(self.address, self._known, int(oldest or 0))
        return Look(micros / 1e6, began, steady(), float(moved)), version

    # --- its end ---

    def _commit(self, tx: MysqlTx, session: Session, batch: Batch) -> Batch:
        has_written = session.has_written
        try:
            session.commit()
        except pymysql.Error as error:
            self._roll_back(tx, session)
            failure = self._failed(error)
            if not is_lost(error) or not has_written:
                raise failure from error
            self._uncertain, self._lost = batch, session.id
            return self._insist()
        return batch

    def _insist(self) -> Batch:
        """Ask what became of a commit, for some seconds."""
        deadline = steady() + INSISTENCE
        pause = 0.02
        while True:
            try:
                batch = self.settle()
            except StoreError as error:
                if steady() > deadline:
                    message = f"{error}; whether the last calls were stored shows when it is back"
                    raise StoreUncertain(message) from error
                time.sleep(pause)
                pause *= 2
                continue
            if batch is None:
                raise StoreBusy(f"the connection to the database {self.address} was lost before the commit")
            return batch

    def settle(self) -> Batch | None:
        """What became of the batch that ended in `StoreUncertain`: None if it was not stored. Raises `StoreError`."""
        batch = self._uncertain
        if batch is None:
            return None
        session = self._session = self._session or Session(self.address)
        try:
            try:
                row = session.execute(SELECT_WRITER, {"id": self._writer}).fetchone()
            except pymysql.err.OperationalError as error:
                if not is_lost(error):
                    # the server has not seen yet that the old connection is gone, so its transaction holds the row
                    session.plain(f"KILL {self._lost}")
                raise
            session.roll_back()
        except pymysql.Error as error:
            raise self._failed(error) from error
        self._uncertain = None
        return batch if row is not None and row[0] == self._batches else None

    def _roll_back(self, tx: MysqlTx, session: Session) -> None:
        if tx.is_control_changed:
            self._controls_version = "changed by what was rolled back"
        try:
            session.roll_back()
        except pymysql.Error:
            self._drop()

    def _failed(self, error: pymysql.Error) -> StoreError:
        """A connection that is lost, or to a server that fails, is not used again."""
        failure = translated(error, self.address)
        if is_lost(error) or not isinstance(failure, StoreBusy):
            self._drop()
        return failure

    def _drop(self) -> None:
        if self._session is not None:
            self._session.drop()
        self._session = None
