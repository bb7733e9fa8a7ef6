"""What operators do to jobs: run now, another priority, the same for all that a search finds; and the record of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import START, Clock, fails, statuses, system

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


LATER = (START + 5000) * 1000


async def test_run_now_does_not_wait_for_the_date(path: Path, autojump_clock: Clock) -> None:
    async with system(path) as it:
        await it.work("a::b", lambda request: 7)
        id = await it.gearbox.queue("a::b", after_date=LATER)
        assert await it.call("run_now", {"id": id, "reason": "the boss waits"}) is True
        assert await it.gearbox.watch(id) == 7
        assert await it.call("run_now", {"id": id}) is False
        history = await it.call("history", {"id": id})
        assert "run now: the boss waits" in [event["why"] for event in history["events"]]


async def test_run_now_still_waits_for_other_jobs(path: Path, autojump_clock: Clock) -> None:
    async with system(path) as it:
        await it.work("a::b", lambda request: 7)
        parent = await it.gearbox.queue("a::b", after_date=LATER)
        child = await it.gearbox.queue("a::b", after_id=parent, after_date=LATER)
        await it.call("run_now", {"id": child})
        await trio.sleep(1)
        assert await statuses(it, parent, child) == ["waiting", "waiting"]


@pytest.mark.parametrize(("retry_delay", "is_shorter"), [(1, False), (3600, True)])
async def test_run_now_still_waits_for_a_worker_that_may_run_the_last_try(
    path: Path, autojump_clock: Clock, retry_delay: float, is_shorter: bool
) -> None:
    async with system(path) as it:
        starts: list[float] = []

        def run(request: object) -> object:
            starts.append(trio.current_time())
            return trio.Event() if len(starts) == 1 else 7

        await it.work("a::b", run, max_jobs=2)
        id = await it.gearbox.queue("a::b", timeout=30, max_retries=1, retry_delay=retry_delay)
        while await it.status_of(id) != "waiting":  # noqa: ASYNC110 -- the clock jumps
            await trio.sleep(1)
        given_up = trio.current_time()
        assert [await it.call("run_now", {"id": id}) for _ in range(2)] == [is_shorter, False]
        done = await it.call("act", {"action": "run_now", "query": ""})
        assert (done["jobs"], done["changed"]) == (1, 0)
        assert await it.gearbox.watch(id) == 7
        assert given_up + 53 < starts[1] < given_up + 56


async def test_a_priority_can_change_until_the_job_starts(path: Path, autojump_clock: Clock) -> None:
    async with system(path) as it:
        order: list[int] = []

        def run(request: dict[str, dict[str, int]]) -> None:
            order.append(request["_meta"]["gearbox_id"])

        await it.work("a::b", run)
        await it.call("limit", {"method": "a::b", "concurrency": 1})
        await it.call("pause", {"method": "a::b"})
        one, other = [await it.gearbox.queue("a::b") for _ in range(2)]
        assert await it.call("reprioritise", {"id": other, "priority": "high", "reason": "first"}) is True
        assert await it.call("reprioritise", {"id": other, "priority": "high"}) is False
        await it.call("resume", {"method": "a::b"})
        await it.gearbox.watch(one)
        await it.gearbox.watch(other)
        assert order == [other, one]
        assert await it.call("reprioritise", {"id": one, "priority": "high"}) is False


async def test_an_action_for_all_that_a_search_finds_tells_first_what_it_would_do(
    path: Path, autojump_clock: Clock
) -> None:
    async with system(path) as it:
        await it.work("a::b", lambda request: 7)
        await it.work("c::d", lambda request: 7)
        ids = [await it.gearbox.queue("a::b", after_date=LATER) for _ in range(3)]
        other = await it.gearbox.queue("c::d", after_date=LATER)
        given = {"action": "cancel", "query": "method:a::b status:waiting", "reason": "over"}
        seen = await it.call("act", given | {"preview": True})
        assert seen == {"jobs": 3, "changed": 0, "is_cut": False, "ids": ids[::-1]}
        assert await statuses(it, *ids) == ["waiting"] * 3

        late = await it.gearbox.queue("a::b", after_date=LATER)
        done = await it.call("act", given | {"up_to": ids[-1]})
        assert done["changed"] == 3
        assert await statuses(it, *ids, late, other) == ["invalid"] * 3 + ["waiting"] * 2

        again = await it.call("act", {"action": "retry", "query": "status:invalid"})
        assert again["changed"] == 3
        hurried = await it.call("act", {"action": "run_now", "query": "status:waiting"})
        assert hurried["changed"] == 2
        assert await it.gearbox.watch(late) == 7


async def test_retrying_all_failed_jobs_queues_each_once_however_they_hang_together(
    path: Path, autojump_clock: Clock
) -> None:
    async with system(path) as it:
        is_well = False

        def run(request: object) -> object:
            return 1 if is_well else ValueError("ill")

        await it.work("a::b", run)
        parent = await it.gearbox.queue("a::b")
        child = await it.gearbox.queue("a::b", after_id=parent)
        await fails(42, it.gearbox.watch(parent))
        await fails(-28523, it.gearbox.watch(child))
        is_well = True
        done = await it.call("act", {"action": "retry", "query": "status:failed"})
        assert (done["jobs"], done["changed"]) == (2, 1)
        found = await it.call("search", {"query": "status:current,complete"})
        assert len(found["jobs"]) == 2


async def test_what_operators_do_is_recorded_with_who_and_why(path: Path, autojump_clock: Clock) -> None:
    async with system(path) as it:
        id = await it.gearbox.queue("a::b", after_date=LATER)
        await it.call("pause", {"method": "a::b", "reason": "the disk is full"})
        await it.call("cancel", {"id": id, "reason": "not wanted"})
        await fails(404, it.call("cancel", {"id": 99}))
        await it.call("act", {"action": "cancel", "query": "status:waiting", "reason": "all of them"})
        rows = await it.call("audit")
        assert [(row["action"], row["target"], row["reason"], row["jobs"]) for row in rows] == [
            ("cancel", "status:waiting", "all of them", 0),
            ("cancel", str(id), "not wanted", None),
            ("pause", "a::b", "the disk is full", None),
        ]
        assert [row["id"] for row in await it.call("audit", {"below": rows[0]["id"], "limit": 1})] == [rows[1]["id"]]


async def test_every_deed_takes_a_reason(path: Path, autojump_clock: Clock) -> None:
    async with system(path) as it:
        failed = await it.gearbox.queue("a::b")  # nobody offers it
        await fails(-28404, it.gearbox.watch(failed))
        id = await it.gearbox.queue("a::b", after_date=LATER)
        deeds: list[tuple[str, dict[str, Any]]] = [
            ("reprioritise", {"id": id, "priority": "high"}),
            ("run_now", {"id": id}),
            ("cancel", {"id": id}),
            ("retry", {"id": failed}),
            ("act", {"action": "cancel", "query": "status:waiting"}),
            ("pause", {"method": "a::b"}),
            ("resume", {"method": "a::b"}),
            ("limit", {"method": "a::b", "concurrency": 3}),
            ("schedule", {"name": "nightly", "cron": "0 3 * * *", "method": "a::b"}),
            ("unschedule", {"name": "nightly"}),
        ]
        for method, params in deeds:
            await it.call(method, {**params, "reason": f"why {method}"})
        reasons = [row["reason"] for row in reversed(await it.call("audit"))]
        assert reasons == [f"why {method}" for method, _ in deeds]


async def test_a_search_pages_through_jobs(path: Path, autojump_clock: Clock) -> None:
    async with system(path) as it:
        ids = [await it.gearbox.queue("a::b", after_date=LATER) for _ in range(5)]
        page = await it.call("search", {"query": "method:a::*", "limit": 3})
        assert [job["id"] for job in page["jobs"]] == ids[:1:-1]
        rest = await it.call("search", {"query": "method:a::*", "limit": 3, "below": page["next"]})
        assert ([job["id"] for job in rest["jobs"]], rest["next"]) == (ids[1::-1], None)
        await fails(400, it.call("search", {"query": "status:never"}))


async def test_how_things_stand(path: Path, autojump_clock: Clock) -> None:
    async with system(path) as it:
        await it.work("a::b", lambda request: 7)
        await it.gearbox.watch(await it.gearbox.queue("a::b"))
        waiting = await it.gearbox.queue("a::b", after_date=LATER)
        view = await it.call("overview")
        assert view["states"]["complete"] == view["states"]["waiting"] == 1
        assert view["oldest"]["waiting"]["id"] == waiting
        (method,) = view["methods"]
        assert (method["method"], method["workers"], method["run"]["jobs"]) == ("a::b", 1, 1)
        assert [job["id"] for job in await it.call("upcoming")] == [waiting]
        latency = await it.call("latency", {"method": "a::b"})
        assert latency["run"]["jobs"] == 1
        assert len(latency["slowest"]) == 1
        (server,) = await it.call("gearman")
        assert "a::b" in [row["function"] for row in server["functions"]]
        assert (await it.call("system"))["steps"] > 0
