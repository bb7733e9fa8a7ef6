"""The server over attached peers, on a clock that jumps."""

from __future__ import annotations

import gc
import socket
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from abraxas_py import Assigned, Connection, Limits, Line, Options, Packet, Server, Type, Worker, cli, serve
from abraxas_py.connection import RECEIVE_BYTES
from abraxas_py.journal.sqlite import SqliteJournal
from abraxas_py.protocol.wire import REQUEST, encode


async def ask(connection: Connection, *packets: Packet | Line) -> list[Packet | Line]:
    await connection.send(*packets)
    return await connection.receive()


async def test_an_attached_peer_is_answered_by_the_time_it_has_written(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    stream = server.attach()
    await stream.send_all(encode(REQUEST, Packet(Type.ECHO_REQ, b"x")))
    with trio.fail_after(0.001):
        assert await Connection(stream).receive() == [Packet(Type.ECHO_RES, b"x")]


async def test_what_one_attached_peer_writes_wakes_another(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    worker, client = Connection(server.attach()), Connection(server.attach())
    await worker.send(Packet(Type.CAN_DO, b"f"), Packet(Type.PRE_SLEEP))
    async with trio.open_nursery() as nursery:
        woken: list[object] = []

        async def listen() -> None:
            woken.extend(await worker.receive())

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        await client.send(Packet.of(Type.SUBMIT_JOB, b"f", b"", b""))
    assert woken == [Packet(Type.NOOP)]


async def test_the_brokers_timers_fire_while_it_is_served(autojump_clock: trio.testing.MockClock) -> None:
    async with serve() as server:
        worker, client = Connection(server.attach()), Connection(server.attach())
        await worker.send(Packet(Type.CAN_DO, b"f"), Packet(Type.PRE_SLEEP))
        when = int(server.now) + 3600
        await client.send(Packet.of(Type.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % when, b""))
        assert await worker.receive() == [Packet(Type.NOOP)]
        assert when <= server.now < when + 0.05


async def test_a_peer_that_leaves_is_forgotten_and_its_work_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    client, stream, second = Connection(server.attach()), server.attach(), Connection(server.attach())
    worker = Connection(stream)
    await worker.send(Packet(Type.CAN_DO, b"f"))
    await second.send(Packet(Type.CAN_DO, b"f"), Packet(Type.PRE_SLEEP))
    await client.send(Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b"x"))
    assert await second.receive() == [Packet(Type.NOOP)]
    (assigned,) = await ask(worker, Packet(Type.GRAB_JOB))
    assert isinstance(assigned, Packet)
    assert assigned.type is Type.JOB_ASSIGN
    assert await ask(second, Packet(Type.GRAB_JOB), Packet(Type.PRE_SLEEP)) == [Packet(Type.NO_JOB)]
    await stream.aclose()
    assert await second.receive() == [Packet(Type.NOOP)]
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


async def test_a_malformed_packet_harms_only_its_connection() -> None:
    server = Server()
    bad, good = server.attach(), Connection(server.attach())
    await bad.send_all(b"\0REQ\xff\xff\xff\xff\xff\xff\xff\xff")
    assert await bad.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await bad.send_all(b"x")
    assert await ask(good, Packet(Type.ECHO_REQ)) == [Packet(Type.ECHO_RES)]


async def test_admin_lines_that_come_together_are_answered_together() -> None:
    server = Server(Options(version="9.9"))
    stream = server.attach()
    await stream.send_all(b"status\nversion\n")
    assert await stream.receive_some() == b".\nOK 9.9\n"


@pytest.mark.parametrize("prefix", ["", "here"])
async def test_handles_are_unlike_those_of_another_start(prefix: str) -> None:
    one, other = Server(handle_prefix=prefix), Server(handle_prefix=prefix)
    handles = set()
    for server in (one, other):
        (created,) = await ask(Connection(server.attach()), Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b""))
        assert isinstance(created, Packet)
        assert created.body.startswith(prefix.encode() or b"H:")
        handles.add(created.body)
        assert len(created.body) <= 63
    assert len(handles) == 2


async def test_cancelling_the_server_closes_its_peers(autojump_clock: trio.testing.MockClock) -> None:
    async with serve() as server:
        stream = server.attach()
    assert await stream.receive_some() == b""


async def test_draining_waits_for_the_jobs_that_run(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = Server()
        await nursery.start(server.serve)
        worker = Connection(server.attach())
        await worker.send(Packet(Type.CAN_DO, b"f"), Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b""))
        await worker.send(Packet(Type.GRAB_JOB))
        created, assigned = await worker.receive()
        assert isinstance(assigned, Packet)
        server.stop(drain=True)
        await trio.sleep(100)
        await worker.send(Packet.of(Type.WORK_COMPLETE, assigned.split()[0], b""))
    assert await worker.receive() == []
    assert created == Packet(Type.JOB_CREATED, assigned.split()[0])


async def test_a_drain_ends_however_many_jobs_wait(autojump_clock: trio.testing.MockClock) -> None:
    begun = 0

    async def work(job: Assigned) -> bytes:
        nonlocal begun
        begun += 1
        await trio.sleep(1)
        return b""

    async with trio.open_nursery() as nursery:
        server, has_ended = Server(), trio.Event()

        async def run(task_status: trio.TaskStatus[list[str]]) -> None:
            await server.serve(task_status=task_status)
            has_ended.set()

        await nursery.start(run)
        client = Connection(server.attach())
        await client.send(*[Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b"")] * 30)
        worker = Worker(server.dial, max_jobs=2)
        worker.add("f", work)
        nursery.start_soon(worker.run)
        await trio.sleep(0.5)
        assert begun == 2
        server.stop(drain=True)
        await trio.sleep(1)
        assert has_ended.is_set()
        assert (begun, len(server.broker.jobs)) == (2, 28)
        nursery.cancel_scope.cancel()


async def test_a_server_that_is_served_again_wakes_workers_for_what_a_drain_withheld(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    server.stop(drain=True)
    worker = Connection(server.attach())
    created = await ask(worker, Packet(Type.CAN_DO, b"f"), Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b""))
    await worker.send(Packet(Type.PRE_SLEEP))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        with trio.fail_after(0.01):
            assert await worker.receive() == [Packet(Type.NOOP)]
        nursery.cancel_scope.cancel()
    assert [packet.type for packet in created if isinstance(packet, Packet)] == [Type.JOB_CREATED]


@pytest.mark.parametrize("drain", [True, False])
async def test_a_stop_while_the_queue_is_restored_opens_no_door(
    drain: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)  # hypothesis looks through what the collector knows
    server = stopped_while_restoring(tmp_path / "queue", drain=drain)
    with trio.fail_after(5):
        await server.serve(["127.0.0.1:0"])
    assert server.endpoints == []


def stopped_while_restoring(queue: Path, *, drain: bool) -> Server:
    class Stopping(SqliteJournal):
        def open(self) -> int:
            trio.from_thread.run_sync(partial(server.stop, drain=drain))
            return super().open()

    server = Server(journal=Stopping(queue))
    return server


async def test_a_command_that_is_stopped_while_its_queue_is_restored_does_not_say_that_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with trio.fail_after(5):
            await cli.serve(stopped_while_restoring(tmp_path / "queue", drain=True), cli.parse(["-p", "0"]))
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
    assert capfd.readouterr().err == ""


async def test_shutdown_is_answered_before_the_server_stops(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = Server()
        await nursery.start(server.serve)
        stream = server.attach()
        await stream.send_all(b"shutdown\n")
        assert await stream.receive_some() == b"OK\r\n"
    assert await stream.receive_some() == b""


async def test_a_great_result_passes_in_pieces() -> None:
    server = Server(limits=Limits(packet_bytes=10_000_000))
    connection = Connection(server.attach())
    body = bytes(9_000_000)
    assert await ask(connection, Packet(Type.ECHO_REQ, body)) == [Packet(Type.ECHO_RES, body)]
    assert len(body) > 100 * RECEIVE_BYTES
