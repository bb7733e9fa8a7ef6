"""The broker with a journal under any sequence of events, crashes among them, against what a client may rely on.

Each payload is unique, so a job can be told wherever it turns up. The model keeps what each peer is to be answered, in
order, and what it has heard: acknowledged jobs, refused ones, ends.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from broker_stage import Effect, Send
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from keeping_stage import Kept

from abraxas_py.broker import Close
from abraxas_py.protocol.packets import Packet, Type

CLIENTS, WORKERS = (1, 2, 3), (11, 12)
ANSWERS = {Type.JOB_CREATED, Type.ERROR, Type.ECHO_RES, Type.STATUS_RES, Type.NO_JOB, Type.JOB_ASSIGN_UNIQ}

clients, workers = st.sampled_from(CLIENTS), st.sampled_from(WORKERS)


class KeepingMachine(RuleBasedStateMachine):
    """Three clients, two workers, one function, and a disk that is now and then full."""

    @initialize(resident=st.sampled_from([0, 20, 1 << 20]))
    def begin(self, resident: int) -> None:
        self.stage = Kept(resident_bytes=resident)
        self.made = 0
        self.acknowledged: dict[bytes, bytes] = {}  # handle -> payload, of background submissions
        self.refused: set[bytes] = set()  # payloads
        self.completed: set[bytes] = set()  # handles that a worker has reported
        self.heard: set[bytes] = set()  # handles whose end somebody has heard of
        self.ender: dict[bytes, int] = {}  # handle -> the worker that reported its end
        self.joined: set[bytes] = set()  # payloads that share a job: what becomes of them is the job's matter
        self.connect()

    def connect(self) -> None:
        self.expected: dict[int, deque[tuple[Any, ...]]] = {peer: deque() for peer in (*CLIENTS, *WORKERS)}
        self.running: dict[bytes, int] = {}  # handle -> worker
        for peer in CLIENTS:
            self.stage.connect(peer)
        for peer in WORKERS:
            self.stage.worker(peer, b"f")

    def take(self, effects: list[Effect]) -> None:
        """Hold each answer against the one that its peer is due."""
        for effect in effects:
            assert isinstance(effect, Send)
            assert isinstance(effect.message, Packet)
            for peer in effect.to:
                if effect.message.type in ANSWERS:
                    self.answer(peer, effect.message, *self.expected[peer].popleft())
                elif effect.message.type in (Type.WORK_COMPLETE, Type.WORK_FAIL):
                    self.heard.add(effect.message.split()[0])

    def answer(self, peer: int, packet: Packet, kind: str, *about: Any) -> None:
        if kind == "submit":
            data, is_background = about
            if packet.type is Type.ERROR:
                self.refused.add(data)
            else:
                assert packet.type is Type.JOB_CREATED
                if is_background:
                    self.acknowledged.setdefault(packet.body, data)
        elif kind == "echo":
            assert packet == Packet(Type.ECHO_RES, about[0])
            self.heard |= about[1]
        elif kind == "status":
            assert packet.type is Type.STATUS_RES
            handle, known, *_ = packet.split()
            assert handle == about[0]
            if known == b"0" and handle in self.acknowledged:
                assert handle in self.completed, "an acknowledged job is unknown, and nobody has run it"
                self.heard.add(handle)
        else:
            assert kind == "grab"
            if packet.type is Type.JOB_ASSIGN_UNIQ:
                handle, _, _, data = packet.split()
                assert handle not in self.heard, "it runs again after its end was heard of"
                assert data not in self.refused - self.joined, "it was refused, and runs"
                assert handle not in self.running
                self.running[handle] = peer

    def say(self, peer: int, type: Type, *arguments: bytes) -> None:
        self.take(self.stage.say(peer, type, *arguments))

    @rule(
        peer=clients,
        unique=st.sampled_from([b"", b"", b"u", b"v"]),
        is_background=st.sampled_from([True, True, False]),
        is_committed=st.booleans(),
    )
    def submit(self, peer: int, unique: bytes, is_background: bool, is_committed: bool) -> None:
        self.made += 1
        data = b"%d" % self.made
        if unique:
            self.joined.add(data)
        self.expected[peer].append(("submit", data, is_background))
        self.say(peer, Type.SUBMIT_JOB_BG if is_background else Type.SUBMIT_JOB, b"f", unique, data)
        if is_committed:
            self.commit()

    @rule(peer=st.sampled_from(CLIENTS + WORKERS))
    def echo(self, peer: int) -> None:
        self.made += 1
        done = {handle for handle in self.completed if self.ender.get(handle) == peer}
        self.expected[peer].append(("echo", b"%d" % self.made, done))
        self.say(peer, Type.ECHO_REQ, b"%d" % self.made)

    @precondition(lambda self: self.acknowledged)
    @rule(peer=clients, which=st.integers(0))
    def status(self, peer: int, which: int) -> None:
        handle = list(self.acknowledged)[which % len(self.acknowledged)]
        self.expected[peer].append(("status", handle))
        self.say(peer, Type.GET_STATUS, handle)

    @precondition(lambda self: any(function.queued for function in self.stage.broker.functions.values()))
    @rule(peer=workers)
    def grab(self, peer: int) -> None:
        self.expected[peer].append(("grab",))
        self.say(peer, Type.GRAB_JOB_UNIQ)

    @precondition(lambda self: self.running)
    @rule(
        which=st.integers(0),
        type=st.sampled_from([Type.WORK_COMPLETE, Type.WORK_FAIL]),
        then=st.sampled_from(["", "status", "echo"]),
    )
    def end(self, which: int, type: Type, then: str) -> None:
        handle = list(self.running)[which % len(self.running)]
        peer = self.running.pop(handle)
        self.completed.add(handle)
        self.ender = {**self.ender, handle: peer}
        self.say(peer, type, handle, *[b"r"][: type is Type.WORK_COMPLETE])
        if then == "status":
            self.expected[1].append(("status", handle))
            self.say(1, Type.GET_STATUS, handle)
        elif then == "echo":
            self.echo(peer)

    @rule(peer=st.sampled_from(CLIENTS + WORKERS))
    def leave(self, peer: int) -> None:
        self.expected[peer].clear()
        for handle in [handle for handle, worker in self.running.items() if worker == peer]:
            del self.running[handle]
        self.ender = {handle: worker for handle, worker in self.ender.items() if worker != peer}
        self.take(self.stage.leave(peer))
        self.stage.connect(peer)
        if peer in WORKERS:
            self.stage.worker(peer, b"f")

    @precondition(lambda self: self.stage.pending)
    @rule()
    def commit(self) -> None:
        self.take(self.stage.commit())

    @precondition(lambda self: self.stage.pending)
    @rule()
    def refuse(self) -> None:
        self.take(self.stage.refuse())

    @precondition(lambda self: self.stage.wanted)
    @rule(limit=st.sampled_from([1, 1000]))
    def read(self, limit: int) -> None:
        while self.stage.wanted:
            self.take(self.stage.read(limit))

    @precondition(lambda self: self.completed)
    @rule(is_written=st.booleans())
    def crash(self, is_written: bool) -> None:
        if is_written:
            self.stage.write()
        self.stage.crash()
        self.ender = {}
        for handle in set(self.acknowledged) - self.completed:
            assert handle in self.stage.broker.jobs, "an acknowledged job is lost"
        assert not self.heard & set(self.stage.broker.jobs), "a job is back although its end was heard of"
        self.connect()

    @rule()
    def be_declared_dead(self) -> None:
        for effect in self.stage.fence():
            if isinstance(effect, Close):
                self.leave(effect.peer)
            else:
                self.take([effect])
        assert not any(job.row for job in self.stage.broker.jobs.values()), "it goes on with what is another's"
        assert not any(self.expected.values()), "somebody waits for a word that nobody will say"
        self.take(self.stage.take_over())
        for handle in set(self.acknowledged) - self.completed:
            assert handle in self.stage.broker.jobs, "an acknowledged job is lost"
        assert not self.heard & set(self.stage.broker.jobs), "a job is back although its end was heard of"

    @invariant()
    def what_was_refused_is_not_kept(self) -> None:
        kept = {record.data for record in self.stage.disk.values()}
        assert not kept & (self.refused - self.joined)

    @invariant()
    def counts_agree(self) -> None:
        broker = self.stage.broker
        assert broker._on_disk == sum(job.data is None for job in broker.jobs.values())
        assert broker._payload_bytes == sum(len(job.data or b"") for job in broker.jobs.values())
        assert sum(function.total for function in broker.functions.values()) == len(broker.jobs)
        assert min((function.storing for function in broker.functions.values()), default=0) >= 0

    def teardown(self) -> None:
        if hasattr(self, "stage"):
            self.commit()
            self.read(1000)
            assert not any(self.expected.values()), "somebody was not answered"
            broker = self.stage.broker
            assert not broker._backlog
            assert not broker._storing
            assert not broker._removing
            assert not broker._unsettled
            kept = {job.row for job in broker.jobs.values() if job.is_background}
            assert kept == set(self.stage.disk), "memory and disk differ"


KeepingMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestKeeping = KeepingMachine.TestCase
