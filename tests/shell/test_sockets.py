"""The server over real sockets of this machine: what bytes, limits and broken peers do."""

from __future__ import annotations

import gc
import resource
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from abraxas_py import Connection, Limits, Packet, Server, Type, connect, door, open_admin, open_client, serve
from abraxas_py.broker import Persist
from abraxas_py.journal.sqlite import SqliteJournal
from abraxas_py.protocol.packets import Packet as P
from abraxas_py.protocol.wire import REQUEST, encode

MIB = 1024 * 1024


@asynccontextmanager
async def peer(server: Server) -> AsyncIterator[Connection]:
    connection = Connection(await connect(server.endpoints[0]))
    try:
        yield connection
    finally:
        await connection.aclose()


async def until(condition: object) -> None:
    """Wait for something that another task brings about; the test's own time limit ends it."""
    while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - it is the state of a server, not an event
        await trio.sleep(0.005)


async def read_all(stream: trio.abc.Stream) -> bytes:
    received = b""
    while data := await stream.receive_some():
        received += data
    return received


async def test_fifty_submissions_and_a_close_at_once_are_all_queued() -> None:
    async with serve("127.0.0.1:0") as server, open_admin(server.endpoints[0]) as admin:
        stream = await connect(server.endpoints[0])
        await stream.send_all(encode(REQUEST, *[P.of(Type.SUBMIT_JOB_BG, b"f", b"", b"x")] * 50))
        await stream.aclose()
        await until(lambda: server.broker.jobs)
        assert [(row.function, row.total) for row in await admin.status()] == [(b"f", 50)]


async def test_a_half_closed_client_counts_as_gone() -> None:
    async with serve("127.0.0.1:0") as server:
        stream = await connect(server.endpoints[0])
        await stream.send_all(encode(REQUEST, P.of(Type.SUBMIT_JOB, b"f", b"", b"x")))
        await until(lambda: server.broker.jobs)
        assert isinstance(stream, trio.SocketStream)
        await stream.send_eof()
        await until(lambda: not server.broker.peers)
        assert server.broker.jobs == {}
        await stream.aclose()


async def test_a_peer_that_breaks_in_the_middle_of_a_packet_harms_nobody() -> None:
    async with serve("127.0.0.1:0") as server, peer(server) as other:
        stream = await connect(server.endpoints[0])
        assert isinstance(stream, trio.SocketStream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a farewell
        await stream.send_all(encode(REQUEST, P(Type.ECHO_REQ, bytes(100)))[:50])
        await until(lambda: len(server.broker.peers) == 2)
        await stream.aclose()
        await until(lambda: len(server.broker.peers) == 1)
        await other.send(P(Type.ECHO_REQ, b"x"))
        assert await other.receive() == [Packet(Type.ECHO_RES, b"x")]


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
async def test_a_browser_that_was_sent_here_does_no_harm(request_line: bytes) -> None:
    """Defect G17: the body of a browser's POST would be executed."""
    body = b"maxqueue f 1\n" + encode(REQUEST, P.of(Type.SUBMIT_JOB_BG, b"f", b"", b""))
    async with serve("127.0.0.1:0") as server:
        stream = await connect(server.endpoints[0])
        await stream.send_all(request_line + b"\r\n" + body)
        assert await read_all(stream) == b""
        await stream.aclose()
        assert server.broker.functions == {}


async def test_headers_that_come_without_a_request_line_open_no_way_for_packets() -> None:
    async with serve("127.0.0.1:0") as server:
        stream = await connect(server.endpoints[0])
        await stream.send_all(b"User-Agent: x\n" + encode(REQUEST, P.of(Type.SUBMIT_JOB_BG, b"f", b"", b"")))
        assert (await read_all(stream)).startswith(b"ERR UNKNOWN_COMMAND")
        await stream.aclose()
        assert server.broker.functions == {}


@pytest.mark.parametrize("is_kept", [False, True])
async def test_a_drain_ends_when_the_last_results_have_left(
    is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)  # hypothesis looks through what the collector knows
    server = Server(journal=SqliteJournal(tmp_path / "queue") if is_kept else None)
    result = bytes(32 * MIB)  # more than any socket's buffer takes
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, ["127.0.0.1:0"])
        async with peer(server) as worker, peer(server) as client:
            for type in (Type.SUBMIT_JOB_BG, Type.SUBMIT_JOB):
                await client.send(P.of(type, b"f", b"unique", b""))
                assert len(await client.receive()) == 1
            await worker.send(P(Type.CAN_DO, b"f"), P(Type.GRAB_JOB))
            (assigned,) = await worker.receive()
            assert isinstance(assigned, Packet)
            server.stop(drain=True)
            await worker.send(P.of(Type.WORK_COMPLETE, assigned.split()[0], result))
            await until(lambda: server.broker.is_drained)
            await trio.sleep(0.1)
            (told,) = await client.receive()
            assert isinstance(told, Packet)
            assert len(told.body) == len(assigned.split()[0]) + 1 + len(result)
            assert await client.receive() == []


async def test_a_message_that_does_not_go_on_is_given_up() -> None:
    async with serve("127.0.0.1:0", limits=Limits(incomplete_timeout=0.1)) as server:
        stream, idle = await connect(server.endpoints[0]), await connect(server.endpoints[0])
        await stream.send_all(b"\0REQ")
        assert await stream.receive_some() == b""
        assert server.counters.stalled == 1
        assert len(server.broker.peers) == 1
        await idle.aclose()
        await stream.aclose()


async def test_a_header_that_announces_4_gib_is_refused_without_reserving_anything() -> None:
    async with serve("127.0.0.1:0") as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        stream = await connect(server.endpoints[0])
        await stream.send_all(b"\0REQ" + struct.pack(">II", 7, 0xFFFFFFFF) + bytes(100))
        assert await stream.receive_some() == b""
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024
        await stream.aclose()


async def the_third_is_refused(server: Server) -> None:
    """Two are served beside it, and others once they have gone."""
    async with peer(server) as one, peer(server), peer(server) as third:
        assert await third.receive() == []
        await one.send(P(Type.ECHO_REQ))
        assert await one.receive() == [Packet(Type.ECHO_RES)]
        assert server.counters.refused == 1
    await until(lambda: not server.broker.peers)
    async with peer(server) as again:
        await again.send(P(Type.ECHO_REQ))
        assert await again.receive() == [Packet(Type.ECHO_RES)]


async def test_too_many_connections_are_refused_and_the_others_served() -> None:
    async with serve("127.0.0.1:0", limits=Limits(connections=2)) as server:
        await the_third_is_refused(server)


async def test_one_address_cannot_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "is_local", lambda host: False)  # this machine's own addresses have no such limit
    async with serve("127.0.0.1:0", limits=Limits(connections_per_address=2)) as server:
        await the_third_is_refused(server)


async def test_a_peer_that_asks_and_never_reads_is_not_listened_to() -> None:
    """What it would have to be sent is bounded by the soft limit; it is let be, and served again when it reads."""
    async with serve("127.0.0.1:0", limits=Limits(soft_outbox_bytes=MIB)) as server, trio.open_nursery() as nursery:
        stream = await connect(server.endpoints[0])
        echo = encode(REQUEST, P(Type.ECHO_REQ, bytes(MIB)))
        nursery.start_soon(stream.send_all, echo * 64)
        await until(lambda: any(link.outbox_bytes > MIB for link in server._links.values()))
        await trio.sleep(0.1)
        assert max(link.outbox_bytes for link in server._links.values()) < 3 * MIB
        received = 0
        while received < 64 * (MIB + 12):
            received += len(await stream.receive_some(MIB))
        await stream.aclose()


async def test_a_client_that_never_reads_is_closed_before_it_takes_much_memory() -> None:
    limits = Limits(soft_outbox_bytes=MIB, hard_outbox_bytes=4 * MIB)
    async with serve("127.0.0.1:0", limits=limits) as server, peer(server) as worker, peer(server) as other:
        stuck = await connect(server.endpoints[0])
        await stuck.send_all(encode(REQUEST, P.of(Type.SUBMIT_JOB, b"f", b"", b"")))
        await until(lambda: server.broker.jobs)
        await worker.send(P(Type.CAN_DO, b"f"), P(Type.GRAB_JOB))
        (assigned,) = await worker.receive()
        assert isinstance(assigned, Packet)
        data = encode(REQUEST, P.of(Type.WORK_DATA, assigned.split()[0], bytes(MIB)))
        most = 0
        for _ in range(40):
            await worker.send_encoded(data)
            most = max(most, *(link.outbox_bytes for link in server._links.values()))
        assert most <= 6 * MIB
        await until(lambda: server.counters.overflowed == 1)
        await other.send(P(Type.ECHO_REQ, b"x"))
        assert await other.receive() == [Packet(Type.ECHO_RES, b"x")]
        await stuck.aclose()


async def test_what_came_together_with_what_a_closed_peer_did_not_read_is_passed_over() -> None:
    limits = Limits(soft_outbox_bytes=1000, hard_outbox_bytes=4000)
    async with serve("127.0.0.1:0", limits=limits) as server:
        stream = await connect(server.endpoints[0])
        echo = P(Type.ECHO_REQ, bytes(3000))
        await stream.send_all(encode(REQUEST, echo, echo, echo, P.of(Type.SUBMIT_JOB_BG, b"f", b"", b"")))
        assert await read_all(stream) == b""
        await stream.aclose()
        assert server.counters.overflowed == 1
        assert server.broker.functions == {}


class Holding(SqliteJournal):
    """On a disk that answers when it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.answers = threading.Event()

    def commit(self, changes: Sequence[Persist]) -> None:
        if changes:
            self.answers.wait(60)
        super().commit(changes)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Holding]:
    monkeypatch.setattr(gc, "freeze", lambda: None)  # hypothesis looks through what the collector knows
    journal = Holding(tmp_path / "queue")
    yield journal
    journal.answers.set()


async def test_what_waits_for_the_disk_counts_as_unread_and_its_peer_is_not_listened_to(journal: Holding) -> None:
    server = Server(limits=Limits(soft_outbox_bytes=MIB), journal=journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, ["127.0.0.1:0"])
        stream = await connect(server.endpoints[0])
        await stream.send_all(encode(REQUEST, P.of(Type.SUBMIT_JOB_BG, b"f", b"", b"")))
        echo = encode(REQUEST, P(Type.ECHO_REQ, bytes(MIB)))
        nursery.start_soon(stream.send_all, echo * 32)
        await until(lambda: any(link.unread_bytes > MIB for link in server._links.values()))
        await trio.sleep(0.2)
        (link,) = server._links.values()
        assert link.unread_bytes < 4 * MIB
        journal.answers.set()
        received = 0
        while received < 32 * (MIB + 12):
            received += len(await stream.receive_some(MIB))
        assert link.withheld_bytes == 0
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_a_client_that_gets_too_much_behind_what_waits_for_the_disk_is_closed(journal: Holding) -> None:
    limits = Limits(soft_outbox_bytes=MIB, hard_outbox_bytes=4 * MIB)
    server = Server(limits=limits, journal=journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, ["127.0.0.1:0"])
        async with peer(server) as worker, peer(server) as client:
            await client.send(P.of(Type.SUBMIT_JOB, b"f", b"", b""), P.of(Type.SUBMIT_JOB_BG, b"g", b"", b""))
            assert len(await client.receive()) == 1
            await worker.send(P(Type.CAN_DO, b"f"), P(Type.GRAB_JOB))
            (assigned,) = await worker.receive()
            assert isinstance(assigned, Packet)
            data = encode(REQUEST, P.of(Type.WORK_DATA, assigned.split()[0], bytes(MIB)))
            for _ in range(8):
                await worker.send_encoded(data)
            assert await client.receive() == []
            assert server.counters.overflowed == 1
        journal.answers.set()
        nursery.cancel_scope.cancel()


async def test_a_streaming_worker_waits_for_a_client_that_reads_slowly() -> None:
    limits = Limits(soft_outbox_bytes=MIB, hard_outbox_bytes=4 * MIB)
    async with serve("127.0.0.1:0", limits=limits) as server, peer(server) as worker:
        slow = await connect(server.endpoints[0])
        await slow.send_all(encode(REQUEST, P.of(Type.SUBMIT_JOB, b"f", b"", b"")))
        await until(lambda: server.broker.jobs)
        await worker.send(P(Type.OPTION_REQ, b"streaming"), P(Type.CAN_DO, b"f"), P(Type.GRAB_JOB))
        answers = []
        while len(answers) < 2:
            answers += await worker.receive()
        assert isinstance(answers[1], Packet)
        handle = answers[1].split()[0]
        most = 0

        async def pour() -> None:
            nonlocal most
            for _ in range(40):
                await worker.send(P.of(Type.WORK_DATA, handle, bytes(MIB)))
                most = max(most, *(link.outbox_bytes for link in server._links.values()))
            await worker.send(P.of(Type.WORK_COMPLETE, handle, b""))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour)
            await trio.sleep(0.2)
            received = 0
            while received < 40 * MIB:
                received += len(await slow.receive_some(MIB))
        assert most <= 3 * MIB
        assert server.counters.overflowed == 0
        await slow.aclose()


async def test_a_streaming_worker_is_freed_when_the_client_that_it_waited_for_is_gone() -> None:
    limits = Limits(soft_outbox_bytes=MIB)
    async with serve("127.0.0.1:0", limits=limits) as server, peer(server) as worker:
        slow = await connect(server.endpoints[0])
        await slow.send_all(encode(REQUEST, P.of(Type.SUBMIT_JOB, b"f", b"", b"")))
        await until(lambda: server.broker.jobs)
        await worker.send(P(Type.OPTION_REQ, b"streaming"), P(Type.CAN_DO, b"f"), P(Type.GRAB_JOB))
        answers = []
        while len(answers) < 2:
            answers += await worker.receive()
        assert isinstance(answers[1], Packet)
        async with trio.open_nursery() as nursery:
            data = P.of(Type.WORK_DATA, answers[1].split()[0], bytes(MIB))
            nursery.start_soon(worker.send, *[data] * 30, P(Type.ECHO_REQ, b"free"))
            await until(lambda: server._held)
            await slow.aclose()
            assert await worker.receive() == [Packet(Type.ECHO_RES, b"free")]
        assert server._held == {}


async def test_what_comes_while_a_pass_is_under_way_is_answered_together_with_it() -> None:
    async with serve("127.0.0.1:0") as server, peer(server) as one:
        await one.send(P(Type.ECHO_REQ))
        await one.receive()
        host, _, port = server.endpoints[0].rpartition(":")
        with socket.create_connection((host, int(port))) as other:
            await until(lambda: len(server.broker.peers) == 2)
            poll, flush = server._poll, server._flush
            together: list[int] = []

            def poll_and_cause_more(timeout: float) -> list[tuple[int, int]]:
                ready = poll(timeout)
                if ready and not together:
                    together.append(0)
                    other.sendall(encode(REQUEST, P(Type.ECHO_REQ)))
                return ready

            def flush_and_count() -> None:
                together.append(len(server._touched))
                flush()

            server._poll, server._flush = poll_and_cause_more, flush_and_count  # type: ignore[method-assign]
            await one.send(P(Type.ECHO_REQ))
            await one.receive()
            assert together[:2] == [0, 2]


async def test_epoch_jobs_are_given_out_within_50_ms_of_their_second() -> None:
    """The soonest of three: a machine that has slept may itself take as long to wake."""
    async with serve("127.0.0.1:0") as server, peer(server) as worker, open_client(server.endpoints[0]) as client:
        await client.echo(b"")
        await worker.send(P(Type.CAN_DO, b"f"))
        late = []
        for _ in range(3):
            when = int(server.now) + 2
            await worker.send(P(Type.PRE_SLEEP), P.of(Type.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % when, b""))
            assert (await worker.receive())[0].type is Type.JOB_CREATED  # type: ignore[union-attr]
            assert await worker.receive() == [Packet(Type.NOOP)]
            late.append(server.now - when)
            await worker.send(P(Type.GRAB_JOB))
            assert (await worker.receive())[0].type is Type.JOB_ASSIGN  # type: ignore[union-attr]
        assert min(late) >= 0
        assert min(late) < 0.05


async def test_out_of_descriptors_the_server_goes_on_and_accepts_again_later() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serve("127.0.0.1:0") as server, peer(server) as one:
        await one.send(P(Type.ECHO_REQ))
        await one.receive()
        waiting = socket.create_connection(("127.0.0.1", int(server.endpoints[0].rpartition(":")[2])))
        await until(lambda: len(server.broker.peers) == 2)
        late = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (late.fileno() + 1, hard))
        try:
            late.connect(waiting.getpeername())
            await until(lambda: server._door.again_at < float("inf"))
            await one.send(P(Type.ECHO_REQ))
            assert await one.receive() == [Packet(Type.ECHO_RES)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: len(server.broker.peers) == 3)
        waiting.close()
        late.close()


async def test_a_refused_peer_that_never_reads_is_given_up() -> None:
    limits = Limits(incomplete_timeout=0.2, soft_outbox_bytes=64 * MIB, hard_outbox_bytes=64 * MIB)
    async with serve("127.0.0.1:0", limits=limits) as server:
        stuck = await connect(server.endpoints[0])
        await stuck.send_all(encode(REQUEST, *[P(Type.ECHO_REQ, bytes(MIB))] * 32) + b"GET / HTTP/1.1\n")
        await until(lambda: any(link.is_closing and link.outbox for link in server._links.values()))
        await until(lambda: not server._links)
        await trio.aclose_forcefully(stuck)


async def test_a_peer_is_not_given_up_because_the_server_itself_does_not_read_on() -> None:
    limits = Limits(incomplete_timeout=1.5, soft_outbox_bytes=MIB)
    async with serve("127.0.0.1:0", limits=limits) as server, trio.open_nursery() as nursery:
        slow = await connect(server.endpoints[0])
        nursery.start_soon(slow.send_all, encode(REQUEST, *[P(Type.ECHO_REQ, bytes(MIB))] * 32))
        await until(lambda: any(link.outbox_bytes > MIB for link in server._links.values()))
        await trio.sleep(3.5)
        received = 0
        while received < 32 * (MIB + 12):
            received += len(await slow.receive_some(MIB))
        await slow.aclose()
