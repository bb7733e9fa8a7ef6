"""The Python API without trio, against a real Gearman server."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

from gearbox.blocking import Closed, connect
from gearbox.errors import RpcError


async def test_calls_from_many_threads_get_each_its_own_answer(open_gearman: Any) -> None:
    def script(address: str) -> list[int]:
        with connect([address], who="script") as gearbox, ThreadPoolExecutor(8) as threads:
            return list(threads.map(lambda n: gearbox.queue("a::b", [n]), range(200)))

    async with open_gearman({"queue": lambda params: params["args"][0]}) as gearman:
        assert await trio.to_thread.run_sync(script, gearman.address) == list(range(200))


async def test_errors_are_raised_where_the_call_was_made(open_gearman: Any) -> None:
    def script(address: str) -> None:
        with connect([address]) as gearbox, pytest.raises(RpcError, match="no such job"):
            gearbox.watch(7)

    async with open_gearman({"watch": lambda params: RpcError(404, "no such job")}) as gearman:
        await trio.to_thread.run_sync(script, gearman.address)


async def test_an_answer_that_is_none_is_told_where_the_call_was_made(open_gearman: Any) -> None:
    def script(address: str) -> None:
        with connect([address]) as gearbox:
            with pytest.raises(RpcError, match="no int"):
                gearbox.queue("a::b")
            with pytest.raises(RpcError, match="no list"):
                gearbox.queue_many([])
            with pytest.raises(RpcError, match="no dict"):
                gearbox.stats("a::b")

    async with open_gearman(dict.fromkeys(("queue", "queue_many", "stats"), lambda params: "odd")) as gearman:
        await trio.to_thread.run_sync(script, gearman.address)


async def test_closing_ends_the_calls_that_wait(open_gearman: Any) -> None:
    never = trio.Event()
    asked = threading.Event()

    def watch(params: Any) -> trio.Event:
        asked.set()
        return never

    def script(address: str) -> None:
        with ThreadPoolExecutor(1) as threads:
            with connect([address]) as gearbox:
                waiting = threads.submit(gearbox.watch, 7)
                assert asked.wait(10)
            with pytest.raises(Closed):
                waiting.result(10)
        with pytest.raises(Closed):
            gearbox.watch(7)

    async with open_gearman({"watch": watch}) as gearman:
        await trio.to_thread.run_sync(script, gearman.address)
        never.set()


def test_what_is_no_address_is_told_to_the_caller() -> None:
    with pytest.raises(ValueError, match="address"), connect(["nowhere:port"]):
        pass
