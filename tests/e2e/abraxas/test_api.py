"""The same calls of client, worker and administrator on a server of ours and on gearmand 1.1.20.

What only ours has takes the fixture `ours` in place of `server`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gearman_servers
import pytest
import trio
import trio.lowlevel
import trio.testing
from gearman_servers import until

from abraxas_py import (
    Admin,
    Assigned,
    Client,
    Data,
    FunctionStatus,
    JobFailed,
    JobRaised,
    LocalProtocolError,
    Priority,
    ServerError,
    Status,
    Target,
    Warning,
    Worker,
    open_admin,
    open_client,
    parse_endpoint,
    serve,
)

Open = Callable[[], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def working(
    address: str, *, streaming: bool = False, max_jobs: int = 4, **handlers: Any
) -> AsyncIterator[tuple[Client, Worker]]:
    """A client, and a worker with these handlers on connections of its own."""
    worker = Worker(address, max_jobs=max_jobs, streaming=streaming)
    for name, handler in handlers.items():
        worker.add(name, handler, stream=name.startswith("stream"))
    async with open_client(address, streaming=streaming) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        yield client, worker
        worker.stop()


# Submitting


async def upper(job: Assigned) -> bytes:
    return job.data.upper()


async def test_every_priority_and_kind_of_payload(server: Open) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async with server() as address, working(address, upper=upper) as (client, _):
        for priority in Priority:
            assert await client.submit("upper", b"abc", priority=priority) == b"ABC"
        assert await client.submit("upper", "text") == b"TEXT"
        assert await client.submit("upper", pieces()) == b"AB"
        assert await client.submit("upper") == b""
        task = client.stream("upper")
        async with task.payload as payload:
            await payload.send_all(b"written ")
            await payload.send_all(b"twice")
        assert await task == b"WRITTEN TWICE"
        assert task.result == b"WRITTEN TWICE"
        assert task.handle == await task.created()


async def test_a_large_payload_and_result_travel_whole(server: Open) -> None:
    async with server() as address, working(address, upper=upper) as (client, _):
        assert await client.submit("upper", b"x" * 5_000_000) == b"X" * 5_000_000


async def test_jobs_wait_for_a_worker_by_priority(server: Open) -> None:
    order: list[bytes] = []

    def note(job: Assigned) -> None:
        order.append(job.data)

    async with server() as address, open_client(address) as client:
        tasks = [
            client.submit("note", b"low", priority=Priority.LOW),
            client.submit("note", b"normal"),
            client.submit("note", b"high", priority=Priority.HIGH),
        ]
        for task in tasks:
            await task.created()
        client.worker.add("note", note)
        for task in tasks:
            await task
    assert order == [b"high", b"normal", b"low"]


async def test_a_background_job_runs_and_its_handle_is_known(server: Open) -> None:
    ran = trio.Event()
    release = trio.Event()

    async def slow(job: Assigned) -> None:
        job.status(1, 4)
        ran.set()
        await release.wait()

    async with server() as address, working(address, slow=slow) as (client, _):
        handle = await client.submit_bg("slow", b"x", unique="u1", priority=Priority.HIGH)
        await ran.wait()
        await until(lambda: has_progress(client, handle))
        status = await client.get_status(handle)
        assert (status.known, status.running, status.is_known, status.fraction) == (1, 1, True, 0.25)
        by_unique = await client.get_status_unique("u1")
        assert (by_unique.is_running, by_unique.clients) == (True, 0)
        assert not (await client.get_status(b"H:nobody:1")).is_known
        release.set()
        await until(lambda: is_gone(client, handle))


async def has_progress(client: Client, handle: bytes) -> bool:
    return (await client.get_status(handle)).denominator == b"4"


async def is_gone(client: Client, handle: bytes) -> bool:
    return not (await client.get_status(handle)).is_known


async def test_a_unique_is_shared_while_its_job_is_known(server: Open) -> None:
    ran: list[bytes] = []

    async def once(job: Assigned) -> bytes:
        ran.append(job.data)
        return job.unique

    async with server() as address, open_client(address) as client:
        first = client.submit("once", b"first", unique="same")
        second = client.submit("once", b"second", unique=b"same")
        assert await first.created() == await second.created()
        client.worker.add("once", once)
        assert [await first, await second] == [b"same", b"same"]
    assert ran == [b"first"]


async def test_a_job_for_later_is_known_and_begins_in_time(server: Open) -> None:
    began: dict[bytes, float] = {}

    def note(job: Assigned) -> None:
        began[job.data] = time.time()

    async with server() as address, working(address, note=note) as (client, _):
        soon = datetime.now(UTC) + timedelta(seconds=0.5)
        handle = await client.submit_at("note", soon, b"soon")
        assert (await client.get_status(handle)).is_known
        await client.submit_at("note", 0, b"at once")
        with trio.fail_after(10):
            while len(began) < 3:
                # gearmand 1.1.20 gives a job of before to a worker that asks, but wakes none for it.
                await client.submit("note", b"now")
                await trio.sleep(0.1)
    assert began[b"soon"] >= int(soon.timestamp())


async def test_a_recurring_job_is_known_until_it_is_cancelled(ours: Open) -> None:
    async with ours() as address, open_client(address) as client:
        handle = await client.submit_sched("f", b"x", minute="*/5", hour="9-17", weekday=0)
        assert (await client.get_status(handle)).is_known
        await client.admin.cancel_job(handle)
        assert not (await client.get_status(handle)).is_known
        with pytest.raises(ServerError, match="INVALID_ARGUMENT"):
            await client.submit_sched("f", minute=60)


async def test_a_reducer_reaches_a_worker_that_asks_for_it(server: Open) -> None:
    async with server() as address, open_client(address) as client:
        worker = Worker(address, reducers=True)
        worker.add("map", lambda job: b"%b %b" % (job.reducer, job.data))
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run)
            assert await client.submit("map", b"data", reducer="sum") == b"sum data"
            assert await client.submit("map", b"data") == b" data"
            nursery.cancel_scope.cancel()


async def test_a_refused_job_says_why(ours: Open) -> None:
    async with ours() as address, open_client(address) as client:
        with pytest.raises(ServerError, match="INVALID_FUNCTION_NAME"):
            await client.submit("a b")
        with pytest.raises(LocalProtocolError, match="at most 64 bytes"):
            client.submit("f", unique="u" * 65)


# What a task tells


async def test_a_task_tells_data_warnings_and_status_in_order(server: Open) -> None:
    async def busy(job: Assigned) -> str:
        job.status(1, 2)
        job.send_data("é")
        job.warn("careful")
        job.send_data(b"2")
        return "end"

    async with server() as address, working(address, busy=busy) as (client, _):
        task = client.submit("busy", encoding="utf-8")
        events = [event async for event in task]
        assert events == [Status(b"1", b"2"), Data("é"), Warning("careful"), Data("2")]
        assert await task == "end"
        heard: list[object] = []
        task = client.submit("busy", encoding="utf-8", on_event=heard.append)
        assert await task == "é2end"
        assert heard == events
        task_bytes = client.submit("busy")
        assert b"".join([piece async for piece in task_bytes.output]) == "é2end".encode()


async def test_failures_and_exceptions_raise_with_their_data(server: Open) -> None:
    async def fail(job: Assigned) -> None:
        raise {b"fail": JobFailed("no"), b"raise": JobRaised(b"\xffdata"), b"break": ValueError("bad")}[job.data]

    def error(job: Assigned) -> None:
        job.exception("error")

    async with server() as address, working(address, fail=fail, error=error) as (client, _):
        with pytest.raises(JobFailed):
            await client.submit("fail", b"fail")
        with pytest.raises(JobRaised) as raised:
            await client.submit("fail", b"raise")
        assert raised.value.data == b"\xffdata"
        with pytest.raises(JobRaised, match="ValueError: bad"):
            await client.submit("fail", b"break")
        with pytest.raises(JobRaised, match="error"):
            await client.submit("error")
        task = client.submit("fail", b"break")
        with pytest.raises(JobRaised):
            await task.output.receive_some()


async def test_text_is_text_with_an_encoding(server: Open) -> None:
    async with server() as address, open_client(address, encoding="latin-1") as client:
        client.worker.add("upper", lambda job: job.data.decode("latin-1").upper().encode("latin-1"))
        assert await client.submit("upper", "é") == "É"
        assert await client.submit("upper", b"\xe9", encoding=None) == b"\xc9"
        assert await client.echo("é") == "é"
        assert await client.echo(b"\xe9", encoding=None) == b"\xe9"


# Handlers


def outcomes() -> dict[str, Any]:
    """Every form of a handler, all with the same result."""

    def plain(job: Assigned) -> bytes:
        return b"result"

    def text(job: Assigned) -> str:
        return "result"

    async def awaits(job: Assigned) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"result"

    def generates(job: Assigned) -> Iterator[bytes | str]:
        yield b"res"
        yield "ult"

    async def generates_later(job: Assigned) -> AsyncIterator[bytes]:
        yield b"res"
        await trio.lowlevel.checkpoint()
        yield b"ult"

    async def returns_a_stream(job: Assigned) -> Any:
        send, receive = trio.testing.memory_stream_one_way_pair()
        await send.send_all(b"result")
        await send.aclose()
        return receive

    async def writes(job: Assigned) -> None:
        await job.output.send_all(b"res")
        await job.output.send_all(b"ult")

    async def writes_and_returns(job: Assigned) -> bytes:
        await job.output.send_all(b"res")
        return b"ult"

    async def closes(job: Assigned) -> None:
        async with job.output as output:
            await output.send_all(b"result")

    def completes(job: Assigned) -> None:
        job.complete("result")

    async def stream_reads(job: Assigned) -> bytes:
        assert b"".join([piece async for piece in job.payload]) == b"payload"
        return b"result"

    return {name: value for name, value in locals().items() if callable(value)}


@pytest.mark.parametrize("form", outcomes())
async def test_a_handler_may_have_any_form(server: Open, form: str) -> None:
    async with server() as address, working(address, **{form: outcomes()[form]}) as (client, _):
        assert await client.submit(form, b"payload") == b"result"


@pytest.mark.parametrize("form", outcomes())
async def test_a_streaming_handler_may_have_any_form(ours: Open, form: str) -> None:
    async with ours() as address, working(address, streaming=True, **{form: outcomes()[form]}) as (client, _):
        assert await client.submit(form, b"payload") == b"result"


async def test_a_handler_that_returns_nonsense_fails_its_job(ours: Open) -> None:
    async with ours() as address, working(address, bad=lambda job: 7, dict=lambda job: {}) as (client, _):
        for name in ("bad", "dict"):
            with pytest.raises(JobRaised, match="TypeError: a handler returned"):
                await client.submit(name)


async def test_a_worker_has_so_many_jobs_at_once_and_stops_gracefully(server: Open) -> None:
    running, most = 0, 0
    release = trio.Event()

    async def slow(job: Assigned) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1
        return b"done"

    async with server() as address, open_client(address) as client:
        worker = Worker(address, max_jobs=2)
        worker.add("slow", slow)
        tasks = [client.submit("slow", b"%d" % n) for n in range(3)]
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run)
            await until(lambda: running == 2)
            worker.stop()
            release.set()
        assert [await task for task in tasks[:2]] == [b"done", b"done"]
        assert most == 2
        assert not tasks[2].done


async def test_a_function_can_be_unregistered_limited_and_looked_at(server: Open) -> None:
    async with server() as address, open_client(address) as client, open_admin(address) as admin:
        registration = client.worker.add("f", upper)
        other = client.worker.add("g", upper)
        assert registration.function == b"f"
        await client.submit("f")
        assert await registration.status() == FunctionStatus(b"f", 0, 0, 1)
        registration.unregister()
        await until(lambda: has_workers(admin, b"f", 0))
        await registration.max_queue(1)
        first = client.submit("f")
        await first.created()
        with pytest.raises(ServerError, match="QUEUE_ERROR"):
            await client.submit("f")
        await registration.max_queue()
        await client.submit("f").created()
        client.worker.remove_all()
        await until(lambda: has_workers(admin, b"g", 0))
        assert await other.status() == FunctionStatus(b"g", 0, 0, 0)


async def has_workers(admin: Admin, function: bytes, count: int) -> bool:
    return [row.workers for row in await admin.status() if row.function == function] == [count]


async def test_client_and_worker_share_a_connection(server: Open) -> None:
    async def outer(job: Assigned) -> bytes:
        return b"<" + await client.submit("inner", job.data) + b">"

    async with server() as address, open_client(address, max_jobs=2, client_id="both") as client:
        client.worker.add("outer", outer)
        client.worker.add("inner", upper)
        assert await client.submit("outer", b"x") == b"<X>"
        mine = [row for row in await client.admin.workers() if row.client_id == b"both"]
        assert [sorted(row.functions) for row in mine] == [[b"inner", b"outer"]]
        assert mine[0].server == address
        client.set_client_id("new")
        assert await client.echo("") == b""
        assert [row.client_id for row in await client.admin.workers() if row.functions] == [b"new"]


async def test_an_error_of_the_worker_is_not_taken_for_the_clients(server: Open) -> None:
    """A late report, answered by ERROR, must not answer a call of the client on the same connection (A11)."""
    async with server() as address, open_client(address) as client:
        jobs: list[Assigned] = []
        client.worker.take("f", jobs.append)
        task = client.submit("f")
        await until(lambda: jobs)
        engagement = jobs[0]._engagement
        copy = Assigned(engagement, jobs[0].handle, b"f", b"", b"")
        jobs[0].complete(b"x")
        assert await task == b"x"
        for _ in range(3):
            copy.send_data(b"late")
        assert await client.echo(b"still in order") == b"still in order"
        assert await client.submit_bg("g")


# Administration


async def test_the_tables_and_words_of_the_administrator(server: Open) -> None:
    async with server() as address, open_client(address) as client, open_admin(address) as admin:
        await client.submit_bg("f", unique="high", priority=Priority.HIGH)
        handle = await client.submit_bg("f", unique="low", priority=Priority.LOW)
        assert await admin.status() == [FunctionStatus(b"f", 2, 0, 0)]
        assert [tuple(row) for row in await admin.priority_status()] == [(b"f", 1, 0, 1, 0)]
        rows = {row.handle: row for row in await admin.jobs()}
        assert len(rows) == 2
        assert (rows[handle].retries, rows[handle].is_queued) == (0, True)
        assert sorted(await admin.unique_jobs()) == [b"high", b"low"]
        assert len(await admin.workers()) >= 2
        assert (await admin.version())[0].isdigit()
        assert await admin.getpid() > 0
        assert await admin.verbose()
        await admin.cancel_job(handle)
        ran: list[bytes] = []
        client.worker.add("f", lambda job: ran.append(job.unique))
        await until(lambda: is_idle(admin))
        assert ran == [b"high"]
        with pytest.raises(ServerError):
            await admin.cancel_job(b"H:nobody:1")


async def is_idle(admin: Admin) -> bool:
    return all(row.total == 0 for row in await admin.status())


async def test_functions_are_created_limited_and_dropped(server: Open) -> None:
    async with server() as address, open_client(address) as client, open_admin(address) as admin:
        await admin.create_function("new")
        assert b"new" in [row.function for row in await admin.status()]
        await admin.max_queue("new", 1)
        await client.submit_bg("new", unique="one")
        with pytest.raises(ServerError, match="QUEUE_ERROR"):
            await client.submit_bg("new", unique="two")
        await admin.max_queue("new")
        await client.submit_bg("new", unique="two")
        await admin.create_function("idle")
        await admin.drop_function("idle")
        assert b"idle" not in [row.function for row in await admin.status()]
        with pytest.raises(ServerError):
            await admin.drop_function("never-there")


async def test_shutdown_stops_the_server(ours: Open) -> None:
    async with gearman_servers.open_server(None) as address, open_admin(address) as admin:
        await admin.shutdown(graceful=True)
        with suppress(Exception), trio.move_on_after(1):
            await admin.version()


# Several servers


async def test_servers_of_every_kind_are_used_by_one_client(tmp_path: Path) -> None:
    where = ["127.0.0.1:0", f"unix://{tmp_path}/gearman.sock"]
    async with serve(*where) as own, serve() as attached:
        tcp, local = own.endpoints
        servers = [tcp, parse_endpoint(local), Target(attached.dial, client_id="attached")]
        async with open_client(*servers, client_id="common", max_jobs=3) as client:
            client.worker.add("f", lambda job: job.data)
            await until(lambda: len(client._lines.live) == 3)
            assert [await client.submit("f", b"%d" % n) for n in range(6)] == [b"%d" % n for n in range(6)]
            rows = [row for row in await client.admin.workers() if row.functions == (b"f",)]
            # Two ways to one server, of which each shows both.
            assert sorted((row.server, row.client_id) for row in rows) == sorted(
                [(tcp, b"common")] * 2 + [(local, b"common")] * 2 + [("Server.dial", b"attached")]
            )


async def test_two_servers_are_asked_at_once_and_merged(server: Open) -> None:
    async with server() as one, server() as other, open_client(one, other) as client, open_admin(one, other) as admin:
        await until(lambda: len(client._lines.live) == 2)
        handles = [await client.submit_bg("f", unique=f"u{n}") for n in range(4)]
        assert await admin.status() == [FunctionStatus(b"f", 4, 0, 0)]
        assert [(await single.status())[0].total for single in admin.servers] == [2, 2]
        assert len(await admin.jobs()) == 4
        for handle in handles:
            assert (await client.get_status(handle)).known >= 1
        assert (await client.get_status_unique("u0")).known == 1
        with pytest.raises(LocalProtocolError, match="ask one of"):
            await admin.version()
        assert all([await single.version() for single in admin.servers])
        worker = Worker(one, other, max_jobs=2)
        done: list[bytes] = []
        worker.add("f", lambda job: done.append(job.unique))
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run)
            await until(lambda: len(done) == 4)
            worker.stop()
        assert {row.server for row in await admin.workers()} == {one, other}
