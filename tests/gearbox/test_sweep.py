"""The look at everything that waits: what an earlier process left undone is found, and nobody is held up by it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from core_stage import START, Clock, system

from gearbox.job import NewJob
from gearbox.steps import life
from gearbox.store import Moment, open_store

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def test_what_nobody_looked_at_any_more_is_found_by_the_sweep(tmp_path: Path, autojump_clock: Clock) -> None:
    """A core is killed between the end of a parent and the look at its child, which has no timer of its own."""
    async with system(tmp_path / "db") as it:
        parent = await it.gearbox.queue("gearbox\\core::noopwait")
        child = await it.gearbox.queue("gearbox\\core::noop", after_id=parent)
    store = open_store(str(tmp_path / "db"))
    store.run_batch([partial(life.go, parent)], Moment(START + trio.current_time(), "core", 0.0, {}))
    store.close()
    async with system(tmp_path / "db") as it:
        with trio.fail_after(1):
            await it.gearbox.watch(child)


async def test_what_waits_for_a_date_is_not_looked_at_all_the_time(tmp_path: Path, autojump_clock: Clock) -> None:
    """A look costs some 50 µs, so a million of them in a row take a processor for most of a minute."""
    count = 3000
    new = NewJob("gearbox\\core::noop", after_date=START + 86400.0)
    store = open_store(str(tmp_path / "db"))
    store.run_batch([partial(life.queue, new)] * count, Moment(START, "core", 0.0, {}))
    store.close()
    async with system(tmp_path / "db") as it:
        await trio.sleep(2)
        assert 0 < it.core.vitals.steps < count / 2
        await trio.sleep(10)
        assert it.core.vitals.steps > count
