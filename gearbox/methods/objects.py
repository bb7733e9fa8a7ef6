"""What the RPC methods show of jobs, attempts, methods and recurring entries, as JSON values; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gearbox import rpc
from gearbox.gearman import ServerView
from gearbox.job import Attempt, Backoff, Control, Job, Status
from gearbox.rules.answers import json_of
from gearbox.rules.recurrence import Schedule, forecast
from gearbox.steps.views import Graph, History, Latency, Overview
from gearbox.store import Audit, Deed, Found, PoolView, State
from gearbox.store.rollups import Bucket, bound_of, percentiles
from gearbox.store.rows import iso
from gearbox.vitals import Vitals

__all__ = [
    "brief_list",
    "calendar_list",
    "deeds_list",
    "durations_object",
    "found_object",
    "graph_object",
    "history_object",
    "latency_object",
    "methods_list",
    "overview_object",
    "pools_list",
    "running_list",
    "schedule_object",
    "servers_list",
    "states_object",
    "status_object",
    "system_object",
]

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
    if job.traceparent is not None:
        value["traceparent"] = job.traceparent
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
        "server": attempt.server,
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


# --- lists and sums ---


def brief_object(job: Job) -> dict[str, Any]:
    """A job in a list: `arguments` and `data` are the beginnings of their JSON texts."""
    took = None if job.claimed_at is None or job.completed is None else max(job.completed - job.claimed_at, 0.0)
    return {
        "id": job.id,
        "method_name": job.method,
        "status": job.status.value,
        "priority": job.priority.value,
        "arguments": job.arguments,
        "data": job.result_data,
        "created": iso(job.created),
        "completed": _instant(job.completed),
        "claimed": _instant(job.claimed_at),
        "took": took,
        "due": _instant(job.opens_at),
        "retries": job.retries,
        "max_retries": job.max_retries,
        "progress": job.progress,
        "dedupe": job.dedupe if job.has_dedupe else None,
        "after_id": job.after_id,
        "before_id": job.before_id,
        "see_other": job.see_other,
    }


def brief_list(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    return [brief_object(job) for job in jobs]


def found_object(found: Found) -> dict[str, Any]:
    """A page of a search. `next`: give it as `below` for the page after."""
    return {"jobs": brief_list(found.jobs), "next": found.next, "is_cut": found.is_cut}


def states_object(states: Sequence[State]) -> list[dict[str, Any]]:
    return [
        {"id": state.id, "status": state.status.value, "progress": state.progress, "updated": iso(state.updated / 1e6)}
        for state in states
    ]


def running_list(found: Sequence[tuple[Job, Attempt | None]]) -> list[dict[str, Any]]:
    """Running jobs with who runs them and since when; nobody yet, where `started` is None."""
    return [
        brief_object(job)
        | {
            "attempt": job.epoch,
            "worker": attempt and attempt.worker,
            "started": None if attempt is None else _instant(attempt.started_at),
        }
        for job, attempt in found
    ]


def pools_list(pools: Sequence[PoolView]) -> list[dict[str, Any]]:
    """Jobs that others come before, with how many of these are in which status."""
    return [
        {
            "id": pool.target.id,
            "method_name": pool.target.method,
            "status": pool.target.status.value,
            "created": iso(pool.target.created),
            "members": {status.value: jobs for status, jobs in pool.members.items()},
            "is_cut": pool.is_cut,
        }
        for pool in pools
    ]


def calendar_list(found: Sequence[tuple[str, Sequence[float], bool]]) -> list[dict[str, Any]]:
    """The runs of each recurring entry."""
    return [{"name": name, "runs": [iso(at) for at in runs], "is_cut": is_cut} for name, runs, is_cut in found]


def overview_object(view: Overview) -> dict[str, Any]:
    """How things stand: sums by status, methods with their latencies, recurring entries."""
    states = {status.value: 0 for status in Status}
    for by_status in view.counts.values():
        for status, jobs in by_status.items():
            states[status.value] += jobs
    methods = methods_list(view.counts, view.controls, view.workers)
    for row in methods:
        durations = view.durations.get(row["method"], {})
        for measure in ("wait", "run"):
            buckets = list(durations.get(measure, {}).values())
            row[measure] = percentiles(buckets) | {
                "jobs": sum(bucket.jobs for bucket in buckets),
                "total": sum(bucket.total for bucket in buckets),
            }
    return {
        "at": iso(view.now),
        "states": states,
        "oldest": {
            status.value: {"id": id, "created": iso(created), "age": max(view.now - created, 0.0)}
            for status, (id, created) in view.oldest.items()
        },
        "is_gearman_there": view.workers is not None,
        "methods": methods,
        "schedules": [schedule_object(one) for one in view.schedules],
    }


def latency_object(latency: Latency) -> dict[str, Any]:
    """Histograms (`below`: seconds), percentiles and slowest jobs of a method."""
    shown: dict[str, Any] = {}
    for measure in ("wait", "run"):
        buckets = latency.durations.get(measure, {})
        shown[measure] = percentiles(list(buckets.values())) | histogram(buckets)
    return shown | {"slowest": brief_list(latency.slowest)}


def durations_object(durations: Mapping[str, Mapping[str, Mapping[int, Bucket]]]) -> dict[str, Any]:
    """The histograms of all methods."""
    return {
        method: {measure: histogram(measures.get(measure, {})) for measure in ("wait", "run")}
        for method, measures in durations.items()
    }


def histogram(buckets: Mapping[int, Bucket]) -> dict[str, Any]:
    return {
        "jobs": sum(bucket.jobs for bucket in buckets.values()),
        "total": sum(bucket.total for bucket in buckets.values()),
        "buckets": [{"bucket": number, "below": bound_of(number), "jobs": one.jobs} for number, one in buckets.items()],
    }


def deeds_list(deeds: Sequence[Deed]) -> list[dict[str, Any]]:
    """What operators did, the last first."""
    return [
        {
            "id": deed.id,
            "at": iso(deed.at),
            "who": deed.who,
            "action": deed.action,
            "target": deed.target,
            "reason": deed.reason,
            "jobs": deed.jobs,
        }
        for deed in deeds
    ]


def servers_list(servers: Sequence[ServerView]) -> list[dict[str, Any]]:
    """Gearman's own view: functions with their queues, and connections."""
    shown = []
    for server in servers:
        queues = {row.function: row for row in server.queues}
        functions = []
        for row in server.functions:
            queue = queues.get(row.function)
            functions.append(
                {
                    "function": _word(row.function),
                    "total": row.total,
                    "running": row.running,
                    "workers": row.workers,
                    "queued": None if queue is None else {"high": queue.high, "normal": queue.normal, "low": queue.low},
                }
            )
        connections = [
            {
                "address": one.address,
                "client_id": _word(one.client_id),
                "functions": [_word(function) for function in one.functions],
            }
            for one in server.connections
        ]
        shown.append(
            {
                "server": server.name,
                "version": server.version,
                "error": server.error or None,
                "functions": sorted(functions, key=lambda row: str(row["function"])),
                "connections": connections,
            }
        )
    return shown


def system_object(instance: str, vitals: Vitals, memory: int, watchers: int, is_failing: bool) -> dict[str, Any]:
    """How the process is."""
    return {
        "instance": instance,
        "started": iso(vitals.started),
        "memory": memory,
        "steps": vitals.steps,
        "watchers": watchers,
        "is_failing": is_failing,
        "commits": percentiles(_ordered(vitals.commits)) | histogram(dict(sorted(vitals.commits.items()))),
        "lag": percentiles(_ordered(vitals.lags)) | histogram(dict(sorted(vitals.lags.items()))),
    }


def _ordered(buckets: Mapping[int, Bucket]) -> list[Bucket]:
    return [bucket for _, bucket in sorted(buckets.items())]


def _word(name: bytes) -> str:
    return name.decode(errors="replace")


def _instant(at: float | None) -> str | None:
    return None if at is None else iso(at)


def _short(number: float) -> float:
    return int(number) if number.is_integer() else number
