"""Replies that wait for the journal, and whatever else their peers are to be sent behind them.

A client that pipelines is answered in the order in which it asked, and a submission's JOB_CREATED has to wait for the
disk. So what is to be sent to a peer with a waiting reply queues up behind that; other peers are not concerned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from abraxas_py.broker.effects import Close, Effect, Send
from abraxas_py.protocol.packets import Packet
from abraxas_py.protocol.wire import Message

__all__ = ["After", "Backlog"]


class After(NamedTuple):
    """Within the broker: a `Send` for when what has this number is settled. The message may be made only then."""

    number: int
    message: Packet | None
    to: tuple[int, ...]


class _Held:
    """Something to be done for one peer, once `number` is settled (0: it is)."""

    __slots__ = ("effect", "number", "peer")

    def __init__(self, number: int, peer: int, effect: Send | Close | None) -> None:
        self.number = number
        self.peer = peer
        self.effect = effect


class Backlog:
    """Keeps the order of what each peer is sent."""

    __slots__ = ("_awaiting", "_queues")

    def __init__(self) -> None:
        self._queues: dict[int, deque[_Held]] = {}  # by peer; none is empty
        self._awaiting: dict[int, list[_Held]] = {}  # by number

    def __len__(self) -> int:
        return len(self._queues)

    def peers(self) -> set[int]:
        """Who waits for a reply."""
        return set(self._queues)

    def sift(self, effects: Iterable[Effect | After]) -> list[Effect]:
        """The effects that can be done now; the others are kept."""
        now: list[Effect] = []
        queues = self._queues
        for effect in effects:
            if isinstance(effect, After):
                for peer in effect.to:
                    send = effect.message and Send(effect.message, (peer,))
                    self._hold(_Held(effect.number, peer, send))
            elif isinstance(effect, Send):
                free = tuple(peer for peer in effect.to if peer not in queues)
                if len(free) == len(effect.to):
                    now.append(effect)
                    continue
                if free:
                    now.append(Send(effect.message, free))
                for peer in effect.to:
                    if peer in queues:
                        self._hold(_Held(0, peer, Send(effect.message, (peer,))))
            elif isinstance(effect, Close) and effect.peer in queues:
                self._hold(_Held(0, effect.peer, effect))
            else:
                now.append(effect)
        return now

    def _hold(self, held: _Held) -> None:
        self._queues.setdefault(held.peer, deque()).append(held)
        if held.number:
            self._awaiting.setdefault(held.number, []).append(held)

    def settle(self, number: int, message: Message | None = None) -> list[Effect]:
        """What waited for a number need not any more, and says `message` in its place; what can be done now."""
        done: list[Effect] = []
        for held in self._awaiting.pop(number, ()):
            held.number = 0
            if message is not None:
                held.effect = Send(message, (held.peer,))
            queue = self._queues.get(held.peer)
            while queue and not queue[0].number:
                effect = queue.popleft().effect
                assert effect is not None, "a message that nobody made"
                done.append(effect)
            if queue is not None and not queue:
                del self._queues[held.peer]
        return done

    def forget(self, peer: int) -> None:
        """A peer is gone, and hears nothing any more."""
        for held in self._queues.pop(peer, ()):
            if held.number:
                waiting = self._awaiting[held.number]
                waiting.remove(held)
                if not waiting:
                    del self._awaiting[held.number]
