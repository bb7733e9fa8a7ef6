"""The pages: each asks the core what it shows, and fills a template."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import trio
from starlette.requests import Request
from starlette.responses import Response

from gearbox.errors import Code, RpcError
from gearbox.web import charts, forecast, graph
from gearbox.web.desk import Desk, desk_of, json_of, utf8

__all__ = ["PAGES", "overview_fragment"]

PAGE = 50  # jobs of a list
RECENT = 8  # failures on the overview
FAILURES = 200  # newest failures that are grouped by their error
RUNNING = 200
CALENDAR = timedelta(hours=24)
CORE = "gearbox\\core::"

Page = Callable[[Request], Awaitable[Response]]


async def overview(request: Request) -> Response:
    desk = desk_of(request)
    return desk.page(request, "overview.html", title="Overview", **await _overview(desk))


async def overview_fragment(desk: Desk) -> str:
    """What changes of the overview, as it is sent to those who look at it."""
    return desk.render("_overview.html", **await _overview(desk))


async def _overview(desk: Desk) -> dict[str, Any]:
    view = await desk.call("overview")
    failed = await desk.call("search", {"query": "status:failed", "limit": RECENT})
    points = list(desk.series.points)
    view["methods"].sort(key=lambda row: -_weight(row))
    return {
        "view": view,
        "failed": failed["jobs"],
        "throughput": charts.throughput(points),
        "backlog": charts.backlog(points),
        "forecasts": {row["method"]: forecast.of(row) for row in view["methods"]},
    }


def _weight(row: dict[str, Any]) -> int:
    states = row["states"]
    current = sum(states.get(status, 0) for status in ("running", "ready", "waiting"))
    return int(current * 1000 + sum(states.values()))


async def jobs(request: Request) -> Response:
    desk = desk_of(request)
    line = request.query_params.get("q", "").strip()
    values: dict[str, Any] = {"found": {"jobs": [], "next": None, "is_cut": False}, "problem": "", "line": line}
    status = 200
    try:
        params = {"query": line, "below": request.query_params.get("below"), "limit": PAGE}
        values["found"] = await desk.call("search", params)
    except RpcError as error:
        if error.code != Code.BAD_REQUEST:
            raise
        values["problem"] = error.message
        status = 400
    more = values["found"]["next"]
    values["next_page"] = more and "?" + urlencode({"q": line, "below": more})
    return desk.page(request, "jobs.html", status, title="Jobs", is_first="below" not in request.query_params, **values)


async def job(request: Request) -> Response:
    desk = desk_of(request)
    id = request.path_params["id"]
    history = await desk.call("history", {"id": id})
    why = await desk.call("why", {"id": id})
    around = await desk.call("graph", {"id": id})
    picture = graph.svg(around, id, desk.base) if len(around["nodes"]) > 1 else ""
    values = {"history": history, "job": history["job"], "why": why, "picture": picture, "around": around}
    return desk.page(request, "job.html", title=f"Job {id}", **values)


async def job_export(request: Request) -> Response:
    """All that is kept of a job, as a file."""
    id = request.path_params["id"]
    history = await desk_of(request).call("history", {"id": id})
    return _file(json_of(history), f"job-{id}.json")


async def job_data(request: Request) -> Response:
    """A job's data, as a file: text as it is, any other value as JSON."""
    id = request.path_params["id"]
    (row,) = await desk_of(request).call("status", {"ids": [id]}) or [None]
    if row is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    data = row["data"]
    if isinstance(data, str):
        return _file(Response(utf8(data), media_type="text/plain; charset=utf-8"), f"job-{id}.txt")
    return _file(json_of(data), f"job-{id}-data.json")


def _file(response: Response, name: str) -> Response:
    response.headers["content-disposition"] = f'attachment; filename="{name}"'
    return response


async def pools(request: Request) -> Response:
    desk = desk_of(request)
    below = request.query_params.get("below")
    rows = await desk.call("pools", {"below": below, "limit": PAGE})
    more = rows[-1]["id"] if len(rows) == PAGE else None
    return desk.page(request, "pools.html", title="Pools", pools=rows, more=more, bar=charts.bar)


async def graph_of(request: Request) -> Response:
    desk = desk_of(request)
    id = request.path_params["id"]
    found = await desk.call("graph", {"id": id})
    return desk.page(
        request,
        "graph.html",
        title=f"Graph of job {id}",
        id=id,
        graph=found,
        picture=graph.svg(found, id, desk.base),
        tally=graph.tally(found),
        bar=charts.bar,
    )


async def methods(request: Request) -> Response:
    desk = desk_of(request)
    view = await desk.call("overview")
    forecasts = {row["method"]: forecast.of(row) for row in view["methods"]}
    return desk.page(request, "methods.html", title="Methods", view=view, forecasts=forecasts)


async def method(request: Request) -> Response:
    desk = desk_of(request)
    name = request.query_params.get("name", "")
    view = await desk.call("overview")
    row = next((row for row in view["methods"] if row["method"] == name), None)
    if row is None:
        raise RpcError(Code.NOT_FOUND, f"no job, worker or operator has named a method {name}")
    latency = await desk.call("latency", {"method": name})
    return desk.page(
        request,
        "method.html",
        title=name,
        row=row,
        latency=latency,
        forecast=forecast.of(row),
        histograms={measure: charts.histogram(latency[measure]["buckets"]) for measure in ("wait", "run")},
    )


async def scheduled(request: Request) -> Response:
    desk = desk_of(request)
    now = datetime.now(UTC)
    entries = await desk.call("schedules")
    calendar = await desk.call("calendar", {"until": (now + CALENDAR).isoformat()})
    behind = {name: request.query_params.get(name) for name in ("after", "above_id")}
    upcoming = await desk.call("upcoming", behind | {"limit": PAGE})
    dated = [job["due"] for job in upcoming]
    more = urlencode({"after": dated[-1], "above_id": upcoming[-1]["id"]}) if len(dated) == PAGE else None
    view = await desk.call("overview")
    rows = [(row, forecast.of(row)) for row in view["methods"]]
    return desk.page(
        request,
        "scheduled.html",
        title="Scheduled",
        entries=entries,
        upcoming=upcoming,
        more=more,
        calendar=charts.calendar(calendar, [] if behind["after"] else dated, now.timestamp(), CALENDAR.total_seconds()),
        forecasts=[(row, found) for row, found in rows if found.jobs],
        is_late=lambda at: datetime.fromisoformat(at) < now - timedelta(seconds=60),
    )


async def failed(request: Request) -> Response:
    desk = desk_of(request)
    line = "status:failed"
    found = await desk.call("search", {"query": line, "below": request.query_params.get("below"), "limit": FAILURES})
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for job in found["jobs"]:
        groups.setdefault((job["method_name"], forecast.message_of(job["data"])), []).append(job)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return desk.page(request, "failed.html", title="Failed", found=found, groups=ordered, line=line)


async def gearman(request: Request) -> Response:
    desk = desk_of(request)
    servers = await desk.call("gearman")
    problems = {server["server"]: forecast.stuck(server["functions"]) for server in servers}
    for server in servers:
        for row in server["functions"]:
            row["is_core"] = row["function"].startswith(CORE)
    return desk.page(request, "gearman.html", title="Gearman", servers=servers, problems=problems)


async def workers(request: Request) -> Response:
    desk = desk_of(request)
    servers = await desk.call("gearman")
    running = await desk.call("running", {"limit": RUNNING})
    rows = [
        (server["server"], one)
        for server in servers
        for one in server["connections"]
        if any(not name.startswith(CORE) for name in one["functions"])
    ]
    return desk.page(request, "workers.html", title="Workers", rows=rows, running=running, limit=RUNNING)


async def audit(request: Request) -> Response:
    desk = desk_of(request)
    params = {"below": request.query_params.get("below"), "limit": PAGE}
    deeds = await desk.call("audit", params)
    if request.query_params.get("format") == "json":
        return _file(json_of(deeds), "audit.json")
    more = deeds[-1]["id"] if len(deeds) == PAGE else None
    return desk.page(request, "audit.html", title="Audit", deeds=deeds, more=more)


async def system(request: Request) -> Response:
    desk = desk_of(request)
    found = await desk.call("system")
    tasks = trio.lowlevel.current_statistics().tasks_living
    return desk.page(
        request,
        "system.html",
        title="System",
        system=found,
        facts=desk.facts,
        tasks=tasks,
        commits=charts.histogram(found["commits"]["buckets"]),
        lags=charts.histogram(found["lag"]["buckets"]),
    )


PAGES: Sequence[tuple[str, Page]] = (
    ("/", overview),
    ("/jobs", jobs),
    ("/jobs/{id:job}", job),
    ("/jobs/{id:job}/export", job_export),
    ("/jobs/{id:job}/data", job_data),
    ("/pools", pools),
    ("/pools/{id:job}", graph_of),
    ("/methods", methods),
    ("/method", method),
    ("/scheduled", scheduled),
    ("/failed", failed),
    ("/gearman", gearman),
    ("/workers", workers),
    ("/audit", audit),
    ("/system", system),
)
