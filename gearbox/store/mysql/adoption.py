"""Taking over the table of the original Gearbox, with its rows and their ids.

The original's table gets another name, ours takes its place, and the rows are copied in the transaction that records
the schema's version. So whatever cuts this off, the next start finds the original whole and goes on; and it stays, for
whoever wants to go back. What the original left unclear is made clear on the way:

- Instants stood in the server's time zone, and to the second.
- A running job counts as one attempt that a worker has started: it has the time of any other after a restart of the
  core to bring its result. One that waits is looked at at once, for the original forgot some.
- Errors of its core stood in an envelope that its watchers could not read.
- Two active jobs of one dedupe (a race of the original's) both go on; only the first keeps it.
- A duplicate whose other job was deleted has no answer any more: it is invalid, and says so.
- A server that is not strict stored a word that it did not know as '', and a date as 0000-00-00: the priority is normal
  then, the status invalid, and of `created` and `updated` one stands for the other.
"""

from __future__ import annotations

import re
from typing import Any

from gearbox.errors import Code, StoreError
from gearbox.job import ACTIVE, FAILED, TERMINAL
from gearbox.rules.answers import error_text
from gearbox.store.mysql.words import renamed
from gearbox.store.rows import listed

__all__ = ["adopt", "set_aside"]

ORIGINALS = {  # its columns, and what stands for one that an early version did not have
    "id": None,
    "method_name": None,
    "arguments": None,
    "priority": "'normal'",
    "created": None,
    "updated": None,
    "status": None,
    "after_date": "NULL",
    "after_id": "NULL",
    "before_id": "NULL",
    "completed": "NULL",
    "retries": "0",
    "max_retries": "0",
    "progress_status": "NULL",
    "progress_updated": "NULL",
    "result_data": None,
    "dedupe": None,
    "runner_instance": "NULL",
    "retry_delay": "1",
    "see_other": "NULL",
}
CLEARED = {  # where a server that is not strict wrote '' for a word that it does not know
    "priority": "IF(t.priority = '', 'normal', t.priority)",
    "status": "IF(t.status = '', 'invalid', t.status)",
}
LEASE = 60_000_000  # µs for the workers of jobs that were running, as after a restart of the core
NOW = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))"
UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"  # the original's dedupe where the caller gave none
GONE = error_text(Code.INVALID, "a duplicate of a job that was deleted")

COPY = f"""
INSERT INTO gearbox_jobs (
    id, method_name, arguments, priority, created_us, updated_us, status, dedupe, has_dedupe, after_date_us, after_id,
    before_id, completed_us, retries, max_retries, retry_delay, progress_status, progress_updated_us, result_data,
    runner_instance, ready_at, claimed_at, see_other, epoch, events, opens_at, lease_at, next_at)
SELECT o.id, o.method_name, o.arguments, o.priority, o.created_us, o.updated_us,
    IF(o.is_gone, 'invalid', o.status),
    o.dedupe,
    o.dedupe NOT REGEXP '{UUID}' AND NOT (o.is_active AND o.is_second),
    o.after_date_us, o.after_id, o.before_id,
    IF(o.status IN ({listed(TERMINAL)}), COALESCE(o.completed_us, o.updated_us), NULL),
    o.retries, o.max_retries, o.retry_delay, o.progress_status, COALESCE(o.progress_updated_us, o.updated_us),
    CASE WHEN o.is_gone THEN :gone
        WHEN o.status NOT IN ({listed(FAILED)}, 'waiting') OR NOT COALESCE(JSON_VALID(o.result_data), 0)
            THEN o.result_data
        WHEN JSON_UNQUOTE(JSON_EXTRACT(o.result_data, '$.jsonrpc')) = '2.0'
            AND JSON_EXTRACT(o.result_data, '$.error.code') IS NOT NULL
            THEN JSON_EXTRACT(o.result_data, '$.error')
        ELSE o.result_data END,
    IF(o.is_active, COALESCE(o.runner_instance, 'the original'), o.runner_instance),
    IF(o.is_active OR o.status = 'ready', o.updated_us, NULL),
    IF(o.is_active, o.updated_us, NULL),
    IF(o.is_gone, NULL, o.see_other),
    o.is_active, 1, o.opens_at, o.lease_at, COALESCE(o.opens_at, o.lease_at)
FROM (
    SELECT {{columns}},
        COALESCE({{created}}, {{updated}}, {NOW}) AS created_us,
        COALESCE({{updated}}, {{created}}, {NOW}) AS updated_us, {{after_date}} AS after_date_us,
        {{completed}} AS completed_us, {{progress_updated}} AS progress_updated_us,
        t.status IN ({listed(ACTIVE)}) AS is_active,
        t.status = 'duplicate' AND NOT EXISTS (SELECT 1 FROM {{original}} d WHERE d.id = {{see_other}}) AS is_gone,
        EXISTS (SELECT 1 FROM {{original}} f
            WHERE f.dedupe = t.dedupe AND f.status IN ({listed(ACTIVE)}) AND f.id < t.id) AS is_second,
        IF(t.status = 'waiting', COALESCE({{after_date}}, {NOW}), NULL) AS opens_at,
        IF(t.status IN ('almost-done', 'missing'), {NOW} + {LEASE}, NULL) AS lease_at
    FROM {{original}} t) AS o
"""
ATTEMPTS = f"""
INSERT INTO gearbox_attempts (job_id, epoch, owner, claimed_at, started_at)
SELECT id, epoch, runner_instance, claimed_at, claimed_at FROM gearbox_jobs WHERE status IN ({listed(ACTIVE)})
"""
EVENTS = f"""
INSERT INTO gearbox_events (job_id, seq, at, to_status, epoch, why, who)
SELECT id, 1, {NOW}, status, epoch, 'adopted from the original', 'migration' FROM gearbox_jobs
"""
COUNTS = """
INSERT INTO gearbox_counts (method_name, status, jobs)
SELECT method_name, status, COUNT(*) FROM gearbox_jobs GROUP BY method_name, status
"""
METHODS = """
INSERT INTO gearbox_methods (method_name, earliest, latest)
SELECT method_name, MIN(created_us), MAX(created_us) FROM gearbox_jobs GROUP BY method_name
"""
RETRIES = """
INSERT INTO gearbox_measures (method_name, measure, bucket, jobs, total, squares)
SELECT method_name, 'retries', retries, COUNT(*), SUM(retries), SUM(retries * retries)
FROM gearbox_jobs WHERE status IN ('complete', 'errored') GROUP BY method_name, retries
"""
COMPLETION = """
INSERT INTO gearbox_measures (method_name, measure, bucket, jobs, total, squares)
SELECT method_name, 'completion', bucket, COUNT(*), SUM(seconds), SUM(seconds * seconds)
FROM (
    SELECT method_name, seconds, FLOOR(8 * LOG2(GREATEST(seconds, 1e-6) / 1e-6)) AS bucket
    FROM (
        SELECT method_name, GREATEST(completed_us - created_us, 0) / 1e6 AS seconds
        FROM gearbox_jobs WHERE status = 'complete') AS spans) AS samples
GROUP BY method_name, bucket
"""


def set_aside(cursor: Any, table: str) -> None:
    """Give an original's table of jobs another name. Raises `StoreError` if the table is something else."""
    columns = _columns(cursor, table)
    if not columns or "run_key" in columns:
        return
    lacking = sorted(name for name, fallback in ORIGINALS.items() if fallback is None and name not in columns)
    if lacking:
        raise StoreError(
            f"the table {table} is not one of Gearbox's, it has no {', '.join(lacking)}: name another (DB_TABLE_JOBS)"
        )
    if _columns(cursor, f"{table}_original"):
        raise StoreError(
            f"{table} and {table}_original are both tables of the original Gearbox: rename the one that is not to be "
            "adopted"
        )
    cursor.execute(f"RENAME TABLE {table} TO {table}_original")


def adopt(cursor: Any, table: str) -> int:
    """Copy the rows of the table that was set aside, if there is one; how many there were."""
    original = f"{table}_original"
    columns = _columns(cursor, original)
    if not columns:
        return 0
    cursor.execute("SET foreign_key_checks = 0")  # the copy comes in no order
    cursor.execute(renamed(_copy(columns, original), table).replace(":gone", "%s"), (GONE,))
    jobs = int(cursor.rowcount)
    for statement in (ATTEMPTS, EVENTS, COUNTS, METHODS, RETRIES, COMPLETION):
        cursor.execute(renamed(statement, table))
    cursor.execute("SET foreign_key_checks = 1")
    cursor.execute(f"SHOW CREATE TABLE {original}")
    counter = re.search(r"AUTO_INCREMENT=(\d+)", cursor.fetchone()[1])
    if counter is not None:  # ids of rows that were deleted are not given again
        cursor.execute(renamed(f"INSERT INTO gearbox_ids (id) VALUES ({int(counter[1]) - 1})", table))
        cursor.execute(renamed("DELETE FROM gearbox_ids", table))
    return jobs


def _copy(columns: set[str], original: str) -> str:
    there = {name: f"t.{name}" if name in columns else fallback for name, fallback in ORIGINALS.items()}
    clear = there | {name: value for name, value in CLEARED.items() if name in columns}
    statement = COPY.replace("{columns}", ", ".join(f"{value} AS {name}" for name, value in clear.items()))
    for name in ("created", "updated", "after_date", "completed", "progress_updated"):
        statement = statement.replace(f"{{{name}}}", _micros(str(there[name])))
    return statement.replace("{see_other}", str(there["see_other"])).replace("{original}", original)


def _micros(value: str) -> str:
    """A DATETIME of the server's zone as microseconds; a zone that the server has no table of counts as UTC."""
    utc = f"COALESCE(CONVERT_TZ({value}, @@global.time_zone, '+00:00'), {value})"
    return f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {utc})"


def _columns(cursor: Any, table: str) -> set[str]:
    cursor.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s",
        (table,),
    )
    return {name.lower() for (name,) in cursor.fetchall()}
