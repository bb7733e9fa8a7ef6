"""What the RPC methods show of jobs, attempts, methods and recurring entries, as JSON values; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gearbox import rpc
from gearbox.job import Attempt, Backoff, Control, Job, Status
from gearbox.rules.answers import json_of
from gearbox.rules.recurrence import Schedule, forecast
from gearbox.steps.views import Graph, History
from gearbox.store import Audit
from gearbox.store.rows import iso

__all__ = ["graph_object", "history_object", "methods_list", "schedule_object", "status_object"]

CORE = "gearbox\\core::"
FORECAST = 3  # runs of an entry that are shown


def status_object(job: Job) -> dict[str, Any]:
    """The object that `gearbox\\core::status` shows, with the original's keys and order."""
    value: dict[str, Any] = {
        "id": job.id,
        "method_name": job.method,
        "arguments": json_of(job.arguments),
        "priority": job.priority.value,
        "created": iso(job.created),
        "updated": iso(job.updated),
        "status": job.status.value,
        "after_date": None if job.after_date is None else iso(job.after_date),
        "after_id": job.after_id,
        "before_id": job.before_id,
        "completed": None if job.completed is None else iso(job.completed),
        "retries": False,
        "dedupe": job.dedupe,
        "progress": False,
        "data": json_of(job.result_data),
    }
    if job.max_retries:
        value["retries"] = {"n": job.retries, "max": job.max_retries, "delay": _short(job.retry_delay)}
        if job.backoff is not Backoff.FIXED:
            value["retries"] |= {"backoff": job.backoff.value, "delay_max": _short(job.retry_delay_max)}
    if job.progress is not None:
        assert job.progress_at is not None
        value["progress"] = {"n": _short(job.progress), "updated": iso(job.progress_at)}
    if job.see_other is not None:
        value["see_other"] = job.see_other
    if job.timeout is not None:
        value["timeout"] = _short(job.timeout)
    if job.expires is not None:
        value["expires"] = iso(job.expires)
    if job.retry_of is not None:
        value["retry_of"] = job.retry_of
    if job.schedule is not None:
        value["schedule"] = job.schedule
    return value


def history_object(history: History) -> dict[str, Any]:
    """All that is kept of a job."""
    return {
        "job": status_object(history.job),
        "attempts": [_attempt(attempt) for attempt in history.attempts],
        "events": [_event(event) for event in history.events],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.epoch,
        "owner": attempt.owner,
        "worker": attempt.worker,
        "claimed": iso(attempt.claimed_at),
        "started": _instant(attempt.started_at),
        "ended": _instant(attempt.ended_at),
        "outcome": attempt.outcome and attempt.outcome.value,
        "error": json_of(attempt.error),
    }


def _event(event: Audit) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "at": iso(event.at),
        "from": event.was and event.was.value,
        "to": event.status.value,
        "attempt": event.epoch or None,
        "why": event.why,
        "who": event.who,
    }


def graph_object(graph: Graph) -> dict[str, Any]:
    """Jobs and what they wait for: an edge goes from what comes first, a duplicate's to what runs instead."""
    edges = []
    there = {node.id for node in graph.nodes}
    for node in graph.nodes:
        ends = (
            (node.after_id, node.id, "after"),
            (node.id, node.before_id, "before"),
            (node.id, node.see_other, "duplicate"),
            (node.retry_of, node.id, "retry"),
        )
        edges += [
            {"from": one, "to": other, "kind": kind} for one, other, kind in ends if one in there and other in there
        ]
    nodes = [{"id": node.id, "method_name": node.method, "status": node.status.value} for node in graph.nodes]
    return {"nodes": nodes, "edges": edges, "is_cut": graph.is_cut}


def methods_list(
    counts: Mapping[str, Mapping[Status, int]],
    controls: Mapping[str, Control],
    workers: Mapping[str, int] | None,
) -> list[dict[str, Any]]:
    """All methods that jobs, operators or workers have named, but the core's own functions."""
    offered = {name for name in workers or () if not name.startswith(CORE)}
    rows = []
    for name in sorted(set(counts) | set(controls) | offered):
        control = controls.get(name, Control())
        rows.append(
            {
                "method": name,
                "workers": None if workers is None else workers.get(name, 0),
                "is_paused": control.is_paused,
                "concurrency": control.concurrency,
                "states": {status.value: jobs for status, jobs in counts.get(name, {}).items()},
            }
        )
    return rows


def schedule_object(schedule: Schedule) -> dict[str, Any]:
    """A recurring entry, with its next runs."""
    template = rpc.load(schedule.template)
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "overlap": schedule.overlap.value,
        "missed": schedule.missed.value,
        "method": template.pop("name"),
        **template,
        "created": iso(schedule.created),
        "who": schedule.who,
        "next": [iso(at) for at in forecast(schedule, FORECAST)],
        "last": _instant(schedule.last_at),
        "last_job": schedule.last_job,
        "waiting": schedule.waiting,
    }


def _instant(at: float | None) -> str | None:
    return None if at is None else iso(at)


def _short(number: float) -> float:
    return int(number) if number.is_integer() else number
