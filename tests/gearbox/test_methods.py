"""Methods paused and limited, graphs queued as a whole, bad options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import Clock, System, fails, statuses, system

from gearbox import rpc

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


# --- pause, resume, limit, methods ---


async def test_a_paused_method_starts_nothing_until_it_is_resumed(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        ran: list[Any] = []
        await it.work("a::b", lambda request: ran.append(request["params"]), max_jobs=99)
        await it.call("pause", {"method": "a::b"})
        ids = [await it.gearbox.queue("a::b", n) for n in range(300)]
        await trio.sleep(100)
        assert ran == []
        assert await statuses(it, ids[0]) == ["ready"]
        row = next(row for row in await it.call("methods") if row["method"] == "a::b")
        assert row == {"method": "a::b", "workers": 1, "is_paused": True, "concurrency": None, "states": {"ready": 300}}
        before = trio.current_time()
        assert await it.call("resume", {"method": "a::b"}) == {
            "method": "a::b",
            "is_paused": False,
            "concurrency": None,
        }
        for id in ids:
            await it.gearbox.watch(id)
        assert trio.current_time() - before < 1
        assert sorted(ran) == list(range(300))


async def test_a_limit_holds_over_priorities_and_a_restart(tmp_path: Path, autojump_clock: Clock) -> None:
    order: list[Any] = []
    active = 0
    most = 0

    async def slow(it: System) -> None:
        def handle(request: dict[str, Any]) -> Any:
            nonlocal active, most
            order.append(request["params"])
            active += 1
            most = max(most, active)
            done = trio.Event()

            async def end() -> None:
                nonlocal active
                await trio.sleep(1)
                active -= 1
                done.set()

            it.nursery.start_soon(end)
            return done

        await it.work("a::b", handle, max_jobs=99)

    async with system(tmp_path / "db") as it:
        await it.call("limit", {"method": "a::b", "concurrency": 2})
        await slow(it)
        ids = [await it.gearbox.queue("a::b", n, priority=p) for n, p in enumerate(["normal"] * 4 + ["low", "high"])]
        assert await statuses(it, *ids) == ["running"] * 2 + ["ready"] * 4
        for id in ids:
            await it.gearbox.watch(id)
        assert order == [0, 1, 5, 2, 3, 4]
        assert trio.current_time() < 5  # places are given on at once, not by a sweep
        assert most == 2
        await it.call("limit", {"method": "a::b", "concurrency": 0})
        held = await it.gearbox.queue("a::b", "held")
    async with system(tmp_path / "db") as it:
        await slow(it)
        await trio.sleep(20)
        assert await it.status_of(held) == "ready"
        await it.call("limit", {"method": "a::b", "concurrency": None})
        await it.gearbox.watch(held)
        assert await it.call("limit", {"method": "a::b", "concurrency": 3}) == {
            "method": "a::b",
            "is_paused": False,
            "concurrency": 3,
        }
        await fails(400, it.call("pause", {"method": "gearbox\\core::noop"}))


# --- queue_many ---


async def test_queue_many_queues_a_graph_or_nothing(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        order: list[Any] = []
        await it.work("a::b", lambda request: order.append(request["params"]), max_jobs=9)
        jobs = [
            {"name": "a::b", "args": "last", "after_ref": "gate", "ref": "last"},
            {"name": "a::b", "args": "gate", "ref": "gate", "after_ref": "first"},
            {"name": "a::b", "args": "pool 1", "before_ref": "gate"},
            {"name": "a::b", "args": "first", "ref": "first", "before_ref": "gate"},
        ]
        ids = await it.call("queue_many", {"jobs": jobs, "submit_token": "T"})
        assert await it.call("queue_many", {"jobs": jobs, "submit_token": "T"}) == ids
        await it.gearbox.watch(ids[0])
        assert sorted(order[:2]) == ["first", "pool 1"]
        assert order[2:] == ["gate", "last"]

        count = len(await it.gearbox.status(range(1, 99)))
        circle = [{"name": "a::b", "ref": "x", "after_ref": "y"}, {"name": "a::b", "ref": "y", "after_ref": "x"}]
        error = await fails(400, it.call("queue_many", circle))
        assert error.message in (
            "they would wait for ever: jobs[0] waits for jobs[1] waits for jobs[0]",
            "they would wait for ever: jobs[1] waits for jobs[0] waits for jobs[1]",
        )
        pool = [{"name": "a::b", "ref": "x", "before_ref": "y"}, {"name": "a::b", "ref": "y", "before_ref": "x"}]
        await fails(400, it.call("queue_many", pool))
        far = await it.gearbox.queue("a::b", after_date="9999-01-01")
        child = await it.gearbox.queue("a::b", after_id=far)
        through = [
            {"name": "a::b", "ref": "x", "after_id": child},
            {"name": "a::b", "after_ref": "x", "before_id": far},
        ]
        error = await fails(400, it.call("queue_many", through))
        assert error.message == f"jobs[1] waits for job {far}, which is to wait for it: they would wait for ever"
        for bad, code, message in [
            ([{"name": "a::b", "after_ref": "z"}], 400, "jobs[0].after_ref: no job of this call has the ref z"),
            ([{"name": "a", "ref": "z"}] * 2, 400, "jobs[1].ref: z is the name of jobs[0] already"),
            ([{"name": "a::b"}, {"name": ""}], 400, "jobs[1]: missing method name"),
            ([{"name": "a::b"}, {"name": "a", "after_id": 99}], 404, "no such job: 99 (after_id)"),
            (7, 400, "params must be an array of jobs, or have one as `jobs`"),
        ]:  # fmt: skip
            error = await fails(code, it.call("queue_many", bad))
            assert error.message == message
        assert len(await it.gearbox.status(range(1, 99))) == count + 2
        assert await it.call("queue_many", []) == []


BAD_QUEUES = [
    ({"timeout": 0}, "timeout: not a number of seconds above 0 and up to 4294967295"),
    ({"backoff": "slow"}, "backoff: not one of fixed, exponential"),
    ({"expires": "soon"}, "expires: Invalid isoformat string: 'soon'"),
    ({"retry_delay_max": -1}, "retry_delay_max: not a number of seconds from 0 to 4294967295"),
]


@pytest.mark.parametrize(("params", "message"), BAD_QUEUES)
async def test_bad_options_are_named(
    tmp_path: Path, autojump_clock: Clock, params: dict[str, Any], message: str
) -> None:
    async with system(tmp_path / "db") as it:
        assert (await fails(400, it.call("queue", {"name": "a::b", **params}))).message == message
        assert json.loads(rpc.dump(await it.gearbox.status())) == []
