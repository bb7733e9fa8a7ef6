"""The worker against a server in memory, on a clock that jumps."""

from __future__ import annotations

import asyncio

import pytest
import trio
import trio.testing

from abraxas_py import (
    Assigned,
    Connection,
    ConnectionLost,
    JobFailed,
    JobRaised,
    LocalProtocolError,
    Options,
    Packet,
    Server,
    Type,
    Worker,
    open_admin,
    open_client,
)
from abraxas_py.handler import Handler
from abraxas_py.protocol.wire import MAX_PACKET_BYTES, RESPONSE, encode

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def test_what_a_handler_returns_is_the_result() -> None:
    server = Server()

    async def reverse(job: Assigned) -> bytes:
        return job.data[::-1]

    async def text(job: Assigned) -> str:
        return "ü"

    async def nothing(job: Assigned) -> None:
        job.send_data(b"said before")

    worker = Worker(server.dial, client_id="w")
    worker.add("reverse", reverse)
    worker.add("text", text)
    worker.add(b"nothing", nothing)
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        assert await client.submit("reverse", b"abc") == b"cba"
        assert await client.submit("text") == "ü".encode()
        assert await client.submit("nothing") == b"said before"
        async with open_admin(server.dial) as admin:
            assert [(row.function, row.workers) for row in await admin.status()] == [
                (b"reverse", 1),
                (b"text", 1),
                (b"nothing", 1),
            ]
            assert b"w" in [row.client_id for row in await admin.workers()]
        worker.stop()


async def test_what_a_handler_raises_ends_the_job() -> None:
    server = Server()

    async def fail(job: Assigned) -> None:
        raise {b"fail": JobFailed("no"), b"raise": JobRaised(b"data"), b"break": ValueError("bad")}[job.data]

    worker = Worker(server.dial)
    worker.add("f", fail)
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        with pytest.raises(JobFailed):
            await client.submit("f", b"fail")
        with pytest.raises(JobRaised, match="data"):
            await client.submit("f", b"raise")
        with pytest.raises(JobRaised, match="ValueError: bad"):
            await client.submit("f", b"break")
        nursery.cancel_scope.cancel()


class Mute(Exception):
    def __str__(self) -> str:
        raise self.args[0] if self.args else ValueError("no text")


def groups_within_each_other() -> BaseException:
    error: Exception = ValueError("innermost")
    for _ in range(2000):
        error = ExceptionGroup("around", [error])
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (asyncio.CancelledError(), "CancelledError: "),
        (GeneratorExit(), "GeneratorExit: "),
        (BaseExceptionGroup("both", [SystemExit(3)]), "BaseExceptionGroup: both"),
        (Mute(), "Mute: <exception str"),
        (Mute(SystemExit()), "Mute: <exception str"),
        (groups_within_each_other(), "ExceptionGroup: around"),
    ],
)
async def test_whatever_a_handler_raises_ends_its_job_alone(error: BaseException, text: str) -> None:
    server = Server()

    def fail(job: Assigned) -> None:
        raise error

    worker = Worker(server.dial)
    worker.add("f", fail)
    worker.add("ok", lambda job: b"ok")
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        with pytest.raises(JobRaised, match=text):
            await client.submit("f")
        assert await client.submit("ok") == b"ok"
        nursery.cancel_scope.cancel()


async def test_an_interruption_within_a_handler_ends_the_worker() -> None:
    server = Server()

    async def fail(job: Assigned) -> None:
        async with trio.open_nursery():
            raise KeyboardInterrupt

    worker = Worker(server.dial)
    worker.add("f", fail)
    async with open_client(server.dial) as client:
        client.submit("f")
        with pytest.raises(KeyboardInterrupt):
            await worker.run()


async def test_what_a_handler_raises_while_it_is_stopped_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server, began = Server(), trio.Event()

    async def clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("nothing to clean up")

    async def work(job: Assigned) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clean_up)
            nursery.start_soon(trio.sleep_forever)
            began.set()

    worker = Worker(server.dial)
    worker.add("f", work)
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        client.submit("f")
        await began.wait()
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert "nothing to clean up" in caplog.text


async def test_a_callback_whose_error_has_no_text_ends_its_job_alone() -> None:
    server = Server()

    def fail(job: Assigned) -> None:
        raise Mute

    worker = Worker(server.dial)
    worker.take("f", fail)
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        with pytest.raises(JobRaised, match="Mute: <exception str"):
            await client.submit("f")
        nursery.cancel_scope.cancel()


async def test_text_that_is_no_utf_8_ends_its_job_alone() -> None:
    server = Server()
    worker = Worker(server.dial)
    worker.add("name", lambda job: "caf\udce9.txt")
    worker.add("ok", lambda job: b"ok")
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        with pytest.raises(JobRaised, match="UnicodeEncodeError"):
            await client.submit("name")
        assert await client.submit("ok") == b"ok"
        nursery.cancel_scope.cancel()


async def test_progress_that_is_no_number_ends_its_job_alone() -> None:
    server = Server()
    worker = Worker(server.dial)
    worker.add("f", lambda job: job.status("1\0002"))  # type: ignore[arg-type]
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        with pytest.raises(JobRaised, match="progress is two numbers"):
            await client.submit("f")
        nursery.cancel_scope.cancel()


async def test_what_no_packet_holds_ends_its_job_in_an_exception() -> None:
    """The server would hang up on it, and give the job to the next worker, for ever."""
    server = Server()
    much = bytes(MAX_PACKET_BYTES)
    runs: list[bytes] = []

    def raised(job: Assigned) -> None:
        raise JobRaised(much)

    handlers: dict[str, Handler] = {
        "result": lambda job: much,
        "raised": raised,
        "piece": lambda job: job.send_data(much),
        "warning": lambda job: job.warn(much),
    }
    worker = Worker(server.dial)
    for function, handler in handlers.items():
        worker.add(function, lambda job, handler=handler: runs.append(job.function) or handler(job))  # type: ignore[misc]
    worker.take("ended", lambda job: job.complete(much))
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        for function in (*handlers, "ended"):
            with pytest.raises(JobRaised, match=r"67108864 bytes .* 67104768"):
                await client.submit(function)
        assert runs == [b"result", b"raised", b"piece", b"warning"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("reducers", [False, True])
async def test_the_largest_submission_can_be_assigned(reducers: bool) -> None:
    """With its handle, and its unique and reducer, it is longer than what was submitted."""
    server = Server()
    function, largest = b"f" * 512, bytes(MAX_PACKET_BYTES - 514)
    worker = Worker(server.dial, reducers=reducers)
    worker.add(function, lambda job: b"%d" % len(job.data))
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        assert await client.submit(function, largest) == b"%d" % len(largest)
        nursery.cancel_scope.cancel()


async def test_no_more_jobs_at_once_than_there_are_slots_over_all_servers() -> None:
    servers = [Server(), Server()]
    running, most = 0, 0

    async def slow(job: Assigned) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    worker = Worker(*(server.dial for server in servers), max_jobs=3)
    worker.add("f", slow)
    async with (
        open_client(servers[0].dial) as one,
        open_client(servers[1].dial) as other,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(worker.run)
        start = trio.current_time()
        for task in [client.submit("f") for client in (one, other) for _ in range(6)]:
            await task
        assert most == 3
        assert trio.current_time() - start == pytest.approx(4)
        nursery.cancel_scope.cancel()


async def test_thousands_of_jobs_are_held_at_once_without_tasks() -> None:
    server = Server()
    held: list[Assigned] = []
    worker = Worker(server.dial, max_jobs=100_000)
    worker.take("f", held.append)
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        tasks = [client.submit("f", b"%d" % n) for n in range(5_000)]
        await trio.sleep(1)
        assert len(held) == 5_000
        for job in held:
            job.complete(job.data)
        assert [await task for task in tasks] == [b"%d" % n for n in range(5_000)]
        nursery.cancel_scope.cancel()


async def test_a_function_that_is_added_while_the_worker_sleeps_finds_what_waited() -> None:
    server = Server()
    worker = Worker(server.dial)
    worker.take("f", lambda job: job.complete())
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        task = client.submit("g")
        await task.created()
        await trio.sleep(1)
        worker.take("g", lambda job: job.complete(b"found"))
        assert await task == b"found"
        worker.remove("g")
        await trio.sleep(1)
        assert [function.workers for function in server.broker.functions.values()] == [1, 0]
        nursery.cancel_scope.cancel()


async def test_stop_lets_running_jobs_finish_and_run_return() -> None:
    server = Server()

    async def slow(job: Assigned) -> bytes:
        await trio.sleep(10)
        return b"done"

    worker = Worker(server.dial)
    worker.add("f", slow)
    async with open_client(server.dial) as client:
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run)
            first, second = client.submit("f"), client.submit("f")
            await trio.sleep(1)
            worker.stop()
        assert await first == b"done"
        assert not second.done


async def test_a_worker_that_never_had_a_connection_can_be_stopped() -> None:
    async def refuse() -> trio.abc.Stream:
        raise ConnectionLost("cannot connect: refused")

    worker = Worker(refuse)
    worker.add("f", lambda job: b"")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nursery.start, worker.run)
            await trio.sleep(5)
            await worker.finish()
    async with open_client(refuse, max_jobs=1) as client:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.worker.run)
                await trio.sleep(5)
                client.worker.stop()


async def test_after_a_lost_connection_jobs_are_marked_and_functions_registered_anew() -> None:
    server = Server()
    streams: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        if len(streams) == 1:
            streams.append(streams[0])
            raise ConnectionLost("not yet")
        streams.append(server.attach())
        return streams[-1]

    held: list[Assigned] = []
    log: list[str] = []
    worker = Worker(dial, max_jobs=2)
    worker.take("f", held.append)
    worker.on_connect = lambda name: log.append("up")
    worker.on_disconnect = lambda name: log.append("down")
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        task = client.submit("f")
        await trio.sleep(1)
        (job,) = held
        job.on_lost = lambda: log.append("lost")
        await streams[-1].aclose()
        await trio.sleep(5)
        assert log == ["up", "lost", "down", "up"]
        assert job.lost
        job.send_data(b"into the void")
        job.complete(b"into the void")
        held[1].complete(b"second run")
        assert await task == b"second run"
        nursery.cancel_scope.cancel()


async def test_an_on_lost_that_raises_keeps_no_other_job_from_being_lost() -> None:
    server = Server()
    streams: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        streams.append(server.attach())
        return streams[-1]

    def fail() -> None:
        raise KeyError("on_lost")

    held: list[Assigned] = []
    worker = Worker(dial, max_jobs=2)
    worker.take("f", held.append)
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        client.submit("f")
        client.submit("f")
        await trio.sleep(1)
        first, second = held
        first.on_lost, second.on_lost = fail, lambda: client.submit("g")
        await streams[-1].aclose()
        await trio.sleep(1)
        assert server.broker.functions[b"g"].total == 1
        nursery.cancel_scope.cancel()


async def test_a_job_ends_once() -> None:
    server = Server()

    def twice(job: Assigned) -> None:
        job.complete()
        job.complete()

    caught: list[bool] = []

    async def after(job: Assigned) -> None:
        job.fail()
        with pytest.raises(LocalProtocolError, match="has ended"):
            job.warn(b"")
        caught.append(job.is_ended)

    worker = Worker(server.dial)
    worker.take("twice", twice)
    worker.add("after", after)
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        assert await client.submit("twice") == b""
        with pytest.raises(JobFailed):
            await client.submit("after")
        assert caught == [True]
        nursery.cancel_scope.cancel()


async def test_a_time_limit_is_the_servers_to_keep() -> None:
    server = Server(Options(fail_on_timeout=True))

    async def slow(job: Assigned) -> bytes:
        await trio.sleep(10)
        return b"late"

    worker = Worker(server.dial)
    worker.add("f", slow, timeout=1.5)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with open_client(server.dial) as client:
            await nursery.start(worker.run)
            start = trio.current_time()
            with pytest.raises(JobFailed):
                await client.submit("f")
            assert trio.current_time() - start == pytest.approx(1.5, abs=0.05)
        nursery.cancel_scope.cancel()


async def test_a_job_that_was_on_its_way_when_its_function_was_removed_is_done() -> None:
    server = Server()
    done: list[bytes] = []
    worker = Worker(server.dial, max_jobs=8)

    def leave(job: Assigned) -> None:
        done.append(job.data)
        job.complete()
        if job.data == b"5":  # with several grabs on their way
            assert any(engagement.grabs for engagement in worker._engagements.values())
            worker.remove("f")

    worker.take("f", leave)
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        tasks = [client.submit("f", b"%d" % n) for n in range(40)]
        await tasks[-1].created()
        await nursery.start(worker.run)
        await trio.sleep(1)
        assert len(done) < 40
        assert [task.done for task in tasks] == [str(n).encode() in done for n in range(40)]
        assert all(task.error is None for task in tasks)
        assert server.broker.functions[b"f"].workers == 0
        worker.take("f", leave)
        assert await tasks[-1] == b""
        nursery.cancel_scope.cancel()


async def test_leaving_a_function_waits_for_its_jobs() -> None:
    """gearmand gives a running job to another worker when the one that runs it leaves the function."""
    server = Server()
    release = trio.Event()

    async def slow(job: Assigned) -> bytes:
        await release.wait()
        return b"done"

    worker = Worker(server.dial, max_jobs=2)
    worker.add("f", slow)
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        task = client.submit("f")
        await trio.sleep(1)
        worker.remove_all()
        await trio.sleep(1)
        assert server.broker.functions[b"f"].workers == 1
        release.set()
        assert await task == b"done"
        await trio.sleep(1)
        assert server.broker.functions[b"f"].workers == 0
        nursery.cancel_scope.cancel()


async def test_an_error_that_answers_nothing_does_not_cost_the_worker_its_connection() -> None:
    """A late report is answered by other codes elsewhere (Perl's server, gearman-java)."""
    ours, theirs = trio.testing.memory_stream_pair()
    server = Connection(theirs)
    greeting = [Packet(Type.OPTION_RES, b"exceptions"), Packet(Type.ECHO_RES, b"registered")]
    error_then_job = [
        Packet(Type.ERROR, b"unknown_job\0no such job"),
        Packet.of(Type.JOB_ASSIGN_UNIQ, b"H:1", b"f", b"", b"data"),
    ]

    async def dial() -> trio.abc.Stream:
        return ours

    done: list[bytes] = []
    worker = Worker(dial)
    worker.take("f", lambda job: done.append(job.data))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        for packets in (greeting, error_then_job):
            await theirs.receive_some()
            await server.send_encoded(encode(RESPONSE, *packets))
        await trio.testing.wait_all_tasks_blocked()
        assert done == [b"data"]
        nursery.cancel_scope.cancel()


async def test_a_clients_worker_finishes_before_the_client_is_closed() -> None:
    server = Server()

    async def slow(job: Assigned) -> bytes:
        await trio.sleep(10)
        return b"done"

    async with open_client(server.dial) as other:
        async with open_client(server.dial, max_jobs=2) as client:
            client.worker.add("f", slow)
            task, later = other.submit("f"), other.submit("g")
            await trio.sleep(1)
            await client.worker.finish()
            assert trio.current_time() == pytest.approx(10)
            assert await client.echo(b"still usable") == b"still usable"
            await client.worker.run()  # returns at once
        assert await task == b"done"
        assert not later.done
