"""Replies that wait for the journal, and whatever else their peers are to be sent behind them.

A client that pipelines is answered in the order in which it asked, and a submission's JOB_CREATED has to wait for the
disk. So what is to be sent to a peer with a waiting reply queues up behind that: meanwhile its `send` leads here. Other
peers are not concerned. How much it is `Peer.withhold` is told, since the shell limits what a peer may leave unread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from abraxas_py.broker.model import Peer

__all__ = ["Backlog"]


class _Held:
    """Something to be sent to one peer, once `number` is settled (0: it is)."""

    __slots__ = ("data", "number")

    def __init__(self, number: int, data: bytes | None) -> None:
        self.number = number
        self.data = data  # None: to be made when the number is settled


class Backlog:
    """Keeps the order of what each peer is sent. `close` is called for closed peers that have nothing to wait for."""

    __slots__ = ("_awaiting", "_close", "_queues")

    def __init__(self, close: Callable[[Peer], None]) -> None:
        self._close = close
        self._queues: dict[Peer, deque[_Held]] = {}  # none is empty
        self._awaiting: dict[int, list[tuple[Peer, _Held]]] = {}  # by number

    def __len__(self) -> int:
        return len(self._queues)

    def peers(self) -> set[int]:
        """Who waits for a reply."""
        return {peer.id for peer in self._queues}

    def hold(self, peer: Peer, number: int, data: bytes | None) -> None:
        """Have a message sent to a peer when a number is settled."""
        if peer.is_closed:
            return
        queue = self._queues.get(peer)
        if queue is None:
            queue = self._queues[peer] = deque()
            peer.send = partial(_append, peer, queue)
        held = _Held(number, data)
        peer.withhold(len(data or b""))
        queue.append(held)
        self._awaiting.setdefault(number, []).append((peer, held))

    def close(self, peer: Peer) -> None:
        """A peer is sent nothing any more, but for what waits."""
        self.mute(peer)
        if peer not in self._queues:
            self._close(peer)

    def mute(self, peer: Peer) -> None:
        """Nothing more queues up for a peer."""
        peer.send = _discard

    def settle(self, number: int, data: bytes | None = None) -> None:
        """What waited for a number need not any more, and says `data` in its place."""
        for peer, held in self._awaiting.pop(number, ()):
            held.number = 0
            if data is not None:
                peer.withhold(len(data) - len(held.data or b""))
                held.data = data
            queue = self._queues.get(peer)
            while queue and not queue[0].number:
                ready = queue.popleft().data
                assert ready is not None, "a message that nobody made"
                peer.withhold(-len(ready))
                peer.outlet(ready)
            if queue is not None and not queue:
                del self._queues[peer]
                if peer.is_closed:
                    self._close(peer)
                else:
                    peer.send = peer.outlet

    def forget(self, peer: Peer) -> None:
        """A peer is gone, and hears nothing any more."""
        for held in self._queues.pop(peer, ()):
            if held.number:
                waiting = self._awaiting[held.number]
                waiting.remove((peer, held))
                if not waiting:
                    del self._awaiting[held.number]


def _append(peer: Peer, queue: deque[_Held], data: bytes) -> None:
    """What is sent to a peer behind what waits."""
    peer.withhold(len(data))
    queue.append(_Held(0, data))


def _discard(data: bytes) -> None:
    """What is sent to a peer that is being closed."""
