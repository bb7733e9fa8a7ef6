"""The transaction on MySQL: what differs from the common one by more than its words."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from gearbox.errors import Code, RpcError
from gearbox.job import Control, Job, NewJob, Status
from gearbox.store import Lock
from gearbox.store.reading import SELECT_DUE
from gearbox.store.rows import micros
from gearbox.store.sql import SqlTx
from gearbox.store.writing import Connection

__all__ = ["MysqlTx"]

# The key is a hash, for an index on 255 characters is dear, and some collations take "D" and "D " for one.
SELECT_TWIN = "SELECT id FROM gearbox_jobs WHERE run_key = UNHEX(SHA2(:dedupe, 256)) LOCK IN SHARE MODE"
LOCK_CONTROL = "SELECT concurrency FROM gearbox_controls WHERE method_name = :method FOR UPDATE"
LOCK_GRAPH = "SELECT value FROM gearbox_meta WHERE name = 'database' FOR UPDATE"
PUT_VERSION = """
INSERT INTO gearbox_meta (name, value) VALUES ('controls', :version)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""


class MysqlTx(SqlTx):
    """`store.Tx` where other cores change the same rows. `largest` is what a text may have, in bytes."""

    LOCKS: ClassVar = {Lock.NONE: "", Lock.SHARED: " LOCK IN SHARE MODE", Lock.EXCLUSIVE: " FOR UPDATE"}

    def __init__(self, connection: Connection, controls: dict[str, Control], largest: int) -> None:
        super().__init__(connection, controls)
        self._largest = largest
        self.is_nothing_due = False  # all that is due is in the hands of other cores

    def insert(self, new: NewJob, status: Status, now: float, who: str, why: str = "queued") -> Job:
        self._measure(new.arguments)
        return super().insert(new, status, now, who, why)

    def alter(self, job: Job, values: Mapping[str, Any]) -> Job:
        self._measure(values.get("result_data"))
        return super().alter(job, values)

    def _measure(self, text: str | None) -> None:
        if text is not None and len(text) > self._largest // 4 and len(text.encode()) > self._largest:
            raise RpcError(Code.TOO_LARGE, f"more than {self._largest} bytes, which the database cannot take at once")

    def due(self, now: float, limit: int) -> list[int]:
        """Each core gets others; they are its own until the end of the transaction."""
        statement = f"{SELECT_DUE} FOR UPDATE SKIP LOCKED"
        ids = [id for (id,) in self._execute(statement, {"now": micros(now), "limit": limit}).fetchall()]
        self.is_nothing_due = not ids
        return ids

    def twin(self, dedupe: str) -> int | None:
        row = self._execute(SELECT_TWIN, {"dedupe": dedupe}).fetchone()
        return None if row is None else row[0]

    def active(self, method: str) -> int:
        """Under the lock of the method's control, so that no two cores give away the same place."""
        self._execute(LOCK_CONTROL, {"method": method})
        return super().active(method)

    def set_control(self, method: str, control: Control, now: float, who: str) -> None:
        """Also tells the other cores, which keep controls in memory."""
        super().set_control(method, control, now, who)
        self._execute(PUT_VERSION, {"version": secrets.token_hex(8)})

    def lock_graph(self) -> None:
        self._execute(LOCK_GRAPH, {})
