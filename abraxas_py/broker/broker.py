"""The broker: a message of a peer and the current instant go in, what is to be sent comes out.

So every behaviour of the server can be shown in a test of three lines. Here stands what each packet asks for, a method
each, in a table; what that does to the state stands in `state.py`, what text lines ask for in `commands.py`.

Not here: bytes (`protocol.wire`), limits of memory and connections (the shell's, which sees buffers).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

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
from abraxas_py.protocol.wire import LINE, WRONG, Line, Message, Piece, piece, response

__all__ = ["Broker"]

# The last second of the year 9999. Beyond it are no instants but milliseconds taken for seconds (gearman-java sends
# them).
LAST_EPOCH = 253402300799

# A worker's progress is kept for GET_STATUS; more digits than this are no number.
MAX_NUMBER_BYTES = 32

_NO_JOB = response(Type.NO_JOB)
# Numbers instead of members of `Type`: they are compared and packed in a tenth of the time.
_ECHO_RES, _WORK_COMPLETE = int(Type.ECHO_RES), int(Type.WORK_COMPLETE)


class Broker(Keeping):
    """A Gearman server without its sockets."""

    def receive(self, peer: int, message: Message | RemoteProtocolError, now: float) -> list[Effect]:
        """Take a message of a peer (or what was wrong with it); return what it causes."""
        return self.receive_all(peer, (piece(message),), now)

    def receive_all(self, peer: int, pieces: Iterable[Piece], now: float) -> list[Effect]:
        """Take messages of a peer that came together; return what they cause. Sleepers are woken once, at the end.

        After a message for which the peer is to be closed, the others are passed over.
        """
        sender = self.peers[peer]
        for number, content in pieces:
            if sender.is_closed:
                break
            try:
                if sender.text_only and LINE < number < WRONG:
                    self.close(sender)
                else:
                    _HANDLERS[number](self, sender, number, content, now)
            except RemoteProtocolError as error:
                if error.is_fatal:
                    self.close(sender)
                else:
                    sender.send(response(Type.ERROR, b"\0".join((error.code.encode(), error.text.encode()))))
        return self._settle(now)

    def _line(self, peer: Peer, number: int, content: bytes, now: float) -> None:
        commands.run(self, peer, Line(content), now)

    def _wrong(self, peer: Peer, number: int, content: RemoteProtocolError, now: float) -> None:
        raise content

    # Submissions

    def _submit_reduce(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        function, unique, reducer, aggregator, data = _split(number, body)
        if len(reducer) > MAX_FUNCTION_BYTES or len(aggregator) > MAX_FUNCTION_BYTES:
            raise RemoteProtocolError("ARGUMENT_TOO_LARGE", "Reducer name too large")
        is_background = number == Type.SUBMIT_REDUCE_JOB_BACKGROUND
        # An empty one is none, as in gearmand.
        self.admit(peer, function, unique, data, Priority.NORMAL, is_background, now, reducer=reducer or None)

    def _submit_epoch(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        function, unique, epoch, data = _split(number, body)
        # 19 digits are what a signed 64-bit number has; more are refused below, whatever they say.
        if not re.fullmatch(rb"-?[0-9]{1,19}", epoch) or int(epoch) > LAST_EPOCH:
            raise RemoteProtocolError("INVALID_ARGUMENT", "The epoch must be in seconds, up to the year 9999")
        self.admit(peer, function, unique, data, Priority.NORMAL, True, now, due_at=int(epoch))

    def _submit_sched(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        function, unique, *fields, data = _split(number, body)
        plan = schedule.parse(fields)
        due_at = schedule.next_due(plan, now)
        self.admit(peer, function, unique, data, Priority.NORMAL, True, now, due_at=due_at, schedule=plan)

    # Workers

    def _can_do(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        self.learn(peer, self.function(body), inf)

    def _can_do_timeout(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        name, timeout = _split(number, body)
        # In milliseconds, as the text says. npm's `gearman` sends a binary number, which stands for none.
        limit = int(timeout) / 1000 if timeout.isdigit() and len(timeout) <= MAX_NUMBER_BYTES else 0
        self.learn(peer, self.function(name), limit or inf)

    def _cant_do(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        function = self.functions.get(body)
        if function is not None and function in peer.abilities:
            self.unlearn(peer, function)

    def _reset(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        self.unlearn_all(peer)

    def _set_client_id(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        peer.client_id = body[:127]  # as much as gearmand keeps

    def _pre_sleep(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        self.sleep(peer, now)

    def _grab(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        self.rise(peer)
        job = self.take(peer, now)
        if job is None:
            peer.send(_NO_JOB)
        elif job.data is None:
            self.assign_later(peer, job, number)
        else:
            peer.send(assignment(job, number, job.data))

    # Reports of workers

    def _work_data(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        job = self.held(peer, number, body)
        if job is not None:
            if len(body) == len(job.handle):
                raise RemoteProtocolError("INVALID_PACKET", f"{Type(number).name} takes 2 arguments")
            self.relay(job, response(number, body))

    def _work_status(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        job = self.held(peer, number, body)
        if job is not None:
            _, numerator, denominator = _split(number, body)
            if max(len(numerator), len(denominator)) > MAX_NUMBER_BYTES or b"\0" in denominator:
                raise RemoteProtocolError("INVALID_ARGUMENT", "Progress must be two numbers")
            job.numerator, job.denominator = numerator, denominator
            self.relay(job, response(number, body))

    def _work_complete(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        job = self.held(peer, number, body)
        if job is not None:
            if len(body) == len(job.handle):  # Perl's worker, for an empty result
                body = job.handle + b"\0"
            self.complete(job, response(_WORK_COMPLETE, body), now)

    def _work_fail(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        job = self.held(peer, number, body)
        if job is not None:
            self.fail(job, now)

    def _work_exception(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        job = self.held(peer, number, body)
        if job is not None:
            if len(body) == len(job.handle):
                raise RemoteProtocolError("INVALID_PACKET", f"{Type(number).name} takes 2 arguments")
            self.raise_exception(job, response(number, body), now)

    # Questions

    def _get_status(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        handle = body.rstrip(b"\0")
        job = self.jobs.get(handle)
        answer = response(Type.STATUS_RES, b"\0".join((handle, *_progress(job))))
        self.send_after(0 if job else self.removal(handle), peer, answer)

    def _get_status_unique(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        unique = body.rstrip(b"\0")
        job = self.find(unique)
        clients = b"%d" % len(job.clients if job else ())
        answer = response(Type.STATUS_RES_UNIQUE, b"\0".join((unique, *_progress(job), clients)))
        self.send_after(0 if job else self.last_removal, peer, answer)

    def _echo(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        self.send_after(self.removal(peer.last_end), peer, response(_ECHO_RES, body))

    def _option(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        if body == b"exceptions":
            peer.wants_exceptions = True
        elif body == b"streaming":
            peer.is_streaming = True
        else:
            raise RemoteProtocolError("UNKNOWN_OPTION", "Server does not recognize given option")
        peer.send(response(Type.OPTION_RES, body))

    def _refuse(self, peer: Peer, number: int, body: bytes, now: float) -> None:
        """What only servers send, and what no server ever did (ALL_YOURS), is answered as gearmand answers it."""
        raise RemoteProtocolError("INVALID_COMMAND", "Command not expected")


def _progress(job: Job | None) -> Iterable[bytes]:
    if job is None:
        return (b"0", b"0", b"0", b"0")
    return (b"1", b"1" if job.state is RUNNING else b"0", job.numerator, job.denominator)


def _split(number: int, body: bytes) -> list[bytes]:
    return Packet(Type(number), body).split()


# Takes the number of a packet's type and its body (or what else came; see `wire.Piece`) from a peer.
Handler = Callable[[Broker, Peer, int, Any, float], None]


def _submission(priority: Priority, is_background: bool) -> Handler:
    """What takes a plain submission: a function for each type, for looking a type up costs more than a call."""

    def submit(broker: Broker, peer: Peer, number: int, body: bytes, now: float) -> None:
        try:
            function, unique, data = body.split(b"\0", 2)
        except ValueError:
            function, unique, data = _split(number, body)  # which says what is wrong
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
_HANDLERS: tuple[Handler, ...] = (
    Broker._line,
    *(_LISTED.get(Type(number), Broker._refuse) for number in range(LINE + 1, WRONG)),
    Broker._wrong,
)
