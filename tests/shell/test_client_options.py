"""What `open_client`, `Worker` and `Target` can be told, in memory and on a clock that jumps."""

from __future__ import annotations

from itertools import islice, repeat
from math import inf, nan

import pytest
import trio
import trio.testing

from abraxas_py import (
    Assigned,
    ConnectionLost,
    Line,
    LocalProtocolError,
    Packet,
    Priority,
    ResponseTimeout,
    Server,
    ServerError,
    Target,
    Type,
    Unavailable,
    Worker,
    backoff,
    open_admin,
    open_client,
)
from abraxas_py.protocol.wire import REQUEST, RESPONSE, encode

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Road:
    """A way to a server that can be closed and opened."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.is_open = True
        self.streams: list[trio.abc.Stream] = []
        self.attempts: list[float] = []

    async def dial(self) -> trio.abc.Stream:
        self.attempts.append(trio.current_time())
        if not self.is_open:
            raise ConnectionLost("cannot connect: refused")
        self.streams.append(self.server.attach())
        return self.streams[-1]

    async def close(self) -> None:
        self.is_open = False
        for stream in self.streams:
            await stream.aclose()


async def test_a_job_that_is_not_answered_in_time_ends_and_a_late_answer_harms_nobody() -> None:
    server = Server()
    async with open_client(server.dial, response_timeout=5, max_jobs=9) as client:
        held: list[Assigned] = []
        client.worker.take("f", held.append)
        start = trio.current_time()
        with pytest.raises(ResponseTimeout, match="within 5 s"):
            await client.submit("f")
        with pytest.raises(ResponseTimeout, match="within 2 s"):
            await client.submit("f", response_timeout=2)
        assert trio.current_time() - start == pytest.approx(7)
        patient = client.submit("f", response_timeout=60)
        await trio.testing.wait_all_tasks_blocked()
        for job in held:
            job.complete(b"late")
        assert await patient == b"late"
        await trio.sleep(100)
        assert await client.echo(b"x") == b"x"


async def test_timeouts_of_each_call_override_those_of_the_client() -> None:
    road = Road(Server())
    road.is_open = False
    async with open_client(road.dial, submit_timeout=60) as client:
        slow = client.submit("f")
        start = trio.current_time()
        with pytest.raises(Unavailable):
            await client.submit("f", submit_timeout=3)
        with pytest.raises(Unavailable):
            await client.submit_bg("f", submit_timeout=2)
        assert trio.current_time() - start == pytest.approx(5)
        with pytest.raises(Unavailable):
            await slow
        assert trio.current_time() - start == pytest.approx(60)
    assert not road.server.broker.functions


async def test_attempts_to_connect_follow_fibonacci_up_to_ten_seconds() -> None:
    road = Road(Server())
    road.is_open = False
    async with open_client(road.dial):
        await trio.sleep(120)
    pauses = [later - earlier for earlier, later in zip(road.attempts, road.attempts[1:], strict=False)]
    wanted = [0.1, 0.1, 0.2, 0.3, 0.5, 0.8, 1.3, 2.1, 3.4, 5.5, 8.9, 10, 10]
    for pause, delay in zip(pauses, wanted, strict=False):
        assert 0.85 * delay <= pause * 1.000001
        assert pause <= 1.15 * delay * 1.000001
    assert max(pauses) <= 11.5
    assert list(islice(backoff.delays(repeat(0.5), 0.4), 6)) == pytest.approx([0.1, 0.1, 0.2, 0.3, 0.4, 0.4])


async def test_the_pause_between_attempts_can_be_bounded() -> None:
    road = Road(Server())
    road.is_open = False
    async with open_client(road.dial, reconnect_delay=0.5):
        await trio.sleep(60)
    pauses = [later - earlier for earlier, later in zip(road.attempts, road.attempts[1:], strict=False)]
    assert max(pauses) <= 0.575


@pytest.mark.parametrize(("downtime", "options"), [(0.9, {}), (60, {"reconnect_delay": 0.8})])
async def test_a_worker_serves_again_within_a_second_of_its_servers_return(
    downtime: float, options: dict[str, float]
) -> None:
    road = Road(Server())
    worker = Worker(road.dial, **options)  # type: ignore[arg-type]
    worker.add("f", lambda job: b"done")
    async with trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        for _ in range(20):
            await road.close()
            await trio.sleep(downtime)
            road.is_open = True
            async with open_client(road.server.dial) as client:
                with trio.fail_after(1):
                    assert await client.submit("f") == b"done"
        nursery.cancel_scope.cancel()


async def test_connections_are_told_of_and_everything_is_registered_anew() -> None:
    road = Road(Server())
    events: list[str] = []
    registrations: list[str] = []  # nobody says which of the two hears first of a lost connection
    async with open_client(road.dial, client_id="first") as client, open_admin(road.server.dial) as admin:
        client.on_connect = lambda name: events.append("connect")
        client.on_disconnect = lambda name: events.append("disconnect")
        client.on_error = lambda error, name: events.append(type(error).__name__)
        client.worker.on_connect = lambda name: registrations.append("registered")
        client.worker.on_disconnect = lambda name: registrations.append("unregistered")
        registration = client.worker.add("f", lambda job: b"done", timeout=7)
        await client.connected()
        client.set_client_id("second")
        await registration.max_queue(3)
        assert client.is_connected
        await road.close()
        await trio.sleep(0.05)
        assert not client.is_connected
        road.is_open = True
        await client.connected()
        assert await client.submit("f") == b"done"
        assert [row.functions for row in await admin.workers() if row.client_id == b"second"] == [(b"f",)]
        (function,) = road.server.broker.functions.values()
        assert function.max_queued == (3, 3, 3)
        assert [limit for peer in road.server.broker.peers.values() for limit in peer.abilities.values()] == [7.0]
    assert events[0] == "connect"
    assert set(events[1:-2]) == {"disconnect", "ConnectionLost"}  # whoever writes or reads finds out first
    assert events[-2:] == ["connect", "disconnect"]
    assert registrations == ["registered", "unregistered"] * 2


async def test_all_who_wait_for_a_connection_are_told_of_it() -> None:
    road = Road(Server())
    road.is_open = False
    async with open_client(road.dial) as client, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(client.connected)
            await trio.testing.wait_all_tasks_blocked()
        road.is_open = True
        with trio.fail_after(60):
            await client.connected()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        nursery.cancel_scope.cancel()


async def test_what_cannot_be_reached_is_an_event_and_not_fatal() -> None:
    road = Road(Server())
    road.is_open = False
    events: list[str] = []
    worker = Worker(road.dial)
    worker.on_error = lambda error, name: events.append(str(error))
    worker.add("f", lambda job: b"x")
    async with open_client(road.dial) as client, trio.open_nursery() as nursery:
        client.on_error = lambda error, name: events.append(str(error))
        nursery.start_soon(worker.run)
        await trio.sleep(0.05)
        assert events == ["cannot connect: refused"] * 2
        road.is_open = True
        assert await client.submit("f") == b"x"
        nursery.cancel_scope.cancel()


async def test_disconnect_sends_what_was_asked_for_first() -> None:
    server = Server()
    async with open_client(server.dial) as client:
        await client.connected()
        task = client.submit("f", b"x")
        await client.disconnect()
        assert server.broker.functions[b"f"].name == b"f"
        with pytest.raises(ConnectionLost):
            await task
        with pytest.raises(Unavailable, match="was closed"):
            await client.submit("f")
        await client.disconnect()


async def test_dumps_show_bytes_and_packets_to_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    traffic: list[tuple[str, str, bytes]] = []
    packets: list[tuple[str, object]] = []
    async with open_client(
        Server().dial,
        traffic_dump=lambda server, direction, data: traffic.append((server, direction, data)),
        packet_dump=lambda server, direction, packet: packets.append((direction, packet)),
    ) as client:
        assert await client.echo(b"ping") == b"ping"
        await client.worker.max_queue("f", 1)
    assert {name for name, _, _ in traffic} == {"Server.dial"}
    assert encode(RESPONSE, Packet(Type.ECHO_RES, b"ping")) in b"".join(
        data for _, way, data in traffic if way == "read"
    )
    assert encode(REQUEST, Packet(Type.ECHO_REQ, b"ping")) in b"".join(
        data for _, way, data in traffic if way == "write"
    )
    assert ("write", Packet(Type.ECHO_REQ, b"ping")) in packets
    assert ("read", Packet(Type.ECHO_RES, b"ping")) in packets
    assert ("read", Line(b"OK")) in packets
    assert capsys.readouterr().err == ""


async def test_dumps_and_debug_go_to_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    road = Road(Server())
    road.is_open = False
    target = Target(road.dial, traffic_dump=True, packet_dump=True, debug=True)
    async with open_client(target) as client:
        await trio.sleep(0.05)
        road.is_open = True
        await client.echo(b"x" * 300)
    shown = capsys.readouterr().err
    assert "Road.dial write b'\\x00REQ" in shown
    assert "Road.dial read  ECHO_RES b'xxxx" in shown
    assert "and 100 bytes more" in shown
    assert "abraxas: Road.dial: cannot connect: refused" in shown
    assert "abraxas: Road.dial: connected" in shown


async def test_a_target_has_settings_of_its_own() -> None:
    servers = [Server(), Server()]
    async with (
        open_client(Target(servers[0].dial, client_id="own"), Target(servers[1].dial), client_id="common") as client,
    ):
        await client.connected()
        await trio.sleep(1)
        ids = [[peer.client_id for peer in server.broker.peers.values()] for server in servers]
        assert ids == [[b"own"], [b"common"]]


async def test_questions_go_to_all_servers_and_survive_the_loss_of_one() -> None:
    roads = [Road(Server()), Road(Server())]
    async with open_client(*(road.dial for road in roads)) as client:
        await client.connected()
        await trio.sleep(1)
        handle = await client.submit_bg("f", unique="u")
        assert (await client.get_status(handle)).known == 1
        assert (await client.get_status_unique("u")).known == 1
        home = 0 if roads[0].server.broker.jobs else 1
        await roads[1 - home].close()
        assert (await client.get_status(handle)).known == 1


async def test_the_administrator_merges_those_that_answer() -> None:
    roads = [Road(Server()), Road(Server())]
    async with open_client(*(road.dial for road in roads)) as client, open_admin(*(r.dial for r in roads)) as admin:
        await trio.sleep(1)
        for _ in range(4):
            await client.submit_bg("f")
        assert [tuple(row) for row in await admin.status()] == [(b"f", 4, 0, 0)]
        assert [tuple(row) for row in await admin.priority_status()] == [(b"f", 0, 4, 0, 0)]
        (handle, *_) = [row.handle for row in await admin.jobs()]
        await admin.cancel_job(handle)  # one server knows it, which is enough
        with pytest.raises(ServerError):
            await admin.cancel_job(handle)
        await admin.create_function("g")
        assert [len(await one.status()) for one in admin.servers] == [2, 2]
        await roads[0].close()
        assert (await admin.status())[0].total in (1, 2)
        with pytest.raises(ConnectionLost):
            await admin.create_function("h")
        await roads[1].close()
        with pytest.raises(ConnectionLost):
            await admin.status()


async def test_the_administrator_leaves_out_a_server_that_swallows_connections() -> None:
    server = Server()
    async with open_admin(server.dial, trio.sleep_forever) as admin:  # type: ignore[arg-type]
        start = trio.current_time()
        assert await admin.status() == []
        assert trio.current_time() - start == pytest.approx(10)
        with pytest.raises(ConnectionLost, match="no answer within 10 s"):
            await admin.servers[1].version()


async def test_a_function_that_the_server_refuses_is_told_and_harms_nothing() -> None:
    errors: list[str] = []
    async with open_client(Server().dial) as client:
        client.worker.on_error = lambda error, name: errors.append(str(error))
        client.worker.add("no spaces", lambda job: b"")
        client.worker.add("fine", lambda job: b"done")
        assert await client.echo(b"x") == b"x"
        assert await client.submit("fine") == b"done"
    assert len(errors) == 1
    assert errors[0].startswith("INVALID_FUNCTION_NAME")


async def test_a_client_and_a_worker_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(LocalProtocolError, match="at least one server"):
        async with open_client():
            pass
    with pytest.raises(LocalProtocolError, match="max_jobs"):
        Worker(Server().dial, max_jobs=0)
    with pytest.raises(LocalProtocolError, match="a client id is text"):
        Worker(Server().dial, client_id="host\udcff")
    with pytest.raises(LocalProtocolError, match="a client id is text"):
        async with open_client(Target(Server().dial, client_id="host\udcff")):
            pass
    for timeout in (inf, nan, -1):
        with pytest.raises(LocalProtocolError, match="a function's timeout"):
            Worker(Server().dial).add("f", lambda job: b"", timeout=timeout)
    async with open_client(Server().dial) as client:
        with pytest.raises(LocalProtocolError, match="spaces"):
            await client.worker.max_queue("a b", 1)
        with pytest.raises(LocalProtocolError, match="no priority"):
            client.submit("f", reducer="r", priority=Priority.HIGH)


async def test_callbacks_that_raise_end_nobody_elses_job() -> None:
    def raising(*_: object) -> None:
        raise ValueError("in a callback")

    async def busy(job: Assigned) -> bytes:
        job.warn("careful")
        return b"done"

    async with open_client(Server().dial) as client:
        client.worker.add("busy", busy)
        assert await client.submit("busy", on_end=raising, on_event=raising) == b"done"
        assert await client.submit("busy") == b"done"


async def test_a_client_need_not_be_connected_to_be_used() -> None:
    road = Road(Server())
    road.is_open = False
    async with open_client(road.dial) as client:
        task = client.submit("f", b"x")
        client.worker.add("f", lambda job: job.data)
        await trio.sleep(5)
        road.is_open = True
        assert await task == b"x"
