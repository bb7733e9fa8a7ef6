"""The broker, in any conversation of several peers: nothing escapes it, its state stays sound, clients get their due.

The same conversation is held a second time with each peer's messages given together, as the server does: then every
peer must hear the same, but for the NOOPs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import inf
from random import Random
from typing import Any

import broker_invariants
import octets
from broker_stage import Effect, Heard, Send
from fuzz_campaign import Case

from abraxas_py.broker import Close, Options, Stop
from abraxas_py.broker.model import WorkerState
from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.packets import SUBMISSIONS, Packet, Sender, Type
from abraxas_py.protocol.wire import REQUEST, RESPONSE, Decoder, Line, Message, encode

__all__ = ["Streams"]

START = 1_000_000.0
PEERS = 5
FOREGROUND = {*(type for (_, is_background), type in SUBMISSIONS.items() if not is_background), Type.SUBMIT_REDUCE_JOB}
ENDS = {Type.WORK_COMPLETE, Type.WORK_FAIL, Type.WORK_EXCEPTION}
SPOKEN = [type for type in Type if octets.SHAPES[type].senders & (Sender.CLIENT | Sender.WORKER)]
OFTEN = [
    Type.SUBMIT_JOB, Type.SUBMIT_JOB_BG, Type.CAN_DO, Type.GRAB_JOB, Type.GRAB_JOB_UNIQ, Type.PRE_SLEEP,
    Type.WORK_COMPLETE, Type.WORK_DATA, Type.WORK_FAIL,
]  # fmt: skip


class Streams:
    """A case is options, then (peer, bytes), (peer, None) for one that leaves, or seconds that pass."""

    name = "streams"
    cases = 500

    def make(self, chance: Random) -> Case:
        options = {
            "job_retries": chance.choice([0, 0, 2]),
            "round_robin": chance.random() < 0.3,
            "worker_wakeup": chance.choice([None, None, 0, 1]),
            "fail_on_timeout": chance.random() < 0.3,
            "max_functions": 4,
            "max_payload_bytes": 200,
        }
        return [options, *(_event(chance) for _ in range(chance.randint(5, 60)))]

    def check(self, case: Case) -> None:
        options = case[0] if isinstance(case[0], dict) else {}
        events = [event for event in case if not isinstance(event, dict)]
        one_by_one = _Conversation(options, is_together=False)
        together = _Conversation(options, is_together=True)
        for event in events:
            one_by_one.play(event)
            together.play(event)
        assert one_by_one.heard == together.heard

    def close(self) -> None:
        pass


def _event(chance: Random) -> Any:
    peer = chance.randrange(PEERS)
    match chance.random():
        case roll if roll < 0.04:
            return (peer, None)
        case roll if roll < 0.1:
            return chance.choice([0.05, 0.5, 1.0, 5.0, 60.0])
    data = b""
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        if chance.random() < 0.08:
            data += octets.line(chance)
        else:
            data += octets.packet(chance, chance.choice(OFTEN if chance.random() < 0.7 else SPOKEN))
    return (peer, octets.damaged(chance, data) if chance.random() < 0.03 else data)


class _Conversation:
    """A broker with its peers, and what they are owed."""

    def __init__(self, options: dict[str, Any], *, is_together: bool) -> None:
        wakeup = options.get("worker_wakeup")
        self.broker = Heard(b"H:test", Options(**options | {"worker_wakeup": inf if wakeup is None else wakeup}))
        self.is_together = is_together
        self.now = START
        self.peers: dict[int, int] = {}  # number in the case -> number at the broker, never used twice
        self.decoders: dict[int, Decoder] = {}
        self.connected = 0
        self.heard: defaultdict[int, bytes] = defaultdict(bytes)
        self.owed: Counter[tuple[int, bytes]] = Counter()  # ends of jobs
        self.learnt_asleep: set[tuple[int, bytes]] = set()

    def play(self, event: Any) -> None:
        if isinstance(event, float):
            self.now += event
            self.take(self.broker.tick(self.now))
            assert self.broker.deadline > self.now
        else:
            number, data = event
            if data is None:
                self.leave(number)
            else:
                self.hear(self.peer(number), data)
        self.check()

    def peer(self, number: int) -> int:
        if number not in self.peers:
            self.connected += 1
            self.peers[number] = self.connected
            self.decoders[self.connected] = Decoder(REQUEST)
            self.broker.connect(self.connected)
        return self.peers[number]

    def leave(self, number: int) -> None:
        peer = self.peers.pop(number, None)
        if peer is not None:
            for key in [key for key in self.owed if key[0] == peer]:
                del self.owed[key]
            self.learnt_asleep = {pair for pair in self.learnt_asleep if pair[0] != peer}
            self.take(self.broker.disconnect(peer, self.now))

    def hear(self, peer: int, data: bytes) -> None:
        if self.is_together:
            self.take(self.broker.receive_all(peer, self.decoders[peer].cut(data), self.now))
        else:
            for message in self.decoders[peer].feed(data):
                self.note(peer, message)
                effects = self.broker.receive(peer, message, self.now)
                if isinstance(message, Packet) and message.type in FOREGROUND:
                    self.expect(peer, effects)
                self.take(effects)
        if self.broker.peers[peer].is_closed:
            self.leave(next(number for number, other in self.peers.items() if other == peer))

    def note(self, peer: int, message: Message | RemoteProtocolError) -> None:
        """As in gearmand, a worker is not woken for what it learns to do in its sleep."""
        if not isinstance(message, Packet):
            return
        if message.type in (Type.CAN_DO, Type.CAN_DO_TIMEOUT):
            if self.broker.peers[peer].state in (WorkerState.ASLEEP, WorkerState.OVERDUE):
                self.learnt_asleep.add((peer, message.body.partition(b"\0")[0]))
        elif message.type in (Type.PRE_SLEEP, Type.GRAB_JOB, Type.GRAB_JOB_UNIQ, Type.GRAB_JOB_ALL):
            self.learnt_asleep = {pair for pair in self.learnt_asleep if pair[0] != peer}

    def expect(self, peer: int, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Packet):
                self.owed[peer, effect.message.body] += effect.message.type is Type.JOB_CREATED

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert isinstance(effect, Send | Close | Stop)
            if isinstance(effect, Send):
                data = encode(RESPONSE, effect.message)
                for peer in effect.to:
                    assert peer in self.broker.peers, "sent to a peer that is gone"
                    self.tell(peer, effect.message, data)

    def tell(self, peer: int, message: Packet | Line, data: bytes) -> None:
        if isinstance(message, Packet) and message.type is Type.NOOP:
            return
        self.heard[peer] += data
        if isinstance(message, Packet) and message.type in ENDS and not self.is_together:
            handle = message.body.partition(b"\0")[0]
            assert self.owed[peer, handle] > 0, "an end that nobody waits for, or the second one (B5)"
            self.owed[peer, handle] -= 1

    def check(self) -> None:
        broker_invariants.counts_are_true(self.broker)
        broker_invariants.jobs_and_peers_agree(self.broker)
        broker_invariants.nothing_is_left_behind(self.broker)
        if not self.is_together:
            broker_invariants.no_work_waits_for_a_sleeper(self.broker, self.learnt_asleep)
        for (peer, handle), count in self.owed.items():
            assert not count or handle in self.broker.jobs, f"{peer} still waits for {handle!r}, which is gone (B5)"
