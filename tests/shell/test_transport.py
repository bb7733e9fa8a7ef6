"""Endpoints: what they say, and what is said when they cannot be had."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import trio

from abraxas_py import (
    ConnectionLost,
    Endpoint,
    InvalidEndpoint,
    ListenError,
    Server,
    TlsUnusable,
    connect,
    open_admin,
    parse_endpoint,
    serve,
)

NoThreads = Callable[[], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("127.0.0.1:4731", "127.0.0.1:4731"),
        ("example.org", "example.org:4730"),
        ("tcp://h:1", "h:1"),
        (" h:0 ", "h:0"),
        ("bücher.example.:1", "bücher.example.:1"),
        ("[::1]:5", "[::1]:5"),
        ("tls://h", "tls://h:4730"),
        ("unix:///run/g.sock", "unix:///run/g.sock"),
    ],
)
def test_endpoints_are_understood(text: str, form: str) -> None:
    assert str(parse_endpoint(text)) == form


def test_a_path_need_not_be_text() -> None:
    assert parse_endpoint("tls://h?cert=/caf%E9.pem").cert == os.fsdecode(b"/caf\xe9.pem")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":4730",
        "h:x",
        "h:99999",
        "http://h",
        "tcp://h/path",
        "unix://host/x",
        "tcp://h?ca=x",
        "tls://h?color=red",
        ".h:1",
        "bü..cher:4730",
        f"{'h' * 64}.example",
        "tls://h?name=.h",
    ],
)
def test_nonsense_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(InvalidEndpoint, match="write host:port") as error:
        parse_endpoint(text)
    assert isinstance(error.value, ValueError)


async def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}: .*; is another server running"):
            async with serve(f"127.0.0.1:{port}"):
                pytest.fail("it must not be served")


async def test_where_one_endpoint_is_taken_none_is_listened_on() -> None:
    async with serve("127.0.0.1:0") as server:
        other = Server()
        with pytest.raises(ListenError, match="in use"):
            await other.serve(["127.0.0.1:0", server.endpoints[0]])
    assert other.endpoints == []


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ConnectionLost, match=f"cannot connect to 127.0.0.1:{port}: "):
        await connect(f"127.0.0.1:{port}")
    with pytest.raises(ConnectionLost, match="cannot connect to unix:///nowhere/at/all"):
        await connect("unix:///nowhere/at/all")


@pytest.mark.parametrize("host", [".h", "bü..cher", "\N{PILE OF POO}"])
async def test_a_name_that_cannot_be_looked_up_is_a_server_that_is_not_there(host: str) -> None:
    with pytest.raises(ConnectionLost, match="cannot connect to "):
        await connect(Endpoint("tcp", host, 4730))


async def test_a_name_is_not_looked_up_while_no_thread_can_be_started(no_threads: NoThreads) -> None:
    with no_threads(), pytest.raises(ConnectionLost, match="cannot connect to localhost:4730: can't start new thread"):
        await connect("localhost:4730")


def test_a_fault_of_the_program_is_no_server_that_is_not_there() -> None:
    with pytest.raises(RuntimeError, match="must be called from async context"):
        asyncio.run(connect("127.0.0.1:4730"))  # type: ignore[arg-type]


async def test_an_error_of_the_system_in_a_dialer_is_a_server_that_is_not_there() -> None:
    async def dial() -> trio.abc.Stream:
        raise ConnectionRefusedError(111, "refused")

    async with open_admin(dial) as admin:
        with pytest.raises(ConnectionLost, match=r"cannot connect to .*dial: refused"):
            await admin.version()


async def test_a_unix_socket_is_served_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "gearman.sock"
    async with serve(f"unix://{path}") as server, open_admin(server.endpoints[0]) as admin:
        assert await admin.version() == "1.1.20"
    assert not path.exists()


@pytest.mark.parametrize("endpoint", ["unix:///tmp/a\0b", "unix:///tmp/\ud800", "a\0b:0"])
async def test_what_cannot_be_the_name_of_a_place_is_refused_and_leaves_nothing_open(endpoint: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        await Server().serve([endpoint])
    with pytest.raises(ConnectionLost, match="cannot connect to"):
        await connect(endpoint)
    gc.collect()  # what is open still would be told of


async def test_a_unix_socket_left_by_a_killed_server_is_taken_over_but_not_a_living_one(tmp_path: Path) -> None:
    path = tmp_path / "gearman.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with serve(f"unix://{path}") as server:
        with pytest.raises(ListenError, match="in use"):
            await Server().serve([f"unix://{path}"])
        async with open_admin(server.endpoints[0]) as admin:
            assert await admin.version() == "1.1.20"


async def test_tls_without_a_certificate_is_refused_not_served_in_plain_text() -> None:
    with pytest.raises(TlsUnusable, match="needs a certificate"):
        await Server().serve(["tls://127.0.0.1:0"])
    with pytest.raises(TlsUnusable, match="cannot use TLS"):
        await Server().serve(["tls://127.0.0.1:0?cert=/nowhere.pem"])


async def test_a_dialer_may_be_anything_that_opens_a_stream() -> None:
    server = Server()

    async def dial() -> trio.abc.Stream:
        return server.attach()

    async with open_admin(dial) as admin:
        assert await admin.status() == []
