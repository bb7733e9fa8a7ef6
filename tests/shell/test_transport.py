"""Endpoints: what they say, and what is said when they cannot be had."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from abraxas_py import (
    ConnectionLost,
    InvalidEndpoint,
    ListenError,
    Server,
    TlsUnusable,
    connect,
    open_admin,
    parse_endpoint,
    serve,
)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("127.0.0.1:4731", "127.0.0.1:4731"),
        ("example.org", "example.org:4730"),
        ("tcp://h:1", "h:1"),
        (" h:0 ", "h:0"),
        ("[::1]:5", "[::1]:5"),
        ("tls://h", "tls://h:4730"),
        ("unix:///run/g.sock", "unix:///run/g.sock"),
    ],
)
def test_endpoints_are_understood(text: str, form: str) -> None:
    assert str(parse_endpoint(text)) == form


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


async def test_a_unix_socket_is_served_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "gearman.sock"
    async with serve(f"unix://{path}") as server, open_admin(server.endpoints[0]) as admin:
        assert await admin.version() == "1.1.20"
    assert not path.exists()


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
