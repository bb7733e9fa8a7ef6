"""The broker: a message of a peer and the current instant go in, what is to be sent comes out.

So every behaviour of the server can be shown in a test of three lines. Here stands what each packet asks for, a method
each, in a table; what that does to the state stands in `state.py`, what text lines ask for in `commands.py`.

Not here: bytes (`protocol.wire`), limits of memory and connections (the shell's, which sees buffers).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import inf

from abraxas_py.broker import commands, schedule
from abraxas_py.broker.effects import Effect
from abraxas_py.broker.keeping import Keeping, assignment
from abraxas_py.broker.model import RUNNING, Job, Peer
from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.packets import (
    MAX_FUNCTION_BYTES,
    SUBMISSIONS,
    Packet,
    Priority,
    Type,
)
from abraxas_py.protocol.wire import Line, Message

__all__ = ["Broker"]

# The last second of the year 9999. Beyond it are no instants but milliseconds taken for seconds (gearman-java sends
# them).
LAST_EPOCH = 253402300799

# A worker's progress is kept for GET_STATUS; more digits than this are no number.
MAX_NUMBER_BYTES = 32

_NO_JOB = Packet(Type.NO_JOB)
_ECHO_RES = Type.ECHO_RES  # looked up once; see `model`
_new = tuple.__new__  # see `state`


class Broker(Keeping):
    """A Gearman server without its sockets."""

    def receive(self, peer: int, message: Message | RemoteProtocolError, now: float) -> list[Effect]:
        """Take a message of a peer (or what was wrong with it); return what it causes."""
        return self.receive_all(peer, (message,), now)

    def receive_all(self, peer: int, messages: Iterable[Message | RemoteProtocolError], now: float) -> list[Effect]:
        """Take messages of a peer that came together; return what they cause. Sleepers are woken once, at the end.

        After a message for which the peer is to be closed, the others are passed over.
        """
        sender = self.peers[peer]
        for message in messages:
            if sender.is_closed:
                break
            try:
                if isinstance(message, Packet):
                    if sender.text_only:
                        self.close(sender)
                    else:
                        _HANDLERS[message.type](self, sender, message, now)
                elif isinstance(message, Line):
                    commands.run(self, sender, message, now)
                else:
                    raise message
            except RemoteProtocolError as error:
                if error.is_fatal:
                    self.close(sender)
                else:
                    self.send(sender, Packet.of(Type.ERROR, error.code.encode(), error.text.encode()))
        return self._settle(now)

    # Submissions

    def _submit_reduce(self, peer: Peer, packet: Packet, now: float) -> None:
        function, unique, reducer, aggregator, data = packet.split()
        if len(reducer) > MAX_FUNCTION_BYTES or len(aggregator) > MAX_FUNCTION_BYTES:
            raise RemoteProtocolError("ARGUMENT_TOO_LARGE", "Reducer name too large")
        is_background = packet.type is Type.SUBMIT_REDUCE_JOB_BACKGROUND
        # An empty one is none, as in gearmand.
        self.admit(peer, function, unique, data, Priority.NORMAL, is_background, now, reducer=reducer or None)

    def _submit_epoch(self, peer: Peer, packet: Packet, now: float) -> None:
        function, unique, epoch, data = packet.split()
        # 19 digits are what a signed 64-bit number has; more are refused below, whatever they say.
        if not re.fullmatch(rb"-?[0-9]{1,19}", epoch) or int(epoch) > LAST_EPOCH:
            raise RemoteProtocolError("INVALID_ARGUMENT", "The epoch must be in seconds, up to the year 9999")
        self.admit(peer, function, unique, data, Priority.NORMAL, True, now, due_at=int(epoch))

    def _submit_sched(self, peer: Peer, packet: Packet, now: float) -> None:
        function, unique, *fields, data = packet.split()
        plan = schedule.parse(fields)
        due_at = schedule.next_due(plan, now)
        self.admit(peer, function, unique, data, Priority.NORMAL, True, now, due_at=due_at, schedule=plan)

    # Workers

    def _can_do(self, peer: Peer, packet: Packet, now: float) -> None:
        self.learn(peer, self.function(packet.body), inf)

    def _can_do_timeout(self, peer: Peer, packet: Packet, now: float) -> None:
        name, timeout = packet.split()
        # In milliseconds, as the text says. npm's `gearman` sends a binary number, which stands for none.
        limit = int(timeout) / 1000 if timeout.isdigit() and len(timeout) <= MAX_NUMBER_BYTES else 0
        self.learn(peer, self.function(name), limit or inf)

    def _cant_do(self, peer: Peer, packet: Packet, now: float) -> None:
        function = self.functions.get(packet.body)
        if function is not None and function in peer.abilities:
            self.unlearn(peer, function)

    def _reset(self, peer: Peer, packet: Packet, now: float) -> None:
        self.unlearn_all(peer)

    def _set_client_id(self, peer: Peer, packet: Packet, now: float) -> None:
        peer.client_id = packet.body[:127]  # as much as gearmand keeps

    def _pre_sleep(self, peer: Peer, packet: Packet, now: float) -> None:
        self.sleep(peer, now)

    def _grab(self, peer: Peer, packet: Packet, now: float) -> None:
        self.rise(peer)
        job = self.take(peer, now)
        if job is None:
            self.send(peer, _NO_JOB)
            return
        if job.data is None:
            self.assign_later(peer, job, packet.type)
        else:
            self.send(peer, assignment(job, packet.type, job.data))

    # Reports of workers

    def _work_data(self, peer: Peer, packet: Packet, now: float) -> None:
        job = self.held(peer, packet)
        if job is not None:
            if len(packet.body) == len(job.handle):
                raise RemoteProtocolError("INVALID_PACKET", f"{packet.type.name} takes 2 arguments")
            self.relay(job, packet)

    def _work_status(self, peer: Peer, packet: Packet, now: float) -> None:
        job = self.held(peer, packet)
        if job is not None:
            _, numerator, denominator = packet.split()
            if max(len(numerator), len(denominator)) > MAX_NUMBER_BYTES or b"\0" in denominator:
                raise RemoteProtocolError("INVALID_ARGUMENT", "Progress must be two numbers")
            job.numerator, job.denominator = numerator, denominator
            self.relay(job, packet)

    def _work_complete(self, peer: Peer, packet: Packet, now: float) -> None:
        job = self.held(peer, packet)
        if job is not None:
            if len(packet.body) == len(job.handle):  # Perl's worker, for an empty result
                packet = Packet(Type.WORK_COMPLETE, job.handle + b"\0")
            self.complete(job, packet, now)

    def _work_fail(self, peer: Peer, packet: Packet, now: float) -> None:
        job = self.held(peer, packet)
        if job is not None:
            self.fail(job, now)

    def _work_exception(self, peer: Peer, packet: Packet, now: float) -> None:
        job = self.held(peer, packet)
        if job is not None:
            if len(packet.body) == len(job.handle):
                raise RemoteProtocolError("INVALID_PACKET", f"{packet.type.name} takes 2 arguments")
            self.raise_exception(job, packet, now)

    # Questions

    def _get_status(self, peer: Peer, packet: Packet, now: float) -> None:
        handle = packet.body.rstrip(b"\0")
        job = self.jobs.get(handle)
        answer = Packet(Type.STATUS_RES, b"\0".join((handle, *_progress(job))))
        self.send_after(0 if job else self.removal(handle), peer, answer)

    def _get_status_unique(self, peer: Peer, packet: Packet, now: float) -> None:
        unique = packet.body.rstrip(b"\0")
        job = self.find(unique)
        clients = b"%d" % len(job.clients if job else ())
        answer = Packet(Type.STATUS_RES_UNIQUE, b"\0".join((unique, *_progress(job), clients)))
        self.send_after(0 if job else self.last_removal, peer, answer)

    def _echo(self, peer: Peer, packet: Packet, now: float) -> None:
        self.send_after(self.removal(peer.last_end), peer, _new(Packet, (_ECHO_RES, packet.body)))

    def _option(self, peer: Peer, packet: Packet, now: float) -> None:
        if packet.body == b"exceptions":
            peer.wants_exceptions = True
        elif packet.body == b"streaming":
            peer.is_streaming = True
        else:
            raise RemoteProtocolError("UNKNOWN_OPTION", "Server does not recognize given option")
        self.send(peer, Packet(Type.OPTION_RES, packet.body))

    def _refuse(self, peer: Peer, packet: Packet, now: float) -> None:
        """What only servers send, and what no server ever did (ALL_YOURS), is answered as gearmand answers it."""
        raise RemoteProtocolError("INVALID_COMMAND", "Command not expected")


def _progress(job: Job | None) -> Iterable[bytes]:
    if job is None:
        return (b"0", b"0", b"0", b"0")
    return (b"1", b"1" if job.state is RUNNING else b"0", job.numerator, job.denominator)


Handler = Callable[[Broker, Peer, Packet, float], None]


def _submission(priority: Priority, is_background: bool) -> Handler:
    """What takes a plain submission: a function for each type, for looking a type up costs more than a call."""

    def submit(broker: Broker, peer: Peer, packet: Packet, now: float) -> None:
        function, unique, data = packet.split()
        broker.admit(peer, function, unique, data, priority, is_background, now)

    return submit


# By type number; a type that is not listed is nothing a peer may send.
_LISTED: dict[Type, Handler] = {
    **{type: _submission(*how) for how, type in SUBMISSIONS.items()},
    Type.SUBMIT_JOB_EPOCH: Broker._submit_epoch,
    Type.SUBMIT_JOB_SCHED: Broker._submit_sched,
    Type.SUBMIT_REDUCE_JOB: Broker._submit_reduce,
    Type.SUBMIT_REDUCE_JOB_BACKGROUND: Broker._submit_reduce,
    Type.CAN_DO: Broker._can_do,
    Type.CAN_DO_TIMEOUT: Broker._can_do_timeout,
    Type.CANT_DO: Broker._cant_do,
    Type.RESET_ABILITIES: Broker._reset,
    Type.SET_CLIENT_ID: Broker._set_client_id,
    Type.PRE_SLEEP: Broker._pre_sleep,
    Type.GRAB_JOB: Broker._grab,
    Type.GRAB_JOB_UNIQ: Broker._grab,
    Type.GRAB_JOB_ALL: Broker._grab,
    Type.WORK_DATA: Broker._work_data,
    Type.WORK_WARNING: Broker._work_data,
    Type.WORK_STATUS: Broker._work_status,
    Type.WORK_COMPLETE: Broker._work_complete,
    Type.WORK_FAIL: Broker._work_fail,
    Type.WORK_EXCEPTION: Broker._work_exception,
    Type.GET_STATUS: Broker._get_status,
    Type.GET_STATUS_UNIQUE: Broker._get_status_unique,
    Type.ECHO_REQ: Broker._echo,
    Type.OPTION_REQ: Broker._option,
}
_HANDLERS: tuple[Handler, ...] = tuple(
    _LISTED.get(Type(n), Broker._refuse) if n else Broker._refuse for n in range(max(Type) + 1)
)
