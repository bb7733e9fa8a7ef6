"""Rows to and from `Job` and `Attempt`; pure. Integer microseconds in the columns, float seconds in the objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from gearbox.job import Attempt, Backoff, Job, Outcome, Priority, Status

__all__ = [
    "COLUMNS",
    "JOB",
    "STATUSES",
    "attempt_of",
    "iso",
    "job_of",
    "listed",
    "micros",
    "one_of",
    "row_maker",
    "seconds",
]

# The fields of `Job` in the order of its definition, and their columns (the original's, where it has them).
COLUMNS = {
    "id": "id",
    "method": "method_name",
    "arguments": "arguments",
    "priority": "priority",
    "created": "created",
    "updated": "updated",
    "status": "status",
    "dedupe": "dedupe",
    "has_dedupe": "has_dedupe",
    "after_date": "after_date",
    "after_id": "after_id",
    "before_id": "before_id",
    "completed": "completed",
    "retries": "retries",
    "max_retries": "max_retries",
    "retry_delay": "retry_delay",
    "progress": "progress_status",
    "progress_at": "progress_updated",
    "result_data": "result_data",
    "owner": "runner_instance",
    "ready_at": "ready_at",
    "claimed_at": "claimed_at",
    "see_other": "see_other",
    "epoch": "epoch",
    "next_at": "next_at",
    "released": "released",
    "events": "events",
    "backoff": "backoff",
    "retry_delay_max": "retry_delay_max",
    "timeout": "timeout",
    "expires": "expires",
    "opens_at": "opens_at",
    "lease_at": "lease_at",
    "stops_at": "stops_at",
    "held": "held",
    "retry_of": "retry_of",
    "schedule": "schedule",
    "traceparent": "traceparent",
}
TIMES = {
    "created", "updated", "after_date", "completed", "progress_at", "ready_at", "claimed_at", "next_at", "expires",
    "opens_at", "lease_at", "stops_at",
}  # fmt: skip
ENUMS = {"priority", "status", "backoff"}
assert list(COLUMNS) == [field.name for field in attrs.fields(Job)]

JOB = ", ".join(f"j.{column}" for column in COLUMNS.values())
PRIORITIES = {priority.value: priority for priority in Priority}
BACKOFFS = {backoff.value: backoff for backoff in Backoff}
STATUSES = {status.value: status for status in Status}


def listed(statuses: Iterable[Status]) -> str:
    """Statuses as the inside of an SQL `IN (...)`."""
    return ", ".join(f"'{word}'" for word in _words(statuses))


def one_of(column: str, statuses: Iterable[Status]) -> str:
    """The condition that a column holds one of these statuses, as the indexes of SQLite say it.

    Not as `IN (...)`: for every list of more than two, SQLite makes a table, each time that it looks at a row.
    """
    return "(" + " OR ".join(f"{column} = '{word}'" for word in _words(statuses)) + ")"


def _words(statuses: Iterable[Status]) -> list[str]:
    wanted = set(statuses)
    order = (
        Status.READY,
        Status.WAITING,
        Status.RUNNING,
        Status.ALMOST_DONE,
        Status.ERRORED,
        Status.COMPLETE,
        Status.INVALID,
        Status.MISSING,
        Status.DUPLICATE,
    )
    return [status.value for status in order if status in wanted]


def iso(at: float) -> str:
    """An instant as the original shows it.

    >>> iso(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def micros(at: float | None) -> int | None:
    return None if at is None else round(at * 1e6)


def seconds(at: int | None) -> float | None:
    return None if at is None else at / 1e6


def job_of(row: Sequence[Any]) -> Job:
    """A row with the columns `JOB`."""
    fields = dict(zip(COLUMNS, row, strict=True))
    for name in TIMES:
        if fields[name] is not None:
            fields[name] /= 1e6
    fields["priority"] = PRIORITIES[fields["priority"]]
    fields["status"] = STATUSES[fields["status"]]
    fields["backoff"] = BACKOFFS[fields["backoff"]]
    fields["has_dedupe"] = bool(fields["has_dedupe"])
    fields["released"] = bool(fields["released"])
    return Job.of(fields)


def row_maker(names: Sequence[str]) -> Callable[[Job], list[Any]]:
    """What makes a row of a job: these fields as they stand in the columns.

    What has to be done to a field is found out here, once, and not for each of some forty fields of each job.
    """
    times = [place for place, name in enumerate(names) if name in TIMES]
    enums = [place for place, name in enumerate(names) if name in ENUMS]

    def row_of(job: Job) -> list[Any]:
        fields = job.__dict__
        row = [fields[name] for name in names]
        for place in times:
            value = row[place]
            if value is not None:
                row[place] = round(value * 1e6)
        for place in enums:
            row[place] = row[place].value
        return row

    return row_of


def attempt_of(row: Sequence[Any]) -> Attempt:
    job_id, epoch, owner, claimed_at, started_at, ended_at, outcome, worker, error, server = row
    ended = outcome and Outcome(outcome)
    return Attempt(
        job_id, epoch, owner, claimed_at / 1e6, seconds(started_at), seconds(ended_at), ended, worker, error, server
    )
