"""The core's link to a Gearman server that hangs: its connections stand, and it answers nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from cores_stage import Stuck
from trio.testing import MockClock

from abraxas_py import Server, Worker
from gearbox.gearman import ANSWER_TIMEOUT, SILENCE_PAUSE, Link
from gearbox.job import Job, Priority, Status


@attrs.define
class Hanging:
    """A link to one server, with a worker for a::b, that can be made to hang."""

    link: Link
    is_free: trio.Event
    back: list[str] = attrs.field(factory=list)  # the names of servers that were reached anew
    streams: list[Stuck] = attrs.field(factory=list)

    def hang(self) -> None:
        self.is_free = trio.Event()
        for stream in self.streams:
            stream.is_free = self.is_free

    async def ask(self) -> tuple[Mapping[str, int] | None, float]:
        """What is known of workers, and the seconds until it was."""
        began = trio.current_time()
        return await self.link.workers(), trio.current_time() - began


@asynccontextmanager
async def one_server() -> AsyncIterator[Hanging]:
    server = Server(handle_prefix="H:test:0")
    it: Hanging

    async def dial() -> Stuck:
        stream = Stuck(await server.dial(), it.is_free)
        it.streams.append(stream)
        return stream

    link = Link(
        {"there": dial},
        instance="core",
        database="d",
        functions=["gearbox\\core::status"],
        on_call=lambda call: None,
        on_news=lambda id, epoch, news: None,
        on_connect=lambda name: it.back.append(name),
    )
    it = Hanging(link, trio.Event())
    it.is_free.set()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        worker = Worker(server.dial)
        worker.add("a::b", lambda job: b"")
        await nursery.start(worker.run)
        await nursery.start(link.run)
        yield it
        nursery.cancel_scope.cancel()


async def test_a_server_that_hangs_is_waited_for_once(autojump_clock: MockClock) -> None:
    async with one_server() as it:
        assert (await it.ask())[0] == {"a::b": 1, "gearbox\\core::status": 1}
        it.hang()
        assert await it.ask() == (None, pytest.approx(ANSWER_TIMEOUT))
        assert [await it.ask() for _ in range(3)] == [(None, 0.0)] * 3
        (view,) = await it.link.view()
        assert view.error == f"no answer for {ANSWER_TIMEOUT:.0f} s"
        await trio.sleep(60)
        assert await it.ask() == (None, 0.0)


async def test_it_is_asked_again_until_it_answers(autojump_clock: MockClock) -> None:
    async with one_server() as it:
        it.hang()
        await it.ask()
        await trio.sleep(100)
        it.back.clear()
        it.is_free.set()
        await trio.sleep(ANSWER_TIMEOUT + SILENCE_PAUSE)
        assert it.back == ["there"]  # what waited for it is looked at
        assert (await it.ask())[0] == {"a::b": 1, "gearbox\\core::status": 1}
        (view,) = await it.link.view()
        assert view.error == ""


async def test_its_attempts_are_not_given_up_where_nobody_else_could_do_them(autojump_clock: MockClock) -> None:
    job = Job(1, "a::b", None, Priority.NORMAL, 0, 0, Status.RUNNING, "d", False, epoch=1)
    async with one_server() as it:
        it.hang()
        await it.ask()
        await trio.sleep(300)
        assert (await it.link.presence(job, "there")).value == "silent"
