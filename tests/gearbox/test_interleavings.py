"""Two things at once, seen through RPC: lost answers, restarts, watchers. Numbers: the interleavings of the design."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import START, Clock, System, fails, system

from abraxas_py import open_client
from gearbox import rpc
from gearbox.errors import RpcError, StoreError, StoreFull
from gearbox.store import Batch, Moment, Step

pytestmark = pytest.mark.usefixtures("store_in_the_loop")

NOOPWAIT = "gearbox\\core::noopwait"


async def test_i1_a_call_whose_commit_was_not_confirmed_is_the_same_call_again(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with system(tmp_path / "db") as it:
        run_batch = it.store.run_batch

        def commit_and_fail(steps: list[Step], moment: Moment) -> Batch:
            run_batch(steps, moment)
            raise StoreError("the connection was lost")

        params = {"name": "gearbox\\core::noop", "submit_token": "T"}
        it.store.run_batch = commit_and_fail  # type: ignore[method-assign]
        await fails(503, it.call("queue", params))
        it.store.run_batch = run_batch  # type: ignore[method-assign]
        await trio.sleep(6)
        id = await it.call("queue", params)
        assert [row["id"] for row in await it.gearbox.status(range(1, 9))] == [id]
        assert len((await it.call("history", {"id": id}))["attempts"]) == 1


async def test_i1_a_claim_whose_commit_was_not_confirmed_is_sent_once_the_database_answers(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with system(tmp_path / "db") as it:
        ran: list[Any] = []
        await it.work("a::b", lambda request: ran.append(request["_meta"]["gearbox_attempt"]))
        gate = await it.gearbox.queue(NOOPWAIT)
        id = await it.gearbox.queue("a::b", after_id=gate)
        run_batch = it.store.run_batch

        def commit_and_fail(steps: list[Step], moment: Moment) -> Batch:
            done = run_batch(steps, moment)
            if any("look" in str(step) for step in steps):  # the one that claims the child
                raise StoreError("the connection was lost")
            return done

        it.store.run_batch = commit_and_fail  # type: ignore[method-assign]
        await it.call("noopgo", gate)
        await trio.sleep(3)
        assert ran == []
        it.store.run_batch = run_batch  # type: ignore[method-assign]
        await it.gearbox.watch(id)
        assert ran == [2]
        outcomes = [attempt["outcome"] for attempt in (await it.call("history", {"id": id}))["attempts"]]
        assert outcomes == ["released", "complete"]


@pytest.mark.parametrize("case", ["before the pause", "twice", "restart"])
async def test_i11_noopgo(tmp_path: Path, autojump_clock: Clock, case: str) -> None:
    async with system(tmp_path / "db") as it:
        assert await it.call("noopgo", 1) is False  # before its queue call
        late = {"after_date": (START + 10) * 1000} if case == "before the pause" else {}
        id = await it.gearbox.queue(NOOPWAIT, **late)
        if case != "restart":
            assert await it.call("noopgo", id) is True
            assert await it.call("noopgo", id) is False
            assert await it.gearbox.watch(id) is None
    async with system(tmp_path / "db") as it:
        assert await it.call("noopgo", id) is (case == "restart")
        assert await it.gearbox.watch(id) is None


async def test_i12_waiting_for_an_id_that_a_failed_call_used_up(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        with trio.move_on_after(30) as scope:
            async with open_client(it.server.dial) as client:
                params = {"id": 1, "wait_for_id": True}
                await client.submit("gearbox\\core::watch", rpc.request("gearbox\\core::watch", params, "1"))
        assert scope.cancelled_caught
        await trio.sleep(21)
        assert not it.core._watchers
        for row in await it.server_jobs():
            assert not row.is_ignored


async def test_i13_ten_thousand_watchers_leave(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        id = await it.gearbox.queue(NOOPWAIT)
        payload = rpc.request("gearbox\\core::watch", {"id": id}, "1")
        for _ in range(10):
            async with open_client(it.server.dial) as client:
                for _ in range(1000):
                    client.submit("gearbox\\core::watch", payload)
                await trio.sleep(0.1)
        await trio.sleep(11)
        assert not it.core._watchers
        assert await it.call("noopgo", id) is True


async def test_i16_a_full_disk_sends_nothing(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        ran: list[Any] = []
        await it.work("a::b", lambda request: ran.append(1))
        it.store.error = StoreFull("no room left")
        await fails(507, it.gearbox.queue("a::b"))
        await trio.sleep(30)
        assert ran == []
        it.store.error = None
        await trio.sleep(6)
        await it.gearbox.watch(await it.gearbox.queue("a::b"))
        assert ran == [1]


async def test_i18_a_worker_that_fails_at_once_is_no_hot_loop(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        tries: list[Any] = []
        await it.work("a::b", lambda request: tries.append(1) or ValueError("no"))
        id = await it.gearbox.queue("a::b", max_retries=4_000_000_000, retry_delay=0)
        await trio.sleep(10)
        assert 50 <= len(tries) <= 101
        await it.call("cancel", {"id": id})
        await trio.sleep(1)
        count = len(tries)
        await trio.sleep(10)
        assert len(tries) == count


DATES = [
    ((START + 1e-6) * 1000, None),
    ((START - 1e-6) * 1000, None),
    ("2027-01-15T08:00:00.000001", None),
    ("9999-12-31T23:59:59Z", "waiting"),
    ("2027-01-15T08:00:60Z", 400),
    ("2027-13-01", 400),
    (-1, 400),
    (1e300, 400),
]


@pytest.mark.parametrize(("date", "expected"), DATES)
async def test_i19_dates_at_the_edges(tmp_path: Path, autojump_clock: Clock, date: Any, expected: Any) -> None:
    async with system(tmp_path / "db") as it:
        if expected == 400:
            await fails(400, it.gearbox.queue("gearbox\\core::noop", after_date=date))
            return
        id = await it.gearbox.queue("gearbox\\core::noop", after_date=date)
        if expected is None:
            assert await it.gearbox.watch(id) is None
            assert trio.current_time() < 1
            assert len((await it.call("history", {"id": id}))["attempts"]) == 1
        else:
            assert await it.status_of(id) == expected


async def test_i20_of_two_calls_that_close_a_circle_together_one_is_refused(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with system(tmp_path / "db") as it:
        a, b = [await it.gearbox.queue("gearbox\\core::noop", after_date="9999-01-01") for _ in range(2)]
        refused: list[RpcError] = []

        async def close(after: int, before: int) -> None:
            try:
                await it.gearbox.queue("gearbox\\core::noop", after_id=after, before_id=before)
            except RpcError as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close, a, b)
            nursery.start_soon(close, b, a)
        (error,) = refused
        assert error.code == 400


async def test_a_watcher_of_a_chain_of_duplicates_gets_one_result(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        first = await it.gearbox.queue(NOOPWAIT, dedupe="D")
        doubles = [await it.gearbox.queue("a::b", dedupe="D") for _ in range(5)]
        answers: list[Any] = []

        async def watch(it: System, id: int) -> None:
            answers.append(await it.gearbox.watch(id))

        async with trio.open_nursery() as nursery:
            for id in (first, *doubles):
                nursery.start_soon(watch, it, id)
            await trio.sleep(1)
            assert answers == []
            await it.call("noopgo", first)
        assert answers == [None] * 6
