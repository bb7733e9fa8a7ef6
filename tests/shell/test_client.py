"""The client against a server in memory, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.lowlevel
import trio.testing

import abraxas_py
from abraxas_py import (
    Client,
    Connection,
    ConnectionLost,
    Data,
    JobFailed,
    JobRaised,
    JobStatus,
    LocalProtocolError,
    Packet,
    Priority,
    RemoteProtocolError,
    Server,
    ServerError,
    Status,
    Task,
    Type,
    Unavailable,
    Warning,
    Worker,
    open_client,
)
from abraxas_py.protocol.wire import RESPONSE, encode

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Hand:
    """A worker that is moved by hand."""

    def __init__(self, server: Server) -> None:
        self.connection = Connection(server.attach())

    async def take(self, function: bytes) -> list[bytes]:
        """Wait for a job; its handle and data."""
        await self.connection.send(Packet(Type.CAN_DO, function), Packet(Type.PRE_SLEEP))
        assert await self.connection.receive() == [Packet(Type.NOOP)]
        await self.connection.send(Packet(Type.GRAB_JOB_UNIQ))
        (assigned,) = await self.connection.receive()
        assert isinstance(assigned, Packet)
        return assigned.split()

    async def say(self, type: Type, *arguments: bytes) -> None:
        await self.connection.send(Packet.of(type, *arguments))


async def test_a_task_is_iterated_for_events_and_awaited_for_its_result() -> None:
    server = Server()
    async with open_client(server.dial) as client:
        task = client.submit("f", b"x")
        hand = Hand(server)
        handle, _, _, data = await hand.take(b"f")
        assert data == b"x"
        assert await task.created() == handle == task.handle
        await hand.say(Type.WORK_STATUS, handle, b"1", b"2")
        await hand.say(Type.WORK_DATA, handle, b"piece")
        await hand.say(Type.WORK_WARNING, handle, b"careful")
        await hand.say(Type.WORK_COMPLETE, handle, b"end")
        assert [event async for event in task] == [Status(b"1", b"2"), Data(b"piece"), Warning(b"careful")]
        assert await task == b"end"
        assert task.done


async def test_a_task_that_is_only_awaited_gives_all_the_data() -> None:
    server = Server()
    async with open_client(server.dial) as client:
        task = client.submit(b"f")
        hand = Hand(server)
        handle, *_ = await hand.take(b"f")
        await hand.say(Type.WORK_DATA, handle, b"a")
        await hand.say(Type.WORK_DATA, handle, b"b")
        await hand.say(Type.WORK_COMPLETE, handle, b"c")
        assert await task == b"abc"
        assert await task == b"abc"


async def test_data_that_is_iterated_for_is_not_in_the_result_however_soon_the_job_ended() -> None:
    server = Server()
    async with open_client(server.dial) as client:
        iterated, awaited = client.submit("f"), client.submit("f")
        hand = Hand(server)
        for _ in range(2):
            handle, *_ = await hand.take(b"f")
            await hand.say(Type.WORK_DATA, handle, b"piece")
            await hand.say(Type.WORK_COMPLETE, handle, b"end")
        await trio.sleep(1)
        assert iterated.done
        assert awaited.done
        assert [event async for event in iterated] == [Data(b"piece")]
        assert await iterated == b"end"
        assert await awaited == b"pieceend"
        assert [event async for event in awaited] == [Data(b"piece")]
        assert await awaited == b"pieceend"


async def test_a_failed_job_raises_what_its_worker_said() -> None:
    server = Server()
    async with open_client(server.dial) as client:
        failing, raising = client.submit("f"), client.submit("f")
        hand = Hand(server)
        handle, *_ = await hand.take(b"f")
        await hand.say(Type.WORK_FAIL, handle)
        handle, *_ = await hand.take(b"f")
        await hand.say(Type.WORK_EXCEPTION, handle, b"oops")
        with pytest.raises(JobFailed):
            await failing
        with pytest.raises(JobRaised, match="oops") as raised:
            await raising
        assert raised.value.data == b"oops"


async def test_a_refused_job_raises_the_servers_error() -> None:
    server = Server()
    async with open_client(server.dial) as client:
        with pytest.raises(ServerError, match="INVALID_FUNCTION_NAME"):
            await client.submit("a b")
        with pytest.raises(ServerError, match="INVALID_FUNCTION_NAME"):
            await client.submit_bg("a b")
        assert await client.echo(b"x") == b"x"


async def test_on_end_is_called_exactly_once_however_a_job_ends() -> None:
    server = Server()
    ended: list[Task] = []
    async with open_client(server.dial) as client:
        done = client.submit("f", on_end=ended.append)
        refused = client.submit("a b", on_end=ended.append)
        hand = Hand(server)
        handle, *_ = await hand.take(b"f")
        await hand.say(Type.WORK_COMPLETE, handle, b"x")
        await done
        lost = client.submit("g", on_end=ended.append)
        await lost.created()
    assert ended == [refused, done, lost]
    assert isinstance(lost.error, ConnectionLost)
    assert (done.result, done.error) == (b"x", None)


async def test_priorities_and_uniques_are_the_servers() -> None:
    server = Server()
    async with open_client(server.dial) as client:
        client.submit("f", b"low", priority=Priority.LOW)
        client.submit("f", b"high", unique=b"u", priority=Priority.HIGH)
        joined = client.submit("f", b"never seen", unique=b"u")
        await joined.created()
        status = await client.get_status_unique(b"u")
        assert status == JobStatus(True, False, b"0", b"0", 2)
        assert await client.get_status(joined.handle) == JobStatus(True, False, b"0", b"0")
        assert not (await client.get_status(b"H:nope")).known
        hand = Hand(server)
        handle, _, _, data = await hand.take(b"f")
        assert data == b"high"
        await hand.say(Type.WORK_COMPLETE, handle, b"y")
        assert await joined == b"y"


async def test_what_cannot_be_said_is_the_callers_fault() -> None:
    async with open_client(Server().dial) as client:
        for arguments in [("", b""), ("f" * 513, b""), ("a\0b", b"")]:
            with pytest.raises(LocalProtocolError):
                client.submit(*arguments)
        for unique in [b"u" * 65, b"a\0b"]:
            for data in [b"", some_pieces()]:
                with pytest.raises(LocalProtocolError, match="a unique has"):
                    client.submit("f", data, unique=unique)
            with pytest.raises(LocalProtocolError, match="a unique has"):
                await client.get_status_unique(unique)
        with pytest.raises(LocalProtocolError, match="a function's name"):
            client.submit("f", some_pieces(), reducer="r" * 513)


async def some_pieces() -> AsyncIterator[bytes]:
    yield b"abc"


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_stream_that_is_submitted_to_a_closed_client_ends(streaming: bool) -> None:
    async with open_client(Server().dial, streaming=streaming) as client:
        pass
    with pytest.raises(Unavailable, match="client was closed"):
        await client.submit("f", some_pieces())
    task = client.stream("f")
    with pytest.raises(trio.BrokenResourceError):
        await task.payload.send_all(bytes(1024 * 1024))
    with pytest.raises(Unavailable, match="client was closed"):
        await task


# Connections that come and go


class Line:
    """A way to a server that can be cut and mended."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.is_up = True
        self.streams: list[trio.abc.Stream] = []

    async def dial(self) -> trio.abc.Stream:
        if not self.is_up:
            raise ConnectionLost("cannot connect to line: refused")
        self.streams.append(self.server.attach())
        return self.streams[-1]

    async def cut(self) -> None:
        self.is_up = False
        await self.streams[-1].aclose()


async def ready(client: Client) -> None:
    await client.echo(b"")


@pytest.mark.parametrize("word", [b"yes", b"", b"9" * 5_000])
async def test_a_status_without_numbers_is_the_servers_fault(word: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def dial() -> trio.abc.Stream:
        return ours

    async def answer() -> None:
        await theirs.receive_some()
        await trio.testing.wait_all_tasks_blocked()
        status = Packet.of(Type.STATUS_RES_UNIQUE, b"u", word, b"0", b"0", b"0", b"1")
        await theirs.send_all(encode(RESPONSE, Packet(Type.OPTION_RES, b"exceptions"), status))

    async with open_client(dial) as client, trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(RemoteProtocolError, match="not a number"):
            await client.get_status_unique("u")


async def test_a_lost_connection_ends_the_jobs_that_were_sent_and_the_client_comes_back() -> None:
    line = Line(Server())
    log: list[str] = []
    async with open_client(line.dial) as client:
        client.on_connect = lambda name: log.append("up")
        client.on_disconnect = lambda name: log.append("down")
        task = client.submit("f")
        await task.created()
        await line.cut()
        with pytest.raises(ConnectionLost, match="lost before the answer came"):
            await task
        later = client.submit("f")
        await trio.sleep(60)
        assert not later.done
        line.is_up = True
        assert await later.created()
    assert log == ["up", "down", "up", "down"]


@pytest.mark.parametrize("callback", ["on_connect", "on_disconnect", "on_error"])
async def test_callbacks_that_raise_end_neither_client_nor_worker(
    callback: str, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(Server())
    worker = Worker(line.dial)
    worker.add("f", lambda job: b"done")

    def fail(*news: object) -> None:
        raise KeyError(callback)

    setattr(worker, callback, fail)
    async with open_client(line.dial) as client, trio.open_nursery() as nursery:
        setattr(client, callback, fail)
        await nursery.start(worker.run)
        await ready(client)
        line.is_up = False
        for stream in line.streams:
            await stream.aclose()
        await trio.sleep(60)
        line.is_up = True
        assert await client.submit("f") == b"done"
        nursery.cancel_scope.cancel()
    assert {record.message for record in caplog.records if record.levelname == "ERROR"} == {
        "a callback raised server=Line.dial"
    }


async def test_a_job_that_cannot_be_sent_in_time_was_not_submitted() -> None:
    line = Line(Server())
    line.is_up = False
    async with open_client(line.dial, submit_timeout=5) as client:
        start = trio.current_time()
        with pytest.raises(Unavailable, match="nothing was submitted"):
            await client.submit("f")
        assert trio.current_time() - start == pytest.approx(5)
        line.is_up = True
        await ready(client)
    assert line.server.broker.functions == {}


async def test_a_submission_that_is_given_up_before_it_was_sent_is_not_submitted_later() -> None:
    line = Line(Server())
    line.is_up = False
    async with open_client(line.dial) as client:
        for _ in range(3):
            with trio.move_on_after(1) as scope:
                await client.submit_bg("mail", b"letter")
            assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert client._lines._waiting == []
        line.is_up = True
        await client.submit_bg("mail", b"letter")
    assert line.server.broker.functions[b"mail"].total == 1


async def test_jobs_go_round_the_servers_that_live() -> None:
    lines = [Line(Server()), Line(Server())]
    async with open_client(lines[0].dial, lines[1].dial) as client:
        await trio.sleep(1)
        for _ in range(4):
            await client.submit_bg("f")
        assert [line.server.broker.functions[b"f"].total for line in lines] == [2, 2]
        await lines[0].cut()
        await trio.lowlevel.checkpoint()
        for _ in range(4):
            await client.submit_bg("f")
        assert [line.server.broker.functions[b"f"].total for line in lines] == [2, 6]


async def test_a_client_that_is_closed_leaves_nobody_waiting() -> None:
    line = Line(Server())
    line.is_up = False
    async with open_client(line.dial) as client:
        task = client.submit("f")
    with pytest.raises(Unavailable):
        await task


async def test_a_job_can_be_iterated_after_its_end() -> None:
    async with abraxas_py.serve() as server, open_client(server.dial) as client:
        task = client.submit("f")
        hand = Hand(server)
        handle, *_ = await hand.take(b"f")
        await hand.say(Type.WORK_DATA, handle, b"a")
        await hand.say(Type.WORK_FAIL, handle)
        assert [event async for event in task] == [Data(b"a")]
        with pytest.raises(JobFailed):
            await task
