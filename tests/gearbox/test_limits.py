"""Leave to go on, cancel, timeouts, expiry, backoff, and what a child gets to see."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import START, Clock, fails, system

from gearbox.work.lease import PATIENCE

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def test_alive_says_when_to_stop(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::slow", lambda request: trio.Event())
        id = await it.gearbox.queue("a::slow")
        before = (await it.gearbox.status([id]))[0]["updated"]
        await trio.sleep(5)
        assert await it.call("alive", {"id": id, "attempt": 1}) is True
        assert (await it.gearbox.status([id]))[0]["updated"] == before  # nothing was written
        assert await it.call("alive", {"id": id, "attempt": 2}) is False
        assert await it.call("alive", {"id": 99, "attempt": 1}) is False
        assert await it.call("cancel", {"id": id}) is True
        assert await it.call("alive", {"id": id, "attempt": 1}) is False


async def test_alive_keeps_a_job_whose_core_was_restarted(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::slow", lambda request: trio.Event())
        id = await it.gearbox.queue("a::slow")
        await it.gearbox.job_start(id, 1)
    async with system(tmp_path / "db") as it:
        assert await it.status_of(id) == "missing"
        assert "is missing: nobody knows whether attempt 1 runs; it is given up at" in await it.call("why", {"id": id})
        await trio.sleep(PATIENCE)  # its worker bears as much silence, and asks then at the latest
        for _ in range(20):
            assert await it.call("alive", {"id": id, "attempt": 1}) is True
            assert await it.status_of(id) == "running"
            await trio.sleep(10)
        await it.gearbox.job_data(id, data="late but right", status="complete", attempt=1)
        assert await it.gearbox.watch(id) == "late but right"


async def test_cancel_ends_queued_and_running_jobs_and_their_dependents(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        running = await it.gearbox.queue("a::slow")
        child = await it.gearbox.queue("a::slow", after_id=running)
        queued = await it.gearbox.queue("a::slow")  # in Gearman's queue: the one worker is busy
        target = await it.gearbox.queue("a::slow", after_date="9999-01-01")
        member = await it.gearbox.queue("a::slow", after_date="9999-01-01", before_id=target)
        for id in (running, queued, member):
            assert await it.call("cancel", {"id": id, "reason": "enough"}) is True
            assert await it.call("cancel", {"id": id}) is False
        assert await it.gearbox.job_start(queued, 1) is False
        error = await fails(-28499, it.gearbox.watch(running))
        assert error.message == "cancelled: enough"
        await fails(-28523, it.gearbox.watch(child))
        await fails(-28524, it.gearbox.watch(target))
        gate.set()  # the worker ends after all
        await trio.sleep(1)
        history = await it.call("history", {"id": running})
        assert history["job"]["status"] == "invalid"
        assert [attempt["outcome"] for attempt in history["attempts"]] == ["cancelled"]
        assert history["events"][-1]["why"] == "late result of attempt unknown refused: complete"
        await fails(404, it.call("cancel", {"id": 99}))


async def test_an_attempt_that_runs_too_long_fails_and_is_tried_again(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        starts: list[float] = []

        def handle(request: dict[str, Any]) -> Any:
            starts.append(trio.current_time())
            it.nursery.start_soon(it.gearbox.job_start, id, len(starts))
            return trio.Event() if len(starts) == 1 else "quick"

        await it.work("a::b", handle, max_jobs=2)
        id = await it.gearbox.queue("a::b", max_retries=1, timeout=5)
        await trio.sleep(4)
        assert await it.call("alive", {"id": id, "attempt": 1}) is True
        await trio.sleep(1.5)
        assert await it.call("alive", {"id": id, "attempt": 1}) is False
        assert await it.gearbox.watch(id) == "quick"
        assert starts[1] - starts[0] >= 35  # the first has had time to hear of it and stop
        outcomes = [attempt["outcome"] for attempt in (await it.call("history", {"id": id}))["attempts"]]
        assert outcomes == ["timed_out", "complete"]


async def test_a_timeout_counts_for_workers_that_ask_no_leave_but_not_in_the_queue(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        first = await it.gearbox.queue("a::slow", timeout=30)
        second = await it.gearbox.queue("a::slow", timeout=30)
        error = await fails(-28408, it.gearbox.watch(first))
        assert error.message == "ran longer than 30 s"
        assert await it.status_of(second) == "running"
        gate.set()
        assert await it.gearbox.watch(second) == "later"


async def test_a_job_that_could_not_start_in_time_expires(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        expires = (START + 60) * 1000
        wait = await it.gearbox.queue("gearbox\\core::noopwait", expires=expires)
        child = await it.gearbox.queue("gearbox\\core::noop", after_id=wait, expires=expires)
        await it.call("pause", {"method": "a::b"})
        held = await it.gearbox.queue("a::b", expires=expires)
        for id in (child, held):
            error = await fails(-28410, it.gearbox.watch(id))
            assert error.message == "expired before it could start"
        assert 60 <= trio.current_time() < 61
        assert await it.status_of(wait) == "running"


async def test_exponential_backoff_grows_to_its_limit(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        starts: list[float] = []

        def handle(request: dict[str, Any]) -> Any:
            starts.append(trio.current_time())
            return ValueError("no")

        await it.work("a::b", handle)
        params = {"max_retries": 5, "retry_delay": 4, "backoff": "exponential", "retry_delay_max": 20}
        id = await it.gearbox.queue("a::b", **params)
        await fails(42, it.gearbox.watch(id))
        pauses = [late - early for early, late in pairwise(starts)]
        for pause, longest in zip(pauses, (4, 8, 16, 20, 20), strict=True):
            assert longest / 2 <= pause <= longest + 0.1
        row = (await it.gearbox.status([id]))[0]
        assert row["retries"] == {"n": 5, "max": 5, "delay": 4, "backoff": "exponential", "delay_max": 20}


async def test_a_child_gets_the_results_of_those_before_it(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::meta", lambda request: request["_meta"])
        await it.work("a::echo", lambda request: request["params"])
        wait = await it.gearbox.queue("gearbox\\core::noopwait")
        parent = await it.gearbox.queue("a::echo", {"x": 1})
        child = await it.gearbox.queue("a::meta", after_id=parent)
        target = await it.gearbox.queue("a::meta", after_id=wait)
        pool = [await it.gearbox.queue("a::echo", n, before_id=target) for n in range(3)]
        await it.call("noopgo", wait)
        assert (await it.gearbox.watch(child))["gearbox_after"] == {"id": parent, "result": {"x": 1}}
        meta = await it.gearbox.watch(target)
        assert meta["gearbox_after"] == {"id": wait, "result": None}
        assert meta["gearbox_pool"] == [{"id": id, "result": n} for n, id in enumerate(pool)]
        large = await it.gearbox.queue("a::echo", "x" * 300_000)
        assert (await it.gearbox.watch(await it.gearbox.queue("a::meta", after_id=large)))["gearbox_after"] == {
            "id": large,
            "is_cut": True,
        }
