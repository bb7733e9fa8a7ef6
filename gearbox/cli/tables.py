"""Histories, methods and recurring entries as text for people; pure."""

from __future__ import annotations

from collections.abc import Sequence

from gearbox import rpc
from gearbox.cli.debug import printable
from gearbox.shapes import AttemptRow, DeedRow, EventRow, FoundRow, History, MethodRow, ScheduleRow

__all__ = ["columns", "deed_table", "instant", "job_table", "method_table", "schedule_table", "timeline"]

ARGUMENTS_SHOWN = 60  # characters


def columns(rows: Sequence[Sequence[str]], indentation: str = "") -> str:
    """The rows, each cell as wide as the widest of its column.

    >>> print(columns([("a", "bc"), ("abc", "d")]), end="")
    a    bc
    abc  d
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        indentation + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )


def instant(iso: str | None) -> str:
    """A date as it is read most easily; UTC.

    >>> instant("2026-11-21T18:58:47.962Z")
    '2026-11-21 18:58:47.962Z'
    """
    return "-" if iso is None else iso.replace("T", " ", 1)


def timeline(history: History) -> str:
    """A job's life, event by event, and its attempts."""
    job = history["job"]
    text = f"job {job['id']}  {printable(job['method_name'])}  {_arguments(job['arguments'])}  {job['status']}\n"
    text += columns([_event(event) for event in history["events"]], "  ")
    if history["attempts"]:
        text += "attempts\n" + columns([_attempt(attempt) for attempt in history["attempts"]], "  ")
    return text


def _event(event: EventRow) -> tuple[str, ...]:
    was, now = event["from"], event["to"]
    change = f"{was} -> {now}" if was and was != now else f"-> {now}" if not was else now
    attempt = f"#{event['attempt']}" if event["attempt"] else ""
    return instant(event["at"]), change, attempt, event["why"], f"by {event['who']}"


def _attempt(attempt: AttemptRow) -> tuple[str, ...]:
    error = attempt["error"]
    message = error.get("message") if isinstance(error, dict) else None
    return (
        f"#{attempt['attempt']}",
        f"claimed {instant(attempt['claimed'])}",
        f"started {instant(attempt['started'])}",
        f"ended {instant(attempt['ended'])}",
        attempt["outcome"] or "open",
        f"by {attempt['worker']}" if attempt["worker"] else "",
        "" if error is None else _short(str(message if message is not None else rpc.dump(error))),
    )


def _arguments(arguments: object) -> str:
    return _short(rpc.dump(arguments))


def _short(text: str) -> str:
    text = printable(text[: 2 * ARGUMENTS_SHOWN])
    return text if len(text) <= ARGUMENTS_SHOWN else f"{text[:ARGUMENTS_SHOWN]}..."


def job_table(rows: Sequence[FoundRow]) -> str:
    """Jobs in a list."""
    head = ("ID", "STATUS", "PRIORITY", "CREATED (UTC)", "TOOK", "METHOD", "ARGUMENTS")
    return columns([head, *(_job(row) for row in rows)]) if rows else ""


def _job(row: FoundRow) -> tuple[str, ...]:
    took = "-" if row["took"] is None else f"{row['took']:.3f}s"
    arguments = _short(row["arguments"] or "")
    return str(row["id"]), row["status"], row["priority"], instant(row["created"]), took, row["method_name"], arguments


def deed_table(rows: Sequence[DeedRow]) -> str:
    """What operators did."""
    head = ("ID", "WHEN (UTC)", "WHO", "DID", "TO", "JOBS", "WHY")
    return columns([head, *(_deed(row) for row in rows)]) if rows else ""


def _deed(row: DeedRow) -> tuple[str, ...]:
    jobs = "" if row["jobs"] is None else str(row["jobs"])
    return str(row["id"]), instant(row["at"]), row["who"], row["action"], _short(row["target"]), jobs, row["reason"]


def method_table(rows: Sequence[MethodRow]) -> str:
    """Who offers each method, what holds it back, and its jobs."""
    head = ("METHOD", "WORKERS", "LIMIT", "", "JOBS")
    return columns([head, *(_method(row) for row in rows)])


def _method(row: MethodRow) -> tuple[str, ...]:
    states = ", ".join(f"{count} {status}" for status, count in row["states"].items() if count)
    workers = "?" if row["workers"] is None else str(row["workers"])
    limit = "-" if row["concurrency"] is None else str(row["concurrency"])
    return row["method"], workers, limit, "paused" if row["is_paused"] else "", states or "-"


def schedule_table(rows: Sequence[ScheduleRow]) -> str:
    """When each recurring entry runs next, and what it queues."""
    head = ("NAME", "CRON", "TIME ZONE", "NEXT (UTC)", "LAST JOB", "METHOD", "ARGUMENTS")
    return columns([head, *(_schedule(row) for row in rows)])


def _schedule(row: ScheduleRow) -> tuple[str, ...]:
    last = row.get("last_job")
    return (
        row["name"],
        row["cron"],
        row["timezone"],
        instant(row["next"][0] if row["next"] else None),
        "-" if last is None else str(last),
        row["method"],
        _arguments(row.get("args")),
    )
