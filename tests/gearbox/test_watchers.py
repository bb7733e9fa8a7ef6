"""Many watchers, watchers that left, and jobs that are kept no longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import START, Clock, fails, system

from abraxas_py import open_client
from gearbox import rpc
from gearbox.job import Status
from gearbox.steps.pruning import Retention

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


# --- watchers ---


async def test_watchers_that_left_do_not_stay(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        id = await it.gearbox.queue("gearbox\\core::noopwait")
        answers: list[Any] = []

        async def stay() -> None:
            answers.append(await it.gearbox.watch(id))

        it.nursery.start_soon(stay)
        async with open_client(it.server.dial) as client:
            for n in range(500):
                params = {"id": id} if n % 2 else {"id": 10_000 + n, "wait_for_id": True}
                client.submit("gearbox\\core::watch", rpc.request("gearbox\\core::watch", params, str(n)))
            await trio.sleep(1)
            assert sum(len(watchers) for watchers in it.core._watchers.values()) == 501
        await trio.sleep(1)
        assert sum(len(watchers) for watchers in it.core._watchers.values()) == 1
        await it.call("noopgo", id)
        await trio.sleep(1)
        assert answers == [None]
        assert not it.core._watchers


async def test_many_watchers_of_many_jobs(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = await it.gearbox.queue("gearbox\\core::noopwait")
        ids = await it.call("queue_many", [{"name": "gearbox\\core::noop", "after_id": gate}] * 1000)
        answers: list[int] = []

        async def watch(id: int) -> None:
            await it.gearbox.watch(id)
            answers.append(id)

        async with trio.open_nursery() as nursery:
            for id in ids:
                nursery.start_soon(watch, id)
            await trio.sleep(100)
            assert sum(len(watchers) for watchers in it.core._watchers.values()) == 1000
            await it.call("noopgo", gate)
        assert sorted(answers) == ids
        assert not it.core._watchers


# --- retention ---


async def test_old_jobs_are_pruned_and_references_stay_whole(tmp_path: Path, autojump_clock: Clock) -> None:
    retention = Retention({Status.COMPLETE: 600 / 86400, Status.ERRORED: 10})
    async with system(tmp_path / "db", retention) as it:
        chain = [await it.gearbox.queue("gearbox\\core::noop")]
        for _ in range(300):
            chain.append(await it.gearbox.queue("gearbox\\core::noop", after_id=chain[-1]))
        failed = await it.gearbox.queue("no::such")
        parent = await it.gearbox.queue("gearbox\\core::noop")
        wait = await it.gearbox.queue("gearbox\\core::noop", after_id=parent, after_date=(START + 1200) * 1000)
        await trio.sleep(900)
        assert await it.core.prune() == 301
        assert [row["id"] for row in await it.gearbox.status(range(1, 400))] == [failed, parent, wait]
        await fails(404, it.gearbox.watch(chain[0]))
        assert (await it.gearbox.stats("gearbox\\core::noop"))["states"] == {"complete": 302, "waiting": 1}
        await trio.sleep(1200)
        assert await it.core.prune() == 2
        assert [row["id"] for row in await it.gearbox.status(range(1, 400))] == [failed]
