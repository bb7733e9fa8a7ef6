"""The server: the trio shell around the broker. It reads, feeds, delivers, and sleeps until the next deadline.

One task waits for one selector's descriptor, not a task for each connection. When it wakes, one *pass* goes over every
socket that is readable or writable: receive, decode, `Broker.receive`, lay the effects into the outboxes; then every
outbox that was touched is sent with one call. No await, lock, channel or thread stands between a packet and its
effects, and a job costs a fraction of what waking a task for it would.

An attached peer (`Server.attach`) lives in the same program without a socket: writing to its stream is such a pass,
too.

A broken, refused or too slow peer is closed by the pass that finds it so; no peer's error reaches another one.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from math import inf

import trio

from abraxas_py.access import Rule, rights_of
from abraxas_py.broker import Broker, Close, Effect, Options, Origin, Right, Stop
from abraxas_py.door import Arrival, Counters, Door, Keepalive, Limits, is_local
from abraxas_py.journal import Journal
from abraxas_py.journal.writer import Report, Writer
from abraxas_py.link import AttachedLink, AttachedStream, Link, LinkBroken, Outboxes, SocketLink, TlsLink
from abraxas_py.nursery import open_nursery
from abraxas_py.patience import Patience
from abraxas_py.poller import READ, WRITE, open_poller
from abraxas_py.protocol.wire import REQUEST, Decoder, Piece

__all__ = ["Counters", "Keepalive", "Limits", "Server", "serve"]

log = logging.getLogger("abraxas.server")

ENOUGH = 8  # messages: before so many came, a pass looks for more, so that answers can be sent together
TURN = 0.005  # seconds until the other tasks of the program have theirs; a way through trio's scheduler costs 50 µs
FAREWELL = 30.0  # seconds for peers to read, after a drain, what they were sent
SWEEP_INTERVAL = 1.0  # seconds between two looks for peers that stopped in the middle of a message
_ALL = Right.SUBMIT | Right.WORK | Right.ADMINISTRATE


class Server:
    """A Gearman server inside a trio program.

    `rules` say what the holders of client certificates may do (`access`). Without them, peers of this machine may do
    everything; others submit and work, and administrate only with `remote_administration`.

    A `journal` keeps background jobs on disk, so that they outlive this process (`journal`).

    `linger` is for programs that do nothing else of importance: after something has arrived, they wait so many seconds
    for more in the selector itself, which costs a tenth of a way through trio, and keep trio's other tasks waiting.

    `serve` runs it; `attach` joins it from the same program. All its memory is in this object: a server that is served
    again knows its jobs still. The broker may be read (`server.broker.functions`, ...) and must be changed by messages
    only.
    """

    def __init__(
        self,
        options: Options | None = None,
        limits: Limits | None = None,
        *,
        rules: Sequence[Rule] = (),
        remote_administration: bool = False,
        keepalive: Keepalive | None = None,
        handle_prefix: str = "",
        journal: Journal | None = None,
        linger: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits or Limits()
        self._rules = rules
        self._remote_rights = _ALL if remote_administration else Right.SUBMIT | Right.WORK
        self.counters = Counters()
        self.endpoints: list[str] = []  # as bound
        self.broker = Broker(_handle_prefix(handle_prefix, clock()).encode(), options or Options(pid=os.getpid()))
        self._writer = Writer(journal, self._learn) if journal else None
        self._poller = open_poller()
        self._door = Door(self._poller, self.limits, self.counters, keepalive or Keepalive())
        self._links: dict[int, Link] = {}
        self._watched: dict[int, SocketLink] = {}  # by the descriptors of their sockets
        self._connected = 0  # how many peers there ever were
        self._outboxes = Outboxes(self.limits.soft_outbox_bytes, self._is_full)
        self._touched = self._outboxes.touched
        self._source: Link | None = None  # whose messages are being taken
        self._partial: dict[SocketLink, float] = {}  # those in the middle of a message, and until when it must go on
        self._sweep_at = inf  # when to look through them
        self._held: dict[Link, dict[SocketLink, None]] = {}  # streaming workers not read from until this peer has read
        self._bell: socket.socket | None = None  # what the journal's thread writes to when it is done
        self._nap = trio.CancelScope()  # what `serve` sleeps in
        self._is_stopped = False
        self._poll = self._poller.poll
        self._patience = Patience(self._poll, linger)
        self._wall = clock  # Unix seconds
        self._clock = inf, 0.0  # the loop's time and the wall's at the first look

    @property
    def now(self) -> float:
        """The server's clock: Unix seconds that never step back."""
        loop_at, wall_at = self._clock
        if loop_at == inf:
            loop_at, wall_at = self._clock = trio.current_time(), self._wall()
        return wall_at + trio.current_time() - loop_at

    async def serve(
        self,
        endpoints: Sequence[str] = (),
        *,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on endpoints and serve until cancelled (everything is closed at once) or stopped (`stop`).

        Without endpoints it serves attached peers only. `task_status.started` gets the endpoints as bound:
        `host:port` with the port that 0 became. Raises ListenError or JournalError, before anything is accepted;
        JournalBroken also later, when the journal's disk fails.
        """
        self._is_stopped = False
        self._obey(self.broker.resume(self.now))
        self._flush()
        if self._writer is None:
            await self._serve(endpoints, task_status)
        else:
            with self._ringing() as ring:
                async with self._writer.opened(self.broker, lambda: self.now, ring):
                    await self._serve(endpoints, task_status)

    @contextmanager
    def _ringing(self) -> Iterator[Callable[[], None]]:
        """What the journal's thread calls when it is done: the poller wakes, and trio's tasks get their turn."""
        bell, rope = socket.socketpair()
        bell.setblocking(False)

        def ring() -> None:
            rope.send(b"\0")

        with bell, rope:
            self._bell = bell
            self._poller.register(bell.fileno(), READ)
            try:
                yield ring
            finally:
                self._poller.unregister(bell.fileno())
                self._bell = None

    async def _serve(self, endpoints: Sequence[str], task_status: trio.TaskStatus[list[str]]) -> None:
        try:
            is_ending = self._is_stopped or self.broker.is_draining  # it was told so while the queue was restored
            self.endpoints = self._door.open(() if is_ending else endpoints)
            task_status.started(self.endpoints)
            await self._run(lambda: self.broker.is_drained)
            if self._writer is not None:
                await self._writer.settle()
            with trio.move_on_after(FAREWELL):
                await self._run(lambda: not any(link.outbox for link in self._links.values()))
        finally:
            self._close_all()

    def attach(self, address: str = "attached") -> trio.abc.Stream:
        """A connection to this server without a socket; timers of the broker need `serve` to be running."""
        link: AttachedLink
        stream = AttachedStream(lambda data: self._feed(link, data), lambda: self._leave(link))
        link = AttachedLink(self._number(), self._decoder(), self._outboxes, stream)
        self._links[link.id] = link
        self.broker.connect(link.id, link.put, Origin(address, is_own=True))
        return stream

    async def dial(self) -> trio.abc.Stream:
        """`attach`, in the form of a `Dialer` for clients and workers."""
        return self.attach()

    def stop(self, *, drain: bool = False) -> None:
        """Have `serve` return: at once, or (`drain`) when the jobs that run now have ended, and all is sent.

        Meanwhile no connections are taken, and no jobs are given out that no client waits for. Those that are, for a
        job that runs may need them, are cut off when the others have ended.
        """
        self._is_stopped |= not drain
        if drain:
            self.broker.drain()
            self._door.close()
        self._nap.cancel()

    # The loop

    async def _run(self, is_over: Callable[[], bool]) -> None:
        descriptor = self._poller.fileno()
        while not (self._is_stopped or is_over()):
            with trio.CancelScope(deadline=self._wake_at()) as self._nap:
                await trio.lowlevel.wait_readable(descriptor)
            turn_ends_at = trio.current_time() + TURN
            while self._pass() and trio.current_time() < turn_ends_at:
                pass

    def _wake_at(self) -> float:
        """The earliest thing that is due, in the loop's time."""
        now = self.now
        due_at = min(self.broker.deadline, self._sweep_at, self._door.again_at)
        return trio.current_time() + max(0.0, due_at - now)

    def _pass(self) -> bool:
        """Serve what is ready, and a little that comes meanwhile; whether to go on, or let others have their turn."""
        ready = self._poll(0) or self._patience.wait()
        is_busy = bool(ready)
        now = self.now
        messages = 0
        while ready:
            taken = self._attend(ready, now)
            is_busy = taken is not None
            messages += taken or 0
            if not taken or messages >= ENOUGH:
                break
            ready = self._poll(0)
        if self.broker.deadline <= now:
            self._obey(self.broker.tick(now))
        if self._sweep_at <= now:
            self._sweep(now)
        if self._door.again_at <= now:
            self._door.resume()
        self._flush()
        return is_busy

    def _attend(self, ready: Sequence[tuple[int, int]], now: float) -> int | None:
        """Attend to what the poller has found; how many messages came. None if somebody rang, who waits for a turn."""
        taken = 0
        has_rung = False
        for descriptor, mask in ready:
            link = self._watched.get(descriptor)
            if link is None:
                if self._bell is not None and descriptor == self._bell.fileno():
                    self._bell.recv(4096)
                    has_rung = True
                else:
                    for arrival in self._door.accept(descriptor, now):
                        self._welcome(arrival)
                continue
            if mask & ~WRITE:  # something to read, or the end of it
                taken += self._read(link, now)
            if mask & ~READ:
                link.touch()
        return None if has_rung else taken

    def _read(self, link: SocketLink, now: float) -> int:
        """Take what a peer has sent; how many messages that were."""
        try:
            pieces = link.receive()
        except LinkBroken as broken:
            self._drop(link, str(broken))
            return 0
        if link.is_secured:
            assert isinstance(link, TlsLink)
            link.touch()  # a handshake answers without a message
            if not link.is_agreed:
                return 0
            if link.id not in self.broker.peers:
                self._introduce(link, rights_of(link.peer_names, self._rules, self._rights(link.address)))
        if pieces and not link.is_closing:
            self._take(link, pieces, now)
        if link.decoder.partial_bytes:
            self._expect(link, now + self.limits.incomplete_timeout)
        elif self._partial and not link.is_closing:
            self._partial.pop(link, None)
        return len(pieces)

    def _feed(self, link: AttachedLink, data: bytes) -> None:
        pieces = link.decoder.cut(data)
        if pieces and not link.is_closing:
            self._take(link, pieces, self.now)
        self._flush()
        self._hurry()

    def _take(self, link: Link, pieces: list[Piece], now: float) -> None:
        self._source = link
        effects = self.broker.receive_all(link.id, pieces, now)
        self._source = None
        if effects:
            self._obey(effects)

    def _obey(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Close):
                link = self._links[effect.peer]
                link.is_closing = True
                link.touch()
                if isinstance(link, SocketLink):  # it may never read what is still to be sent to it
                    self._expect(link, self.now + self.limits.incomplete_timeout)
            elif isinstance(effect, Stop):
                log.info("stopping on command drain=%s", effect.drain)
                self.stop(drain=effect.drain)
            else:
                assert self._writer is not None, "the broker keeps jobs without a journal"
                self._writer.put(effect)

    def _learn(self, report: Report) -> None:
        """What the journal has done goes to the broker, and what follows from it to the peers."""
        broker, now = self.broker, self.now
        if report.persisted:
            self._obey(broker.persisted(report.persisted, now))
        for reason, numbers in report.refused.items():
            self._obey(broker.refused(numbers, reason, now))
        if report.is_fenced:
            self._obey(broker.forsake(now))
        if report.first_row:
            broker.keep(report.first_row)
        if report.restored:
            self._obey(broker.restore(report.restored, now))
        if report.loaded is not None:
            self._obey(broker.loaded(report.asked, report.loaded, now))
        elif report.asked:
            self._obey(broker.unreadable(report.asked, now))
        self._flush()
        self._hurry()

    def _flush(self) -> None:
        """Send what the pass has left in outboxes; a peer that proves broken may cause more to send."""
        for link in self._touched:  # which may grow meanwhile
            link.is_touched = False
            if link.id not in self._links:
                continue
            try:
                link.flush()
            except LinkBroken as broken:
                self._drop(link, str(broken))
                continue
            if link.outbox or link.is_closing or link.mask != READ or self._held or link.withheld_bytes:
                self._reconsider(link)
        self._touched.clear()

    def _reconsider(self, link: Link) -> None:
        """A link is not simply empty and read from, or was not."""
        if link.is_closing and not link.outbox:
            self._drop(link, "refused")
        elif isinstance(link, SocketLink):
            if self._held and link.unread_bytes <= self.limits.soft_outbox_bytes:
                self._let_go(link)
            self._watch(link)

    def _watch(self, link: SocketLink) -> None:
        """Have the poller watch for what this link can do next."""
        mask = WRITE if link.outbox else 0
        is_full = link.unread_bytes > self.limits.soft_outbox_bytes
        is_held = bool(self._held) and any(link in sources for sources in self._held.values())
        if not (is_full or is_held or link.is_closing):
            mask |= READ
        if mask == link.mask:
            return
        descriptor = link.socket.fileno()
        if not mask:
            self._poller.unregister(descriptor)
            del self._watched[descriptor]
        elif link.mask:
            self._poller.modify(descriptor, mask)
        else:
            self._poller.register(descriptor, mask)
            self._watched[descriptor] = link
        link.mask = mask

    def _is_full(self, link: Link) -> bool:
        """Whether a peer, which is being closed or has left much unread, must not be sent any more."""
        if not link.is_closing and link.unread_bytes > self.limits.hard_outbox_bytes and isinstance(link, SocketLink):
            self._overflow(link)
        if not link.is_closing:
            self._hold(self._source, link)
        return link.is_closing

    def _hold(self, source: Link | None, link: Link) -> None:
        """Back-pressure: a streaming worker is not read from while a peer that it feeds does not read."""
        if not isinstance(source, SocketLink) or not isinstance(link, SocketLink) or source is link:
            return
        if self.broker.peers[source.id].is_streaming:
            self._held.setdefault(link, {})[source] = None
            source.touch()

    def _let_go(self, link: Link) -> None:
        """This peer has read, or is gone: the streaming workers that waited for it are read from again."""
        for source in self._held.pop(link, {}):
            source.touch()

    def _hurry(self) -> None:
        """An attached peer may have brought the next deadline forward while `serve` sleeps."""
        wake_at = self._wake_at()
        if wake_at < self._nap.deadline:
            self._nap.deadline = wake_at
        if self.broker.is_drained:
            self._nap.cancel()

    # Connections

    def _number(self) -> int:
        self._connected += 1
        return self._connected

    def _decoder(self) -> Decoder:
        return Decoder(REQUEST, max_packet_bytes=self.limits.packet_bytes, max_line_bytes=self.limits.line_bytes)

    def _rights(self, host: str) -> Right:
        return _ALL if is_local(host) else self._remote_rights

    def _introduce(self, link: SocketLink, rights: Right) -> None:
        self.broker.connect(link.id, link.put, Origin(link.address, rights), withhold=link.withhold)

    def _welcome(self, arrival: Arrival) -> None:
        host = arrival.host
        link: SocketLink
        if arrival.tls is not None:
            link = TlsLink(self._number(), self._decoder(), self._outboxes, arrival.socket, host, arrival.tls)
            self._expect(link, self.now + self.limits.handshake_timeout)
        else:
            link = SocketLink(self._number(), self._decoder(), self._outboxes, arrival.socket, host)
            self._introduce(link, self._rights(host))
        self._links[link.id] = link
        self._watch(link)

    def _drop(self, link: Link, reason: str) -> None:
        log.debug("connection closed peer=%d reason=%s", link.id, reason)
        if isinstance(link, SocketLink):
            if link.mask:
                descriptor = link.socket.fileno()
                self._poller.unregister(descriptor)
                del self._watched[descriptor]
            self._partial.pop(link, None)
            self._door.leave(link.address)
            self._let_go(link)
            for sources in self._held.values():
                sources.pop(link, None)
        link.close()
        del self._links[link.id]
        if link.id in self.broker.peers:  # over TLS it is introduced when its names are known
            self._obey(self.broker.disconnect(link.id, self.now))

    def _leave(self, link: AttachedLink) -> None:
        if link.id in self._links:
            self._drop(link, "closed by the peer")
            self._flush()
            self._hurry()

    def _overflow(self, link: Link) -> None:
        """A peer does not read what it is sent: nobody else shall pay for it."""
        self.counters.overflowed += 1
        log.warning("connection closed, it does not read peer=%d unread_bytes=%d", link.id, link.unread_bytes)
        link.outbox.clear()
        link.outbox_bytes = 0
        link.is_closing = True
        link.touch()
        self.broker.hang_up(link.id)

    def _expect(self, link: SocketLink, until: float) -> None:
        """A peer has begun something that it must go on with."""
        self._partial[link] = until
        self._sweep_at = min(self._sweep_at, self.now + SWEEP_INTERVAL)

    def _sweep(self, now: float) -> None:
        """Close those that did not; O(n) over the begun messages, once a second."""
        for link, until in list(self._partial.items()):
            if not link.mask & READ and not link.is_closing:
                self._partial[link] = now + self.limits.incomplete_timeout  # it is we who do not read
            elif until <= now:
                self.counters.stalled += 1
                log.warning("connection closed in the middle of a message address=%s", link.address)
                self._drop(link, "incomplete message")
        self._sweep_at = now + SWEEP_INTERVAL if self._partial else inf

    def _close_all(self) -> None:
        self._door.close()
        while self._links:
            self._drop(next(iter(self._links.values())), "the server stops")
        self._touched.clear()


@asynccontextmanager
async def serve(
    *endpoints: str, options: Options | None = None, limits: Limits | None = None, rules: Sequence[Rule] = ()
) -> AsyncIterator[Server]:
    """A Gearman server for the time of a block; `server.endpoints` says where it listens. Raises ListenError.

    async with abraxas_py.serve("127.0.0.1:0") as server:
        print(server.endpoints)
    """
    server = Server(options, limits, rules=rules)
    async with open_nursery() as nursery:
        await nursery.start(server.serve, endpoints)
        yield server
        nursery.cancel_scope.cancel()


def _handle_prefix(beginning: str, now: float) -> str:
    """`H:<host>:<start>`: no two starts on a host have the same, so no handle ever names two jobs (G6)."""
    return f"{beginning or f'H:{socket.gethostname()[:20]}'}:{_base36(int(now * 1e6))}"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
