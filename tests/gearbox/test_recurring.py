"""Recurring jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import Clock, fails, system

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def test_a_recurring_job_runs_at_its_times(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        ran: list[float] = []
        await it.work("a::b", lambda request: ran.append(trio.current_time()))
        entry = await it.call(
            "schedule",
            {"name": "nightly", "cron": "10,40 9 * * *", "timezone": "Europe/Berlin", "method": "a::b", "args": [1]},
        )
        assert entry["next"][0] == "2027-01-15T08:10:00.000Z"
        assert entry["method"] == "a::b"
        assert (entry["overlap"], entry["missed"]) == ("skip", "once")
        await trio.sleep(45 * 60)
        assert [round(at / 60, 2) for at in ran] == [10, 40]
        (shown,) = await it.call("schedules")
        assert shown["last"].startswith("2027-01-15T08:40:00.")
        history = await it.call("history", {"id": shown["last_job"]})
        assert history["events"][0]["why"] == "queued by schedule nightly"
        assert history["events"][0]["who"] == "schedule nightly"
        assert history["job"]["schedule"] == "nightly"
        id = await it.call("run_now", {"name": "nightly"})
        await it.gearbox.watch(id)
        assert len(ran) == 3
        assert await it.call("unschedule", {"name": "nightly"}) is True
        assert await it.call("unschedule", {"name": "nightly"}) is False
        await fails(404, it.call("run_now", {"name": "nightly"}))
        for bad, message in [
            ({"name": "x", "cron": "61 * * * *", "method": "a"}, "cron: Bad minute"),
            ({"name": "x", "cron": "* * * * *", "method": "a", "timezone": "X"}, "timezone: no time zone is called X"),
            ({"name": "x", "cron": "* * * * *"}, "missing method name"),
            ({"cron": "* * * * *", "method": "a"}, "missing name"),
            ({"name": "x", "cron": "* * * * *", "method": "a", "overlap": 1}, "overlap: not one of skip, queue, allow"),
        ]:  # fmt: skip
            assert (await fails(400, it.call("schedule", bad))).message == message


@pytest.mark.parametrize(("overlap", "started"), [("skip", 1), ("allow", 5), ("queue", 1)])
async def test_overlap_of_recurring_jobs(tmp_path: Path, autojump_clock: Clock, overlap: str, started: int) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        ran: list[Any] = []
        await it.work("a::b", lambda request: ran.append(1) or gate, max_jobs=99)
        await it.call("schedule", {"name": "s", "cron": "* * * * *", "method": "a::b", "overlap": overlap})
        await trio.sleep(60 * 5 + 5)
        assert len(ran) == started
        gate.set()
        await trio.sleep(5)
        assert len(ran) == (5 if overlap != "skip" else 1)


async def test_a_waiting_run_comes_right_after_the_job_that_ran_instead_of_the_last_one(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        ran: list[float] = []
        await it.work("c::d", lambda request: gate)
        await it.work("a::b", lambda request: ran.append(trio.current_time()))
        await it.gearbox.queue("c::d", dedupe="D")
        await it.call(
            "schedule", {"name": "s", "cron": "*/10 * * * *", "method": "a::b", "dedupe": "D", "overlap": "queue"}
        )
        await trio.sleep(21 * 60)
        gate.set()
        ended = trio.current_time()
        await trio.sleep(5)
        assert [at < ended + 1 for at in ran] == [True]


@pytest.mark.parametrize(("missed", "made"), [("skip", 0), ("once", 1), ("all", 10)])
async def test_runs_missed_while_no_core_was_there(
    tmp_path: Path, autojump_clock: Clock, missed: str, made: int
) -> None:
    async with system(tmp_path / "db") as it:
        await it.call(
            "schedule",
            {"name": "s", "cron": "*/5 * * * *", "method": "gearbox\\core::noop", "missed": missed, "overlap": "allow"},
        )
    await trio.sleep(52.5 * 60)
    async with system(tmp_path / "db") as it:
        await trio.sleep(2)
        rows = [row for row in await it.gearbox.status(range(1, 99)) if row["schedule"] == "s"]
        assert len(rows) == made
        (shown,) = await it.call("schedules")
        assert shown["next"][0] == "2027-01-15T08:55:00.000Z"


async def test_a_calendar_has_what_comes_until_then(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        for name, cron in [("often", "* * * * *"), ("leap", "0 0 29 2 */7"), ("yearly", "0 12 1 1 *")]:
            await it.call("schedule", {"name": name, "cron": cron, "method": "a::b"})
        soon = await it.call("calendar", {"until": "2028-01-02"})
        told = [(row["name"], len(row["runs"]), row["is_cut"]) for row in soon]
        assert told == [("leap", 0, False), ("often", 300, True), ("yearly", 1, False)]
        assert soon[2]["runs"] == ["2028-01-01T12:00:00.000Z"]
        ever = await it.call("calendar", {"until": "9999-12-31"})
        assert [row["runs"][-1][:4] for row in ever] == ["9976", "2027", "2327"]
