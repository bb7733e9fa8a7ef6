"""A broker with a journal on a stage: what it asks to keep lies open until the disk is moved by hand."""

from __future__ import annotations

from broker_stage import Effect, Heard, Send, Stage

from abraxas_py.broker import Amend, Load, Options, Persist, Record, Remove, Store
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import Line

ROWS = 1 << 40  # of one start


class Kept(Stage):
    """`disk` is what would be there after a crash; `pending` what is on its way to it."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.options = options
        self.start = 1
        self.disk: dict[int, Record] = {}
        self.pending: list[Persist] = []
        self.wanted: list[int] = []
        self.broker.keep(ROWS)

    def hear(self, peer: int, message: Packet | Line) -> list[Effect]:
        return self.take(super().hear(peer, message))

    def leave(self, peer: int) -> list[Effect]:
        return self.take(super().leave(peer))

    def wait(self, seconds: float) -> list[Effect]:
        return self.take(super().wait(seconds))

    def take(self, effects: list[Effect]) -> list[Effect]:
        """Put aside what is the journal's; the others."""
        rest = []
        for effect in effects:
            if isinstance(effect, Load):
                self.wanted += effect.rows
            elif isinstance(effect, Store | Amend | Remove):
                self.pending.append(effect)
            else:
                rest.append(effect)
        return rest

    def write(self) -> list[int]:
        """The disk takes what is pending, and nobody hears of it."""
        done, self.pending = self.pending, []
        for change in done:
            if isinstance(change, Store):
                self.disk[change.record.row] = change.record
            elif isinstance(change, Remove):
                self.disk.pop(change.row, None)
            elif change.row in self.disk:
                self.disk[change.row] = self.disk[change.row]._replace(
                    due_at=change.due_at, retries=change.retries, is_dead=change.is_dead
                )
        return [change.number for change in done]

    def commit(self) -> list[Effect]:
        """The disk takes what is pending."""
        return self.take(self.broker.persisted(self.write(), self.now))

    def refuse(self) -> list[Effect]:
        """The disk is full: no job is taken, but what has happened fits."""
        refused = [change.number for change in self.pending if isinstance(change, Store)]
        self.pending = [change for change in self.pending if not isinstance(change, Store)]
        return self.take(self.broker.refused(refused, "No room left", self.now)) + self.commit()

    def read(self, limit: int = 1000) -> list[Effect]:
        """The disk gives the payloads that are wanted, but no more than `limit` at once."""
        asked, self.wanted = self.wanted, []
        payloads = {row: self.disk[row].data or b"" for row in asked[:limit]}
        return self.take(self.broker.loaded(asked, payloads, self.now))

    def crash(self) -> None:
        """All that is not on the disk is gone; the server starts again."""
        self.start += 1
        self.pending, self.wanted = [], []
        self.broker = Heard(b"H:test%d" % self.start, Options(**self.options))  # type: ignore[arg-type]
        self.broker.keep(ROWS * self.start)
        records = [
            record if record.unique == b"-" else record._replace(data=None) for _, record in sorted(self.disk.items())
        ]
        assert self.take(self.broker.restore(records, self.now)) == []

    def fence(self) -> list[Effect]:
        """The others have declared this server dead: nothing is written any more, and it begins anew."""
        refused = [change.number for change in self.pending if isinstance(change, Store)]
        self.pending, self.wanted = [], []
        effects = self.broker.refused(refused, "No room left", self.now) + self.broker.forsake(self.now)
        assert self.take(effects) == effects, "it asks for something of what it has no more"
        self.start += 1
        self.broker.keep(ROWS * self.start)
        return effects

    def take_over(self) -> list[Effect]:
        """Another server was declared dead, and this is what it has left."""
        records = [record._replace(data=None) for _, record in sorted(self.disk.items())]
        return self.take(self.broker.restore(records, self.now))


def refusal(peer: int) -> Send:
    """What a client is told whose job the disk does not take."""
    return Send(Packet.of(Type.ERROR, b"QUEUE_ERROR", b"No room left"), (peer,))
