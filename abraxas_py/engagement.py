"""A worker on one connection: when it asks for jobs, and when it sleeps.

It is in one of three conditions, and `decide` alone says what to send next:

    awake      the server may have jobs: GRAB_JOB_UNIQ, as many at once as there are free slots and the window allows
    answered   it said NO_JOB: PRE_SLEEP, once every grab on its way has been answered
    asleep     nothing, until NOOP

Where slots are left beyond the grabs, PRE_SLEEP goes along with them: a server answers in order, and to PRE_SLEEP with
NOOP where there is more. So a job that comes alone takes one way there and back, not three.

The window is how many grabs may be on their way: it begins at 1, grows by 1 with each job, and returns to 1 with a
NO_JOB. So a worker of many slots takes thousands of jobs per second, and one of a single slot asks once at a time.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from abraxas_py.assigned import Assigned
from abraxas_py.errors import RemoteProtocolError
from abraxas_py.lifeline import Lifeline
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, encode

__all__ = ["Condition", "Employer", "Engagement", "decide"]

MAX_WINDOW = 256  # grabs on their way at once: more would not be faster, and keeps jobs from other workers


class Employer(Protocol):
    """The worker, seen from here."""

    def assign(self, job: Assigned) -> None:
        """Begin with a job."""

    def free_slot(self) -> None:
        """A job has ended."""


class Condition(Enum):
    """What a worker knows about a server's queue; see the module's docstring."""

    AWAKE = auto()
    ANSWERED = auto()
    ASLEEP = auto()


def decide(condition: Condition, grabs: int, window: int, free: int) -> tuple[int, bool]:
    """What to send next: so many grabs, and whether PRE_SLEEP behind them.

    `grabs` are on their way, at most `window` may be; `free` is how many more jobs can be taken.

    >>> [decide(Condition.AWAKE, grabs=0, window=4, free=free) for free in (100, 4, 0)]
    [(4, True), (4, False), (0, False)]
    >>> [decide(Condition.ANSWERED, grabs=grabs, window=1, free=9) for grabs in (1, 0)]
    [(0, False), (0, True)]
    """
    if condition is Condition.AWAKE:
        wanted = max(0, min(free, window - grabs))
        return wanted, 0 < wanted < free  # without a slot to spare it must not be woken for what it cannot take
    return 0, condition is Condition.ANSWERED and grabs == 0


class Engagement:
    """A worker on one connection, from the connection's beginning to its end."""

    __slots__ = (
        "condition",
        "grabs",
        "is_gone",
        "is_known",
        "is_retired",
        "jobs",
        "leaving",
        "line",
        "window",
        "worker",
    )

    def __init__(self, worker: Employer, line: Lifeline) -> None:
        self.worker = worker
        self.line = line
        self.condition = Condition.AWAKE
        self.grabs = 0
        self.window = 1
        self.jobs: dict[Assigned, None] = {}
        self.leaving: set[bytes] = set()  # functions that the server is still to be told of that we left them
        self.is_known = False  # the server has confirmed that it knows our functions
        self.is_retired = False  # it was told that we do nothing any more
        self.is_gone = False

    def post(self, data: bytes) -> None:
        """Have bytes sent by the writer; nothing once the connection is gone."""
        if not self.is_gone:
            self.line.post(data)

    def end(self, job: Assigned, packet: Packet) -> None:
        """Report a job's end, which frees its slot."""
        if job in self.jobs:
            del self.jobs[job]
            self.post(encode(REQUEST, packet))
            self.worker.free_slot()

    def leave(self) -> None:
        """Tell the server of functions that were left, as soon as that takes no running job from us.

        gearmand gives a job to another worker at once when the one that runs it says CANT_DO or RESET_ABILITIES.
        """
        if not self.leaving or self.grabs:
            return
        running = {job.function for job in self.jobs}
        for function in self.leaving - running:
            self.leaving.discard(function)
            self.post(encode(REQUEST, Packet(Type.CANT_DO, function)))

    def retire(self) -> None:
        """Tell the server that we do nothing any more, when no job is left or on its way."""
        if not (self.jobs or self.grabs or self.is_retired):
            self.is_retired = True
            self.post(encode(REQUEST, Packet(Type.RESET_ABILITIES)))

    def receive(self, packet: Packet) -> None:
        """Take a packet for workers. Raises RemoteProtocolError."""
        type = packet.type
        if type is not Type.NOOP and not self.grabs:  # it would take slots that are not there, or give some back
            raise RemoteProtocolError("UNEXPECTED_PACKET", f"{type.name} came without a grab", is_fatal=True)
        if type is Type.JOB_ASSIGN_UNIQ:
            self._take(Assigned(self, *packet.split()))
        elif type is Type.NO_JOB:
            self.grabs -= 1
            self.window = 1
            if self.condition is Condition.AWAKE:
                self.condition = Condition.ANSWERED
        elif type is Type.NOOP:
            self.condition = Condition.AWAKE
        elif type is Type.JOB_ASSIGN_ALL:
            handle, function, unique, reducer, data = packet.split()
            self._take(Assigned(self, handle, function, unique, data, reducer))

    def _take(self, job: Assigned) -> None:
        self.grabs -= 1
        self.window = min(self.window + 1, MAX_WINDOW)
        self.jobs[job] = None
        self.worker.assign(job)
