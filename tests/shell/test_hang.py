"""Noticing that a call does not come back."""

from __future__ import annotations

from math import inf

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from abraxas_py.hang import LOOK, PATIENCE, HangWatch


async def pass_time(clock: MockClock, seconds: float) -> None:
    await wait_all_tasks_blocked()
    clock.jump(seconds)
    await wait_all_tasks_blocked()


async def test_it_tells_of_a_call_as_long_as_it_hangs(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = inf  # time passes when we say so
    watch, told = HangWatch(), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.keep, lambda: bool(told), told.append)
        for _ in range(3):
            with watch:
                for _ in range(int(PATIENCE / LOOK) - 1):
                    await pass_time(autojump_clock, LOOK)
        assert not told
        with watch:
            for _ in range(int(PATIENCE / LOOK) + 2):
                await pass_time(autojump_clock, LOOK)
        assert told == [PATIENCE, PATIENCE + LOOK, PATIENCE + 2 * LOOK]
        with watch:
            await pass_time(autojump_clock, LOOK)
        assert told[3:] == [LOOK]  # now that it is known to fail
        nursery.cancel_scope.cancel()


async def test_a_process_that_was_stopped_itself_gives_the_call_another_look(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = inf  # time passes when we say so
    watch, told = HangWatch(), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.keep, lambda: False, told.append)
        with watch:
            await pass_time(autojump_clock, 60)
            assert not told
            await pass_time(autojump_clock, LOOK)
            assert told == [60 + LOOK]
        nursery.cancel_scope.cancel()
