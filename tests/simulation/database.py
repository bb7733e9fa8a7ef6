"""The database: the real SQLite store on a database in memory, run inline, with faults at every statement.

The database outlives its processes: each start of a core makes a store of its own on it, with nothing in its memory.
What a batch wrote is durable when COMMIT has run, whether or not the process lives to hear of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs
import trio

from abraxas_py.inode import Inode
from gearbox.errors import StoreError, StoreUncertain
from gearbox.store import Batch, Moment, Step
from gearbox.store.sqlite import SqliteStore
from tests.simulation import determinism

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World

__all__ = ["Database", "Fault"]

CODES = {
    "busy": (sqlite3.SQLITE_BUSY, "database is locked"),
    "full": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "error": (sqlite3.SQLITE_NOMEM, "out of memory"),
    "broken": (sqlite3.SQLITE_IOERR, "disk I/O error"),
}
# Which jobs an open transaction has changed, whatever the statement.
TOUCH = "CREATE TEMP TABLE touched (id INTEGER PRIMARY KEY);" + "".join(
    f"""
    CREATE TEMP TRIGGER touch_{table}_{event} AFTER {event} ON main.gearbox_{table}
    BEGIN INSERT OR IGNORE INTO touched VALUES ({row}.{key}); END;
    """
    for table, key in (("jobs", "id"), ("attempts", "job_id"), ("events", "job_id"))
    for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD"))
)


@attrs.define
class Fault:
    """What goes wrong: an error at the statement after `after` more, and at all that follow until `until`."""

    error: str
    after: int = 0
    until: float = 0.0


class Database:
    """The rows, and what is wrong with the disk."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        _template().backup(self.rows)
        self.rows.execute("PRAGMA foreign_keys = ON")
        self.rows.executescript(TOUCH)
        self._changes = self.rows.total_changes  # as of the last commit
        self.faults: list[Fault] = []
        self.unheard: list[bool] = []  # commits of which nobody shall hear: whether they happen
        self.skew = 0.0  # s of its clock
        self.latency = 0.0005  # s of a batch, about

    def open(self, node: Node) -> SqliteStore:
        """The store of a process that starts."""
        return (Store if self.world.plan.cores == 1 else SharedStore)(Guarded(self), node)

    def hop(self, node: Node) -> Callable[[Callable[[], Batch]], Any]:
        """How a core of this node runs a batch: after a while, and heard of after another while."""

        async def run(call: Callable[[], Batch]) -> Batch:
            await self._pass()
            if not node.is_up:
                await trio.sleep_forever()
            try:
                return call()
            finally:
                await self._pass()

        return run

    async def _pass(self) -> None:
        await determinism.sleep(self.latency * self.world.chance.random())

    def check(self) -> None:
        """Raise what is wrong now, before a statement runs."""
        for fault in self.faults:
            fault.after -= 1
            if fault.after < 0:
                if self.world.time() >= fault.until:
                    self.faults.remove(fault)
                self._fail(fault.error)

    def commit(self) -> None:
        """Commit for good; then look at what was written."""
        self.rows.execute("COMMIT")
        touched: list[int] = []
        if self.rows.total_changes > self._changes:
            touched = [id for (id,) in self.rows.execute("SELECT id FROM touched ORDER BY id").fetchall()]
            self.rows.execute("DELETE FROM touched")
            self._changes = self.rows.total_changes
        self.world.audit.committed(touched)
        if self.unheard and touched and self.world.plan.cores == 1:
            self.unheard.pop()
            self._fail("broken")  # SQLite knows what became of a commit, or its disk is broken

    def _fail(self, error: str) -> None:
        code, text = CODES[error]
        self.world.note("store", error)
        if error in ("full", "broken") and self.rows.in_transaction:
            self.rows.execute("ROLLBACK")  # as SQLite does by itself, or because the process ends
        problem = sqlite3.OperationalError(text)
        problem.sqlite_errorcode = code
        raise problem


class Guarded:
    """A connection of one process to the database, as `SqliteStore` uses it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @property
    def in_transaction(self) -> bool:
        return self.database.rows.in_transaction

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor | None:
        database = self.database
        if statement != "ROLLBACK" and database.faults:
            database.check()
        if statement == "COMMIT":
            database.commit()
            return None
        return database.rows.execute(statement, values)

    def executemany(self, statement: str, rows: Any) -> sqlite3.Cursor:
        if self.database.faults:
            self.database.check()
        return self.database.rows.executemany(statement, rows)

    def close(self) -> None:
        """The process ends; the rows stay."""


class Store(SqliteStore):
    """The real one, but for the file."""

    boot = "simulated"

    def __init__(self, connection: Guarded, node: Node) -> None:
        self.path = "jobs.db"
        self.node = node
        self.base = connection.database
        self._controls = {}
        self._are_controls_stale = False
        self.is_broken = False
        self._connection: Any = connection
        self._file = Inode(":memory:")
        self._clock = node.wall
        self._steady = trio.current_time
        self._boot = self.boot
        self.refresh()
        with reading():
            self._compare()

    def refresh(self) -> None:
        """Read what is kept in memory of the rows."""
        with reading():
            self._load()

    def close(self) -> None:
        self._connection.close()


class SharedStore(Store):
    """One of several on the same rows, as on a database server: what others write is seen, and a commit's answer may be
    lost with its connection.
    """

    is_shared = True
    boot = ""  # of the server, which nobody knows

    def __init__(self, connection: Guarded, node: Node) -> None:
        super().__init__(connection, node)
        self._seen = -1  # changes of all, when this one was last up to date
        self._uncertain: list[Batch | None] = []

    def run_batch(self, steps: Sequence[Step], moment: Moment) -> Batch:
        if self.base.rows.total_changes != self._seen:
            self.refresh()
        try:
            return self._run(steps, moment)
        finally:
            self._seen = self.base.rows.total_changes

    def _run(self, steps: Sequence[Step], moment: Moment) -> Batch:
        if not self.base.unheard:
            return super().run_batch(steps, moment)
        is_stored = self.base.unheard.pop()
        self._uncertain.append(super().run_batch(steps, moment) if is_stored else None)
        self.node.world.note("unheard", is_stored)
        raise StoreUncertain("the connection was lost at the commit")

    def settle(self) -> Batch | None:  # type: ignore[override]
        with reading():
            self.execute("SELECT 1", {})
        return self._uncertain.pop()


@contextmanager
def reading() -> Iterator[None]:
    """What the database refuses is the store's error."""
    try:
        yield
    except sqlite3.Error as problem:
        raise StoreError(str(problem)) from problem


@cache
def _template() -> sqlite3.Connection:
    """An empty database with the newest schema."""
    from gearbox.store.sqlite import migrate

    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, "jobs.db")
    connection.execute("INSERT INTO gearbox_meta (name, value) VALUES ('database', 'simulate')")
    return connection
