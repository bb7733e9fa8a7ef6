"""What is told about a job: its history, why it does not run, what hangs together with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import START, Clock, fails, system

from abraxas_py import open_client
from gearbox import rpc

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def test_history_tells_what_became_of_a_job(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        tries: list[Any] = []

        def handle(request: dict[str, Any]) -> Any:
            tries.append(request)
            return ValueError("again") if len(tries) == 1 else "ok"

        await it.work("a::b", handle)
        id = await it.gearbox.queue("a::b", max_retries=1)
        await it.gearbox.watch(id)
        history = await it.call("history", {"id": id})
        assert history["job"] == (await it.gearbox.status([id]))[0]
        assert [(one["attempt"], one["outcome"], one["error"]) for one in history["attempts"]] == [
            (1, "errored", {"code": 42, "message": "again"}),
            (2, "complete", None),
        ]
        events = history["events"]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        moves = [(event["from"], event["to"]) for event in events]
        assert moves[:3] == [(None, "ready"), ("ready", "running"), ("running", "waiting")] or moves[2][1] == (
            "almost-done"
        )
        assert moves[-1][1] == "complete"
        assert {event["who"] for event in events} == {"core"}
        await fails(404, it.call("history", {"id": 99}))


async def test_who_called_stands_in_the_audit(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it, open_client(it.server.dial) as client:

        async def call(method: str, params: Any) -> Any:
            name = f"gearbox\\core::{method}"
            return rpc.parse_response(
                await client.submit(name, rpc.request(name, params, "1", {"who": "ada@console"})), "1"
            )

        id = await call("queue", {"name": "a::b", "after_date": "9999-01-01"})
        await call("cancel", {"id": id, "reason": "no longer needed"})
        events = (await it.call("history", {"id": id}))["events"]
        assert [(event["why"], event["who"]) for event in events] == [
            ("queued", "ada@console"),
            ("cancelled: no longer needed", "ada@console"),
        ]


async def test_why_names_what_a_job_waits_for(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        running = await it.gearbox.queue("a::slow", dedupe="D")
        double = await it.gearbox.queue("a::slow", dedupe="D")
        child = await it.gearbox.queue("a::slow", after_id=double, after_date=(START + 900) * 1000)
        pool = [await it.gearbox.queue("a::slow", before_id=child) for _ in range(4)]
        wait = await it.gearbox.queue("gearbox\\core::noopwait")
        await it.call("pause", {"method": "a::other"})
        paused = await it.gearbox.queue("a::other")
        await it.call("limit", {"method": "a::third", "concurrency": 0})
        await it.gearbox.queue("a::third", priority="high")
        limited = await it.gearbox.queue("a::third")
        failed = await it.gearbox.queue("no::such")
        retried = await it.gearbox.queue("no::such", max_retries=2, retry_delay=60)

        async def why(id: int) -> str:
            text = await it.call("why", {"id": id})
            assert isinstance(text, str)
            return text

        assert await why(running) == (
            "job 1 was handed to Gearman at 2027-01-15T08:00:00.000Z as attempt 1; "
            "no worker has asked leave to start it"
        )
        assert await it.gearbox.job_start(running, 1)
        assert "is running: attempt 1 was started at 2027-01-15T08:00:0" in await why(running)
        assert await why(double) == "job 2 is a duplicate of job 1, which is running"
        assert await why(child) == (
            "job 3 is waiting: it waits for job 2 (after_id), a duplicate of job 1, which is running; "
            f"it waits for its pool (before_id): {pool[0]}, {pool[1]}, {pool[2]} and others have not ended; "
            "its date is 2027-01-15T08:15:00.000Z"
        )
        assert await why(wait) == f"job {wait} is running: it waits for gearbox\\core::noopgo with the id {wait}"
        assert await why(paused) == f"job {paused} is ready: its method a::other is paused"
        assert (
            await why(limited)
            == f"job {limited} is ready: its method a::third has 0 active jobs of 0, with 1 before it"
        )
        assert "errored" in await why(failed)
        assert "No worker available (-28404)" in await why(failed)
        assert "its retry 1 of 2 is due at 2027-01-15T08:01:0" in await why(retried)
        await fails(404, why(99))
        await fails(400, it.call("why", {}))


async def test_graph_shows_what_hangs_together(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        wait = await it.gearbox.queue("gearbox\\core::noopwait", dedupe="D")
        double = await it.gearbox.queue("a::b", dedupe="D")
        child = await it.gearbox.queue("a::b", after_id=wait)
        member = await it.gearbox.queue("gearbox\\core::noopwait", before_id=child)
        await it.gearbox.queue("gearbox\\core::noop")
        graph = await it.call("graph", {"id": double})
        assert graph == {
            "nodes": [
                {"id": wait, "method_name": "gearbox\\core::noopwait", "status": "running"},
                {"id": double, "method_name": "a::b", "status": "duplicate"},
                {"id": child, "method_name": "a::b", "status": "waiting"},
                {"id": member, "method_name": "gearbox\\core::noopwait", "status": "running"},
            ],
            "edges": [
                {"from": double, "to": wait, "kind": "duplicate"},
                {"from": wait, "to": child, "kind": "after"},
                {"from": member, "to": child, "kind": "before"},
            ],
            "is_cut": False,
        }


async def test_a_graph_is_bounded(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        target = await it.gearbox.queue("gearbox\\core::noop", after_date="9999-01-01")
        jobs = [{"name": "gearbox\\core::noopwait", "before_id": target} for _ in range(2100)]
        await it.call("queue_many", jobs)
        graph = await it.call("graph", {"id": target})
        assert (len(graph["nodes"]), graph["is_cut"]) == (2000, True)
