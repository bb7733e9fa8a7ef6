"""A store that reads, and has no room for what is to be written."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

import pytest
import trio
from core_stage import Clock, System, fails, system

from gearbox.errors import StoreError
from gearbox.steps import cores, life

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def at_work(it: System) -> tuple[int, trio.Event]:
    """A job that runs until the event is set; then its data is "later"."""
    gate = trio.Event()
    await it.work("a::slow", lambda request: gate)
    id = await it.gearbox.queue("a::slow")
    await trio.sleep(1)
    return id, gate


async def test_jobs_are_refused_at_once_and_questions_answered(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = await it.gearbox.queue("gearbox\\core::noopwait")
        it.store.full_for = {life.queue, cores.prove}
        for _ in range(20):
            began = trio.current_time()
            await fails(507, it.gearbox.queue("a::b"))
            assert await it.status_of(gate) == "running"
            assert trio.current_time() - began < 0.25
        await trio.sleep(60)
        assert it.core.is_failing  # although what was asked could be answered
        assert await it.status_of(gate) == "running"


async def test_it_is_found_out_unasked_that_there_is_room_again(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        it.store.full_for = {life.queue, cores.prove}
        await fails(507, it.gearbox.queue("a::b"))
        await trio.sleep(60)
        it.store.full_for = ()
        await trio.sleep(2.5)
        assert not it.core.is_failing


async def test_what_there_is_room_for_is_stored(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        id, gate = await at_work(it)
        it.store.full_for = {life.queue, cores.prove}
        await fails(507, it.gearbox.queue("a::slow"))
        await trio.sleep(60)
        gate.set()
        with trio.fail_after(2.5):
            assert await it.gearbox.watch(id) == "later"
        assert it.core.is_failing


async def test_many_who_ask_do_not_keep_what_waits_from_being_tried(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        id, gate = await at_work(it)
        it.store.error = StoreError("the server is gone")

        async def ask_on() -> None:
            while True:
                await fails(503, it.gearbox.status([id]))
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask_on)
            gate.set()
            await trio.sleep(20)
            nursery.cancel_scope.cancel()
        it.store.error = None
        with trio.fail_after(2.5):
            assert await it.gearbox.watch(id) == "later"
        await trio.sleep(0.1)
        assert not it.core.is_failing


async def test_a_store_that_fails_is_tried_ten_times_a_second_at_most(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        tried: list[float] = []

        async def ask_on() -> None:
            while True:
                await fails(503, it.gearbox.status([1]))

        def refuse(steps: object, moment: object) -> NoReturn:
            tried.append(trio.current_time())
            raise StoreError("the server is gone")

        with patch.object(it.store, "run_batch", refuse):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask_on)
                await trio.sleep(10)
                nursery.cancel_scope.cancel()
        assert 50 < len(tried) < 112
