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
from gearbox.store import open_store


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
    assert [line["error"] for line in lines] == ["a table is missing"]
