"""A broker on a stage: packets in, effects out, and a clock that is moved by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

from broker_invariants import books_are_true, counts_are_true, jobs_and_peers_agree

from abraxas_py.broker import Broker, Close, Options, Origin, Persist, Stop
from abraxas_py.broker.effects import Load
from abraxas_py.broker.model import Outlet
from abraxas_py.protocol.packets import SHAPES, Packet, Sender, Type
from abraxas_py.protocol.wire import Line, piece


class Send(NamedTuple):
    """A message that the broker has sent to peers, as an effect among its others."""

    message: Packet | Line
    to: tuple[int, ...]


Effect = Send | Close | Stop | Persist | Load


class Heard(Broker):
    """A broker whose peers write down what they are sent: it stands among the effects, in the order in which it was."""

    _effects: list[Any]
    _relayed: bytes = b""  # the last piece of news of a job

    def connect(self, peer: int, send: Outlet | None = None, origin: Origin | None = None) -> None:
        super().connect(peer, send or (lambda data: self._write_down(peer, data)), origin)

    def _write_down(self, peer: int, data: bytes) -> None:
        effects, message = self._effects, decoded(data)
        if effects and data is self._relayed and isinstance(effects[-1], Send):
            effects[-1] = Send(message, (*effects[-1].to, peer))  # the same bytes, to one more of those who wait
        else:
            effects.append(Send(message, (peer,)))
        is_news = isinstance(message, Packet) and Sender.WORKER in SHAPES[message.type].senders
        self._relayed = data if is_news else b""


def decoded(data: bytes) -> Packet | Line:
    """The message of these bytes; a table is one, too."""
    if data[0]:
        return Line(data.removesuffix(b"\n"))
    assert data[:4] == b"\0RES"
    assert len(data) == 12 + int.from_bytes(data[8:12], "big")
    return Packet(Type(int.from_bytes(data[4:8], "big")), data[12:])


class Stage:
    """Peers are numbers; they connect when they first speak."""

    def __init__(self, **options: object) -> None:
        self.broker = Heard(b"H:test", Options(**options))  # type: ignore[arg-type]
        self.now = 1_000_000.0

    def say(self, peer: int, type: Type, *arguments: bytes) -> list[Effect]:
        """A peer sends a packet."""
        return self.hear(peer, Packet(type, b"\0".join(arguments)))

    def hear(self, peer: int, message: Packet | Line) -> list[Effect]:
        if peer not in self.broker.peers:
            self.broker.connect(peer)
        return self.checked(self.broker.receive(peer, message, self.now))

    def hear_all(self, peer: int, *messages: Packet | Line) -> list[Effect]:
        """Messages that come together."""
        return self.checked(self.broker.receive_all(peer, map(piece, messages), self.now))

    def ask(self, peer: int, command: bytes) -> bytes:
        """A peer sends a text line; its answer."""
        (answer,) = self.hear(peer, Line(command))
        assert isinstance(answer, Send)
        assert answer.to == (peer,)
        assert isinstance(answer.message, Line)
        return answer.message.text

    def connect(self, peer: int, origin: Origin | None = None) -> None:
        self.broker.connect(peer, origin=origin)

    def leave(self, peer: int) -> list[Effect]:
        return self.checked(self.broker.disconnect(peer, self.now))

    def wait(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.checked(self.broker.tick(self.now))

    def resume(self) -> list[Effect]:
        return self.checked(self.broker.resume(self.now))

    def checked(self, effects: list[Effect]) -> list[Effect]:
        """What an input led to, once the broker's books are found to be right."""
        counts_are_true(self.broker)
        books_are_true(self.broker)
        jobs_and_peers_agree(self.broker)
        return effects

    def sleeper(self, peer: int, *functions: bytes) -> None:
        """A worker that sleeps."""
        self.worker(peer, *functions)
        assert self.say(peer, Type.PRE_SLEEP) == []

    def worker(self, peer: int, *functions: bytes) -> None:
        for function in functions:
            assert self.say(peer, Type.CAN_DO, function) == []


def to(peer: int | tuple[int, ...], type: Type, *arguments: bytes) -> Send:
    """What the broker sends to a peer."""
    return Send(Packet(type, b"\0".join(arguments)), (peer,) if isinstance(peer, int) else peer)
