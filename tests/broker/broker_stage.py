"""A broker on a stage: packets in, effects out, and a clock that is moved by hand."""

from __future__ import annotations

from abraxas_py.broker import Broker, Effect, Options, Origin, Send
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import Line


class Stage:
    """Peers are numbers; they connect when they first speak."""

    def __init__(self, **options: object) -> None:
        self.broker = Broker(b"H:test", Options(**options))  # type: ignore[arg-type]
        self.now = 1_000_000.0

    def say(self, peer: int, type: Type, *arguments: bytes) -> list[Effect]:
        """A peer sends a packet."""
        return self.hear(peer, Packet(type, b"\0".join(arguments)))

    def hear(self, peer: int, message: Packet | Line) -> list[Effect]:
        if peer not in self.broker.peers:
            self.broker.connect(peer, self.now)
        return self.broker.receive(peer, message, self.now)

    def ask(self, peer: int, command: bytes) -> bytes:
        """A peer sends a text line; its answer."""
        (answer,) = self.hear(peer, Line(command))
        assert isinstance(answer, Send)
        assert answer.to == (peer,)
        assert isinstance(answer.message, Line)
        return answer.message.text

    def connect(self, peer: int, origin: Origin | None = None) -> None:
        self.broker.connect(peer, self.now, origin)

    def leave(self, peer: int) -> list[Effect]:
        return self.broker.disconnect(peer, self.now)

    def wait(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.broker.tick(self.now)

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
