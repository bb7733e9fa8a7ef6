"""The server's door: it listens, and lets connections in, as many as the limits allow.

A process that is out of descriptors shuts it for a while: a listener that stays readable would keep the server's loop
busy for nothing.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from abraxas_py.poller import READ, Poller
from abraxas_py.protocol.wire import MAX_LINE_BYTES, MAX_PACKET_BYTES
from abraxas_py.transport import ServerTls, listen, parse_endpoint

__all__ = ["Arrival", "Counters", "Door", "Keepalive", "Limits", "is_local"]

log = logging.getLogger("abraxas.server")

ACCEPTS_PER_PASS = 64  # a burst of connections must not keep those that are there from being served
ACCEPT_PAUSE = 1.0  # seconds without accepting when the process is out of descriptors
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer, and all together, may take of the server's memory."""

    packet_bytes: int = MAX_PACKET_BYTES
    line_bytes: int = MAX_LINE_BYTES
    soft_outbox_bytes: int = 1 * MIB  # a peer that leaves so much unread is not read from either
    hard_outbox_bytes: int = 16 * MIB  # a peer that leaves so much unread, and is to get more, is closed
    connections: int = 20_000
    connections_per_address: int = 1_000  # but not of this machine's own
    incomplete_timeout: float = 30.0  # seconds until the next piece of a message must come
    handshake_timeout: float = 10.0  # seconds for TLS to be agreed upon


@dataclass(slots=True)
class Counters:
    """What has happened since the server's start."""

    accepted: int = 0
    refused: int = 0  # connections over a limit
    overflowed: int = 0  # connections closed because they did not read
    stalled: int = 0  # connections closed in the middle of a message


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When a peer that is gone without a word is found out: after `idle + count * interval` seconds, a minute."""

    idle: int = 30
    interval: int = 10
    count: int = 3

    def apply(self, accepted: socket.socket) -> None:
        """Set up a TCP socket; and have it send at once, for what is small has been joined already."""
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", self.idle), ("TCP_KEEPINTVL", self.interval), ("TCP_KEEPCNT", self.count)):
            if hasattr(socket, name):  # not everywhere under these names
                accepted.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that accepts connections."""

    socket: socket.socket
    endpoint: str  # as bound
    tls: ServerTls | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection that was let in."""

    socket: socket.socket
    host: str  # its address; `unix` for a socket of this machine's file system
    tls: ssl.SSLContext | None


class Door:
    """Whoever was let in is to be reported to `leave` in the end."""

    def __init__(self, poller: Poller, limits: Limits, counters: Counters, keepalive: Keepalive) -> None:
        self.again_at = inf  # when to accept connections again, after a pause
        self._poller = poller
        self._limits = limits
        self._counters = counters
        self._keepalive = keepalive
        self._listeners: dict[int, Listener] = {}  # by the descriptors of their sockets
        self._inside = 0
        self._per_address: dict[str, int] = {}

    def open(self, endpoints: Sequence[str]) -> list[str]:
        """Listen; the endpoints as bound. Raises ListenError."""
        for endpoint in map(parse_endpoint, endpoints):
            tls = ServerTls(endpoint) if endpoint.scheme == "tls" else None
            for bound_socket, bound in listen(endpoint):
                descriptor = bound_socket.fileno()
                self._poller.register(descriptor, READ)
                self._listeners[descriptor] = Listener(bound_socket, bound, tls)
        return [listener.endpoint for listener in self._listeners.values()]

    def accept(self, descriptor: int, now: float) -> Iterator[Arrival]:
        """Those who wait at a listener."""
        listener = self._listeners.get(descriptor)
        if listener is None or self.again_at < inf:
            return  # what an earlier one of this pass has closed, or shut for a while
        for _ in range(ACCEPTS_PER_PASS):
            try:
                accepted, address = listener.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause(error, now)
                return
            host = address[0] if isinstance(address, tuple) else "unix"
            if self._has_room(host):
                yield self._let_in(accepted, host, listener.tls.context if listener.tls else None)
            else:
                self._counters.refused += 1
                log.warning("connection refused, too many already address=%s", host)
                accepted.close()

    def _has_room(self, host: str) -> bool:
        if self._inside >= self._limits.connections:
            return False
        return is_local(host) or self._per_address.get(host, 0) < self._limits.connections_per_address

    def _let_in(self, accepted: socket.socket, host: str, tls: ssl.SSLContext | None) -> Arrival:
        self._counters.accepted += 1
        self._inside += 1
        self._per_address[host] = self._per_address.get(host, 0) + 1
        accepted.setblocking(False)
        if accepted.family != socket.AF_UNIX:
            self._keepalive.apply(accepted)
        return Arrival(accepted, host, tls)

    def leave(self, host: str) -> None:
        """A connection has ended."""
        self._inside -= 1
        self._per_address[host] -= 1
        if not self._per_address[host]:
            del self._per_address[host]

    def _pause(self, error: OSError, now: float) -> None:
        log.error("cannot accept error=%s pause_seconds=%g", error.strerror, ACCEPT_PAUSE)
        self.again_at = now + ACCEPT_PAUSE
        for descriptor in self._listeners:
            self._poller.unregister(descriptor)

    def resume(self) -> None:
        """The pause is over."""
        self.again_at = inf
        for descriptor in self._listeners:
            self._poller.register(descriptor, READ)

    def close(self) -> None:
        """Listen no more; whoever is inside stays."""
        for descriptor, listener in self._listeners.items():
            if self.again_at == inf:  # otherwise it is not registered
                self._poller.unregister(descriptor)
            listener.socket.close()
            if listener.endpoint.startswith("unix://"):
                with suppress(OSError):
                    os.unlink(listener.endpoint.removeprefix("unix://"))
        self._listeners = {}
        self.again_at = inf


def is_local(host: str) -> bool:
    """Whether an address is this machine's own.

    >>> is_local("127.0.0.1"), is_local("unix"), is_local("10.0.0.7")
    (True, True, False)
    """
    return host == "unix" or host.startswith("127.") or host == "::1"
