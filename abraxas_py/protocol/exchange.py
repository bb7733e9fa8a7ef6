"""Which call of a client a packet belongs to: the correlation of one connection, pure.

A server answers requests in their order, each with one packet (its own kind, or ERROR), so the oldest request that
awaits an answer gets the next one, whatever it asked. From JOB_CREATED on, a job's packets carry its handle. When a
client submits the same unique twice, both submissions have one handle, and the server sends each packet of the job
twice, one behind the other: they are dealt out in turn.

A worker on the same connection sends packets that are answered only where they are wrong. Two rules keep their ERROR
from being taken for the answer to something else (defect A11): JOB_NOT_FOUND answers nothing but a late report of a
worker, and CAN_DO is followed by an ECHO_REQ, its *fence*, before whose answer every ERROR is about the CAN_DO.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.packets import MAX_HANDLE_BYTES, Packet, Type

__all__ = ["Exchange"]

CallT = TypeVar("CallT")

_ANSWERS = frozenset(
    {
        Type.JOB_CREATED,
        Type.ECHO_RES,
        Type.STATUS_RES,
        Type.STATUS_RES_UNIQUE,
        Type.OPTION_RES,
        Type.ERROR,
    }
)
_EVENTS = frozenset(
    {
        Type.WORK_DATA,
        Type.WORK_WARNING,
        Type.WORK_STATUS,
        Type.WORK_COMPLETE,
        Type.WORK_FAIL,
        Type.WORK_EXCEPTION,
    }
)
_LATE_REPORT = b"JOB_NOT_FOUND"
_ENDS = frozenset({Type.WORK_COMPLETE, Type.WORK_FAIL, Type.WORK_EXCEPTION})


class Exchange(Generic[CallT]):
    """The calls of one connection that await something."""

    __slots__ = ("_awaiting", "_running")

    def __init__(self) -> None:
        # With the type of the answer that is not ERROR, and whether it is a fence.
        self._awaiting: deque[tuple[CallT, Type, bool]] = deque()
        self._running: dict[bytes, deque[CallT]] = {}  # by handle

    def __len__(self) -> int:
        return len(self._awaiting) + sum(map(len, self._running.values()))

    @property
    def is_awaiting(self) -> bool:
        """Whether any request is to be answered still."""
        return bool(self._awaiting)

    def ask(self, call: CallT, answer: Type, *, is_fence: bool = False) -> None:
        """A request of this call leaves now; its answer will be of this type, or ERROR (of a fence: after ERRORs)."""
        self._awaiting.append((call, answer, is_fence))

    def follow(self, call: CallT, handle: bytes) -> None:
        """From now on the packets of this handle belong (also) to this call."""
        self._running.setdefault(handle, deque()).append(call)

    def receive(self, packet: Packet) -> CallT | None:
        """The call that a packet belongs to; None for a job that nobody follows or reports on (any more).

        Raises RemoteProtocolError for an answer to a question that was not asked.
        """
        type = packet.type
        if type in _EVENTS:
            end = packet.body.find(b"\0", 0, MAX_HANDLE_BYTES + 2)
            handle = packet.body if end < 0 else packet.body[:end]
            calls = self._running.get(handle)
            if calls is None:
                return None
            if end < 0 and type is not Type.WORK_FAIL:  # before its call is taken out, to be lost with the connection
                raise RemoteProtocolError("INVALID_PACKET", f"{type.name} holds nothing but a handle", is_fatal=True)
            call = calls.popleft()
            if type not in _ENDS:
                calls.append(call)
            elif not calls:
                del self._running[handle]
            return call
        if type is Type.ERROR and packet.body.startswith(_LATE_REPORT):
            return None
        if type not in _ANSWERS or not self._awaiting:
            raise RemoteProtocolError("UNEXPECTED_PACKET", f"{type.name} was not expected", is_fatal=True)
        call, answer, is_fence = self._awaiting[0]
        if is_fence and type is Type.ERROR:
            return call
        if type is not answer and type is not Type.ERROR:  # the call stays, to be lost with the connection
            raise RemoteProtocolError("UNEXPECTED_PACKET", f"{type.name} came in place of {answer.name}", is_fatal=True)
        del self._awaiting[0]
        return call

    def lose(self) -> list[CallT]:
        """The connection is gone: all calls that will hear no more, the oldest requests first."""
        lost = [call for call, _, _ in self._awaiting]
        for calls in self._running.values():
            lost.extend(calls)
        self._awaiting.clear()
        self._running.clear()
        return lost
