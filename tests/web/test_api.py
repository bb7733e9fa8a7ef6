"""The methods by HTTP: the same handlers, their description, events, metrics."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from core_stage import START, Clock, hanging
from prometheus_client.parser import text_string_to_metric_families
from web_stage import HOST, Site, site

from gearbox import methods, rpc
from gearbox.errors import Code, StoreError
from gearbox.methods.surface import SURFACE
from gearbox.web.access import Address, Http
from gearbox.web.openapi import document

LATER = (START + 5000) * 1000

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def test_a_job_is_queued_watched_and_looked_at(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        await it.system.work("a::b", lambda request: {"sum": sum(request["params"])})
        id = (await it.api("queue", {"name": "a::b", "args": [1, 2]})).json
        assert (await it.get(f"/api/watch?id={id}")).json == {"sum": 3}
        (row,) = (await it.get(f"/api/status?ids={id}")).json
        assert row == (await it.system.gearbox.status([id]))[0]
        assert (await it.api("status", [id])).json == [row]
        found = (await it.get("/api/search?query=method:a::b&limit=1")).json
        assert [job["id"] for job in found["jobs"]] == [id]


async def test_the_trace_of_a_request_goes_with_its_job(tmp_path: Path, autojump_clock: Clock) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with site(tmp_path / "db") as it:
        traced = (await it.api("queue", {"name": "a::b", "after_date": LATER}, traceparent=trace)).json
        other = (await it.api("queue", {"name": "a::b", "after_date": LATER}, traceparent="nonsense")).json
        rows = (await it.get(f"/api/status?ids={traced},{other}")).json
        assert [row.get("traceparent") for row in rows] == [trace, None]
        assert (await it.get(f"/api/history?id={traced}")).json["job"]["traceparent"] == trace
        assert trace in (await it.get(f"/jobs/{traced}")).text
        assert trace in (await it.get(f"/jobs/{traced}/export")).text


async def test_an_error_has_its_status_and_its_code(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        await it.system.work("a::b", lambda request: ValueError("no"))
        id = (await it.api("queue", {"name": "a::b"})).json
        failed = await it.get(f"/api/watch?id={id}")
        assert (failed.status, failed.json["error"]["code"]) == (422, 42)
        for name, params, status in [
            ("queue", {}, 400),
            ("history", {"id": 99}, 404),
            ("retry", {"id": (await it.api("queue", {"name": "a::b", "after_date": LATER})).json}, 409),
            ("nothing", {}, 404),
        ]:
            answer = await it.api(name, params)
            assert (answer.status, answer.json["error"]["code"]) == (status, status), name


async def test_who_calls_stands_in_the_audit(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        id = (await it.api("queue", {"name": "a::b", "after_date": LATER})).json
        await it.api("cancel", {"id": id, "reason": "over"})
        history = (await it.get(f"/api/history?id={id}")).json
        assert [event["who"] for event in history["events"]] == ["dashboard", "dashboard"]


async def test_a_watch_that_is_left_leaves_nothing_behind(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        id = await it.system.gearbox.queue("a::b", after_date=LATER)
        with trio.move_on_after(5):
            await it.get(f"/api/watch?id={id}")
        await trio.sleep(10)
        assert it.system.core.watchers == 0


def test_every_method_is_described() -> None:
    assert {f"gearbox\\core::{name}" for name in SURFACE} == set(methods.METHODS)
    paths = document(SURFACE)["paths"]
    assert set(paths) == {f"/{name}" for name in SURFACE}
    for name, surface in SURFACE.items():
        assert ("get" in paths[f"/{name}"]) is surface.is_reading
        source = inspect.getsource(methods.METHODS[f"gearbox\\core::{name}"])
        kind = surface.params.__name__
        if kind not in ("Nothing", "Ids", "ById", "Token"):
            assert f"params.{kind}" in source or kind in ("ByMethod", "ByName"), f"{name} does not take {kind}"


async def test_the_description_is_open_api(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        found = (await it.get("/api")).json
        assert found["openapi"] == "3.1.0"
        queue = found["paths"]["/queue"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert queue["required"] == ["name"]
        assert queue["properties"]["priority"] == {
            "type": "string",
            "enum": ["high", "normal", "low"],
            "default": "normal",
        }
        assert references(found) <= {"#/components/schemas/Error"}


async def test_what_is_answered_is_described(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        search = (await it.get("/api")).json["paths"]["/search"]["get"]
        walls = {"401", "403", "405", "408", "413", "415", "421"}
        assert walls | {str(code.value) for code in Code if 400 <= code < 600} <= search["responses"].keys()
        (limit,) = [one["schema"] for one in search["parameters"] if one["name"] == "limit"]
        for size in (limit["minimum"], 1001, limit["maximum"]):
            assert (await it.get(f"/api/search?limit={size}")).status == 200, size
        assert (await it.get(f"/api/search?limit={limit['maximum'] + 1}")).status == 400


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(references, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found = {value["$ref"]} if "$ref" in value else set()
    return found.union(*map(references, value.values()))


async def test_everything_is_under_the_base_path(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db", Http(Address("127.0.0.1", 4780, "/gear/box"))) as it:
        page = (await it.get("/gear/box/")).text
        assert 'href="/gear/box/jobs"' in page
        assert 'src="/gear/box/static/live.js"' in page
        assert (await it.get("/gear/box/static/style.css")).status == 200
        assert (await it.get("/gear/box/api/status")).json == []
        assert (await it.get("/jobs")).status == 404
        id = await it.system.gearbox.queue("a::b", after_date=LATER)
        form = await it.post(f"/gear/box/jobs/{id}/cancel", {"next": f"/jobs/{id}"}, page=f"/gear/box/jobs/{id}")
        assert (form.status, form.headers["location"]) == (303, f"/gear/box/jobs/{id}")


# --- events ---


@attrs.define
class Stream:
    """What an open page hears."""

    data: bytearray = attrs.field(factory=bytearray)

    def events(self, kind: str) -> list[Any]:
        found = []
        for block in self.data.decode().split("\n\n"):
            head, _, rest = block.partition("\n")
            if head == f"event: {kind}":
                found.append(rpc.load(rest.removeprefix("data: ")))
        return found

    async def until(self, is_so: Any) -> None:
        while not is_so():  # noqa: ASYNC110 -- the clock jumps
            await trio.sleep(0.05)


async def open_stream(it: Site, query: str, nursery: trio.Nursery) -> tuple[Stream, trio.CancelScope]:
    stream = Stream()
    scope = trio.CancelScope()
    left = trio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        stream.data += message.get("body", b"")

    asgi = {
        "type": "http", "method": "GET", "path": "/live", "raw_path": b"/live", "root_path": "", "scheme": "http",
        "query_string": query.encode(), "http_version": "1.1", "client": None, "server": None,
        "headers": [(b"host", HOST.encode())],
    }  # fmt: skip

    async def run() -> None:
        with scope:
            await it.app.asgi(asgi, receive, send)  # type: ignore[arg-type]

    nursery.start_soon(run)
    await stream.until(lambda: stream.data)
    return stream, scope


async def test_a_page_hears_of_its_jobs_within_half_a_second(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it, trio.open_nursery() as nursery:
        mine = await it.system.gearbox.queue("a::b", after_date=LATER)
        other = await it.system.gearbox.queue("a::b", after_date=LATER)
        stream, scope = await open_stream(it, f"jobs={mine}", nursery)
        await stream.until(lambda: stream.events("states"))
        await it.system.call("cancel", {"id": other})
        await it.system.call("cancel", {"id": mine})
        began = trio.current_time()
        await stream.until(lambda: stream.events("states")[-1][0]["status"] == "invalid")
        assert trio.current_time() - began < 0.5
        assert {row["id"] for rows in stream.events("states") for row in rows} == {mine}
        scope.cancel()


async def test_the_overview_is_sent_when_it_changes(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it, trio.open_nursery() as nursery:
        stream, scope = await open_stream(it, "overview=1", nursery)
        await stream.until(lambda: stream.events("overview"))
        await it.system.gearbox.queue("a::b", after_date=LATER)
        await stream.until(lambda: "a::b" in stream.events("overview")[-1])
        scope.cancel()
        await trio.sleep(1)
        assert it.app.live.listeners == 0


async def test_a_job_that_has_ended_is_looked_at_once(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it, trio.open_nursery() as nursery:
        ended, other = [await it.system.gearbox.queue("a::b", after_date=LATER) for _ in range(2)]
        await it.system.call("cancel", {"id": ended})
        stream, scope = await open_stream(it, f"jobs={ended},{other}", nursery)
        await stream.until(lambda: stream.events("states"))
        late, later = await open_stream(it, f"jobs={ended}", nursery)
        await late.until(lambda: late.events("states"))  # who comes later hears of it, too
        scope.cancel()
        later.cancel()
        _, scope = await open_stream(it, f"jobs={ended}", nursery)
        await trio.sleep(1)
        before = it.system.core.vitals.steps
        await trio.sleep(0.9)  # between two sweeps of the core's own
        assert it.system.core.vitals.steps - before <= 1
        scope.cancel()


async def test_nobody_is_asked_while_nobody_looks(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        await trio.sleep(5)
        before = it.system.core.vitals.steps
        await trio.sleep(0.9)
        sweeps = it.system.core.vitals.steps - before
        async with trio.open_nursery() as nursery:
            _, scope = await open_stream(it, "jobs=1", nursery)
            before = it.system.core.vitals.steps
            await trio.sleep(0.9)
            assert it.system.core.vitals.steps - before > sweeps
            scope.cancel()


# --- metrics ---


async def test_metrics_are_what_prometheus_reads(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        await it.system.work("a::b", lambda request: 7)
        await it.system.gearbox.watch(await it.system.gearbox.queue("a::b"))
        await it.system.gearbox.queue('say "hi"\\::x'.replace(" ", "_"), after_date=LATER)
        await it.system.call("pause", {"method": "a::b"})
        answer = await it.get("/metrics")
        found = {family.name: family for family in text_string_to_metric_families(answer.text)}
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in found.values()
            for sample in family.samples
        }
        assert samples["gearbox_jobs", (("method", "a::b"), ("status", "complete"))] == 1
        assert samples["gearbox_method_workers", (("method", "a::b"),)] == 1
        assert samples["gearbox_method_paused", (("method", "a::b"),)] == 1
        assert samples["gearbox_job_run_seconds_count", (("method", "a::b"),)] == 1
        assert samples["gearbox_gearman_up", ()] == 1
        assert samples["gearbox_store_commit_seconds_count", ()] > 0
        assert samples["process_resident_memory_bytes", ()] > 1e6
        for family in found.values():
            assert family.documentation
            if family.type == "histogram":
                self_consistent([s for s in family.samples if s.name.endswith("_bucket")])


async def test_metrics_tell_of_an_outage(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        await it.system.gearbox.queue("c::d", after_date=LATER)

        async def samples() -> dict[str, float]:
            answer = await it.get("/metrics")
            assert answer.status == 200
            families = text_string_to_metric_families(answer.text)
            return {sample.name: sample.value for family in families for sample in family.samples}

        it.system.store.error = StoreError("the disk is gone")
        found = await samples()
        assert (found["gearbox_store_up"], found["gearbox_gearman_up"]) == (0, 1)
        assert "gearbox_jobs" not in found  # of which nothing is known
        assert found["gearman_connections"] > 0
        assert found["process_resident_memory_bytes"] > 1e6
        it.system.store.error = None
        await trio.sleep(10)
        it.lose_gearman()
        found = await samples()
        assert (found["gearbox_store_up"], found["gearbox_gearman_up"]) == (1, 0)
        assert "gearbox_jobs" in found


async def test_metrics_do_not_wait_for_a_database_that_hangs(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        with hanging(it.system), trio.fail_after(5):
            answer = await it.get("/metrics")
        assert "gearbox_store_up 0.0" in answer.text


def complaints(promtool: str, text: bytes) -> str:
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    said = (checked.stdout + checked.stderr).decode()
    assert bool(said) is bool(checked.returncode)
    return said


@pytest.mark.promtool
async def test_promtool_finds_nothing_wrong(tmp_path: Path, autojump_clock: Clock) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        words = "promtool is missing (Debian: prometheus)"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    async with site(tmp_path / "db") as it:
        await it.system.work("a::b", lambda request: 7)
        await it.system.gearbox.watch(await it.system.gearbox.queue("a::b"))
        await it.system.gearbox.queue("c::d", after_date=LATER)
        text = (await it.get("/metrics")).body
    assert complaints(promtool, text) == ""
    assert "gearbox_jobs" in complaints(promtool, text.replace(b"# HELP gearbox_jobs ", b"# HELP other_jobs "))


def self_consistent(buckets: list[Any]) -> None:
    """Counts grow with their bounds."""
    series: dict[Any, list[tuple[float, float]]] = {}
    for sample in buckets:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        series.setdefault(tuple(sorted(labels.items())), []).append((float(sample.labels["le"]), sample.value))
    for found in series.values():
        assert found == sorted(found)
        assert [count for _, count in found] == sorted(count for _, count in found)
