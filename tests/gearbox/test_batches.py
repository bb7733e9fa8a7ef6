"""Calls that travel together, from both ends, and what becomes of each when something goes wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from core_stage import Clock, System, fails, system

from abraxas_py import Assigned, ConnectionLost, JobFailed, Server, Worker
from gearbox import rpc
from gearbox.batches import CALL_LARGEST, CALLS_MOST
from gearbox.client import Gearbox, open_gearbox
from gearbox.errors import Code, RpcError, StoreError

pytestmark = pytest.mark.usefixtures("store_in_the_loop")

QUEUE = "gearbox\\core::queue"


async def together(*calls: Callable[[], Any]) -> list[Any]:
    """What calls that are made in one moment return or raise."""
    outcomes: list[Any] = [None] * len(calls)

    async def make(place: int) -> None:
        try:
            outcomes[place] = await calls[place]()
        except Exception as error:
            outcomes[place] = error

    async with trio.open_nursery() as nursery:
        for place in range(len(calls)):
            nursery.start_soon(make, place)
    return outcomes


# --- the client's side ---


@asynccontextmanager
async def core_that_answers(answer: Callable[[Any], bytes]) -> AsyncIterator[tuple[Gearbox, list[Any]]]:
    """A client, and the payloads that the function `queue` got; `answer` makes replies of them."""
    got: list[Any] = []
    server = Server(handle_prefix="H:test:0")

    def handle(job: Assigned) -> bytes:
        got.append(json.loads(job.data))
        return answer(got[-1])

    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        worker = Worker(server.dial, max_jobs=10)
        worker.add(QUEUE, handle)
        await nursery.start(worker.run)
        async with open_gearbox([server.dial]) as gearbox:
            yield gearbox, got
        nursery.cancel_scope.cancel()


def echo(call: Any) -> bytes:
    """As a core that knows batches: the id of a job is what its arguments say."""
    if isinstance(call, list):
        return rpc.batch(map(echo, reversed(call)))
    return rpc.result(call["id"], call["params"]["args"])


def old_echo(call: Any) -> bytes:
    """As one that does not: what is no object has no id, so that nobody waits for an answer."""
    return b"" if isinstance(call, list) else echo(call)


async def test_calls_of_one_moment_are_one_gearman_job(autojump_clock: Clock) -> None:
    async with core_that_answers(echo) as (gearbox, got):
        assert await together(*(lambda n=n: gearbox.queue("a::b", n) for n in range(5))) == [0, 1, 2, 3, 4]
        assert [sorted(call["params"]["args"] for call in payload) for payload in got] == [[0, 1, 2, 3, 4]]


async def test_a_call_by_itself_is_no_batch(autojump_clock: Clock) -> None:
    async with core_that_answers(echo) as (gearbox, got):
        assert [await gearbox.queue("a::b", 7), await gearbox.queue("a::b", 8)] == [7, 8]
        assert [payload["params"]["args"] for payload in got] == [7, 8]


async def test_a_batch_does_not_grow_without_end(autojump_clock: Clock) -> None:
    async with core_that_answers(echo) as (gearbox, got):
        calls = CALLS_MOST + 1
        assert await together(*(lambda n=n: gearbox.queue("a::b", n) for n in range(calls))) == list(range(calls))
        assert sorted(len(payload) for payload in got if isinstance(payload, list)) == [CALLS_MOST]
        assert len(got) == 2


async def test_a_large_call_goes_by_itself(autojump_clock: Clock) -> None:
    async with core_that_answers(echo) as (gearbox, got):
        large = "x" * CALL_LARGEST
        outcomes = await together(*(lambda args=args: gearbox._ask("queue", {"args": args}) for args in (1, large, 2)))
        assert outcomes == [1, large, 2]
        assert sorted(len(payload) for payload in got if isinstance(payload, list)) == [2]


async def test_a_core_that_knows_no_batches_is_called_one_by_one(autojump_clock: Clock) -> None:
    async with core_that_answers(old_echo) as (gearbox, got):
        for _ in range(2):
            assert await together(*(lambda n=n: gearbox.queue("a::b", n) for n in range(5))) == [0, 1, 2, 3, 4]
        assert [type(payload) for payload in got] == [list, *[dict] * 10]  # and not tried again


ANSWERS = [
    (rpc.error(None, RpcError(Code.TOO_LARGE, "too many")), "too many"),
    (rpc.batch([]), "the answer is not JSON-RPC 2.0"),
    (b"[1", "the answer is not JSON"),
    (rpc.batch([rpc.result("another", 1)]), "the answer is not JSON-RPC 2.0"),
]


@pytest.mark.parametrize(("payload", "message"), ANSWERS)
async def test_an_answer_to_something_else_is_everybodys_error(
    payload: bytes, message: str, autojump_clock: Clock
) -> None:
    async with core_that_answers(lambda call: payload) as (gearbox, _):
        outcomes = await together(*(lambda: gearbox.queue("a::b") for _ in range(3)))
        assert [error.message for error in outcomes] == [message] * 3


async def test_a_batch_that_gearman_gives_up_is_given_up_for_all(autojump_clock: Clock) -> None:
    def fail(call: Any) -> bytes:
        raise JobFailed

    async with core_that_answers(fail) as (gearbox, _):
        outcomes = await together(*(lambda: gearbox.queue("a::b") for _ in range(3)))
        assert [type(error) for error in outcomes] == [JobFailed] * 3


async def test_who_is_cancelled_takes_nobody_along(autojump_clock: Clock) -> None:
    async with core_that_answers(echo) as (gearbox, got):
        scope = trio.CancelScope()

        async def leave() -> None:
            with scope:
                await gearbox.queue("a::b", 1)

        async def cancel() -> None:
            scope.cancel()

        assert await together(leave, lambda: gearbox.queue("a::b", 2), cancel) == [None, 2, None]
        assert len(got) == 1


async def test_calls_whose_connection_is_lost_are_made_again(autojump_clock: Clock) -> None:
    async with core_that_answers(echo) as (gearbox, _):
        lost: list[Any] = []
        gearbox.on_repeat = lost.append
        line = gearbox._client._lines.lines[0]

        async def cut() -> None:
            if line.connection is not None:
                await line.connection.aclose()

        for _ in range(20):  # whether the answer or the cut comes first is chance
            await gearbox._client.connected()
            outcomes = await together(*(lambda n=n: gearbox.queue("a::b", n) for n in range(5)), cut)
            assert outcomes == [0, 1, 2, 3, 4, None]
        assert {type(error) for error in lost} == {ConnectionLost}


# --- the core's side ---


async def submit(it: System, calls: Any, function: str = QUEUE) -> Any:
    """What the core answers to a payload; None for an empty answer."""
    answer = await it.gearbox._client.submit(function, json.dumps(calls).encode())
    return json.loads(answer) if answer else None


def a_call(id: Any, name: Any = "a::b", method: str = QUEUE, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": {"name": name, **params}, "id": id}


async def test_each_call_of_a_batch_has_its_own_outcome(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        answers = await submit(it, [a_call("x"), a_call("y", ""), 5, a_call("z", method="other"), a_call("n")])
        by_id = {answer["id"]: answer for answer in answers}
        assert (by_id["x"]["result"], by_id["n"]["result"]) == (1, 2)
        assert by_id["y"]["error"] == {"code": 400, "message": "missing method name"}
        assert by_id["z"]["error"]["code"] == Code.METHOD_NOT_FOUND
        assert by_id[None]["error"]["code"] == Code.INVALID_REQUEST
        assert len(answers) == 5
        assert len(await it.gearbox.status([1, 2, 3])) == 2


async def test_notifications_of_a_batch_are_done_and_not_answered(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        assert await submit(it, [a_call(None), a_call(0, "")]) is None
        (answer,) = await submit(it, [a_call(None), a_call("x")])
        assert (answer["id"], answer["result"]) == ("x", 3)
        assert len(await it.gearbox.status([1, 2, 3])) == 3


async def test_what_is_no_batch_is_refused_whole(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        empty = await submit(it, [])
        assert (empty["id"], empty["error"]["code"]) == (None, Code.INVALID_REQUEST)
        many = await submit(it, [a_call(f"c{n}") for n in range(rpc.BATCH_LIMIT + 1)])
        assert (many["id"], many["error"]["code"]) == (None, Code.TOO_LARGE)
        assert await it.gearbox.status([1]) == []
        full = await submit(it, [a_call(f"c{n}") for n in range(rpc.BATCH_LIMIT)])
        assert sorted(answer["result"] for answer in full) == list(range(1, rpc.BATCH_LIMIT + 1))


async def test_answers_that_gearman_could_not_carry_together_are_refused(tmp_path: Path, autojump_clock: Clock) -> None:
    """A packet too large for the broker would end the core's connection, and with it everybody's calls."""
    async with system(tmp_path / "db") as it:
        id = await it.gearbox.queue("a::b", "x" * (7 << 20), after_date="9999-01-01")
        name = "gearbox\\core::status"
        calls = [{"jsonrpc": "2.0", "method": name, "params": [id], "id": f"c{n}"} for n in range(6)]
        answers = await submit(it, calls, name)
        assert [answer.get("error", {}).get("code") for answer in answers] == [None] * 4 + [Code.TOO_LARGE] * 2


async def test_a_store_that_fails_is_an_answer_to_each(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        it.store.error = StoreError("the disk is gone")
        answers = await submit(it, [a_call("x"), a_call("y")])
        assert [answer["error"]["code"] for answer in answers] == [Code.UNAVAILABLE] * 2
        it.store.error = None
        await trio.sleep(10)
        assert await it.gearbox.queue("a::b") == 1


async def test_a_lost_job_start_costs_the_others_nothing(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        await it.work("a::b", lambda request: None, max_jobs=9)
        ids = await together(*(lambda: it.gearbox.queue("a::b") for _ in range(3)))
        outcomes = await together(
            *(lambda id=id: it.gearbox.job_start(id, 1, "w") for id in ids),
            lambda: it.gearbox.job_start(99, 1, "w"),
            lambda: it.gearbox.job_start(ids[0], 2, "w"),
        )
        assert outcomes[4] is False
        assert isinstance(outcomes[3], RpcError)
        assert outcomes[3].code == Code.NOT_FOUND
        await fails(Code.NOT_FOUND, it.gearbox.job_start(99, 1))
