"""Payloads and results as streams, in memory and on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from abraxas_py import (
    Assigned,
    ConnectionLost,
    JobFailed,
    JobRaised,
    LocalProtocolError,
    PayloadError,
    Server,
    Unavailable,
    Worker,
    open_client,
)
from abraxas_py.intake import WATCH_INTERVAL, PulledPayload
from abraxas_py.protocol.pull import PIECE_BYTES, Pull, Ticket

pytestmark = pytest.mark.usefixtures("autojump_clock")

LONG = bytes(range(256)) * 8192  # 2 MiB


async def echo(job: Assigned) -> AsyncIterator[bytes]:
    async for piece in job.payload:
        yield piece


async def run_worker(
    nursery: trio.Nursery, server: Server, handler: object, *, stream: bool = True, streaming: bool = True
) -> Worker:
    worker = Worker(server.dial, streaming=streaming, max_jobs=2)
    worker.add("f", handler, stream=stream)  # type: ignore[arg-type]
    await nursery.start(worker.run)
    return worker


async def write(task_payload: trio.abc.SendStream, data: bytes, size: int = 100_000) -> None:
    async with task_payload:
        for at in range(0, len(data), size):
            await task_payload.send_all(data[at : at + size])


async def test_a_long_payload_flows_through_worker_and_back() -> None:
    server = Server()
    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, echo)
        task = client.stream("f")
        nursery.start_soon(write, task.payload, LONG)
        assert b"".join([piece async for piece in task.output]) == LONG
        assert await task == b""
        nursery.cancel_scope.cancel()


async def test_a_plain_handler_gets_a_streamed_payload_whole() -> None:
    server = Server()
    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, lambda job: b"%d" % len(job.data), stream=False)
        task = client.stream("f")
        await write(task.payload, LONG)
        assert await task == b"%d" % len(LONG)
        nursery.cancel_scope.cancel()


async def test_a_short_payload_is_submitted_whole_for_any_worker() -> None:
    server = Server()
    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, lambda job: job.data, stream=False, streaming=False)
        task = client.stream("f")
        await write(task.payload, b"short")
        assert await task == b"short"
        assert list(server.broker.functions) == [b"f"]
        nursery.cancel_scope.cancel()


async def test_without_streaming_mode_a_payload_is_gathered() -> None:
    server = Server()
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, lambda job: job.data, stream=False, streaming=False)
        task = client.stream("f")
        await write(task.payload, LONG)
        assert await task == LONG
        with pytest.raises(LocalProtocolError, match="needs streaming"):
            await client.stream("f").payload.send_all(bytes(64 * 1024 * 1024))
        nursery.cancel_scope.cancel()


async def test_a_non_streaming_worker_sends_its_result_only_at_the_end() -> None:
    server = Server()
    written = trio.Event()

    async def slow(job: Assigned) -> None:
        await job.output.send_all(b"first ")
        written.set()
        await trio.sleep(10)
        await job.output.send_all(b"second")

    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, slow, streaming=False)
        task = client.submit("f")
        await written.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not task._events
        assert await task == b"first second"
        nursery.cancel_scope.cancel()


async def test_a_streaming_worker_sends_at_once() -> None:
    server = Server()

    async def slow(job: Assigned) -> None:
        await job.output.send_all(b"first ")
        await trio.sleep(10)

    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, slow)
        start = trio.current_time()
        output = client.submit("f").output
        assert await output.receive_some(3) == b"fir"
        assert await output.receive_some() == b"st "
        assert trio.current_time() == start
        assert await output.receive_some() == b""
        nursery.cancel_scope.cancel()


async def test_a_writer_waits_for_its_reader() -> None:
    """Nobody reads the payload: writing stops after two pieces."""
    server = Server()
    sent = 0

    async def never(job: Assigned) -> None:
        await trio.sleep_forever()

    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, never)
        payload = client.stream("f").payload
        with trio.move_on_after(60):
            while True:
                await payload.send_all(bytes(PIECE_BYTES))
                sent += 1
        assert sent <= 3
        nursery.cancel_scope.cancel()


async def test_a_handler_that_wants_no_more_ends_the_writing() -> None:
    server = Server()

    async def some(job: Assigned) -> bytes:
        return await job.payload.receive_some(4)

    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, some)
        task = client.stream("f")
        with pytest.raises(trio.BrokenResourceError):
            await write(task.payload, LONG)
        assert await task == LONG[:4]
        nursery.cancel_scope.cancel()


async def test_a_payload_that_breaks_off_ends_both_sides_with_the_reason() -> None:
    server = Server()
    caught: list[Exception] = []

    async def read(job: Assigned) -> None:
        try:
            async for _ in job.payload:
                pass
        except PayloadError as error:
            caught.append(error)
            raise

    async def breaking(size: int) -> AsyncIterator[bytes]:
        yield bytes(size)
        raise OSError("disk gone")

    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, read)
        with pytest.raises(PayloadError, match="disk gone") as raised:
            await client.submit("f", breaking(len(LONG)))
        assert isinstance(raised.value.__cause__, OSError)
        await trio.sleep(1)
        assert len(caught) == 1
        with pytest.raises(PayloadError, match="disk gone"):
            await client.submit("f", breaking(10))
        assert len(caught) == 1
        nursery.cancel_scope.cancel()


async def test_a_client_that_is_gone_ends_the_handler_that_reads_from_it() -> None:
    server = Server()
    caught: list[PayloadError] = []
    begun = trio.Event()

    async def read(job: Assigned) -> None:
        begun.set()
        try:
            async for _ in job.payload:
                pass
        except PayloadError as error:
            caught.append(error)

    async with trio.open_nursery() as nursery:
        await run_worker(nursery, server, read)
        async with open_client(server.dial, streaming=True) as client:
            await client.stream("f").payload.send_all(LONG[: PIECE_BYTES + 1])
            await begun.wait()
            await trio.sleep(1)
        await trio.sleep(3 * WATCH_INTERVAL)
        assert len(caught) == 1
        nursery.cancel_scope.cancel()
    assert [name for name in server.broker.functions if name.startswith(b"abraxas.payload.")] == []


async def test_a_second_worker_is_not_given_a_payload_without_its_beginning() -> None:
    server = Server()
    runs: list[Assigned] = []

    async def read(job: Assigned) -> bytes:
        runs.append(job)
        total = 0
        async for piece in job.payload:
            total += len(piece)
            if len(runs) == 1:
                await job.line.connection.aclose()  # type: ignore[union-attr]
        return b"%d" % total

    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, read, streaming=False)  # so that its job is given away
        task = client.stream("f")
        nursery.start_soon(write_what_is_wanted, task.payload)
        with pytest.raises(JobRaised, match="beginning has gone"):
            await task
        assert len(runs) == 2
        nursery.cancel_scope.cancel()


async def write_what_is_wanted(payload: trio.abc.SendStream) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await write(payload, LONG)


async def test_the_client_of_a_streaming_worker_that_is_lost_is_told_so() -> None:
    server = Server()

    async def lose(job: Assigned) -> None:
        await job.output.send_all(b"beginning")
        await trio.sleep(1)
        await job.line.connection.aclose()  # type: ignore[union-attr]
        await trio.sleep_forever()

    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, lose)
        output = client.submit("f").output
        assert await output.receive_some() == b"beginning"
        with pytest.raises(JobFailed):
            await output.receive_some()
        nursery.cancel_scope.cancel()


async def test_a_streamed_job_takes_no_unique_and_is_not_submitted() -> None:
    server = Server()
    async with open_client(server.dial, streaming=True) as client:
        with pytest.raises(LocalProtocolError, match="takes no unique"):
            client.submit("f", unique="u")
        await client.submit_bg("f", unique="u")
        assert server.broker.functions[b"f"].total == 1


async def test_an_output_that_is_closed_lets_everything_else_flow() -> None:
    server = Server()

    async def flood(job: Assigned) -> None:
        for _ in range(50):
            await job.output.send_all(bytes(100_000))

    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, flood)
        task = client.submit("f")
        output = task.output
        await output.receive_some(1)
        await trio.sleep(1)
        with trio.move_on_after(30) as scope:
            await client.echo(b"behind what nobody reads")
        assert scope.cancelled_caught
        await output.aclose()
        assert await client.echo(b"x") == b"x"
        assert await task == b""
        with pytest.raises(trio.ClosedResourceError):
            await output.receive_some()
        nursery.cancel_scope.cancel()


async def test_a_connection_that_breaks_while_nobody_reads_is_noticed_by_what_is_sent() -> None:
    server = Server()
    streams: list[trio.abc.Stream] = []
    downs: list[str] = []

    async def dial() -> trio.abc.Stream:
        streams.append(server.attach())
        return streams[-1]

    async def flood(job: Assigned) -> None:
        for _ in range(50):
            await job.output.send_all(bytes(100_000))
        await trio.sleep_forever()

    async with open_client(dial, streaming=True) as client, trio.open_nursery() as nursery:
        client.on_disconnect = downs.append
        await run_worker(nursery, server, flood)
        task = client.submit("f")
        await task.output.receive_some(1)
        await trio.sleep(1)  # by now, nothing more is read from the connection
        await streams[0].aclose()
        assert not downs
        with pytest.raises(ConnectionLost):
            await client.echo(b"x")
        assert len(downs) == 1
        assert await client.echo(b"x") == b"x"
        with pytest.raises(ConnectionLost):
            await task
        nursery.cancel_scope.cancel()


async def test_a_payload_that_nobody_can_take_any_more_leaves_nobody_waiting() -> None:
    server = Server()
    async with open_client(server.dial) as client:
        task = client.stream("f")
        await task.payload.send_all(b"x")
    await task.payload.aclose()
    with pytest.raises(Unavailable):
        await task


async def test_a_payload_obeys_trios_rules_for_streams() -> None:
    server = Server()
    async with open_client(server.dial, streaming=True) as client:
        payload = client.stream("f").payload
        await payload.wait_send_all_might_not_block()
        await payload.aclose()
        await payload.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await payload.send_all(b"x")
        with pytest.raises(LocalProtocolError, match=r"use Client\.stream"):
            _ = client.submit("f", b"x").payload


async def test_a_server_without_streaming_mode_is_a_connection_error() -> None:
    errors: list[str] = []

    async def old_server() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(b"\0RES\0\0\0\x13\0\0\0\x10UNKNOWN_OPTION\0x")
        return ours

    async with open_client(old_server, streaming=True, submit_timeout=5) as client:
        client.on_error = lambda error, server: errors.append(f"{type(error).__name__}: {error}")
        with pytest.raises(Unavailable):
            await client.submit("f")
    assert errors[0].startswith("ConnectionLost: ")
    assert "has no streaming mode" in errors[0]


async def test_a_pull_that_nobody_takes_ends_the_reading() -> None:
    """A client that died between two pulls: the server keeps the next one for ever."""
    server = Server()
    caught: list[str] = []

    async def read(job: Assigned) -> None:
        stream = PulledPayload(job.line, Ticket.of("nobody", 1))
        try:
            await stream.receive_some()
        except PayloadError as error:
            caught.append(str(error))

    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, read)
        await client.submit("f")
        assert caught == ["the client is gone"]
        assert trio.current_time() == pytest.approx(2 * WATCH_INTERVAL)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ticket", [b"abraxas.payload.x " + b"1" * 5000, b"abraxas.payload.\0x 5", b"upper 5"])
async def test_a_payload_that_only_begins_like_a_ticket_is_a_payload(ticket: bytes) -> None:
    server = Server()
    payload = b"\0abraxas-payload\0" + ticket
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, lambda job: job.data, stream=False)
        assert await client.submit("f", payload) == payload
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("answer", [b"garbage", b"", b"!\xff"])
async def test_whoever_answers_pulls_with_nonsense_ends_that_job_alone(answer: bytes, stream: bool) -> None:
    server = Server()
    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        client.worker.take("abraxas.payload.evil", lambda job: job.complete(answer))
        await run_worker(nursery, server, echo, stream=stream)
        with pytest.raises(JobRaised, match="PayloadError: "):
            await client.submit("f", b"\0abraxas-payload\0abraxas.payload.evil 5")
        assert await client.submit("f", b"abc") == b"abc"
        nursery.cancel_scope.cancel()


async def test_a_reason_that_is_no_utf_8_reaches_the_worker() -> None:
    with pytest.raises(PayloadError, match="no file caf"):
        Pull.read(Pull.failure("no file caf\udce9"))


async def test_a_pull_with_a_number_beyond_measure_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="not a pull"):
        Pull.parse(b"1 " + b"1" * 5000)


async def test_a_slow_client_is_waited_for() -> None:
    server = Server()

    async def slowly() -> AsyncIterator[bytes]:
        yield bytes(PIECE_BYTES + 1)
        await trio.sleep(100 * WATCH_INTERVAL)
        yield b"at last"

    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, echo)
        assert (await client.submit("f", slowly()))[-7:] == b"at last"
        nursery.cancel_scope.cancel()


async def test_reading_obeys_trios_rules_for_streams() -> None:
    server = Server()

    async def read(job: Assigned) -> bytes:
        first = await job.payload.receive_some(3)
        rest = await job.payload.receive_some()
        assert job.payload is job.payload
        await job.payload.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await job.payload.receive_some()
        return first + b"|" + rest[:3]

    async with open_client(server.dial, streaming=True) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, read)
        assert await client.submit("f", b"abcdef") == b"abc|def"
        task = client.stream("f")
        with pytest.raises(trio.BrokenResourceError):
            await write(task.payload, LONG)
        assert await task == LONG[:3] + b"|" + LONG[3:6]
        nursery.cancel_scope.cancel()


async def test_an_output_that_is_asked_for_late_has_everything() -> None:
    server = Server()

    async def busy(job: Assigned) -> bytes:
        job.send_data(b"a")
        job.status(1, 2)
        job.send_data(b"b")
        return b"c" + job.data

    async with open_client(server.dial) as client, trio.open_nursery() as nursery:
        await run_worker(nursery, server, busy)
        task = client.submit("f")
        await task
        assert b"".join([piece async for piece in task.output]) == b"abc"
        assert await task == b"abc"
        task = client.submit("f", LONG)
        await task
        assert task.output
        assert await client.echo(b"nobody waits for it to be read") == b"nobody waits for it to be read"
        nursery.cancel_scope.cancel()
