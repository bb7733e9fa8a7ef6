"""The SQLite store: one file, one connection, one writing thread, one commit for a batch.

The file belongs to one process at a time, held by a lock on a file beside it: SQLite before 3.51.3 can corrupt a
database whose write-ahead log is reset by two connections, and one writer is what group commit wants anyway. The log is
synced at every commit (synchronous = FULL), so what `run_batch` returned survives a power cut.

A disk that fails to sync ends the store (`StoreBroken`): the kernel forgets what it could not write, so that the next
sync would say that all is well. The next start finds out from the log what is there. So does a file that was removed or
replaced, for what is written to it then is gone with the process.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from math import inf
from pathlib import Path
from typing import IO, Any, TypeGuard

from abraxas_py.inode import GONE, Inode
from gearbox.errors import GearboxError, StoreBroken, StoreBusy, StoreError, StoreFull
from gearbox.job import ACTIVE, Control, Job
from gearbox.store import Batch, Moment, Step
from gearbox.store.clock import KEPT_WITHIN, Look, boot, follow, kept, last_look, steady
from gearbox.store.running import run_steps
from gearbox.store.sql import SqlTx
from gearbox.store.writing import PUT_META

__all__ = ["SqliteStore"]

PRIVATE = 0o600  # of a new file: what jobs hold is nobody else's business; SQLite gives -wal and -shm the same
CACHE_BYTES = 16 << 20
SELECT_MOVED = "SELECT value FROM gearbox_meta WHERE name = 'clock'"
SELECT_LEAD = "SELECT value FROM gearbox_meta WHERE name = 'lead'"
LIVING_LIMIT = 10_000  # jobs at work that are kept in memory, some 20 MB
LIVING_LARGEST = 4096  # characters of their arguments and data


class SqliteStore:
    """`store.Store` in the file `path`. Raises `StoreError` with what to do, if it cannot be used."""

    is_shared = False

    def __init__(self, path: str) -> None:
        self.path = path
        self._clock: Callable[[], float] = time.time
        self._steady = steady
        self._boot = boot()
        self._lock = _lock(path)
        self._controls: dict[str, Control] = {}
        self._are_controls_stale = False  # they are as a transaction left them that was rolled back
        self.is_broken = False  # by its disk: nothing more may be done with it
        with suppress(OSError):  # where it is there already, or SQLite will say what is wrong
            Path(path).touch(PRIVATE, exist_ok=False)
        try:
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        except sqlite3.Error as error:
            self._lock.close()
            raise StoreError(f"cannot use the database {path}: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            failure = _translate(error, path)
            self.is_broken = isinstance(failure, StoreBroken)
            self.close()
            raise type(failure)(f"cannot use the database {path}: {error}") from error
        except StoreError:
            self.close()
            raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA foreign_keys = ON")
        execute(f"PRAGMA cache_size = -{CACHE_BYTES >> 10}")
        execute("PRAGMA temp_store = MEMORY")
        migrate(self._connection, self.path)
        execute(
            "INSERT INTO gearbox_meta (name, value) VALUES ('database', ?) ON CONFLICT (name) DO NOTHING",
            (secrets.token_hex(4),),
        )
        self._load()
        self._file = Inode(self.path)
        self._compare()

    def _load(self) -> None:
        """What a store keeps in memory of its rows."""
        execute = self._connection.execute
        self._living: dict[int, Job] = {}
        SqlTx(self, self._controls, self._living).load_controls()
        self._are_controls_stale = False
        self._last_id: int = execute(
            "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'gearbox_jobs'"
        ).fetchone()[0]
        self.database: str = execute("SELECT value FROM gearbox_meta WHERE name = 'database'").fetchone()[0]

    def _look(self) -> Look:
        (moved,) = self._connection.execute(SELECT_MOVED).fetchone()
        return Look(began=self._steady(), now=self._clock(), ended=self._steady(), moved=float(moved))

    def _compare(self) -> None:
        """With what an earlier store has left: the clock may have been set while nobody was here."""
        look = self._look()
        (left,) = self._connection.execute(SELECT_LEAD).fetchone() or (None,)
        self._last_look = last_look(look, self._boot, left)  # as of the last batch that was stored
        self._kept_lead = -inf if self._last_look is look else self._last_look.lead

    def close(self) -> None:
        """Give the file back. After `StoreBroken` nothing is done: closing would sync."""
        if not self.is_broken:
            self._connection.close()
            self._lock.close()

    def now(self) -> float:
        return self._clock()

    def settle(self) -> None:
        """SQLite always knows what became of a commit."""

    def run_batch(self, steps: Sequence[Step], moment: Moment) -> Batch:
        try:
            return self._run_batch(steps, moment, None)
        except StoreError:
            raise
        except Exception:  # `Entangled`, or what a step did cannot be written: each is written by itself
            return self._run_batch(steps, moment, self._connection.execute)

    def _run_batch(self, steps: Sequence[Step], moment: Moment, savepoint: Callable[[str], Any] | None) -> Batch:
        connection = self._connection
        tx = SqlTx(self, self._controls, self._living)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA defer_foreign_keys = ON")  # rows are not written in the order of their making
            if self._are_controls_stale:
                tx.load_controls()
                self._are_controls_stale = False
            look = self._look()
            set_by = look.set_since(self._last_look)
            if set_by:
                moment = moment.at(look.now)
                look = follow(self, look, self._last_look)
                self._living.clear()
            outcomes = run_steps(steps, tx, moment, _is_failure, savepoint)
            tx.flush()
            actions = tx.follow()
            next_at = tx.next_at()
            # Where nothing was to be written, nothing is: there may be no room.
            kept_lead = self._keep(look) if set_by or tx.changes.jobs else self._kept_lead
            if not self._file.is_in_place():
                self.is_broken = True
                raise StoreBroken(f"the database {self.path} {GONE}")
            connection.execute("COMMIT")
            self._last_look, self._kept_lead = look, kept_lead
            self._remember(tx.changes.jobs)
        except BaseException as error:
            if not _is_failure(error):
                self._roll_back(tx)
                raise
            failure = _translate(error, self.path)
            self.is_broken = isinstance(failure, StoreBroken)
            if not self.is_broken:
                self._roll_back(tx)
            raise failure from error
        return Batch(outcomes, actions, inf if next_at is None else next_at, set_by)

    def _keep(self, look: Look) -> float:
        """By how much the clock is ahead, for the next start; what stands there then."""
        if abs(look.lead - self._kept_lead) <= KEPT_WITHIN:
            return self._kept_lead
        self.execute(PUT_META, {"name": "lead", "value": kept(look, self._boot)})
        return look.lead

    def _remember(self, jobs: Mapping[int, Job]) -> None:
        """Keep those at work, for their end is what is heard of next. Nobody else writes to the file."""
        if len(self._living) > LIVING_LIMIT:
            self._living.clear()
        for id, job in jobs.items():
            if job.status in ACTIVE and len(job.arguments or "") + len(job.result_data or "") < LIVING_LARGEST:
                self._living[id] = job
            else:
                self._living.pop(id, None)

    def execute(self, statement: str, values: Mapping[str, Any]) -> sqlite3.Cursor:
        """Run a statement in the transaction that is open."""
        return self._connection.execute(statement, values)

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> int:
        """Run it for each row of parameters; how many rows of the table matched."""
        return self._connection.executemany(statement, rows).rowcount

    def new_id(self) -> int:
        """The next id: nobody else writes to the file, so nobody else has to be asked."""
        self._last_id += 1
        return self._last_id

    def _roll_back(self, tx: SqlTx) -> None:
        # SQLite has rolled back by itself after some errors (a full disk): asking again would be another error.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._living.clear()
        self._are_controls_stale |= tx.is_control_changed


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the schema to the newest version, one transaction a step."""
    files = sorted(
        (file for file in resources.files("gearbox.store").joinpath("schema", "sqlite").iterdir()),
        key=lambda file: file.name,
    )
    migrations = {int(re.match(r"\d+", file.name).group()): file for file in files}  # type: ignore[union-attr]
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = max(migrations)
    if version > newest:
        raise StoreError(
            f"the database {path} has schema version {version}, this program knows {newest}: "
            "upgrade the program, or use another file (GEARBOX_DATABASE)"
        )
    for number in sorted(migrations):
        if number > version:
            text = migrations[number].read_text()
            connection.executescript(f"BEGIN IMMEDIATE; {text}; PRAGMA user_version = {number}; COMMIT;")


def _lock(path: str) -> IO[bytes]:
    """Hold the file for this process alone, until it ends in whatever way."""
    lock_path = Path(f"{path}.lock")
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_path.touch(PRIVATE)
        lock = open(lock_path, "a+b", buffering=0)  # noqa: SIM115 -- held as long as the store
    except OSError as error:
        raise _unwritable(lock_path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().decode(errors="replace").strip() or "another process"
        lock.close()
        raise StoreError(
            f"the database {path} is in use by process {holder}: stop it, or use another file (GEARBOX_DATABASE)"
        ) from error
    try:
        lock.truncate(0)
        lock.write(b"%d\n" % os.getpid())
    except OSError as error:
        lock.close()
        raise _unwritable(lock_path, error) from error
    return lock


def _unwritable(lock_path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write to {lock_path.parent}: {error.strerror}; name a file that can be written (GEARBOX_DATABASE)"
    )


def _is_failure(error: BaseException) -> TypeGuard[sqlite3.Error]:
    """Whether it says something of the database, and not of what was to be stored."""
    unfit = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
    return isinstance(error, sqlite3.Error) and not isinstance(error, unfit)


def _translate(error: sqlite3.Error, path: str) -> GearboxError:
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:  # the log's index could not grow
        return StoreFull(f"no room left for the database {path}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"the database {path} is busy: {error}")
    if code == sqlite3.SQLITE_IOERR:
        return StoreBroken(f"the disk of the database {path} failed: {error}")
    return StoreError(f"the database {path} failed: {error}")
