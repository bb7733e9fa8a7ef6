"""The broker under any sequence of events, against what must hold (B1 to B12) and a model of what clients are owed.

The model knows nothing of queues and sleepers. It counts: for each submission, what its client has been told; for each
job, who holds it. Invariants are checked after every step, on the broker's own state and on everything it has sent.

B1 (durability) has no broker-side state without a journal, so it is not here. B9 (memory) is bounded in
`test_sockets.py`; here every index must be empty of what has ended.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Any

import broker_invariants
from broker_stage import Effect, Send, Stage
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from abraxas_py.broker import Close
from abraxas_py.broker.model import JobState, WorkerState
from abraxas_py.protocol.packets import Packet, Priority, Type
from abraxas_py.protocol.wire import Line

CLIENTS = range(1, 4)
WORKERS = range(11, 15)
FUNCTIONS = [b"f", b"g"]
PLAIN = {
    (Priority.HIGH, False): Type.SUBMIT_JOB_HIGH,
    (Priority.NORMAL, False): Type.SUBMIT_JOB,
    (Priority.LOW, False): Type.SUBMIT_JOB_LOW,
    (Priority.HIGH, True): Type.SUBMIT_JOB_HIGH_BG,
    (Priority.NORMAL, True): Type.SUBMIT_JOB_BG,
    (Priority.LOW, True): Type.SUBMIT_JOB_LOW_BG,
}
ENDS = {Type.WORK_COMPLETE, Type.WORK_FAIL, Type.WORK_EXCEPTION}

clients = st.sampled_from(CLIENTS)
workers = st.sampled_from(WORKERS)
functions = st.sampled_from(FUNCTIONS)


class BrokerMachine(RuleBasedStateMachine):
    """Three clients, four workers, two functions."""

    @initialize(
        retries=st.sampled_from([0, 0, 2]),
        round_robin=st.booleans(),
        wakeup=st.sampled_from([inf, inf, 0, 1]),
        fail_on_timeout=st.booleans(),
    )
    def begin(self, retries: int, round_robin: bool, wakeup: float, fail_on_timeout: bool) -> None:
        self.stage = Stage(
            job_retries=retries, round_robin=round_robin, worker_wakeup=wakeup, fail_on_timeout=fail_on_timeout
        )
        self.broker = self.stage.broker
        self.owed: Counter[tuple[int, bytes]] = Counter()  # ends that a client must still be told of a handle
        self.held: dict[bytes, int] = {}  # who was assigned a job
        self.background: set[bytes] = set()  # handles that somebody submitted in the background

        self.ended: set[bytes] = set()
        self.learnt_asleep: set[tuple[int, bytes]] = set()  # nobody is woken for what waited before (as in gearmand)
        self.exceptions: set[int] = set()
        for peer in (*CLIENTS, *WORKERS):
            self.stage.connect(peer)
        for peer in WORKERS:
            self.stage.worker(peer, *FUNCTIONS[: 1 + peer % 2])

    # What the broker sends is taken in here, and checked

    def take(self, effects: list[Effect]) -> list[Packet | Line]:
        """Check what each effect says against what its peers are owed; the messages, for the rule that caused them."""
        for effect in effects:
            assert isinstance(effect, Send), effect
            assert not isinstance(effect, Close)
            if isinstance(effect.message, Packet):
                for peer in effect.to:
                    assert peer in self.broker.peers, "sent to a peer that is gone"
                    self.tell(peer, effect.message)
        return [effect.message for effect in effects if isinstance(effect, Send)]

    def tell(self, peer: int, packet: Packet) -> None:
        handle = packet.body.partition(b"\0")[0]
        if packet.type in ENDS:
            assert self.owed[peer, handle] > 0, "an end that nobody waits for, or the second one (B5)"
            self.owed[peer, handle] -= 1
            assert packet.type is not Type.WORK_EXCEPTION or peer in self.exceptions
            if packet.type is Type.WORK_FAIL:
                assert packet.body == handle
        elif packet.type in (Type.WORK_DATA, Type.WORK_STATUS):
            assert self.owed[peer, handle] > 0, "news of a job after its end (B5)"
        elif packet.type is Type.JOB_ASSIGN_UNIQ:
            assert handle not in self.held, "assigned to two (B3)"
            self.held[handle] = peer

    def settle(self) -> None:
        """After a step: forget in the model what the broker has forgotten."""
        for handle in [handle for handle in self.held if handle not in self.broker.jobs]:
            del self.held[handle]

    # Clients

    @rule(
        peer=clients,
        function=functions,
        times=st.integers(1, 3),
        unique=st.sampled_from([b"", b"", b"u", b"v", b"-"]),
        priority=st.sampled_from(list(Priority)),
        is_background=st.booleans(),
        delay=st.sampled_from([0, 0, 0, 5]),
    )
    def submit(self, times: int, **how: Any) -> None:
        for _ in range(times):
            self.submit_one(**how)

    def submit_one(
        self, peer: int, function: bytes, unique: bytes, priority: Priority, is_background: bool, delay: int
    ) -> None:
        known = set(self.broker.jobs)
        if delay:
            is_background = True
            epoch = b"%d" % (self.stage.now + delay)
            effects = self.stage.say(peer, Type.SUBMIT_JOB_EPOCH, function, unique, epoch, b"data")
        else:
            effects = self.stage.say(peer, PLAIN[priority, is_background], function, unique, b"data")
        created, *rest = effects
        assert isinstance(created, Send)
        assert isinstance(created.message, Packet)
        assert created.to == (peer,)
        assert created.message.type is Type.JOB_CREATED, "the answer comes before any wake-up (B12)"
        assert all(isinstance(effect, Send) and effect.message.type is Type.NOOP for effect in rest)
        handle = created.message.body
        assert len(handle) <= 63
        assert handle not in self.ended, "a handle was used again (B4)"
        assert handle not in known or unique, "coalesced without a unique"
        if is_background:
            self.background.add(handle)
        else:
            self.owed[peer, handle] += 1
        self.take(effects)

    @rule(peer=clients)
    def ask_for_exceptions(self, peer: int) -> None:
        self.take(self.stage.say(peer, Type.OPTION_REQ, b"exceptions"))
        self.exceptions.add(peer)

    @rule(peer=clients)
    def client_comes_again(self, peer: int) -> None:
        for key in [key for key in self.owed if key[0] == peer]:
            del self.owed[key]
        self.take(self.stage.leave(peer))
        self.exceptions.discard(peer)
        self.stage.connect(peer)

    @precondition(lambda self: self.broker.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(list(self.broker.jobs)))
        self.take(self.stage.hear(CLIENTS[0], Line(b"cancel job " + handle)))
        assert handle not in self.broker.jobs

    # Workers

    @rule(peer=workers, function=functions, timeout=st.sampled_from([b"", b"", b"2000"]))
    def can_do(self, peer: int, function: bytes, timeout: bytes) -> None:
        known = self.broker.functions.get(function)
        state = self.broker.peers[peer].state
        if state in (WorkerState.ASLEEP, WorkerState.OVERDUE) and known not in self.broker.peers[peer].abilities:
            self.learnt_asleep.add((peer, function))
        if timeout:
            self.take(self.stage.say(peer, Type.CAN_DO_TIMEOUT, function, timeout))
        else:
            self.take(self.stage.say(peer, Type.CAN_DO, function))

    @rule(peer=workers, function=functions, is_all=st.booleans())
    def cant_do(self, peer: int, function: bytes, is_all: bool) -> None:
        if is_all:
            self.take(self.stage.say(peer, Type.RESET_ABILITIES))
        else:
            self.take(self.stage.say(peer, Type.CANT_DO, function))

    @rule(peer=workers)
    def pre_sleep(self, peer: int) -> None:
        self.learnt_asleep = {pair for pair in self.learnt_asleep if pair[0] != peer}
        self.take(self.stage.say(peer, Type.PRE_SLEEP))

    @rule(peer=workers, times=st.integers(1, 3))
    def grab(self, peer: int, times: int) -> None:
        for _ in range(times):
            self.grab_one(peer)

    def grab_one(self, peer: int) -> None:
        able = self.broker.peers[peer].abilities
        best = min((level for function in able for level in Priority if function.queues[level].live), default=None)
        heads = {
            next(job.handle for job in function.queues[best]._jobs if job.state is JobState.QUEUED)
            for function in able
            if best is not None and function.queues[best].live
        }
        self.learnt_asleep = {pair for pair in self.learnt_asleep if pair[0] != peer}
        answer, *_ = self.take(self.stage.say(peer, Type.GRAB_JOB_UNIQ))
        assert isinstance(answer, Packet)
        if best is None:
            assert answer.type is Type.NO_JOB
        else:
            handle, function, _, _ = answer.split()
            assert handle in heads, "not the first of its priority, or not the highest priority (B6)"
            assert self.broker.jobs[handle].priority == best
            assert function in FUNCTIONS

    @precondition(lambda self: self.held)
    @rule(data=st.data(), type=st.sampled_from([*ENDS, Type.WORK_DATA, Type.WORK_STATUS]), reporter=workers)
    def report(self, data: st.DataObject, type: Type, reporter: int) -> None:
        """Half of the reports come from the worker that holds the job."""
        handle = data.draw(st.sampled_from(list(self.held)))
        peer = data.draw(st.sampled_from([self.held[handle], reporter]))
        rest = {Type.WORK_FAIL: [], Type.WORK_STATUS: [b"1", b"2"]}.get(type, [b"data"])
        job = self.broker.jobs[handle]
        is_holder = job.worker is self.broker.peers[peer]
        was = (job.state, job.worker, job.numerator, list(job.clients))
        told = self.take(self.stage.say(peer, type, handle, *rest))
        if not is_holder:
            assert self.broker.jobs.get(handle) is job
            assert was == (job.state, job.worker, job.numerator, list(job.clients)), "a stranger's word counted (B3)"
            assert all(isinstance(message, Packet) and message.type is Type.ERROR for message in told)
        elif type in ENDS:
            assert handle not in self.broker.jobs
            self.ended.add(handle)
            assert not any(count for (_, other), count in self.owed.items() if other == handle), "not told (B5)"
        self.settle()

    @rule(peer=workers)
    def worker_comes_again(self, peer: int) -> None:
        self.held = {handle: holder for handle, holder in self.held.items() if holder != peer}
        self.learnt_asleep = {pair for pair in self.learnt_asleep if pair[0] != peer}
        self.take(self.stage.leave(peer))
        self.stage.connect(peer)

    @rule(seconds=st.sampled_from([0.05, 0.1, 1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        running = {handle for handle, job in self.broker.jobs.items() if job.state is JobState.RUNNING}
        effects = self.stage.wait(seconds)
        for handle in running:
            job = self.broker.jobs.get(handle)
            if job is None or job.state is not JobState.RUNNING:
                self.held.pop(handle, None)
        self.take(effects)

    @rule()
    def drain_or_resume(self) -> None:
        if self.broker.is_draining:
            self.take(self.stage.resume())
        else:
            self.broker.drain()
            self.take(self.stage.wait(0.0))  # who has learnt in their sleep what is queued anew are woken for it

    # What must hold at any time

    @invariant()
    def ends_are_noted(self) -> None:
        self.settle()
        # A handle that the broker does not know any more has been told to everyone who is still there.
        for (peer, handle), count in self.owed.items():
            assert not count or handle in self.broker.jobs, f"{peer} still waits for {handle!r}, which is gone (B5)"

    @invariant()
    def background_jobs_are_kept(self) -> None:
        for job in self.broker.jobs.values():
            if job.handle in self.background:
                assert job.is_background, "weakened by a foreground client (B2)"
            else:
                assert job.clients or job.state is JobState.RUNNING, "an abandoned job waits (G7)"

    @invariant()
    def the_state_is_sound(self) -> None:
        broker_invariants.counts_are_true(self.broker)
        broker_invariants.jobs_and_peers_agree(self.broker)
        broker_invariants.no_work_waits_for_a_sleeper(self.broker, self.learnt_asleep)
        broker_invariants.nothing_is_left_behind(self.broker)

    @invariant()
    def jobs_are_as_the_peers_were_told(self) -> None:
        for job in self.broker.jobs.values():
            if job.worker is not None:
                assert self.held[job.handle] == job.worker.id
            for client in job.clients:
                assert self.owed[client, job.handle] == list(job.clients).count(client)

    @invariant()
    def listings_have_the_lines_that_they_should(self) -> None:
        """B11."""
        lines = self.stage.ask(CLIENTS[0], b"status").split(b"\n")
        assert len(lines) == len(self.broker.functions) + 1
        assert all(line.count(b"\t") == 3 for line in lines[:-1])


BrokerMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBroker = BrokerMachine.TestCase
