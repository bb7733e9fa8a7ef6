"""The interleavings of the design with two cores, where one of them, its worker or its broker fails in between.

Of two transactions at the same moment, `store/test_races.py` has I3 to I11, I14 and I20. The others:

    I1   a claim whose answer is lost             here, and with a real connection in `store/test_races.py`
    I2   a submit that is cut off                 here
    I12  waiting for an id that was burned        here
    I13  watchers that leave                      here
    I15  a lease that is lost                     here
    I16  a full disk                              here
    I17  a broker that is restarted               here, and with real processes in `e2e/test_restart_under_way.py`
    I18  a worker that fails at once              here
    I19  dates at the edges                       here
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from core_stage import START, fails
from cores_stage import cluster

from abraxas_py import open_client
from gearbox import rpc
from gearbox.errors import StoreFull
from gearbox.job import Start, Status
from gearbox.rules.leases import CORE_LEASE, HEARTBEAT
from gearbox.work.handler import Assignment
from gearbox.work.lease import PATIENCE
from gearbox.work.runner import Report

pytestmark = pytest.mark.usefixtures("store_in_the_loop")

NOOP, NOOPWAIT = "gearbox\\core::noop", "gearbox\\core::noopwait"
WATCH = "gearbox\\core::watch"
JOBS = int(os.environ.get("GEARBOX_TEST_RUNNING", "300"))
ADOPTED = CORE_LEASE + 2 * HEARTBEAT  # s after a core's death
Clock = trio.testing.MockClock


@pytest.mark.parametrize("can_be_asked", [True, False])
async def test_i1_a_claim_whose_answer_is_lost_is_executed_once(
    tmp_path: Path, autojump_clock: Clock, can_be_asked: bool
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        runs: list[int] = []
        await it.work("a::b", lambda request: runs.append(request["_meta"]["gearbox_attempt"]))
        gate = await one.gearbox.queue(NOOPWAIT)
        id = await one.gearbox.queue("a::b", after_id=gate)
        one.store.unheard, one.store.can_be_asked = Start, can_be_asked
        assert await one.call("noopgo", gate) is True
        with trio.fail_after(15):
            await other.gearbox.watch(id)
        assert one.store.unheard is None
        outcomes, _ = await other.history(id)
        # Where the database cannot say that it was stored, the attempt is found, never sent, and given up.
        assert (runs, outcomes) == (([1], ["complete"]) if can_be_asked else ([2], ["released", "complete"]))


async def test_i2_an_attempt_whose_core_died_while_submitting_it_runs_once(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one = await it.start("one")
        runs: list[int] = []
        await it.work("a::b", lambda request: runs.append(request["_meta"]["gearbox_id"]))
        ids = [await one.gearbox.queue("a::b", after_date=(START + 5) * 1000) for _ in range(4)]
        await trio.sleep(4.9 - trio.current_time())
        it.stop("there", "one")  # what it sends arrives; it hears nothing, not even JOB_CREATED
        await trio.sleep(0.5)
        other = await it.start("other")
        one.kill()
        with trio.fail_after(ADOPTED + 60):
            for id in ids:
                await other.gearbox.watch(id)
        assert Counter(runs) == Counter(ids)


async def test_i12_waiting_at_one_core_for_an_id_that_was_burned_at_the_other(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        await fails(404, one.gearbox.queue_many([{"name": NOOP, "ref": "burned"}, {"name": NOOP, "after_id": 10_000}]))
        async with open_client(other.door.dial) as client:
            waiting = client.submit(WATCH, rpc.request(WATCH, {"id": 1, "wait_for_id": True}, "1"))
            await trio.sleep(30)
            assert other.core.watchers == 1
            assert not waiting.is_done
        await trio.sleep(1)
        assert other.core.watchers == 0
        assert await one.gearbox.queue(NOOP) > 1


async def test_i13_ten_thousand_watchers_leave_a_core_that_does_not_have_the_job(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        id = await one.gearbox.queue(NOOPWAIT)
        payload = rpc.request(WATCH, {"id": id}, "1")
        for _ in range(10):
            async with open_client(other.door.dial) as client:
                for _ in range(1000):
                    client.submit(WATCH, payload)
                await trio.sleep(0.1)
                assert other.core.watchers >= 1000
        await trio.sleep(1)
        assert other.core.watchers == 0
        assert await other.call("noopgo", id) is True
        assert await one.gearbox.watch(id) is None


@pytest.mark.parametrize("when", ["before its leave", "after its leave"])
async def test_i15_a_worker_that_is_cut_off_stops_before_another_core_gives_its_job_away(
    tmp_path: Path, autojump_clock: Clock, when: str
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        runs: list[tuple[str, int, float, float]] = []  # who, attempt, begin, end

        def performer(who: str, seconds: float) -> Any:
            async def perform(work: Assignment) -> Report:
                assert work.ticket is not None
                began = trio.current_time()
                if when == "after its leave" and who == "first":
                    it.stop("there", "first")
                    it.stop("there", "first's questions")
                try:
                    await trio.sleep(seconds)
                finally:
                    runs.append((who, work.ticket.attempt or 0, began, trio.current_time()))
                return Report(Status.COMPLETE, who)

            return perform

        await it.crew("first", "a::b", performer("first", 1000))
        if when == "before its leave":
            it.stop("there", "first's questions")  # leave is given, and not heard of
        id = await one.gearbox.queue("a::b", max_retries=3, retry_delay=0)
        await trio.sleep(0.5)
        one.kill()
        await it.crew("second", "a::b", performer("second", 5))
        with trio.fail_after(300):
            assert await other.gearbox.watch(id) == "second"
        it.go_on("there", "first's questions")
        await trio.sleep(60)
        assert [who for who, *_ in runs] == (["first", "second"] if when == "after its leave" else ["second"])
        for _, _, began, ended in runs[:-1]:
            assert ended - began <= PATIENCE
            assert ended < runs[-1][2]
        outcomes, _ = await other.history(id)
        assert outcomes == ["missing", "complete"]


async def test_i16_a_core_whose_disk_is_full_sends_nothing_and_the_other_one_does(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        runs: list[int] = []

        async def perform(work: Assignment) -> Report:
            assert work.ticket is not None
            runs.append(work.ticket.id)
            return Report(Status.COMPLETE)

        await it.crew("worker", "a::b", perform, max_jobs=8, asks=other)
        due = [await one.gearbox.queue("a::b", after_date=(START + 10) * 1000) for _ in range(5)]
        one.store.error = StoreFull("no room left")
        await fails(507, one.gearbox.queue("a::b"))
        await trio.sleep(20)
        assert sorted(runs) == due
        for id in due:
            history = await other.call("history", {"id": id})
            assert [attempt["outcome"] for attempt in history["attempts"]] == ["complete"]
            assert {event["who"] for event in history["events"][1:]} == {"other"}
        one.store.error = None
        await trio.sleep(6)
        assert await one.gearbox.watch(await one.gearbox.queue("a::b")) is None
        assert len(runs) == 6


async def test_i17_running_jobs_outlive_their_broker(tmp_path: Path, autojump_clock: Clock) -> None:
    async with cluster(tmp_path / "db") as it:
        peers = [await it.start(name) for name in ("one", "other")]
        runs: Counter[int] = Counter()

        async def perform(work: Assignment) -> Report:
            assert work.ticket is not None
            runs[work.ticket.id] += 1
            await trio.sleep(100)
            return Report(Status.COMPLETE, work.ticket.id)

        await it.crew("worker", "a::b", perform, max_jobs=JOBS)
        ids = [id for peer in peers for id in await peer.gearbox.queue_many([{"name": "a::b"}] * (JOBS // 2))]
        await trio.sleep(1)
        assert len(runs) == JOBS
        it.end("there")
        await trio.sleep(30)
        await it.serve("there")
        results: dict[int, Any] = {}

        async def watch(id: int) -> None:
            results[id] = await peers[id % 2].gearbox.watch(id)

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for id in ids:
                    nursery.start_soon(watch, id)
        assert results == {id: id for id in ids}
        assert runs == Counter(ids)


async def test_i18_a_worker_that_fails_at_once_is_no_hot_loop_of_two_cores(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        tries: list[int] = []
        await it.work("a::b", lambda request: tries.append(1) or ValueError("no"))
        id = await one.gearbox.queue("a::b", max_retries=4_000_000_000, retry_delay=0)
        await trio.sleep(10)
        assert 50 <= len(tries) <= 101
        assert await other.call("cancel", {"id": id}) is True
        await trio.sleep(1)
        count = len(tries)
        await trio.sleep(10)
        assert len(tries) == count


@pytest.mark.parametrize("date", [(START + 1e-6) * 1000, (START - 1e-6) * 1000, "2027-01-15T08:00:00.000001"])
async def test_i19_a_date_that_is_just_now_fires_at_one_core(tmp_path: Path, autojump_clock: Clock, date: Any) -> None:
    async with cluster(tmp_path / "db") as it:
        one, other = await it.start("one"), await it.start("other")
        runs: list[int] = []
        await it.work("a::b", lambda request: runs.append(request["_meta"]["gearbox_id"]))
        ids = [await peer.gearbox.queue("a::b", after_date=date) for peer in (one, other) for _ in range(20)]
        far = await one.gearbox.queue("a::b", after_date="9999-12-31T23:59:59Z")
        await trio.sleep(2)
        assert sorted(runs) == ids
        (row,) = await other.gearbox.status([far])
        assert row["status"] == "waiting"


@pytest.mark.parametrize("date", ["2027-01-15T08:00:60Z", "2027-13-01", -1, 1e300])
async def test_i19_a_date_that_is_none_is_refused_by_each_core(
    tmp_path: Path, autojump_clock: Clock, date: Any
) -> None:
    async with cluster(tmp_path / "db") as it:
        for name in ("one", "other"):
            peer = await it.start(name)
            await fails(400, peer.gearbox.queue(NOOP, after_date=date))
