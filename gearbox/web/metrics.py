"""What Prometheus reads: made when it asks, from what is kept anyway, so that counting costs a job nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import trio
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

import abraxas_py
from gearbox.errors import RpcError
from gearbox.web.desk import PROBE_PATIENCE, desk_of

__all__ = ["families", "show"]

LOWEST, HIGHEST = 80, 280  # buckets of the histograms: 1 ms to 10 hours, by factors of four
STEP = 16
MICROSECOND = 1e-6
PER_FACTOR = 8  # buckets to the factor of two


async def show(request: Request) -> Response:
    """The text that Prometheus reads."""
    desk = desk_of(request)
    stored = None
    with trio.move_on_after(PROBE_PATIENCE), suppress(RpcError):  # an outage is what alarms have to tell of
        stored = await desk.call("overview"), await desk.call("durations")
    found = families(stored, await desk.call("gearman"), await desk.call("system"))
    registry = CollectorRegistry()
    registry.register(_Families(list(found)))
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})


class _Families(Collector):
    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def families(
    stored: tuple[Mapping[str, Any], Mapping[str, Any]] | None,
    servers: Sequence[Mapping[str, Any]],
    system: Mapping[str, Any],
) -> Iterator[Metric]:
    """All metrics, from the answers of `overview` and `durations` (None: the database fails), `gearman`, `system`."""
    is_up = stored is not None and not system["is_failing"]
    yield GaugeMetricFamily("gearbox_store_up", "1 while the database works", value=float(is_up))
    if stored is not None:
        view, durations = stored
        yield from _of_jobs(view)
        yield from _of_durations(durations)
    yield from _of_gearman(servers)
    yield from _of_process(system)


def _of_jobs(view: Mapping[str, Any]) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("gearbox_jobs", "Jobs by method and status, ended ones too", labels=["method", "status"])
    workers = GaugeMetricFamily("gearbox_method_workers", "Workers that offer the method", labels=["method"])
    paused = GaugeMetricFamily("gearbox_method_paused", "1 where the method is paused", labels=["method"])
    for row in view["methods"]:
        for status, count in row["states"].items():
            jobs.add_metric([row["method"], status], count)
        if row["workers"] is not None:
            workers.add_metric([row["method"]], row["workers"])
        paused.add_metric([row["method"]], float(row["is_paused"]))
    yield from (jobs, workers, paused)
    oldest = GaugeMetricFamily("gearbox_oldest_job_age_seconds", "Age of the oldest job in a status", labels=["status"])
    for status in ("ready", "waiting", "running"):
        oldest.add_metric([status], view["oldest"].get(status, {}).get("age", 0.0))
    yield oldest


def _of_durations(durations: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    for measure, words in (("wait", "from ready to claimed"), ("run", "from claimed to complete")):
        family = HistogramMetricFamily(f"gearbox_job_{measure}_seconds", f"Seconds {words}", labels=["method"])
        for method, measures in durations.items():
            family.add_metric([method], _buckets(measures[measure]["buckets"]), measures[measure]["total"])
        yield family


def _of_gearman(servers: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    is_up = any(not server["error"] for server in servers)
    yield GaugeMetricFamily("gearbox_gearman_up", "1 while a Gearman server answers", value=float(is_up))
    queued = GaugeMetricFamily(
        "gearman_queued_jobs", "Jobs that wait in Gearman", labels=["server", "function", "priority"]
    )
    running = GaugeMetricFamily("gearman_running_jobs", "Jobs that run in Gearman", labels=["server", "function"])
    connections = GaugeMetricFamily("gearman_connections", "Connections of a Gearman server", labels=["server"])
    for server in servers:
        name = server["server"]
        for row in server["functions"]:
            running.add_metric([name, row["function"]], row["running"])
            for priority, jobs in (row["queued"] or {}).items():
                queued.add_metric([name, row["function"], priority], jobs)
        connections.add_metric([name], len(server["connections"]))
    yield from (queued, running, connections)


def _of_process(system: Mapping[str, Any]) -> Iterator[Metric]:
    for key, name, words in (
        ("commits", "gearbox_store_commit_seconds", "Seconds that transactions took"),
        ("lag", "gearbox_loop_lag_seconds", "Seconds that the event loop was late, by samples"),
    ):
        family = HistogramMetricFamily(name, words)
        family.add_metric([], _buckets(system[key]["buckets"]), system[key]["total"])
        yield family
    yield CounterMetricFamily("gearbox_steps", "Steps of transactions that were committed", value=system["steps"])
    yield GaugeMetricFamily("gearbox_watchers", "Calls that wait for a job to end", value=system["watchers"])
    tasks = trio.lowlevel.current_statistics().tasks_living
    yield GaugeMetricFamily("gearbox_tasks", "Tasks of the event loop", value=tasks)
    yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory", value=system["memory"])
    started = datetime.fromisoformat(system["started"]).astimezone(UTC).timestamp()
    yield GaugeMetricFamily("process_start_time_seconds", "Start, in Unix seconds", value=started)
    info = GaugeMetricFamily("gearbox_info", "The version", labels=["version"])
    info.add_metric([abraxas_py.__version__], 1)
    yield info


def _buckets(buckets: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Cumulative counts under bounds that are bounds of the kept histogram too, so they are exact."""
    found = []
    for bound in range(LOWEST, HIGHEST + 1, STEP):
        jobs = sum(one["jobs"] for one in buckets if one["bucket"] < bound)
        found.append((f"{MICROSECOND * 2.0 ** (bound / PER_FACTOR):.6g}", float(jobs)))
    return [*found, ("+Inf", float(sum(one["jobs"] for one in buckets)))]
