"""The connections that a client and a worker have to their servers: made, kept, lost and made again.

`Lifelines` are all servers of one client or worker, or of both on the same connections; whoever speaks over them is a
`Party`.

Calls go to a live server (round robin), or wait while there is none. One writer task for each connection sends all that
one scheduler pass has left in its outbox with one `send_all`. When a connection is lost, its unsent calls move on to
another one, and the sent ones end in ConnectionLost: nothing is ever submitted twice.

A connection is live once it can be used: at once, or, in streaming mode, when the server has agreed to it.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Sequence
from math import inf
from typing import Protocol

import trio

from abraxas_py import backoff
from abraxas_py.broker.timers import Timers
from abraxas_py.call import Call, Question
from abraxas_py.connection import Connection
from abraxas_py.dump import dumped
from abraxas_py.errors import (
    AbraxasError,
    ConnectionLost,
    LocalProtocolError,
    RemoteProtocolError,
    ResponseTimeout,
    Unavailable,
)
from abraxas_py.lifeline import Lifeline
from abraxas_py.nursery import open_nursery
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, encode
from abraxas_py.settings import Settings, Target
from abraxas_py.transport import Dialer, Endpoint, dialer

__all__ = ["Lifelines", "Party", "WorkingParty"]

log = logging.getLogger("abraxas.connection")

GREETING_TIMEOUT = 10.0  # seconds for a server's word on streaming mode: longer than any that lives needs

_FOR_WORKERS = frozenset({Type.NOOP, Type.NO_JOB, Type.JOB_ASSIGN_UNIQ, Type.JOB_ASSIGN_ALL})
_EXCEPTIONS = encode(REQUEST, Packet(Type.OPTION_REQ, b"exceptions"))
_STREAMING = Packet(Type.OPTION_REQ, b"streaming")


class Party(Protocol):
    """Whoever speaks over lifelines; told of each connection while it begins and ends."""

    def line_up(self, line: Lifeline) -> None:
        """The line is live."""

    def line_down(self, line: Lifeline) -> None:
        """It is not any more; the calls that were sent on it have ended."""

    def line_failed(self, line: Lifeline, error: AbraxasError) -> None:
        """A connection could not be made, or broke with this error."""


class WorkingParty(Party, Protocol):
    """The party that gets the packets for workers."""

    def receive(self, line: Lifeline, packet: Packet) -> None:
        """Take a packet."""

    def decide(self, line: Lifeline) -> None:
        """Say what is to be sent next; called before the outbox is sent."""

    def go_on(self) -> None:
        """All packets that came together have been received."""


class Lifelines:
    """The lifelines to all servers, and who speaks over them."""

    def __init__(self, servers: Sequence[str | Endpoint | Dialer | Target], settings: Settings) -> None:
        if not servers:
            raise LocalProtocolError("at least one server is needed")
        self.settings = settings
        self.lines: list[Lifeline] = []
        for server in servers:
            own = server.over(settings) if isinstance(server, Target) else settings
            self.lines.append(Lifeline(*dialer(server.server if isinstance(server, Target) else server), own))
        self.worker: WorkingParty | None = None
        self._parties: list[Party] = []
        self._waiting: list[Call] = []  # for a server
        self.is_closed = False
        self._turn = 0  # whose turn it is, of the lines
        self._timers = Timers()  # response timeouts
        self._expiring = trio.Event()  # something may expire before `_expire` looks next
        self._look_at = -inf  # when `_expire` looks next

    @property
    def names(self) -> str:
        return ", ".join(line.name for line in self.lines)

    @property
    def live(self) -> list[Lifeline]:
        return [line for line in self.lines if line.connection is not None]

    def join(self, party: Party) -> None:
        """From now on, a party is told of connections; at once of those that are live."""
        self._parties.append(party)
        for line in self.live:
            party.line_up(line)

    def put(self, call: Call) -> None:
        """Give a call to the server whose turn it is, or have it wait for one."""
        if self.is_closed:
            call.end(_closed())
            return
        for _ in self.lines:
            self._turn = (self._turn + 1) % len(self.lines)
            line = self.lines[self._turn]
            if line.connection is not None:
                line.put(call)
                break
        else:
            self._waiting.append(call)
        if call.deadline < self._look_at:
            self._expiring.set()

    def drop(self, call: Call) -> None:
        """Nobody waits for a call any more: one that was not sent yet stays unsent."""
        call.end(None)
        self._expiring.set()

    def limit(self, call: Call, timeout: float) -> None:
        """End a call in ResponseTimeout, so many seconds from now."""

        def expire(target: Call, now: float) -> None:
            target.end(ResponseTimeout(f"no answer within {timeout:g} s"))

        timer = self._timers.arm(trio.current_time() + timeout, expire, call)
        call.disarm = lambda: self._timers.cancel(timer)
        if timer.at < self._look_at:
            self._expiring.set()

    async def run(self) -> None:
        """Keep the connections until cancelled."""
        self.is_closed = False
        async with open_nursery() as nursery:
            for line in self.lines:
                nursery.start_soon(self._stay_connected, line)
            nursery.start_soon(self._expire)

    async def is_empty(self) -> None:
        """Wait until everything that can be sent has been sent."""
        for line in self.live:
            await line.is_empty()

    def close(self) -> None:
        """The end: nothing may wait for ever."""
        self.is_closed = True
        unsent, self._waiting = self._waiting, []
        for call in unsent:
            call.end(_closed())

    async def _stay_connected(self, line: Lifeline) -> None:
        settings = line.settings
        delays = backoff.delays(iter(random.random, None), settings.reconnect_delay)
        while True:
            try:
                stream = dumped(await line.dial(), line.name, settings.traffic_dump, settings.packet_dump)
                connection = Connection(stream, name=line.name, max_packet_bytes=settings.max_packet_bytes)
                try:
                    await self._greet(line, connection)
                    delays = backoff.delays(iter(random.random, None), settings.reconnect_delay)
                    await self._converse(line, connection)
                finally:
                    await connection.aclose()
            except (ConnectionLost, RemoteProtocolError) as error:
                self._tell(line, error)
            await trio.sleep(next(delays))

    def _tell(self, line: Lifeline, error: AbraxasError) -> None:
        log.info("not connected server=%s reason=%s", line.name, error)
        self._debug(line, str(error))
        for party in self._parties:
            party.line_failed(line, error)

    def _debug(self, line: Lifeline, event: str) -> None:
        if line.settings.debug:
            print(f"abraxas: {line.name}: {event}", file=sys.stderr)

    async def _greet(self, line: Lifeline, connection: Connection) -> None:
        """Agree on streaming mode, where that is wanted."""
        if not line.settings.streaming:
            return
        with trio.move_on_after(GREETING_TIMEOUT) as scope:
            await connection.send(_STREAMING)
            if await connection.receive() != [Packet(Type.OPTION_RES, b"streaming")]:
                raise ConnectionLost(f"{line.name} has no streaming mode (it is no Abraxas server)")
        if scope.cancelled_caught:
            raise ConnectionLost(f"{line.name} did not answer within {GREETING_TIMEOUT:g} s")

    async def _converse(self, line: Lifeline, connection: Connection) -> None:
        """From a usable connection to its end."""
        try:
            async with open_nursery() as nursery:
                waiting, self._waiting = self._waiting, []
                hello = Question(_EXCEPTIONS, Type.OPTION_RES)
                if line.settings.client_id:
                    hello.request += encode(REQUEST, Packet(Type.SET_CLIENT_ID, line.settings.client_id.encode()))
                line.open(connection, [hello, *waiting])
                self._debug(line, "connected")
                for party in self._parties:
                    party.line_up(line)
                nursery.start_soon(self._write, line, connection, nursery.cancel_scope)
                await self._read(line, connection)
                nursery.cancel_scope.cancel()
        finally:
            for call in line.close():
                if call.can_move:
                    self.put(call)
                else:
                    call.end(ConnectionLost(f"the connection to {line.name} was lost"))
            self._debug(line, "disconnected")
            for party in self._parties:
                party.line_down(line)

    async def _write(self, line: Lifeline, connection: Connection, conversation: trio.CancelScope) -> None:
        while True:
            await line.wakeup.wait()
            if self.worker is not None:
                self.worker.decide(line)
            line.wakeup = trio.Event()
            data = line.collect()
            if not data:
                continue
            try:
                await connection.send_encoded(data)
            except ConnectionLost as error:
                self._tell(line, error)
                conversation.cancel()  # the reader may be choked, and find out only much later
                return
            line.note_sent(len(data))

    async def _read(self, line: Lifeline, connection: Connection) -> None:
        while batch := await connection.receive():
            worker = self.worker
            for message in batch:
                if worker is not None and isinstance(message, Packet) and message.type in _FOR_WORKERS:
                    worker.receive(line, message)
                elif worker is None or not line.is_about_worker(message):
                    line.receive(message)
            if worker is not None:
                worker.go_on()
            await line.can_read()

    async def _expire(self) -> None:
        """End the calls that could not be sent in time, and those whose answer has not come in time."""
        while True:
            self._expiring = trio.Event()
            now = trio.current_time()
            for timer in self._timers.due(now):
                timer.action(timer.target, now)
            unsent = [call for queue in (self._waiting, *(line.unsent for line in self.lines)) for call in queue]
            for call in unsent:
                if call.deadline <= now:
                    call.end(Unavailable(f"no connection to {self.names} in time; nothing was submitted"))
            self._waiting = [call for call in self._waiting if not call.is_done]
            due_at = min((call.deadline for call in unsent if not call.is_done), default=inf)
            self._look_at = min(due_at, self._timers.deadline)
            with trio.move_on_at(self._look_at):
                await self._expiring.wait()


def _closed() -> Unavailable:
    return Unavailable("the client was closed; nothing was submitted")
