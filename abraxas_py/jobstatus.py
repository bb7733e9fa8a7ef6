"""What servers know of a job."""

from __future__ import annotations

from typing import NamedTuple

from abraxas_py.protocol.packets import Packet
from abraxas_py.protocol.text import number
from abraxas_py.task import fraction

__all__ = ["JobStatus", "merged"]


class JobStatus(NamedTuple):
    """What the servers say about a job."""

    known: int  # how many servers know it: mostly 1 or 0
    running: int  # how many servers have a worker on it
    numerator: bytes  # progress, as its worker reported it
    denominator: bytes
    clients: int = 0  # how many wait for it (0 where only the handle was asked for)

    @classmethod
    def parse(cls, answer: Packet) -> JobStatus:
        """What a STATUS_RES or STATUS_RES_UNIQUE says. Raises RemoteProtocolError."""
        _, known, running, numerator, denominator, *clients = answer.split()
        return cls(number(known), number(running), numerator, denominator, *map(number, clients))

    @property
    def is_known(self) -> bool:
        """Whether any server knows it."""
        return self.known > 0

    @property
    def is_running(self) -> bool:
        """Whether any server has a worker on it."""
        return self.running > 0

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1; nan where that cannot be told."""
        return fraction(self.numerator, self.denominator)


def merged(statuses: list[JobStatus]) -> JobStatus:
    """What several servers say of a job: the progress is that of one that runs it, or knows it.

    >>> merged([JobStatus(0, 0, b"0", b"0"), JobStatus(1, 1, b"2", b"3", 1)])
    JobStatus(known=1, running=1, numerator=b'2', denominator=b'3', clients=1)
    """
    best = max(statuses, key=lambda status: (status.running, status.known))
    return JobStatus(
        sum(status.known for status in statuses),
        sum(status.running for status in statuses),
        best.numerator,
        best.denominator,
        sum(status.clients for status in statuses),
    )
