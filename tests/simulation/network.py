"""The network between nodes: streams in memory with delays, pieces, and all that happens to real ones.

A connection is two `Flow`s. Bytes that are sent arrive in order, in pieces, each after a delay. A flow may be *cut*:
what is sent on it arrives once it is healed, as TCP sends it again; a cut that lasts longer than keepalive bears breaks
the connection at both ends. A reset breaks it at once. A half-close ends one flow.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from abraxas_py.errors import ConnectionLost
from tests.simulation import determinism

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World

__all__ = ["End", "Network"]

KEEPALIVE = 60.0  # s until both ends find out that the other is not there
DELAYS = (0.0001, 0.0002, 0.001, 0.005)  # s, one of them for a connection
PIECES = 0.1  # of what is sent travels in pieces


class Flow:
    """One direction of a connection."""

    __slots__ = ("is_broken", "is_ended", "last_at", "pieces", "reader", "rest")

    def __init__(self) -> None:
        self.pieces: deque[tuple[float, bytes]] = deque()  # on the way: when they arrive
        self.last_at = 0.0
        self.rest = b""
        self.is_ended = False
        self.is_broken = False
        self.reader: trio.lowlevel.Task | None = None  # who waits

    async def wait(self) -> None:
        """Until there may be something to read."""
        self.reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._leave)

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        self.reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def change(self) -> None:
        """Let the reader look again."""
        if self.reader is not None:
            trio.lowlevel.reschedule(self.reader)
            self.reader = None


class Connection:
    """Two ends, at two nodes."""

    def __init__(self, network: Network, client: Node, server: Node, number: int) -> None:
        self.network = network
        self.number = number
        self.nodes = client, server
        self.chance = random.Random(network.chance.getrandbits(32))
        self.delay = self.chance.choice(DELAYS)
        self.ends = End(self, 0), End(self, 1)
        self.cut_since: list[float | None] = [None, None]  # by the sending end
        self.is_orphan = False  # one end is gone, and the other could not hear of it

    def reset(self) -> None:
        """Both ends find it broken."""
        self.network.connections.pop(self.number, None)
        for end in self.ends:
            end.arriving.is_broken = True
            end.arriving.change()


class End(trio.abc.Stream):
    """One end of a connection."""

    def __init__(self, connection: Connection, side: int) -> None:
        self.connection = connection
        self.side = side
        self.arriving = Flow()
        self._is_closed = False

    @property
    def other(self) -> End:
        return self.connection.ends[1 - self.side]

    @property
    def is_cut(self) -> bool:
        """Whether what is sent here does not arrive for now."""
        return self.connection.cut_since[self.side] is not None

    def _check(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("this end was closed")
        if self.arriving.is_broken:
            raise trio.BrokenResourceError("the connection was reset")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check()
        if self.other._is_closed:
            raise trio.BrokenResourceError("the other end is closed")
        self.put(bytes(data))

    def put(self, data: bytes) -> None:
        """Send, where nobody has to hear that it cannot arrive: who reads here hears it."""
        if self._is_closed or self.arriving.is_broken or self.other._is_closed:
            return
        connection, flow = self.connection, self.other.arriving
        chance, network = connection.chance, connection.network
        network.world.note("send", connection.number, self.side, len(data))
        at = max(flow.last_at, trio.current_time() + connection.delay + network.lag)
        if flow.reader is not None and not flow.pieces and not self.is_cut:
            determinism.at(at, flow.change)
        while data:
            size = chance.randint(1, len(data)) if chance.random() < PIECES else len(data)
            flow.pieces.append((at, data[:size]))
            data = data[size:]
            at += connection.delay * chance.random()
        flow.last_at = at

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        flow = self.arriving
        while True:
            self._check()
            if flow.rest:
                return self._read(max_bytes)
            if not self.other.is_cut:
                if flow.pieces:
                    arrives_at = flow.pieces[0][0]
                    if arrives_at <= trio.current_time():
                        flow.rest = flow.pieces.popleft()[1]
                        return self._read(max_bytes)
                    determinism.at(arrives_at, flow.change)
                elif flow.is_ended:
                    return b""
            await flow.wait()

    def _read(self, max_bytes: int | None) -> bytes:
        flow = self.arriving
        data, flow.rest = flow.rest[:max_bytes], flow.rest[len(flow.rest) if max_bytes is None else max_bytes :]
        return data

    def end_sending(self) -> None:
        """The other end reads to the end of what was sent, and no further."""
        self.other.arriving.is_ended = True
        self.other.arriving.change()

    def close(self) -> None:
        """Neither read nor send any more."""
        if not self._is_closed:
            self._is_closed = True
            self.arriving.change()
            self.end_sending()
            if self.other._is_closed:
                self.connection.network.connections.pop(self.connection.number, None)

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


class Network:
    """All connections, and who listens."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.lag = 0.0  # s that everything takes longer
        self.connections: dict[int, Connection] = {}
        self._made = 0
        self._listeners: dict[str, tuple[Node, Callable[[End], None]]] = {}
        self._cuts: dict[tuple[str, str], trio.Event] = {}  # (from, to) -> healed

    def listen(self, name: str, node: Node, accept: Callable[[End], None]) -> None:
        """Whoever dials `name` from now on is given to `accept`, as long as the node lives."""
        self._listeners[name] = node, accept

    def dialer(self, node: Node, name: str) -> Callable[[], object]:
        """How `node` reaches `name`."""

        async def dial() -> trio.abc.Stream:
            await trio.sleep(self.chance.choice(DELAYS) + self.lag)
            listener = self._listeners.get(name)
            if listener is None or not listener[0].is_up or not node.is_up:
                raise ConnectionLost(f"cannot connect to {name}: refused")
            server, accept = listener
            for way in ((node.name, server.name), (server.name, node.name)):
                while way in self._cuts:
                    await self._cuts[way].wait()
            if not server.is_up or not node.is_up:
                raise ConnectionLost(f"cannot connect to {name}: refused")
            self._made += 1
            connection = Connection(self, node, server, self._made)
            self.connections[self._made] = connection
            self.world.note("connect", node.name, name, self._made)
            accept(connection.ends[1])
            return connection.ends[0]

        return dial

    def between(self, one: str, other: str) -> list[Connection]:
        """The connections of two nodes."""
        return [c for c in self.connections.values() if {one, other} == {node.name for node in c.nodes}]

    def drop_node(self, node: Node) -> None:
        """Its kernel closes what a process leaves open."""
        for name, (server, _) in list(self._listeners.items()):
            if server is node:
                del self._listeners[name]
        for connection in list(self.connections.values()):
            if node in connection.nodes:
                is_cut = any(at is not None for at in connection.cut_since)
                if not is_cut:
                    connection.reset()
                else:
                    connection.is_orphan = True
                    end = connection.ends[connection.nodes.index(node)]
                    end.arriving.is_broken = True
                    end.arriving.change()

    def cut(self, source: str, target: str) -> None:
        """Nothing goes from one node to another any more."""
        self._cuts.setdefault((source, target), trio.Event())
        for connection in self.between(source, target):
            side = 0 if connection.nodes[0].name == source else 1
            if connection.cut_since[side] is None:
                connection.cut_since[side] = trio.current_time()

    def cuts(self) -> list[tuple[str, str]]:
        """What is cut now."""
        return list(self._cuts)

    def heal(self, source: str, target: str) -> None:
        """It does again; what waited for longer than keepalive allows is broken."""
        healed = self._cuts.pop((source, target), None)
        if healed is not None:
            healed.set()
        for connection in self.between(source, target):
            side = 0 if connection.nodes[0].name == source else 1
            connection.cut_since[side] = None
            if connection.is_orphan:
                connection.reset()
            for end in connection.ends:
                end.arriving.change()

    def expire(self) -> None:
        """Keepalive: break what has been cut for too long."""
        now = trio.current_time()
        for connection in list(self.connections.values()):
            if any(at is not None and at + KEEPALIVE <= now for at in connection.cut_since):
                connection.reset()
