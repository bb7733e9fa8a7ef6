"""Connections to the dashboard in memory: what is said on one, what it leaves behind, whose fault it is if it fails."""

from __future__ import annotations

import logging
import re
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import trio
import trio.testing

from gearbox.web.server import Dashboard

__all__ = ["Wires", "faults_of_ours"]

# The library does not read on before the answer, so that it cannot see its caller leave.
WATCH_AND_MORE = re.compile(rb"/watch.*\r\n\r\n.", re.DOTALL)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Wires(trio.abc.Listener[Any]):
    """What takes the place of a socket that listens."""

    def __init__(self) -> None:
        self._dial, self._dialled = trio.open_memory_channel[Any](1)

    async def take_the_place(self, dashboard: Dashboard) -> None:
        listeners: list[Any] = dashboard._listeners
        for listener in listeners:
            await listener.aclose()
        listeners[:] = [self]

    async def accept(self) -> Any:
        return await self._dialled.receive()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def dial(self) -> trio.StapledStream[Any, Any]:
        near, far = trio.testing.memory_stream_pair()
        it: Any = far
        it.socket = _Socket()
        await self._dial.send(far)
        return near

    async def hold(self, pieces: list[bytes]) -> None:
        """A conversation; nothing of it is left when its caller has gone, and the next one is answered."""
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        heard = bytearray()
        async with trio.open_nursery() as nursery:
            end = await self.dial()
            nursery.start_soon(_listen, end, heard)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                for piece in pieces:
                    await end.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(20)
            await end.aclose()
        assert not heard.startswith(b"HTTP/1.1 500") or b"websocket" in b"".join(pieces), bytes(heard[:2000])
        await trio.sleep(60)
        await trio.testing.wait_all_tasks_blocked()
        left = trio.lowlevel.current_statistics().tasks_living - tasks
        assert left <= 0 or WATCH_AND_MORE.search(b"".join(pieces)), "a connection goes on whose caller has gone"
        async with await self.dial() as fresh:
            await fresh.send_all(HEALTH)
            with trio.fail_after(5):
                assert (await fresh.receive_some(1000)).startswith(b"HTTP/1.1 200")


class _Socket:
    family = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 5)

    getsockname = getpeername


async def _listen(end: trio.abc.ReceiveStream, heard: bytearray) -> None:
    with suppress(trio.ClosedResourceError):
        async for data in end:
            heard += data


@contextmanager
def faults_of_ours() -> Iterator[list[BaseException]]:
    """Of what is logged for connections that failed, what a file of ours raised, and no library."""
    found: list[BaseException] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            given: list[Any] = [record.exc_info[1]] if record.exc_info else []
            if isinstance(record.args, tuple) and record.args:
                given.append(BaseExceptionGroup("", record.args[0]))  # type: ignore[arg-type]
            found.extend(error for one in given for error in _leaves(one) if _is_ours(error))

    log, ear = logging.getLogger("gearbox:http"), Ear()
    log.addHandler(ear)
    was, log.propagate = log.propagate, False
    try:
        yield found
    finally:
        log.removeHandler(ear)
        log.propagate = was


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _is_ours(error: BaseException) -> bool:
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    known = [file for file in files if "site-packages" in file or "/gearbox/" in file]
    return bool(known) and "site-packages" not in known[-1]
