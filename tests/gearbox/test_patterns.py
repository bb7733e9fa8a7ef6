"""Patterns that jobs are composed to, each with a restart of the core in the middle."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import START, Clock, System, fails, statuses, system

pytestmark = pytest.mark.usefixtures("store_in_the_loop")

NOOP = "gearbox\\core::noop"
NOOPWAIT = "gearbox\\core::noopwait"


async def echo(it: System, order: list[Any]) -> None:
    """A worker that notes what it was given, and gives it back."""
    await it.work("a::b", lambda request: order.append(request["params"]) or request["params"], max_jobs=50)


async def many(it: System, jobs: list[dict[str, Any]]) -> list[int]:
    ids = await it.call("queue_many", jobs)
    assert isinstance(ids, list)
    return ids


async def test_a_pool_behind_a_gate(tmp_path: Path, autojump_clock: Clock) -> None:
    order: list[Any] = []
    async with system(tmp_path / "db") as it:
        await echo(it, order)
        gate = await it.gearbox.queue(NOOPWAIT)
        target, *pool = await many(
            it,
            [
                {"name": "a::b", "args": "target", "ref": "t"},
                *({"name": "a::b", "args": n, "after_id": gate, "before_ref": "t"} for n in range(9)),
            ],
        )
        await trio.sleep(10)
    async with system(tmp_path / "db") as it:
        await echo(it, order)
        assert await statuses(it, gate, target, *pool) == ["running"] + ["waiting"] * 10
        assert order == []
        assert await it.call("noopgo", gate) is True
        assert await it.call("noopgo", gate) is False
        assert await it.gearbox.watch(target) == "target"
        assert sorted(order[:9]) == list(range(9))
        assert order[9:] == ["target"]


async def test_a_diamond(tmp_path: Path, autojump_clock: Clock) -> None:
    order: list[Any] = []
    async with system(tmp_path / "db") as it:
        ids = await many(
            it,
            [
                {"name": "a::b", "args": "top", "ref": "top", "after_date": (START + 60) * 1000},
                {"name": "a::b", "args": "left", "after_ref": "top", "before_ref": "bottom"},
                {"name": "a::b", "args": "right", "after_ref": "top", "before_ref": "bottom"},
                {"name": "a::b", "args": "bottom", "ref": "bottom"},
            ],
        )
        await trio.sleep(30)
    async with system(tmp_path / "db") as it:
        await echo(it, order)
        assert await it.gearbox.watch(ids[3]) == "bottom"
        assert order[0] == "top"
        assert sorted(order[1:3]) == ["left", "right"]
        assert order[3:] == ["bottom"]
        assert trio.current_time() >= 60


async def test_a_job_that_is_retried_within_a_pool(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::flaky", lambda request: ValueError("not yet"))
        await it.work("a::b", lambda request: "ok")
        target, flaky, good = await many(
            it,
            [
                {"name": "a::b", "ref": "t"},
                {"name": "a::flaky", "before_ref": "t", "max_retries": 3, "retry_delay": 30},
                {"name": "a::b", "before_ref": "t"},
            ],
        )
        await it.gearbox.watch(good)
        await trio.sleep(40)
        assert await statuses(it, target, flaky) == ["waiting", "waiting"]
    async with system(tmp_path / "db") as it:
        await it.work("a::flaky", lambda request: "at last")
        await it.work("a::b", lambda request: "ok")
        assert await it.gearbox.watch(target) == "ok"
        (row,) = await it.gearbox.status([flaky])
        assert (row["status"], row["data"], row["retries"]["n"]) == ("complete", "at last", 2)


async def test_a_duplicate_within_a_pool(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        original = await it.gearbox.queue(NOOPWAIT, dedupe="D")
        target, double, good = await many(
            it,
            [
                {"name": NOOP, "ref": "t"},
                {"name": "a::b", "before_ref": "t", "dedupe": "D"},
                {"name": NOOP, "before_ref": "t"},
            ],
        )
        assert await statuses(it, double, good, target) == ["duplicate", "complete", "waiting"]
    async with system(tmp_path / "db") as it:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.gearbox.watch, double)
            await trio.sleep(10)
            assert await it.status_of(target) == "waiting"
            await it.call("noopgo", original)
        assert await it.gearbox.watch(target) is None


async def test_a_cancel_in_the_middle_of_a_chain(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = await it.gearbox.queue(NOOPWAIT)
        chain = [gate]
        for _ in range(20):
            chain.append(await it.gearbox.queue(NOOP, after_id=chain[-1]))
        assert await it.call("cancel", {"id": chain[10]}) is True
    async with system(tmp_path / "db") as it:
        await it.call("noopgo", gate)
        await it.gearbox.watch(chain[9])
        await fails(-28499, it.gearbox.watch(chain[10]))
        await fails(-28523, it.gearbox.watch(chain[-1]))
        assert await statuses(it, *chain) == ["complete"] * 10 + ["invalid"] + ["errored"] * 10
        retried = await it.call("retry", {"id": chain[10]})
        assert len(retried["jobs"]) == 11
        assert await it.gearbox.watch(retried["jobs"][str(chain[-1])]) is None


async def chain(path: Path, size: int) -> float:
    """A chain of jobs, a restart while it waits, then all of it; real seconds for that."""
    async with system(path) as it:
        gate = await it.gearbox.queue(NOOPWAIT)
        links = [{"name": NOOP, "ref": "0", "after_id": gate}]
        links += [{"name": NOOP, "ref": str(n), "after_ref": str(n - 1)} for n in range(1, size)]
        ids = await many(it, links)
        await trio.sleep(1)
    async with system(path) as it:
        begin = time.perf_counter()
        await it.call("noopgo", gate)
        assert await it.gearbox.watch(ids[-1]) is None
        return time.perf_counter() - begin


async def pool(path: Path, size: int, batches: Iterable[int]) -> float:
    """A pool, a restart while it waits, then all of it; real seconds from the first queue call on."""
    begin = time.perf_counter()
    async with system(path) as it:
        gate = await it.gearbox.queue(NOOPWAIT)
        target = await it.gearbox.queue(NOOP, after_id=gate)
        for count in batches:
            await many(it, [{"name": NOOP, "after_id": gate, "before_id": target}] * count)
        await trio.sleep(1)
    async with system(path) as it:
        await it.call("noopgo", gate)
        assert await it.gearbox.watch(target) is None
        assert (await it.gearbox.stats(NOOP))["states"] == {"complete": size + 1}
        return time.perf_counter() - begin


async def test_a_long_chain(tmp_path: Path, autojump_clock: Clock) -> None:
    assert await chain(tmp_path / "db", 300) < 30


async def test_a_wide_pool_costs_each_member_the_same(tmp_path: Path, autojump_clock: Clock) -> None:
    await pool(tmp_path / "warm", 100, [100])
    small = await pool(tmp_path / "small", 400, [400])
    large = await pool(tmp_path / "large", 1600, [800, 800])
    assert large < 4 * small * 3  # linear, and three times that for a busy machine
