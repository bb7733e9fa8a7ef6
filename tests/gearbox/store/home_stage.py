"""Where the state machine has its database, which it looks into beside the store."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from mariadb_stage import MariaDb
from store_stage import moment, raw

from gearbox.errors import StoreBusy
from gearbox.store import Store, open_store
from gearbox.store.address import MysqlAddress

TABLES = ("jobs", "attempts", "events", "counts")


class Home(Protocol):
    """A database of one machine's run."""

    place: str | MysqlAddress

    def sql(self, statement: str) -> list[Any]: ...

    def kill(self, store: Store) -> None:
        """Nothing that was acknowledged is lost when the store is not there any more to close anything."""

    def close(self) -> None: ...


class SqliteHome:
    """A file in memory."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.place: str | MysqlAddress = f"{self._folder.name}/jobs.db"
        self._raw: Any = None

    def sql(self, statement: str) -> list[Any]:
        if self._raw is None:
            self._raw = raw(self.place)
            self._ask = self._raw.__enter__()
        return list(self._ask(statement))

    def kill(self, store: Store) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            for suffix in ("", "-wal"):
                shutil.copy(f"{self.place}{suffix}", f"{folder}/jobs.db{suffix}")
            found = open_store(f"{folder}/jobs.db")
            with raw(f"{folder}/jobs.db") as ask:
                for table in TABLES:
                    statement = f"SELECT * FROM gearbox_{table} ORDER BY 1, 2"
                    assert ask(statement) == self.sql(statement)
            found.close()

    def close(self) -> None:
        if self._raw is not None:
            self._raw.__exit__(None, None, None)
        self._folder.cleanup()


class MysqlHome:
    """Empty tables on a server."""

    def __init__(self, server: MariaDb, address: MysqlAddress) -> None:
        self.place: str | MysqlAddress = address
        self._server = server
        self._raw = raw(address)
        self._ask = self._raw.__enter__()
        server.reset(address.database)

    def sql(self, statement: str) -> list[Any]:
        return list(self._ask(statement))

    def kill(self, store: Store) -> None:
        before = [self.sql(f"SELECT * FROM gearbox_{table} ORDER BY 1, 2") for table in TABLES]
        self._server.sql(f"KILL {store._session.id}")  # type: ignore[attr-defined]
        with suppress(StoreBusy):
            store.run_batch([], moment())
        assert before == [self.sql(f"SELECT * FROM gearbox_{table} ORDER BY 1, 2") for table in TABLES]

    def close(self) -> None:
        self._raw.__exit__(None, None, None)
        self._server.reset(str(getattr(self.place, "database", "")))
