"""Faults of ours, and calls that nobody expected: each is one call's error, and the core goes on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio
from core_stage import START, Clock, fails, system

from gearbox import methods
from gearbox.errors import Code
from gearbox.gearman import Link
from gearbox.job import Status
from gearbox.methods import objects
from gearbox.steps import life
from gearbox.steps.pruning import Retention
from gearbox.store import Moment, Result, Tx

pytestmark = pytest.mark.usefixtures("store_in_the_loop")

NOOP = "gearbox\\core::noop"


def broken(*arguments: Any) -> NoReturn:
    raise AssertionError("a fault of ours")


async def test_what_cannot_be_appended_is_refused(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::b", lambda request: gate)
        id = await it.gearbox.queue("a::b")
        await it.call("job_data", {"id": id, "data": "one"})
        error = await fails(400, it.call("job_data", {"id": id, "data": "two", "append": "\ud800"}))
        assert "append" in error.message
        gate.set()
        assert await it.gearbox.watch(id) == "later"


async def test_a_batch_that_fails_by_a_fault_of_ours_costs_its_callers_alone(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with system(tmp_path / "db") as it:
        with monkeypatch.context() as patched:
            patched.setattr(it.store, "run_batch", broken)
            await fails(Code.INTERNAL, it.gearbox.queue(NOOP))
        id = await it.gearbox.queue(NOOP)
        assert await it.gearbox.watch(id) is None


async def test_an_answer_that_cannot_be_made_is_an_error(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with system(tmp_path / "db") as it:
        id = await it.gearbox.queue(NOOP)
        with monkeypatch.context() as patched:
            patched.setattr(objects, "history_object", broken)
            await fails(Code.INTERNAL, it.call("history", {"id": id}))
        assert (await it.call("history", {"id": id}))["job"]["id"] == id


@pytest.mark.parametrize(("owner", "name"), [(Link, "view"), (objects, "servers_list")])
async def test_a_question_to_gearman_that_fails_is_an_error(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    async with system(tmp_path / "db") as it:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, broken)
            await fails(Code.INTERNAL, it.call("gearman"))
        assert await it.call("gearman")


async def test_an_answer_that_gearman_cannot_carry_is_refused(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with system(tmp_path / "db") as it:
        ids = [await it.gearbox.queue("a::b", "x" * 600, after_date=START + 1e6) for _ in range(3)]
        monkeypatch.setattr(methods, "MAX_WHOLE_BYTES", 2000)
        assert len(await it.gearbox.status(ids[:1])) == 1
        error = await fails(413, it.gearbox.status(ids))
        assert "ask for less" in error.message


async def test_a_bundle_of_which_a_part_was_pruned_is_not_queued_again(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db", Retention({Status.COMPLETE: 0.0005})) as it:
        call = partial(it.call, "queue_many")
        wanted = {"jobs": [{"name": NOOP}, {"name": NOOP, "after_date": (START + 1e6) * 1000}], "submit_token": "t"}
        first, second = await call(wanted)
        await trio.sleep(120)
        await it.core.prune()
        assert [job["id"] for job in await it.gearbox.status([first, second])] == [second]
        error = await fails(409, call(wanted))
        assert "not kept any more" in error.message
        assert await it.status_of(second) == "waiting"


async def test_dependents_go_on_under_any_number_of_calls(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        parent = await it.gearbox.queue("gearbox\\core::noopwait")
        child = await it.gearbox.queue(NOOP, after_id=parent)
        states: list[Status] = []

        def seen(job: Any) -> None:
            states.append(job.status)

        def ask_again(left: int, _: object) -> None:
            if left:
                it.core.ask(partial(life.watch, child), seen if left % 100 == 0 else partial(ask_again, left - 1))

        for _ in range(1200):
            ask_again(20, None)
        await it.gearbox.call("gearbox\\core::noopgo", {"id": parent})
        assert await it.gearbox.watch(child) is None
        assert it.core._work  # they still ask


def boom(tx: Tx, moment: Moment) -> Result:
    raise AssertionError("a fault of ours")


async def test_a_question_that_fails_holds_up_no_timer(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        id = await it.gearbox.queue(NOOP, after_date=START + 2)
        while trio.current_time() < 3:
            it.core.ask(boom, lambda error: None)
            await trio.sleep(0.3)
        assert await it.status_of(id) == "complete"


def lose(tx: Any, moment: Moment) -> Result:
    tx._execute("UPDATE gearbox_schedules SET timezone = 'Mars/Base' WHERE name = 'gone'", {})
    return Result()


async def test_an_entry_whose_time_zone_is_gone_holds_up_nobody(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        ran: list[float] = []
        await it.work("a::b", lambda request: ran.append(trio.current_time()))
        for name in ("gone", "there"):
            await it.call(
                "schedule", {"name": name, "cron": "* * * * *", "method": "a::b", "timezone": "Europe/Berlin"}
            )
        await it.core.call(lose)
        await trio.sleep(301)
        assert len(ran) == 5
        shown = {entry["name"]: entry["next"] for entry in await it.call("schedules")}
        assert shown["gone"] == []
        assert len(shown["there"]) == 3
