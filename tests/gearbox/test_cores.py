"""Several cores on one database: who takes over, who is told, who stops."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from core_stage import START
from cores_stage import cluster

from abraxas_py import Worker
from gearbox import rpc
from gearbox.core import Core
from gearbox.rules.leases import CORE_LEASE, CREDIT, CREDIT_LATE, HEARTBEAT, Observer
from gearbox.steps import cores, life
from gearbox.store import CoreRow, Moment, Result, Tx

pytestmark = pytest.mark.usefixtures("store_in_the_loop")

NOOP, NOOPWAIT = "gearbox\\core::noop", "gearbox\\core::noopwait"
Clock = trio.testing.MockClock


def row(id: str, beats: int, is_alive: bool = True) -> CoreRow:
    return CoreRow(id, id, is_alive, beats, 0.0, 0.0)


def test_a_core_whose_number_stands_still_for_the_lease_is_dead() -> None:
    observer = Observer("me")
    assert observer.expired([row("me", 1), row("a", 1), row("b", 1)], 0, 0) == []
    assert observer.expired([row("me", 1), row("a", 1), row("b", 2)], 0, CORE_LEASE - 1) == []
    assert observer.expired([row("me", 1), row("a", 1), row("b", 2)], 0, CORE_LEASE) == [row("a", 1)]
    assert observer.expired([row("a", 1, is_alive=False), row("b", 2)], 0, 3 * CORE_LEASE) == [row("b", 2)]


def test_a_number_that_moves_in_the_last_moment_starts_the_lease_anew() -> None:
    observer = Observer("me")
    for n in range(10):
        assert observer.expired([row("a", n)], 0, n * (CORE_LEASE - 0.1)) == []


def test_a_new_observer_believes_the_row_for_a_part_of_the_lease() -> None:
    long_ago = CORE_LEASE * 100  # or a clock that was set
    for age, needed in ((0.0, CORE_LEASE), (CREDIT / 2, CORE_LEASE - CREDIT / 2), (long_ago, CORE_LEASE - CREDIT)):
        observer = Observer("me")
        assert observer.expired([row("a", 1)], age, 7.0) == []
        assert observer.expired([row("a", 1)], age, 7.0 + needed - 0.1) == []
        assert observer.expired([row("a", 1)], age, 7.0 + needed) == [row("a", 1)]


def test_an_observer_that_was_held_up_believes_the_row_for_less() -> None:
    for age in (0.0, CREDIT_LATE / 2, CREDIT_LATE):
        observer = Observer("me")
        observer.expired([row("a", 1)], 0, 0)
        for at, beats in ((100.0, 2), (200.0, 3)):  # a clock that is set wins it no more
            needed = CORE_LEASE - min(age, CREDIT_LATE)
            assert observer.expired([row("a", beats)], age, at) == []
            assert observer.expired([row("a", beats)], age, at + needed - 0.1) == []
        assert observer.expired([row("a", 3)], age, 200 + needed) == [row("a", 3)]


def test_a_look_is_taken_when_a_lease_ends() -> None:
    observer = Observer("me")
    assert observer.pause(0) == HEARTBEAT
    observer.expired([row("me", 1), row("a", 1), row("b", 1)], 0, 0)
    observer.expired([row("me", 2), row("a", 1), row("b", 2)], 0, 1.0)
    assert observer.pause(CORE_LEASE - HEARTBEAT) == HEARTBEAT
    assert observer.pause(CORE_LEASE - 1.0) == 1.0
    assert observer.pause(CORE_LEASE) == 1.0  # b's
    assert observer.pause(CORE_LEASE + 1.0) == HEARTBEAT  # whoever could not be buried is so with the next beat


async def test_a_dead_cores_running_job_goes_on_and_its_waiting_one_is_sent_again(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        runs: list[Any] = []
        go_on = trio.Event()

        def handle(request: dict[str, Any]) -> Any:
            runs.append((request["_meta"]["gearbox_id"], request["_meta"]["gearbox_attempt"]))
            return go_on if len(runs) <= 8 else "at once"

        await it.work("a::b", handle)
        ids = [await one.gearbox.queue("a::b") for _ in range(10)]
        await trio.sleep(1)
        assert len(runs) == 8
        one.kill()
        await trio.sleep(CORE_LEASE + 2 * HEARTBEAT)
        go_on.set()
        with trio.fail_after(5):
            assert [await other.gearbox.watch(id) for id in ids] == ["later"] * 8 + ["at once"] * 2
        assert sorted(runs) == [(id, 1) for id in ids[:8]] + [(id, 2) for id in ids[8:]]
        outcomes, who = await other.history(ids[0])
        assert outcomes == ["complete"]
        assert who == ["one", "one", "other", "other"]
        assert (await other.history(ids[9]))[0] == ["released", "complete"]


def look(tx: Tx, moment: Moment) -> Result:
    return Result({core.name: core.beats for core in tx.cores() if core.is_alive})


async def test_a_core_beats_however_long_it_looks_at_what_a_dead_one_left(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_for_long(core: Core) -> None:
        await trio.sleep(1000)

    monkeypatch.setattr(Core, "look_at_all", look_for_long)
    async with cluster(tmp_path / "db") as it:
        one, other, third = [await it.start(name) for name in ("one", "other", "third")]
        one.kill()
        await trio.sleep(CORE_LEASE + 2 * HEARTBEAT)
        before = await other.core.call(look)
        await trio.sleep(CORE_LEASE)
        after = await third.core.call(look)
        assert before.keys() == after.keys() == {"other:1", "third:1"}
        assert all(after[name] > before[name] + CORE_LEASE / HEARTBEAT / 2 for name in after)


async def test_a_dead_cores_job_that_ended_unheard_of_is_missing_and_tried_again(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        runs: list[Any] = []

        def handle(request: dict[str, Any]) -> Any:
            runs.append(request["_meta"]["gearbox_attempt"])
            return trio.Event() if len(runs) == 1 else "done"

        worker = await it.work("a::b", handle)
        id = await one.gearbox.queue("a::b", max_retries=1)
        await trio.sleep(1)
        one.kill()
        worker.cancel()
        await it.work("a::b", handle)
        with trio.fail_after(CORE_LEASE + 120):
            assert await other.gearbox.watch(id) == "done"
        assert runs == [1, 2]
        assert (await other.history(id))[0] == ["missing", "complete"]


async def test_whoever_leaves_is_replaced_at_once(tmp_path: Path, autojump_clock: Clock) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        await it.work("a::b", lambda request: "done")
        id = await one.gearbox.queue("a::b", after_date=(START + 20) * 1000)
        gate = await one.gearbox.queue(NOOPWAIT)
        await one.core.drain()
        one.kill()
        await trio.sleep(2 * HEARTBEAT)
        assert (await other.call("noopgo", gate)) is True
        assert (await other.history(gate))[1] == ["one", "one", "other", "other"]
        with trio.fail_after(20):
            assert await other.gearbox.watch(id) == "done"


async def test_a_core_that_was_declared_dead_changes_nothing_and_stops(tmp_path: Path, autojump_clock: Clock) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        rows = [core for core in (await other.core.call(cores.beat))[0] if core.id == "one"]
        assert await other.core.call(partial(cores.bury, rows)) == rows
        assert await other.core.call(partial(cores.bury, rows)) == []  # once
        with trio.move_on_after(60) as scope:
            await one.gearbox.queue(NOOP, dedupe="one's")
        assert scope.cancelled_caught
        assert one.core.fenced.is_set()
        assert not other.core.fenced.is_set()
        id = await other.gearbox.queue(NOOP)
        assert [job["id"] for job in await other.gearbox.status(range(1, id + 1))] == [id]


async def test_a_watcher_hears_within_a_second_and_a_half_of_what_another_core_ended(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        waits: list[float] = []

        async def watch(id: int) -> None:
            await other.gearbox.watch(id, wait_for_id=True)
            waits.append(trio.current_time())

        for n in range(10):
            gate = await one.gearbox.queue(NOOPWAIT, dedupe="D")
            twin = await one.gearbox.queue(NOOP, dedupe="D")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, gate)
                nursery.start_soon(watch, twin)
                await trio.sleep(2 + 0.13 * n)
                began = trio.current_time()
                assert await one.call("noopgo", gate) is True
            assert max(waits) - began <= 1.5
        assert len(waits) == 20


async def test_timers_that_all_cores_see_fire_once(tmp_path: Path, autojump_clock: Clock) -> None:
    async with cluster(tmp_path / "db") as it:
        peers = [await it.start(name) for name in ("one", "two", "three")]
        runs: list[int] = []
        await it.work("a::b", lambda request: runs.append(request["_meta"]["gearbox_id"]))
        ids = [await peers[n % 3].gearbox.queue("a::b", after_date=(START + 30) * 1000) for n in range(300)]
        await peers[0].gearbox.schedule("minutely", "* * * * *", "a::b")
        await trio.sleep(59)
        assert sorted(runs) == ids
        await trio.sleep(120)
        assert len(runs) == len(ids) + 2


async def test_an_attempt_goes_where_its_worker_is_and_moves_on_with_it(tmp_path: Path, autojump_clock: Clock) -> None:
    async with cluster(tmp_path / "db", "here", "there") as it:
        core = await it.start("one")
        await it.work("a::b", lambda request: "there", "there")
        for _ in range(6):
            assert await core.gearbox.watch(await core.gearbox.queue("a::b")) == "there"
        never = trio.Event()
        busy = await it.work("c::d", lambda request: never, "here")
        running = [await core.gearbox.queue("c::d") for _ in range(8)]
        waiting = await core.gearbox.queue("c::d", max_retries=0)
        await trio.sleep(1)
        busy.cancel()
        await it.work("c::d", lambda request: "done", "there")
        with trio.fail_after(30):
            assert await core.gearbox.watch(waiting) == "done"
        outcomes, _ = await core.history(waiting)
        assert outcomes == ["released", "complete"]
        servers = [one["server"] for one in (await core.call("history", {"id": waiting}))["attempts"]]
        assert servers == ["here", "there"]
        assert running


async def test_what_waits_at_a_broker_that_is_stuck_goes_to_another(tmp_path: Path, autojump_clock: Clock) -> None:
    async with cluster(tmp_path / "db", "here", "there") as it:
        core = await it.start("one")
        never = trio.Event()
        busy = await it.work("a::b", lambda request: never, "there")
        for _ in range(8):
            await core.gearbox.queue("a::b")
        waiting = await core.gearbox.queue("a::b")
        await trio.sleep(1)
        it.stop("there")
        busy.cancel()
        await it.work("a::b", lambda request: "done", "here")
        with trio.fail_after(60):
            assert await core.gearbox.watch(waiting) == "done"
        outcomes, _ = await core.history(waiting)
        assert outcomes == ["released", "complete"]


async def test_a_core_whose_first_commit_was_not_heard_of_has_joined_and_can_be_declared_dead(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one = await it.start("one")

        async def late() -> list[CoreRow]:
            return [core for core in (await one.core.call(cores.beat))[0] if core.id == "late"]

        it.nursery.start_soon(partial(it.start, "late", is_unheard=True))
        await trio.sleep(0.05)  # it asks again after a tenth of a second
        rows = await late()
        assert await one.core.call(partial(cores.bury, rows)) == rows
        buried = await late()
        await trio.sleep(60)
        assert await late() == buried  # it has written nothing any more


def test_every_batch_of_a_fenced_core_is_refused_whole(tmp_path: Path) -> None:
    from gearbox.errors import StoreFenced
    from gearbox.job import NewJob
    from gearbox.store import open_store

    store = open_store(str(tmp_path / "db"))
    moment = Moment(START, "me", 0.0, {})
    store.run_batch([partial(cores.join, "here")], moment)
    queue = partial(life.queue, NewJob(NOOP))
    store.run_batch([cores.stand, queue], moment)
    store.run_batch([cores.leave], moment)
    with pytest.raises(StoreFenced):
        store.run_batch([cores.stand, queue], moment)
    (status,) = store.run_batch([partial(life.watch, 2)], moment).outcomes
    assert status.value is None  # type: ignore[union-attr]
    store.close()


async def test_an_end_without_data_is_written_down_a_little_later_and_not_where_the_data_has_come(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        await it.work("a::b", lambda request: "done")
        worker = Worker(it.dialer("there", "mute"))
        worker.add("c::d", lambda job: rpc.result(json.loads(job.data)["id"], None))
        await it.nursery.start(worker.run)
        id = await one.gearbox.queue("a::b")
        assert await other.gearbox.watch(id) == "done"
        silent = await one.gearbox.queue("c::d")
        await trio.sleep(1)
        events = (await other.call("history", {"id": id}))["events"]
        assert [event["to"] for event in events][-2:] == ["running", "complete"]
        events = (await other.call("history", {"id": silent}))["events"]
        assert [event["to"] for event in events][-1] == "almost-done"
        silent = await one.gearbox.queue("c::d")
        await trio.sleep(0.1)
        await one.core.drain()  # whoever leaves says it at once
        assert (await other.gearbox.status([silent]))[0]["status"] == "almost-done"
