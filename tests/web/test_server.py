"""HTTP on a real socket: who is slow to ask is cut off, who listens is not."""

from __future__ import annotations

from pathlib import Path

import trio
from core_stage import system

from gearbox.web.access import Address, Http
from gearbox.web.server import HEAD_TIMEOUT, Dashboard

HEAD = b"GET /live?jobs=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


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
