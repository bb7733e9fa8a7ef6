"""A disk that hangs: who wants a job kept is refused, and everything else goes on."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import trio

from abraxas_py import Assigned, Server, ServerError, Worker, hang, open_client
from abraxas_py.broker import Persist
from abraxas_py.client import Client
from abraxas_py.errors import JournalRefused
from abraxas_py.journal.sqlite import SqliteJournal
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, encode

PATIENCE, LOOK = 0.4, 0.05  # for a test that has no time


class Hanging(SqliteJournal):
    """On a disk that can be held, and be full."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_full = False
        self.answers = threading.Event()
        self.answers.set()
        self.is_held = threading.Event()

    def commit(self, changes: Sequence[Persist]) -> None:
        if not self.answers.is_set():
            self.is_held.set()
        self.answers.wait(60)
        if self.is_full:
            raise JournalRefused("No room left")
        super().commit(changes)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    monkeypatch.setattr(gc, "freeze", lambda: None)  # hypothesis looks through what the collector knows
    monkeypatch.setattr(hang, "PATIENCE", PATIENCE)
    monkeypatch.setattr(hang, "LOOK", LOOK)
    journal = Hanging(tmp_path / "queue")
    yield journal
    journal.answers.set()


async def refused(client: Client) -> str:
    with pytest.raises(ServerError) as caught:
        await client.submit_bg("f", b"refused")
    assert caught.value.code == "QUEUE_ERROR"
    return caught.value.text


async def test_jobs_that_wait_behind_it_are_refused(journal: Hanging) -> None:
    server = Server(journal=journal)
    done: list[bytes] = []
    are_done, is_kept = trio.Event(), trio.Event()

    async def echo(job: Assigned) -> bytes:
        done.append(job.data)
        if len(done) == 4:
            are_done.set()
        return job.data

    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with open_client(server.dial) as first, open_client(server.dial) as other:
            await other.submit_bg("f", b"before")
            journal.answers.clear()

            async def give() -> None:
                await first.submit_bg("f", b"given to it")
                is_kept.set()

            nursery.start_soon(give)
            assert await trio.to_thread.run_sync(journal.is_held.wait, 30)
            began = trio.current_time()
            assert "has not answered" in await refused(other)
            assert trio.current_time() - began > PATIENCE / 2
            for _ in range(10):
                await refused(other)
            assert trio.current_time() - began < PATIENCE + 10

            worker = Worker(server.dial)
            worker.add("now", echo)
            await nursery.start(worker.run)
            assert await other.submit("now", b"foreground") == b"foreground"
            assert not journal.answers.is_set()

            journal.answers.set()
            await is_kept.wait()  # until then what comes may still be refused
            await other.submit_bg("f", b"afterwards")
            worker.add("f", echo)
            await are_done.wait()
        nursery.cancel_scope.cancel()
    assert done == [b"foreground", b"before", b"given to it", b"afterwards"]


async def test_it_does_not_wait_for_the_threads_of_the_program(journal: Hanging) -> None:
    server = Server(journal=journal)
    threads = trio.to_thread.current_default_thread_limiter()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with open_client(server.dial) as client:
            threads.total_tokens, before = 1, threads.total_tokens
            try:
                async with threads:
                    with trio.fail_after(30):
                        await client.submit_bg("f", b"")
            finally:
                threads.total_tokens = before
        nursery.cancel_scope.cancel()


async def test_it_is_written_without_a_thread_where_none_can_be_started(
    journal: Hanging, no_threads: Callable[[], AbstractContextManager[None]]
) -> None:
    server = Server(journal=journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with open_client(server.dial) as client:
            with no_threads():
                await client.submit_bg("f", b"")
        nursery.cancel_scope.cancel()


async def test_a_server_that_was_cancelled_meanwhile_has_the_jobs_when_it_is_served_again(journal: Hanging) -> None:
    server = Server(journal=journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        journal.answers.clear()
        for data in (b"being written", b"behind it"):
            submission = Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", data)
            await server.attach().send_all(encode(REQUEST, submission))
            assert await trio.to_thread.run_sync(journal.is_held.wait, 30)
        nursery.cancel_scope.cancel()
        journal.answers.set()
    await ran(server, b"being written", b"behind it")


async def test_what_cannot_be_written_at_the_end_has_not_happened_when_it_is_served_again(journal: Hanging) -> None:
    server = Server(journal=journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with open_client(server.dial) as client:
            ended = await client.submit_bg("f", b"ended")
            journal.is_full = True
            worker = server.attach()
            await worker.send_all(encode(REQUEST, Packet(Type.CAN_DO, b"f"), Packet(Type.GRAB_JOB)))
            await worker.send_all(encode(REQUEST, Packet.of(Type.WORK_COMPLETE, ended, b"")))
            assert not server.broker.jobs
            submission = Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b"refused")
            await server.attach().send_all(encode(REQUEST, submission))
        nursery.cancel_scope.cancel()
    assert not server.broker.jobs
    journal.is_full = False
    await ran(server, b"ended")


async def ran(server: Server, *wanted: bytes) -> None:
    """Serve until these jobs have run."""
    done: list[bytes] = []
    are_done = trio.Event()

    async def take(job: Assigned) -> bytes:
        done.append(job.data)
        if len(done) == len(wanted):
            are_done.set()
        return b""

    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        worker = Worker(server.dial)
        worker.add("f", take)
        await nursery.start(worker.run)
        with trio.fail_after(30):
            await are_done.wait()
        nursery.cancel_scope.cancel()
    assert done == [*wanted]
