"""One peer of the server, seen from the server: its bytes in, its messages out, and what could not be sent yet.

A `Link` decodes what its peer sends and holds what is to be sent to it. How the bytes travel is the subclass's: a
`SocketLink` over a non-blocking socket, a `TlsLink` the same through TLS; an `AttachedLink` into the memory of this
process, where its other end is an `AttachedStream`.
"""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import trio

from abraxas_py.protocol.wire import Decoder, Piece

__all__ = ["AttachedLink", "AttachedStream", "Link", "LinkBroken", "Outboxes", "SocketLink", "TlsLink"]

RECEIVE_BYTES = 64 * 1024  # 256 KiB are mapped and unmapped for each call, which costs 12 times as much
JOIN_BYTES = 256 * 1024  # up to here, joining small messages for one send costs less than sending a list of buffers
MAX_BUFFERS = 64  # of one sendmsg: far below IOV_MAX, and large messages fill a socket's buffer with fewer


class LinkBroken(Exception):
    """The peer is gone."""


class Outboxes:
    """What the outboxes of a server have in common."""

    __slots__ = ("is_full", "soft_bytes", "touched")

    def __init__(self, soft_bytes: int, is_full: Callable[[Link], bool]) -> None:
        self.soft_bytes = soft_bytes
        self.is_full = is_full  # asked where there are more; True: nothing more may be laid into it
        self.touched: list[Link] = []  # those that the next flush has to look at


class Link(ABC):
    """What the server knows about the bytes of one peer."""

    __slots__ = (
        "_outboxes",
        "decoder",
        "id",
        "is_closing",
        "is_touched",
        "mask",
        "outbox",
        "outbox_bytes",
        "withheld_bytes",
    )

    def __init__(self, id: int, decoder: Decoder, outboxes: Outboxes) -> None:
        self.id = id
        self.decoder = decoder
        self.outbox: list[bytes | memoryview] = []
        self.outbox_bytes = 0
        self.withheld_bytes = 0  # what the broker will lay into it once the journal has answered
        self.is_closing = False  # to be closed once the outbox is empty; nothing more is read or laid into it
        self.is_touched = False  # whether it stands among those that are
        self.mask = 0  # what the poller watches the socket for
        self._outboxes = outboxes

    def touch(self) -> None:
        """Have the next flush look at this link."""
        if not self.is_touched:
            self.is_touched = True
            self._outboxes.touched.append(self)

    def put(self, data: bytes) -> None:
        """Have a message sent by the next flush, unless its peer has left too much unread: the broker's way out."""
        if (self.is_closing or self.outbox_bytes > self._outboxes.soft_bytes) and self._outboxes.is_full(self):
            return
        if not self.is_touched:  # as `touch` does, but this is done for each message
            self.is_touched = True
            self._outboxes.touched.append(self)
        self.outbox.append(data)
        self.outbox_bytes += len(data)

    def withhold(self, more_bytes: int) -> None:
        """The broker has so many more bytes (or fewer) for this peer, which wait for the journal."""
        if more_bytes > 0 and self.unread_bytes > self._outboxes.soft_bytes:
            self._outboxes.is_full(self)
            self.touch()
        self.withheld_bytes += more_bytes

    @property
    def unread_bytes(self) -> int:
        """What this peer has been answered and has not read."""
        return self.outbox_bytes + self.withheld_bytes

    @abstractmethod
    def flush(self) -> None:
        """Send as much as goes without waiting. Raises LinkBroken."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection at once."""


class SocketLink(Link):
    """A peer over TCP or a unix socket."""

    is_secured = False  # whether bytes become others on the way; asked for every arrival, and cheaper than the type
    __slots__ = ("address", "socket")

    def __init__(self, id: int, decoder: Decoder, outboxes: Outboxes, socket: socket.socket, address: str) -> None:
        super().__init__(id, decoder, outboxes)
        self.socket = socket
        self.address = address

    def receive(self) -> list[Piece]:
        """The messages that have become complete. Raises LinkBroken at the end of the stream."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise LinkBroken(error.strerror) from error
        if not data:
            raise LinkBroken("closed by the peer")
        return self.decoder.cut(self._open(data) if self.is_secured else data)

    def _open(self, data: bytes) -> bytes:
        """What a secured peer has said. Raises LinkBroken."""
        return data

    def flush(self) -> None:
        while self.outbox:
            try:
                if len(self.outbox) > 1 and self.outbox_bytes <= JOIN_BYTES:
                    self.outbox = [b"".join(self.outbox)]
                if len(self.outbox) == 1:
                    sent = self.socket.send(self.outbox[0])
                else:
                    sent = self.socket.sendmsg(self.outbox[:MAX_BUFFERS])
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise LinkBroken(error.strerror) from error
            if sent == self.outbox_bytes:
                self.outbox = []
                self.outbox_bytes = 0
            else:
                self._drop(sent)

    def _drop(self, sent: int) -> None:
        """Take out what has been sent; a view of the rest of a large message saves copying it again and again."""
        self.outbox_bytes -= sent
        at = 0
        while sent >= len(self.outbox[at]):
            sent -= len(self.outbox[at])
            at += 1
        if sent:
            self.outbox[at] = memoryview(self.outbox[at])[sent:]
        del self.outbox[:at]

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()


class TlsLink(SocketLink):
    """A peer over TLS, sans-IO: what the socket gives goes through memory into OpenSSL, so it fits the same pass."""

    is_secured = True
    __slots__ = ("_incoming", "_outgoing", "_tls", "is_agreed", "peer_names")

    def __init__(
        self,
        id: int,
        decoder: Decoder,
        outboxes: Outboxes,
        socket: socket.socket,
        address: str,
        context: ssl.SSLContext,
    ) -> None:
        super().__init__(id, decoder, outboxes, socket, address)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_agreed = False  # whether the handshake is done
        self.peer_names: frozenset[str] = frozenset()  # since then

    def _open(self, data: bytes) -> bytes:
        self._incoming.write(data)
        plain = bytearray()
        try:
            if not self.is_agreed:
                self._tls.do_handshake()
                self.peer_names = _names(cast("dict[str, Any]", self._tls.getpeercert() or {}))
                self.is_agreed = True
            while piece := self._tls.read(RECEIVE_BYTES):
                plain += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_closing = not plain  # a farewell; the end of the stream follows
        except ssl.SSLError as error:
            with suppress(OSError):
                self.socket.send(self._outgoing.read())  # the alert, if it can be had
            raise LinkBroken(f"TLS: {error.reason}") from error
        except UnicodeDecodeError as error:
            raise LinkBroken("TLS: a name in the certificate is no text") from error
        self._encrypted()
        return bytes(plain)

    def put(self, data: bytes) -> None:
        if not (self.is_closing and self._outboxes.is_full(self)):
            self._tls.write(data)
            self._encrypted()

    def _encrypted(self) -> None:
        """Lay into the outbox what OpenSSL has made."""
        if data := self._outgoing.read():
            super().put(data)


def _names(certificate: Mapping[str, Any]) -> frozenset[str]:
    """The common names and DNS names in a certificate."""
    common = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    other = {value for key, value in certificate.get("subjectAltName", ()) if key == "DNS"}
    return frozenset(common | other)


class AttachedLink(Link):
    """A peer in this process: nothing is sent, it is laid into the buffer of its stream."""

    __slots__ = ("stream",)

    def __init__(self, id: int, decoder: Decoder, outboxes: Outboxes, stream: AttachedStream) -> None:
        super().__init__(id, decoder, outboxes)
        self.stream = stream

    def flush(self) -> None:
        for data in self.outbox:
            self.stream.arrived += data
        self.outbox = []
        self.outbox_bytes = 0
        self.stream.wake()

    def close(self) -> None:
        self.stream.is_ended = True
        self.stream.wake()


class AttachedStream(trio.abc.Stream):
    """The peer's end of an `AttachedLink`.

    Writing is one synchronous pass of the server over what is written; what that causes for any peer lies in their
    buffers when `send_all` returns. There is no limit to a buffer: whoever attaches to a server is part of its program.
    """

    def __init__(self, feed: Callable[[bytes], None], leave: Callable[[], None]) -> None:
        self.arrived = bytearray()
        self.is_ended = False  # by the server
        self._is_closed = False  # by us
        self._feed = feed
        self._leave = leave
        self._reader: trio.lowlevel.Task | None = None

    def wake(self) -> None:
        """Let whoever waits in `receive_some` look again."""
        if self._reader is not None:
            trio.lowlevel.reschedule(self._reader)
            self._reader = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._is_closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self.is_ended:
            raise trio.BrokenResourceError("the server has closed this connection")
        self._feed(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self.arrived or self._is_closed or self.is_ended:  # else waiting is one, and a pass of trio's less
            await trio.lowlevel.checkpoint()
        while not self.arrived:
            if self._is_closed:
                raise trio.ClosedResourceError("this stream was closed")
            if self.is_ended:
                return b""
            if self._reader is not None:
                raise trio.BusyResourceError("another task is reading from this stream")
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        data = bytes(self.arrived[:max_bytes])
        del self.arrived[:max_bytes]
        return data

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self.wake()
            self._leave()
        await trio.lowlevel.checkpoint()
