"""HTTP on a real socket: who is slow to ask is cut off, who listens is not."""

from __future__ import annotations

from pathlib import Path

import h2.config
import h2.connection
import pytest
import trio
from core_stage import system

from gearbox.web.access import Address, Http
from gearbox.web.server import HEAD_TIMEOUT, Dashboard

HEAD = b"GET /live?jobs=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
WEBSOCKET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-"


def http2(*headers: tuple[bytes, bytes], body: bytes = b"") -> list[bytes]:
    """A request of HTTP/2, and its body by itself."""
    config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    connection.send_headers(1, [(b":scheme", b"http"), (b":authority", b"127.0.0.1"), *headers], end_stream=not body)
    parts = [connection.data_to_send()]
    if body:
        connection.send_data(1, body)
        parts.append(connection.data_to_send())
    return parts


async def test_slow_requests_are_cut_off_and_open_pages_are_not(tmp_path: Path) -> None:
    async with system(tmp_path / "db") as it:
        dashboard = Dashboard(lambda: it.core, Http(Address("127.0.0.1", 0)), {})
        port = int(dashboard.url.rstrip("/").rpartition(":")[2])
        it.nursery.start_soon(dashboard.run)
        id = await it.gearbox.queue("a::b", after_date="2099-01-01")
        async with await trio.open_tcp_stream("127.0.0.1", port) as page:
            await page.send_all(HEAD)
            assert (await page.receive_some(1000)).startswith(b"HTTP/1.1 200")
            async with await trio.open_tcp_stream("127.0.0.1", port) as slow:
                with trio.fail_after(HEAD_TIMEOUT * 4):
                    await slow.send_all(b"GET / HTTP/1.1\r\nHost: 127")
                    assert await slow.receive_some(1000) == b""
            await trio.sleep(1)
            await it.call("cancel", {"id": id})
            heard = b""
            with trio.fail_after(10):
                while b'"invalid"' not in heard:
                    part = await page.receive_some(1000)
                    assert part
                    heard += part


@pytest.mark.parametrize(
    "parts",
    [
        [WEBSOCKET + b"Protocol: \xff\r\n\r\n"],
        [WEBSOCKET + b"Key: a\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x05hello"],
        http2((b":method", b"GET"), (b":path", b"/\xff")),
        http2((b":method", b"CONNECT")),
        http2((b":method", b"POST"), (b":path", b"/jobs"), body=b"late"),
    ],
    ids=["websocket beyond ASCII", "websocket in a hurry", "path beyond ASCII", "connect", "body after the answer"],
)
async def test_a_connection_that_its_library_fails_on_fails_alone(tmp_path: Path, parts: list[bytes]) -> None:
    async with system(tmp_path / "db") as it:
        dashboard = Dashboard(lambda: it.core, Http(Address("127.0.0.1", 0)), {})
        port = int(dashboard.url.rstrip("/").rpartition(":")[2])
        it.nursery.start_soon(dashboard.run)
        async with await trio.open_tcp_stream("127.0.0.1", port) as odd:
            for part in parts:
                await odd.send_all(part)
                await trio.sleep(0.3)
        async with await trio.open_tcp_stream("127.0.0.1", port) as page:
            await page.send_all(HEALTH)
            assert (await page.receive_some(1000)).startswith(b"HTTP/1.1 200")
