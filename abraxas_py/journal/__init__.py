"""Where background jobs are kept, so that they outlive the server: the interface, and how it is used.

The broker decides what to keep, as numbered changes; a `Writer` gathers those that come up while the last ones are
being written and hands them to a `Journal` in a thread, all of a batch for one transaction and one sync of the disk.
Nothing waits for the thread but the replies that promise something: JOB_CREATED leaves when its job is durable. Under
load a batch holds hundreds of jobs, so durability costs each of them microseconds; alone, a job waits for one sync.

What is promised
    A background job whose JOB_CREATED has arrived survives the death of the server and of the machine; it runs at least
    once. A refused one (ERROR) was not kept and does not run. A job does not run again after its end was acknowledged.
    WORK_COMPLETE has no answer in Gearman, so this is what counts: a client of the job was told its end; GET_STATUS or
    GET_STATUS_UNIQUE said that the job is unknown; or an ECHO_RES answered an ECHO_REQ that the worker had sent after
    its WORK_COMPLETE. Each of them waits until the removal of the job is durable.

Rows
    are keyed by numbers of our own, never by the client's unique (G4), and never used twice: the upper bits count the
    starts (and, in a shared table, the servers), the lower ones the jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from abraxas_py.broker.effects import Persist, Record

__all__ = ["ROW_BITS", "Journal"]

ROW_BITS = 40  # for the jobs of one start; 2**23 starts fit above them


class Journal(Protocol):
    """What keeps jobs. Its methods block, and are called one at a time."""

    def open(self) -> int:
        """Begin; the first row that may be used. Raises JournalError."""

    def records(self) -> Iterator[Sequence[Record]]:
        """What is kept, oldest first, in pieces; payloads only where their jobs' unique is `-`. Raises JournalError."""

    def commit(self, changes: Sequence[Persist]) -> None:
        """Make changes durable, all or none. Raises JournalRefused for none, JournalBroken for nobody knows."""

    def load(self, rows: Sequence[int]) -> dict[int, bytes]:
        """The payloads of at least the first of these rows. Raises JournalError."""

    def close(self) -> None:
        """End; what was committed stays."""
