"""What `g-core` is put together from: when it can be ended."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import trio
from core_stage import Clock, Failing
from structlog.testing import capture_logs

from gearbox import daemon
from gearbox.core import Core
from gearbox.errors import StoreError
from gearbox.store import Moment, Result, Tx, open_store


@pytest.mark.usefixtures("store_in_the_loop")
async def test_it_can_be_ended_while_the_database_fails_from_the_first_question_on(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    opened = open_store(str(tmp_path / "db"))
    store = Failing(opened)
    store.error = StoreError("a table is missing")
    running = daemon.Running((), Core(store, instance="first"))
    stop, begun = trio.Event(), trio.Event()
    with closing(opened), capture_logs() as lines, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon._live, running, store, {}, None, stop, begun.set, begun.set)
            await trio.sleep(10)
            stop.set()
    assert not begun.is_set()
    failing, ending = lines
    assert failing["error"] == "a table is missing"
    assert ending["event"].startswith("ending before the database took what came in last")


@pytest.mark.usefixtures("store_in_the_loop")
async def test_a_core_beats_while_it_adopts_and_says_that_it_leaves(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def adopt_for_long(core: Core) -> None:
        await trio.sleep(1000)

    monkeypatch.setattr(Core, "adopt", adopt_for_long)
    opened = open_store(str(tmp_path / "db"))
    store = Failing(opened)
    store.is_shared = True  # type: ignore[misc]
    running = daemon.Running((), Core(store, instance="first"))
    stop, begun = trio.Event(), trio.Event()
    with closing(opened), trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon._live, running, store, {}, None, stop, begun.set, begun.set)
            await trio.sleep(10)
            (row,) = await running.core.call(others)
            assert row.is_alive
            assert row.beats > 1
            stop.set()
        (row,) = opened.run_batch([others], Moment(store.now(), "test", 0.0, None)).outcomes[0].value
    assert not row.is_alive
    assert not begun.is_set()


def others(tx: Tx, moment: Moment) -> Result:
    return Result(tx.cores())
