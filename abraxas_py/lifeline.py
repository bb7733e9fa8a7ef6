"""One server, and the connection to it while there is one.

Calls and bytes that are to be sent wait in the outbox; the writer of `Lifelines` takes out all that one scheduler pass
has left there. From that moment on a call counts as sent: it is answered, or ends in ConnectionLost with the
connection. Unsent ones are handed back, to go elsewhere.

A line is *live* while its connection can be used.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable

import trio

from abraxas_py.call import Call, Command
from abraxas_py.connection import Connection
from abraxas_py.errors import ConnectionLost, RemoteProtocolError
from abraxas_py.protocol.exchange import Exchange
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import Line
from abraxas_py.settings import Settings
from abraxas_py.transport import Dialer

__all__ = ["Lifeline"]

log = logging.getLogger("abraxas.connection")

OUTBOX_BYTES = 512 * 1024  # unsent, beyond which streams of data are kept waiting


class Lifeline:
    """One server, and the connection to it while there is one."""

    __slots__ = (
        "_choking",
        "_commands",
        "_free",
        "_outbox",
        "_sent",
        "connection",
        "dial",
        "exchange",
        "name",
        "outbox_bytes",
        "settings",
        "wakeup",
    )

    def __init__(self, name: str, dial: Dialer, settings: Settings) -> None:
        self.name = name
        self.dial = dial
        self.settings = settings
        self.connection: Connection | None = None  # while the line is live
        self.exchange: Exchange[Call] = Exchange()
        self._commands: deque[Command] = deque()  # sent, and to be answered by a line each
        self._outbox: list[Call | bytes] = []  # not sent yet, in this order
        self.outbox_bytes = 0  # of what is not sent, without calls that were not taken out of the outbox yet
        self.wakeup = trio.Event()  # of the writer
        self._sent = trio.Event()  # when the writer has sent something
        self._choking: set[object] = set()  # those that want nothing more read for now
        self._free = trio.Event()  # when nobody does any more

    def put(self, call: Call) -> None:
        """Have a call sent; without a connection, end it."""
        if self.connection is None:
            call.end(ConnectionLost(f"there is no connection to {self.name}"))
            return
        self._outbox.append(call)
        self.wakeup.set()

    def post(self, data: bytes) -> None:
        """Have bytes sent that nothing answers; nothing, once the connection is gone."""
        if self.connection is not None:
            self._outbox.append(data)
            self.outbox_bytes += len(data)
            self.wakeup.set()

    async def has_room(self) -> None:
        """Wait until the outbox is worth filling, or the connection gone."""
        await trio.lowlevel.checkpoint()
        while self.outbox_bytes > OUTBOX_BYTES and self.connection is not None:
            await self._sent.wait()

    async def is_empty(self) -> None:
        """Wait until everything has been sent, or the connection is gone."""
        while (self._outbox or self.outbox_bytes) and self.connection is not None:
            await self._sent.wait()

    def choke(self, reader: object) -> None:
        """Have nothing read from this connection until `reader` is freed (`free`): it holds as much as it can."""
        self._choking.add(reader)

    def free(self, reader: object) -> None:
        """Take `choke` back."""
        self._choking.discard(reader)
        if not self._choking:
            self._free.set()

    def tell(self, callback: Callable[..., None] | None, *news: object) -> None:
        """Call what a user has given for news of this server; what it raises is logged, and ends nothing."""
        if callback is not None:
            try:
                callback(*news)
            except Exception:
                log.exception("a callback raised server=%s", self.name)

    # For Lifelines

    def open(self, connection: Connection, calls: Iterable[Call]) -> None:
        """The line is live; `calls` come first."""
        self.connection = connection
        self._outbox = list(calls)
        self.outbox_bytes = 0
        self.wakeup.set()

    def close(self) -> list[Call]:
        """The line is dead: end the calls that were sent, and return those that were not."""
        self.connection = None
        unsent = [entry for entry in self._outbox if isinstance(entry, Call) and not entry.is_done]
        lost = [*self.exchange.lose(), *self._commands]
        self._outbox, self._commands, self.exchange = [], deque(), Exchange()
        self.outbox_bytes = 0
        self._choking.clear()
        self._tell_sent()
        for call in lost:
            call.end(ConnectionLost(f"the connection to {self.name} was lost before the answer came"))
        return unsent

    @property
    def unsent(self) -> list[Call]:
        return [entry for entry in self._outbox if isinstance(entry, Call)]

    def collect(self) -> bytes:
        """Take out all that is to be sent now."""
        entries, self._outbox = self._outbox, []
        data: list[bytes] = []
        for entry in entries:
            if isinstance(entry, bytes):
                data.append(entry)
            elif not entry.is_done:
                if isinstance(entry, Command):
                    self._commands.append(entry)
                else:
                    self.exchange.ask(entry, entry.answer, is_fence=entry.is_fence)
                data.append(entry.request)
                entry.request = b""
        joined = data[0] if len(data) == 1 else b"".join(data)
        self.outbox_bytes = len(joined)
        return joined

    def note_sent(self, size: int) -> None:
        """So many bytes have been sent."""
        self.outbox_bytes -= size
        self._tell_sent()

    def _tell_sent(self) -> None:
        self._sent.set()
        self._sent = trio.Event()

    def is_about_worker(self, message: Packet | Line) -> bool:
        """Whether this is an ERROR that answers no call, but what a worker said; servers differ in its code."""
        if isinstance(message, Packet) and message.type is Type.ERROR and not self.exchange.is_awaiting:
            log.debug("a worker was refused server=%s error=%r", self.name, message.body)
            return True
        return False

    def receive(self, message: Packet | Line) -> None:
        """Take what is not for workers. Raises RemoteProtocolError."""
        if isinstance(message, Packet):
            call = self.exchange.receive(message)
            if call is not None:
                call.receive(message, self)
            elif message.type is Type.ERROR:
                log.debug("a late report was refused server=%s error=%r", self.name, message.body)
        elif self._commands:
            self._commands.popleft().receive_line(message)
        else:
            raise RemoteProtocolError("UNEXPECTED_PACKET", "text came in place of a packet", is_fatal=True)

    async def can_read(self) -> None:
        """Wait while somebody chokes the line."""
        while self._choking:
            self._free = trio.Event()
            await self._free.wait()
