"""The core on a real store and a real broker, in memory: no socket, no waiting for real."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import trio
import trio.testing
from core_stage import START, Clock, System, fails, system

from abraxas_py import Assigned, Worker
from gearbox import rpc
from gearbox.errors import RpcError, StoreBroken, StoreError
from gearbox.job import Recheck, Tell
from gearbox.store import Batch, Moment, Result, Step, Tx

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def test_queue_watch_and_watch_again(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        seen = []
        await it.work("text::upper", lambda request: seen.append(request) or request["params"][0].upper())
        id = await it.gearbox.queue("text::upper", ["héllo"], priority="high")
        assert await it.gearbox.watch(id) == "HÉLLO"
        assert await it.gearbox.watch(id) == "HÉLLO"
        (request,) = seen
        assert request["method"] == "text::upper"
        assert request["_meta"] == {"host": "gearbox", "gearbox_id": id, "gearbox_attempt": 1}
        assert await it.status_of(id) == "complete"


async def test_many_watchers_get_one_answer_each(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        id = await it.gearbox.queue("a::slow")
        answers: list[Any] = []

        async def watch() -> None:
            answers.append(await it.gearbox.watch(id))

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(watch)
            await trio.sleep(1)
            assert await it.status_of(id) == "running"
            assert answers == []
            gate.set()
        assert answers == ["later"] * 300
        assert not it.core._watchers


async def test_an_error_reaches_watchers_as_it_is(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::bad", lambda request: ValueError("no such thing"))
        with pytest.raises(RpcError) as caught:
            await it.gearbox.watch(await it.gearbox.queue("a::bad"))
        assert (caught.value.code, caught.value.message) == (42, "no such thing")


async def test_no_worker_fails_at_once(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        before = trio.current_time()
        with pytest.raises(RpcError) as caught:
            await it.gearbox.watch(await it.gearbox.queue("no::such"))
        assert caught.value.code == -28404
        assert trio.current_time() - before < 0.5


async def test_retries_wait_their_delay_and_keep_count(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        tries: list[float] = []

        def handle(request: dict[str, Any]) -> Any:
            tries.append(trio.current_time())
            return ValueError("again") if len(tries) < 3 else "third time"

        await it.work("a::flaky", handle)
        id = await it.gearbox.queue("a::flaky", max_retries=5, retry_delay=7)
        assert await it.gearbox.watch(id) == "third time"
        assert [round(late - early) for early, late in pairwise(tries)] == [7, 7]
        (row,) = await it.gearbox.status([id])
        assert row["retries"] == {"n": 2, "max": 5, "delay": 7}


@pytest.mark.parametrize("seconds", [900, -900])
async def test_a_clock_that_is_set_moves_dates_and_not_the_pause_before_a_try(
    tmp_path: Path, autojump_clock: Clock, seconds: int
) -> None:
    async with system(tmp_path / "db") as it:
        tries: list[tuple[str, float]] = []

        def handle(request: dict[str, Any]) -> Any:
            tries.append((request["params"], trio.current_time()))
            return ValueError("again") if tries == [("again", ANY)] else "done"

        await it.work("a::b", handle)
        again = await it.gearbox.queue("a::b", "again", max_retries=1, retry_delay=600)
        dated = await it.gearbox.queue("a::b", "dated", after_date=(START + 800) * 1000)
        await trio.sleep(2)
        it.set_clock(seconds)
        set_at = trio.current_time()
        assert await it.gearbox.watch(again) == "done"
        assert await it.gearbox.watch(dated) == "done"
        at = dict(tries)  # the last of each
        assert at["again"] == pytest.approx(600, abs=0.2)
        if seconds > 0:
            assert at["dated"] < set_at + 30.1  # a core looks at its clock at least every 30 s
        else:
            assert at["dated"] == pytest.approx(800 + 900, abs=0.2)


@pytest.mark.parametrize("seconds", [3600, -3600])
async def test_a_clock_that_is_set_does_not_keep_jobs_waiting_for_workers(
    tmp_path: Path, autojump_clock: Clock, seconds: int
) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::b", lambda request: None)
        await it.gearbox.watch(await it.gearbox.queue("a::b"))
    async with system(tmp_path / "db") as it:  # whose workers may come back; these do not
        it.set_clock(seconds)
        it.core.gearman_is_back("again")  # before a batch finds the clock set
        set_at = trio.current_time()
        with pytest.raises(RpcError, match="No worker available"):
            await it.gearbox.watch(await it.gearbox.queue("a::b"))
        assert 14 < trio.current_time() - set_at < 60


async def test_after_date_is_kept_to_the_moment(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::b", lambda request: trio.current_time())
        early = it.gearbox.queue("a::b", after_date=(START + 90.25) * 1000)
        far = await it.gearbox.queue("a::b", after_date="9999-12-31T00:00:00Z")
        ran_at = await it.gearbox.watch(await early)
        assert 90.25 <= ran_at < 90.4
        assert await it.status_of(far) == "waiting"


async def test_dependencies_run_in_order(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        order: list[Any] = []
        await it.work("a::b", lambda request: order.append(request["params"]))
        gate = await it.gearbox.queue("gearbox\\core::noopwait")
        last = await it.gearbox.queue("a::b", "last", after_id=gate)
        for n in range(3):
            await it.gearbox.queue("a::b", f"pool {n}", before_id=last)
        await trio.sleep(1)
        assert order == ["pool 0", "pool 1", "pool 2"]
        assert await it.gearbox.call("gearbox\\core::noopgo", [gate]) is True
        await it.gearbox.watch(last)
        assert order[-1] == "last"


async def test_duplicates_are_watched_through(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        first = await it.gearbox.queue("a::slow", dedupe="D")
        second = await it.gearbox.queue("a::slow", dedupe="D")
        assert await it.status_of(second) == "duplicate"
        gate.set()
        assert await it.gearbox.watch(second) == await it.gearbox.watch(first) == "later"


async def test_a_twin_of_a_cancelled_job_runs_although_the_worker_of_that_one_still_does(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with system(tmp_path / "db") as it:
        gates: list[trio.Event] = []

        def begin(request: dict[str, Any]) -> trio.Event:
            gates.append(trio.Event())
            return gates[-1]

        await it.work("a::slow", begin, max_jobs=2)
        first = await it.gearbox.queue("a::slow", dedupe="D")
        await trio.sleep(1)
        assert await it.gearbox.cancel(first)
        second = await it.gearbox.queue("a::slow", dedupe="D")
        await trio.sleep(1)
        assert len(gates) == 2  # Gearman knows attempts, not dedupes, and so cannot take the one for the other
        gates[1].set()
        with trio.fail_after(1):
            assert await it.gearbox.watch(second) == "later"


async def test_wait_for_id_waits_for_the_id(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::b", lambda request: "done")
        with pytest.raises(RpcError) as caught:
            await it.gearbox.watch(1)
        assert (caught.value.code, caught.value.message) == (404, "no such job")
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def watch() -> None:
                answers.append(await it.gearbox.watch(1, wait_for_id=True))

            nursery.start_soon(watch)
            await trio.sleep(1)
            assert await it.gearbox.queue("a::b") == 1
        assert answers == ["done"]


async def test_progress_and_appended_data(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        id = await it.gearbox.queue("a::slow")
        await it.gearbox.job_data(id, data="one", progress=42.5)
        await it.gearbox.job_data(id, data={"two": 2}, append=" | ")
        (row,) = await it.gearbox.status([id])
        assert row["data"] == '"one" | {"two":2}'
        assert row["progress"]["n"] == 42.5
        gate.set()
        assert await it.gearbox.watch(id) == "later"


async def test_a_worker_that_leaves_and_never_returns(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gone = trio.CancelScope()

        async def run(job: Assigned) -> None:
            await trio.sleep_forever()

        async def leave(*, task_status: trio.TaskStatus[None]) -> None:
            with gone:
                worker = Worker(it.server.dial)
                worker.add("a::b", run)
                await worker.run(task_status=task_status)

        await it.nursery.start(leave)
        id = await it.gearbox.queue("a::b")
        await trio.sleep(1)
        assert await it.status_of(id) == "running"
        gone.cancel()
        with pytest.raises(RpcError) as caught:
            await it.gearbox.watch(id)
        assert caught.value.message == "went missing"


async def test_a_worker_that_ends_without_data(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:

        async def run(job: Assigned) -> bytes:
            return json.dumps({"jsonrpc": "2.0", "id": json.loads(job.data)["id"], "result": None}).encode()

        worker = Worker(it.server.dial)
        worker.add("a::mute", run)
        await it.nursery.start(worker.run)
        id = await it.gearbox.queue("a::mute")
        await trio.sleep(1)
        assert await it.status_of(id) == "almost-done"
        with pytest.raises(RpcError) as caught:
            await it.gearbox.watch(id)
        assert caught.value.code == -28504


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"garbage", "the answer is not JSON"),
        (b"", "the answer is not JSON"),
        (b'{"jsonrpc":"2.0","id":"else","result":null}', "the answer belongs to another request"),
        (RuntimeError("boom"), "the worker raised an exception: RuntimeError: boom"),
    ],
)
async def test_a_worker_that_answers_nonsense(tmp_path: Path, autojump_clock: Clock, answer: Any, message: str) -> None:
    async with system(tmp_path / "db") as it:

        async def run(job: Assigned) -> bytes:
            if isinstance(answer, Exception):
                raise answer
            return bytes(answer)

        worker = Worker(it.server.dial)
        worker.add("a::odd", run)
        await it.nursery.start(worker.run)
        with pytest.raises(RpcError) as caught:
            await it.gearbox.watch(await it.gearbox.queue("a::odd"))
        assert caught.value.message == message


async def test_the_store_fails_and_recovers_without_a_restart(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        id = await it.gearbox.queue("a::slow")
        await trio.sleep(1)  # it was claimed well before: nothing has to be found out about it afterwards
        it.store.error = StoreError("the disk is on fire")
        with pytest.raises(RpcError) as caught:
            await it.gearbox.queue("a::slow")
        assert caught.value.code == 503
        gate.set()  # the worker's notification comes while nothing can be stored
        await trio.sleep(60)
        it.store.error = None
        with trio.fail_after(10):  # at the next try, for what the worker said was kept, or is said again
            assert await it.gearbox.watch(id) == "later"


async def test_watchers_hear_of_an_end_that_was_stored_unheard(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        id = await it.gearbox.queue("a::slow")
        answers: list[Any] = []

        async def watch() -> None:
            answers.append(await it.gearbox.watch(id))

        it.nursery.start_soon(watch)
        await trio.sleep(1)
        it.store.unheard = Tell
        gate.set()
        await trio.sleep(2)
        assert answers == ["later"]


async def test_dependents_move_at_once_after_an_end_that_was_stored_unheard(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with system(tmp_path / "db") as it:
        parent = await it.gearbox.queue("gearbox\\core::noopwait")
        child = await it.gearbox.queue("gearbox\\core::noop", after_id=parent)
        it.store.unheard = Recheck
        with pytest.raises(RpcError):  # 503: the caller cannot know either
            await it.call("noopgo", parent)
        await trio.sleep(2)
        assert await it.status_of(child) == "complete"


async def test_the_end_comes_in_peace_while_the_store_fails(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        it.store.error = StoreError("the disk is on fire")
        with trio.move_on_after(5) as farewell:
            await it.core.drain()
        assert farewell.cancelled_caught


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_commit_of_which_nobody_knows_is_neither_lost_nor_made_twice(
    tmp_path: Path, autojump_clock: Clock, is_stored: bool
) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        first = await it.gearbox.queue("a::slow")
        it.store.error = StoreError("the server is gone")
        it.store.answer_is_lost = is_stored
        await fails(503, it.gearbox.queue("a::slow"))  # whoever repeats this with its token learns the id
        await fails(503, it.gearbox.queue("a::slow"))
        it.store.error = None
        gate.set()
        assert await it.gearbox.watch(first) == "later"
        if is_stored:
            assert await it.gearbox.watch(first + 1) == "later"  # it was handed to Gearman after all
        assert await it.gearbox.status([first + 1, first + 2]) == [] or is_stored
        for id in (first, first + 1)[: 1 + is_stored]:
            history = await it.gearbox.history(id)
            assert [attempt["outcome"] for attempt in history["attempts"]] == ["complete"]
        runs.clear()
        it.store.answer_is_lost = is_stored
        it.core.tell(once)  # kept until it is stored
        await trio.sleep(10)
        assert len(runs) == 1


runs: list[Moment] = []


def once(tx: Tx, moment: Moment) -> Result:
    runs.append(moment)
    return Result()


async def test_a_step_with_a_fault_answers_and_harms_nobody(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        with pytest.raises(RpcError) as caught:
            await it.core.call(broken)
        assert (caught.value.code, caught.value.message) == (500, "internal error: ZeroDivisionError")
        assert await it.gearbox.status() == []


def broken(tx: Tx, moment: Moment) -> Result:
    raise ZeroDivisionError


BAD_CALLS = [
    ("queue", {}, 400, "missing method name"),
    ("queue", {"name": ""}, 400, "missing method name"),
    ("queue", {"name": "a b"}, 400, "name: method name with a space or control character"),
    ("queue", {"name": "x" * 256}, 400, "name: method name longer than 255 characters"),
    ("queue", {"name": "a", "priority": "urgent"}, 400, "priority: not one of high, normal, low"),
    ("queue", {"name": "a", "after_date": "garbage"}, 400, "after_date: Invalid isoformat string: 'garbage'"),
    ("queue", {"name": "a", "after_id": "zz"}, 400, "after_id: invalid job id"),
    ("queue", {"name": "a", "after_id": 7}, 404, "no such job: 7 (after_id)"),
    ("queue", {"name": "a", "max_retries": -1}, 400, "max_retries: not a whole number from 0 to 4294967295"),
    ("queue", {"name": "a", "retry_delay": "x"}, 400, "retry_delay: not a number of seconds from 0 to 4294967295"),
    ("queue", "text", 400, "missing method name"),
    ("watch", {"id": "abc"}, 400, "invalid job id"),
    ("watch", {"id": 0}, 400, "invalid job id"),
    ("watch", {}, 400, "invalid job id"),
    ("watch", {"id": 99}, 404, "no such job"),
    ("job_data", {"id": 99, "data": 1}, 404, "no such job"),
    ("status", 7, 400, "params must be an array of job ids"),
    ("status", ["x"], 400, 'invalid job id: "x"'),
    ("stats", {}, 400, "missing method name"),
    ("noopgo", None, 400, "invalid job id"),
    ("noopwait", None, 400, "noopwait waits as a job only: queue it with gearbox\\core::queue"),
]


@pytest.mark.parametrize(("method", "params", "code", "message"), BAD_CALLS)
async def test_bad_calls(
    tmp_path: Path, autojump_clock: Clock, method: str, params: Any, code: int, message: str
) -> None:
    async with system(tmp_path / "db") as it:
        with pytest.raises(RpcError) as caught:
            await it.gearbox.call(f"gearbox\\core::{method}", params)
        assert (caught.value.code, caught.value.message) == (code, message)


async def test_ids_may_be_text_and_null_means_absent(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("5", lambda request: request["params"])
        params = {"name": 5, "args": None, "priority": None, "after_id": None, "unknown": 1}
        id = await it.gearbox.call("gearbox\\core::queue", params)
        assert await it.gearbox.call("gearbox\\core::watch", {"id": str(id)}) is None
        assert await it.gearbox.call("gearbox\\core::noop") is None


async def test_the_status_object_is_the_originals(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        await it.gearbox.queue("a::slow", ["x"], dedupe="D")
        (row,) = await it.gearbox.status()
        assert row == {
            "id": 1,
            "method_name": "a::slow",
            "arguments": ["x"],
            "priority": "normal",
            "created": row["created"],
            "updated": row["updated"],
            "status": "running",
            "after_date": None,
            "after_id": None,
            "before_id": None,
            "completed": None,
            "retries": False,
            "dedupe": "D",
            "progress": False,
            "data": None,
        }
        assert row["created"].startswith("2027-01-15T08:00:00.")


async def test_an_unknown_status_from_a_worker_ends_the_job_as_invalid(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        id = await it.gearbox.queue("a::slow")
        await it.gearbox.job_data(id, status="finished")
        with pytest.raises(RpcError) as caught:
            await it.gearbox.watch(id)
        assert caught.value.code == -28000


async def test_a_long_chain_and_a_wide_pool(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::b", lambda request: "ok", max_jobs=50)
        start = link = await it.gearbox.queue("gearbox\\core::noopwait")
        for _ in range(100):
            link = await it.gearbox.queue("a::b", after_id=link)
        pool = [await it.gearbox.queue("a::b", before_id=link) for _ in range(100)]
        await it.gearbox.watch(pool[-1])
        await it.gearbox.call("gearbox\\core::noopgo", start)
        assert await it.gearbox.watch(link) == "ok"
        stats = await it.gearbox.stats("a::b")
        assert stats["states"] == {"complete": 200}


async def test_failure_runs_down_a_long_chain(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        start = link = await it.gearbox.queue("no::worker", after_date=(START + 30) * 1000)
        for _ in range(100):
            link = await it.gearbox.queue("a::b", after_id=link)
        with pytest.raises(RpcError) as caught:
            await it.gearbox.watch(link)
        assert caught.value.code == -28523
        with pytest.raises(RpcError) as caught:
            await it.gearbox.watch(start)
        assert caught.value.code == -28404


async def test_a_broken_disk_ends_the_core_and_nobody_is_answered(tmp_path: Path, autojump_clock: Clock) -> None:
    answers: list[Any] = []

    async def break_the_disk() -> None:
        async with system(tmp_path / "db") as it:
            it.store.error = StoreBroken("no sync")
            it.core.ask(lambda tx, moment: Result(), answers.append)
            with trio.CancelScope(shield=True), trio.move_on_after(10):
                await trio.sleep_forever()
            await it.core.drain()  # which has nothing to wait for

    with pytest.raises(BaseExceptionGroup) as caught:
        await break_the_disk()
    assert caught.group_contains(StoreBroken)
    assert answers == []


async def test_what_gearman_says_of_an_end_is_not_stored_where_the_data_has_come(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with system(tmp_path / "db") as it:
        steps = noted(it)
        await it.work("a::b", lambda request: "done")
        id = await it.gearbox.queue("a::b")
        await trio.sleep(1)
        assert await it.status_of(id) == "complete"
        assert "report" in steps
        assert "settle" not in steps


async def test_to_watch_a_job_at_work_asks_the_store_nothing(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        gate = trio.Event()
        await it.work("a::slow", lambda request: gate)
        id = await it.gearbox.queue("a::slow")
        await trio.sleep(1)
        steps = noted(it)
        answers: list[Any] = []

        async def watch() -> None:
            answers.append(await it.gearbox.watch(id))

        it.nursery.start_soon(watch)
        await trio.sleep(0.1)
        assert ("watch" in steps, it.core.watchers) == (False, 1)
        gate.set()
        await trio.sleep(0.1)
        assert answers == ["later"]


async def test_a_watcher_that_comes_after_an_end_that_was_stored_unheard(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::slow", lambda request: trio.Event())
        id = await it.gearbox.queue("a::slow")
        await trio.sleep(1)
        it.store.unheard = Tell
        with pytest.raises(RpcError):  # 503
            await it.gearbox.cancel(id)
        await trio.sleep(2)
        with trio.fail_after(5), pytest.raises(RpcError) as caught:
            await it.gearbox.watch(id)
        assert caught.value.message == "cancelled"


async def test_an_attempt_that_has_just_ended_is_not_taken_for_one_that_was_never_sent(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with system(tmp_path / "db") as it:
        worker = Worker(it.server.dial)
        worker.add("a::mute", lambda job: rpc.result(json.loads(job.data)["id"], None))
        await it.nursery.start(worker.run)
        id = await it.gearbox.queue("a::mute")
        await trio.testing.wait_all_tasks_blocked()
        it.store.error = StoreError("the disk is on fire")
        await fails(503, it.gearbox.queue("a::b"))
        it.store.error = None
        await it.gearbox.stats("a::mute")  # the store works again, and the core looks for what was claimed in vain
        await trio.sleep(1)
        (attempt,) = (await it.gearbox.history(id))["attempts"]
        assert (attempt["outcome"], await it.status_of(id)) == (None, "almost-done")


def noted(it: System) -> list[str]:
    """The names of the steps that the store runs from now on."""
    names: list[str] = []
    run_batch = it.store.run_batch

    def run(steps: list[Step], moment: Moment) -> Batch:
        names.extend(step.func.__name__ for step in steps if isinstance(step, partial))
        return run_batch(steps, moment)

    it.store.run_batch = run  # type: ignore[method-assign]
    return names
