"""A TCP proxy that behaves like a bad network: slow, cut in one direction or both, or broken off within a packet."""

from __future__ import annotations

import socket
import struct
from functools import partial
from math import inf

import trio

__all__ = ["Proxy"]

PIECE_BYTES = 65536


class Proxy:
    """Between `address` (to be dialled) and `target`. What its fields say holds for all connections at once."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.address = ""
        self.delay = 0.0  # seconds that each piece takes
        self.is_up_cut = False  # nothing arrives from those who dialled; what they send is kept, as TCP does
        self.is_down_cut = False  # nothing arrives at them
        self._resets_after = inf  # bytes
        self._changed = trio.Event()
        self._pairs: set[tuple[trio.SocketStream, trio.SocketStream]] = set()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            listeners: list[trio.SocketListener] = await nursery.start(
                partial(trio.serve_tcp, self._connected, 0, host="127.0.0.1")
            )
            self.address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            task_status.started()

    def set(self, *, delay: float = 0.0, is_up_cut: bool = False, is_down_cut: bool = False) -> None:
        """How the network is from now on; without arguments, well."""
        self.delay, self.is_up_cut, self.is_down_cut = delay, is_up_cut, is_down_cut
        self._resets_after = inf
        self._changed.set()
        self._changed = trio.Event()

    def reset_after(self, count: int) -> None:
        """Break off all connections, in the middle of the piece that holds byte `count` from now."""
        self._resets_after = count

    async def _connected(self, dialled: trio.SocketStream) -> None:
        host, port = self.target.split(":")
        try:
            onward = await trio.open_tcp_stream(host, int(port))
        except OSError:
            _reset(dialled)
            return
        pair = (dialled, onward)
        self._pairs.add(pair)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, dialled, onward, True, nursery.cancel_scope)
                nursery.start_soon(self._carry, onward, dialled, False, nursery.cancel_scope)
        finally:
            self._pairs.discard(pair)
            _reset(dialled)
            _reset(onward)

    async def _carry(
        self, source: trio.SocketStream, sink: trio.SocketStream, is_up: bool, both: trio.CancelScope
    ) -> None:
        try:
            while piece := await source.receive_some(PIECE_BYTES):
                await trio.sleep(self.delay)
                while self.is_up_cut if is_up else self.is_down_cut:
                    await self._changed.wait()
                if len(piece) > self._resets_after:
                    await sink.send_all(piece[: int(self._resets_after)])
                    self._resets_after = inf
                    for one, other in self._pairs:
                        _reset(one)
                        _reset(other)
                    break
                self._resets_after -= len(piece)
                await sink.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        both.cancel()


def _reset(stream: trio.SocketStream) -> None:
    """Close with RST, as a host does that knows nothing of the connection."""
    if stream.socket.fileno() >= 0:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
