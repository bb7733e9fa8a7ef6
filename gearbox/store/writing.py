"""Writing what the steps of a transaction have changed (`Changes`), each table once.

Statements are those of `?` parameters here, for they are run with a list of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import attrs

from gearbox.errors import Code, RpcError, StoreBusy
from gearbox.job import TEXT_LARGEST, Job
from gearbox.store.changes import Changes
from gearbox.store.rollups import Rollup
from gearbox.store.rows import COLUMNS, micros, row_maker

__all__ = ["PUT_META", "Connection", "Writing"]

INSERT_JOB = (
    f"INSERT INTO gearbox_jobs ({', '.join(COLUMNS.values())}, submit_token) "
    f"VALUES ({', '.join('?' for _ in COLUMNS)}, ?)"
)
INSERT_EVENT = """
INSERT INTO gearbox_events (job_id, seq, at, from_status, to_status, epoch, why, who) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_ATTEMPT = """
INSERT INTO gearbox_attempts (job_id, epoch, owner, claimed_at, ended_at, outcome, error, server)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
START_ATTEMPT = """
UPDATE gearbox_attempts SET started_at = ?, worker = ?
WHERE job_id = ? AND epoch = ? AND started_at IS NULL AND outcome IS NULL
"""
END_ATTEMPT = """
UPDATE gearbox_attempts SET ended_at = ?, outcome = ?, error = ? WHERE job_id = ? AND epoch = ? AND outcome IS NULL
"""
ADD_COUNT = """
INSERT INTO gearbox_counts (method_name, status, jobs) VALUES (:method, :status, :jobs)
ON CONFLICT (method_name, status) DO UPDATE SET jobs = jobs + excluded.jobs
"""
ADD_MEASURE = """
INSERT INTO gearbox_measures (method_name, measure, bucket, jobs, total, squares)
VALUES (:method, :measure, :bucket, :jobs, :total, :squares)
ON CONFLICT (method_name, measure, bucket)
DO UPDATE SET jobs = jobs + excluded.jobs, total = total + excluded.total, squares = squares + excluded.squares
"""
ADD_METHOD = """
INSERT INTO gearbox_methods (method_name, earliest, latest) VALUES (:method, :earliest, :latest)
ON CONFLICT (method_name)
DO UPDATE SET earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)
"""
PUT_META = """
INSERT INTO gearbox_meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""


_row_of = row_maker(list(COLUMNS))


class Connection(Protocol):
    """What a dialect gives: a transaction is open."""

    def execute(self, statement: str, values: Mapping[str, Any]) -> Any:
        """Run a statement; a DB-API cursor."""

    def new_id(self) -> int:
        """An id for a new job, never given before."""

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> int:
        """Run a statement for each row of its parameters; how many rows of the table matched in all."""


class Writing:
    """The part of `store.Tx` that brings the tables up to what the steps have made of the jobs."""

    largest = TEXT_LARGEST  # bytes

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.changes = Changes()

    def _execute(self, statement: str, values: Mapping[str, Any]) -> Any:
        """Run a statement that sees all that was changed before it."""
        self.write()
        return self._connection.execute(statement, values)

    def _change(self, statement: str, values: Mapping[str, Any]) -> Any:
        """Run a statement that changes something else than jobs."""
        cursor = self._execute(statement, values)
        self.changes.is_mixed = True
        return cursor

    def alter(self, job: Job, values: Mapping[str, Any]) -> Job:
        """Give a job other values, without an event. Raises StoreBusy if it is not any more what the caller knows."""
        self.measure(values.get("result_data"))
        known = self.changes.jobs.get(job.id, job)
        if known is not job and (known.status, known.epoch, known.events) != (job.status, job.epoch, job.events):
            raise StoreBusy(f"job {job.id} was changed by somebody else")
        changed = known.changed(values)
        fields = values.keys() if changed.next_at == known.next_at else values.keys() | {"next_at"}
        self.changes.alter(known, changed, frozenset(fields))
        return changed

    def measure(self, text: str | None) -> None:
        """Raises RpcError for a text that is too large to be kept."""
        if text is not None and len(text) > self.largest // 4 and len(text.encode()) > self.largest:
            raise RpcError(Code.TOO_LARGE, f"more than {self.largest} bytes")

    def write(self) -> None:
        """Bring the tables up to date."""
        changes = self.changes
        if changes.is_written:
            return
        many = self._connection.execute_many
        if changes.born:
            jobs = changes.jobs
            many(INSERT_JOB, [[*_row_of(jobs[id]), token] for id, token in changes.born.items()])
        if changes.changed:
            self._update()
        for statement, rows in (
            (INSERT_ATTEMPT, changes.opened),
            (START_ATTEMPT, changes.started),
            (END_ATTEMPT, changes.ended),
        ):
            if rows:
                many(statement, list(rows.values()))
        if changes.events:
            many(INSERT_EVENT, changes.events)
        changes.written()

    def _update(self) -> None:
        """Compare and swap: whoever changed one of these rows meanwhile makes the whole batch be tried again."""
        groups: dict[frozenset[str], list[list[Any]]] = {}
        for id, stored in self.changes.changed.items():
            row_of, _ = _update(stored.fields)
            where = (id, stored.status.value, stored.epoch, stored.events)
            groups.setdefault(stored.fields, []).append([*row_of(self.changes.jobs[id]), *where])
        for fields, rows in groups.items():
            _, statement = _update(fields)
            if self._connection.execute_many(statement, rows) != len(rows):
                raise StoreBusy("a job was changed by somebody else")

    def flush(self) -> None:
        """Write all, and the statistics: the end of a batch."""
        self.write()
        rollup = Rollup()
        for was, job, now in self.changes.moves:
            if was is None:
                rollup.born(job)
            else:
                rollup.moved(was, job, now)
        counts = [
            {"method": method, "status": status.value, "jobs": jobs}
            for (method, status), jobs in rollup.counts.items()
            if jobs
        ]
        measures = [
            {"method": method, "measure": measure, "bucket": bucket} | attrs.asdict(sums)
            for (method, measure, bucket), sums in rollup.measures.items()
        ]
        seen = [
            {"method": method, "earliest": micros(first), "latest": micros(last)}
            for method, (first, last) in rollup.seen.items()
        ]
        for statement, rows in ((ADD_COUNT, counts), (ADD_MEASURE, measures), (ADD_METHOD, seen)):
            if rows:  # in one order everywhere, so that cores wait for each other in turn and not in a ring
                self._connection.execute_many(statement, sorted(rows, key=lambda row: list(row.values())[:3]))


@cache
def _update(fields: frozenset[str]) -> tuple[Callable[[Job], list[Any]], str]:
    """The compare-and-swap that sets these fields, and what makes a row of a job for it."""
    names = sorted(fields)
    sets = ", ".join(f"{COLUMNS[name]} = ?" for name in names)
    return row_maker(names), f"UPDATE gearbox_jobs SET {sets} WHERE id = ? AND status = ? AND epoch = ? AND events = ?"
