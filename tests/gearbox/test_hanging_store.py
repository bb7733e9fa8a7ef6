"""A store that does not answer: a disk or a server that hangs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import Clock, fails, hanging, system

from abraxas_py.hang import LOOK, PATIENCE

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def test_who_waits_behind_it_is_told(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        with hanging(it):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(it.gearbox.status)  # with which the store is busy from here on
                await trio.sleep(1)
                with trio.fail_after(PATIENCE + LOOK):
                    error = await fails(503, it.gearbox.queue("a::b"))
                assert "no answer from the database" in error.message
                assert it.core.is_failing
                for _ in range(20):
                    with trio.fail_after(1.5 * LOOK):
                        await fails(503, it.gearbox.queue("a::b"))
                nursery.cancel_scope.cancel()
        assert await it.gearbox.status() == []  # nothing of what was refused is there
        await trio.sleep(1)
        assert not it.core.is_failing


async def test_what_it_was_given_comes_to_its_end(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        ids: list[int] = []

        async def queue() -> None:
            ids.append(await it.gearbox.queue("gearbox\\core::noopwait"))

        async with trio.open_nursery() as nursery:
            with hanging(it):
                nursery.start_soon(queue)
                await trio.sleep(20)
                assert it.core.is_failing
                assert not ids
        assert await it.status_of(ids[0]) == "running"
        await trio.sleep(1)
        assert not it.core.is_failing


async def test_work_goes_on_and_is_delivered_afterwards(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        id = await it.gearbox.queue("a::slow")
        answers: list[Any] = []

        async def watch() -> None:
            answers.append(await it.gearbox.watch(id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.sleep(1)
            with hanging(it):
                gate.set()
                await trio.sleep(40)
                assert not answers
            await trio.sleep(1)
            assert answers == ["later"]


async def test_a_batch_may_take_its_time(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        async with trio.open_nursery() as nursery:
            with hanging(it):
                nursery.start_soon(it.gearbox.status)
                nursery.start_soon(it.gearbox.queue, "a::b")
                await trio.sleep(PATIENCE - 1)
        assert not it.core.is_failing
