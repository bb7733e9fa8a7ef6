"""Serving HTTP in the daemon's own loop."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from abraxas_py import ListenError, parse_endpoint
from abraxas_py.nursery import open_nursery
from abraxas_py.transport import listen
from gearbox.core import Core
from gearbox.web.access import Http
from gearbox.web.app import application

__all__ = ["Dashboard"]

log = logging.getLogger("gearbox:http")

HEAD_TIMEOUT = 5  # s for the head of a request to arrive, and for the next request on a connection
STALL_MS = 15_000  # for which a browser may take nothing of what is sent to it; then it is cut off
HEAD_LARGEST = 16 * 1024  # bytes
LAST_TIMEOUT = 35  # s for what still goes on when a caller has said all, or when nothing is asked: a page takes 30


class Dashboard:
    """HTTP on an address: bound at once, served by `run`. `core` gives the one that lives now.

    Raises ListenError.
    """

    def __init__(self, core: Callable[[], Core], http: Http, facts: Mapping[str, str]) -> None:
        address = http.address
        host = f"[{address.host}]" if ":" in address.host else address.host
        try:
            listeners = listen(parse_endpoint(f"tcp://{host}:{address.port}"))
        except ListenError as error:
            raise ListenError(f"the dashboard {error} (GEARBOX_HTTP; `off` goes without it)") from error
        self.url = f"http://{listeners[0][1].removeprefix('tcp://')}{address.base}/"
        for listener, _ in listeners:
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_MS)
        self._listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener)) for listener, _ in listeners]
        self._app = application(core, http, facts)

    async def run(self) -> None:
        """Serve until cancelled."""
        config = Config()
        config.errorlog = log
        config.loglevel = "WARNING"
        config.keep_alive_timeout = HEAD_TIMEOUT  # `read_timeout` would cut off who listens, and has nothing to say
        config.h11_max_incomplete_size = HEAD_LARGEST
        config.include_server_header = False
        async with open_nursery() as nursery:
            nursery.start_soon(self._app.sample)
            nursery.start_soon(self._app.live.run)
            app = wrap_app(self._app.asgi, config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]
            serve = partial(_Connection, app, config, WorkerContext(None), ConnectionState({}))
            await trio.serve_listeners(serve, self._listeners)


class _Connection(TCPServer):
    """One that fails alone: what its bytes make the libraries of HTTP raise would end all that this process does.

    And one that ends: for a caller who has left, the library waits until the answer is ready and taken, and after some
    conversations it waits for what never comes.
    """

    async def run(self) -> None:
        self._questions = 0
        self._answer = self.app
        self.app = self._ask  # type: ignore[assignment]
        with trio.CancelScope() as self._hearing, trio.CancelScope() as self._asking:
            _end_soon(self._asking)
            try:
                await super().run()
            except* Exception as group:
                log.warning("a connection failed: %r", group.exceptions)

    async def _ask(self, *given: Any) -> None:
        self._questions += 1
        self._asking.deadline = inf
        try:
            await self._answer(*given)
        finally:
            self._questions -= 1
            if not self._questions:
                _end_soon(self._asking)

    async def _read_data(self) -> None:
        await super()._read_data()
        _end_soon(self._hearing)


def _end_soon(scope: trio.CancelScope) -> None:
    scope.deadline = trio.current_time() + LAST_TIMEOUT
