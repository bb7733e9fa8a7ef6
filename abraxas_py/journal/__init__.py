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

Sharing
    A journal in a database (`mysql`) may be shared by several servers. Each keeps its own jobs, and looks after the
    others (`watch`): one that is dead (`leases`) is declared so, and all that it kept goes to the one that did. Every
    commit proves in its own transaction that its server is not dead itself; otherwise nothing is changed, and
    JournalFenced raised. Of another server's jobs GET_STATUS knows nothing, as ever in Gearman.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from abraxas_py.broker.effects import Persist, Record

__all__ = ["ROW_BITS", "Journal"]

ROW_BITS = 40  # for the jobs of one start; 2**23 starts fit above them


class Journal(Protocol):
    """What keeps jobs. Its methods block, and are called one at a time."""

    is_shared: bool  # whether other servers may use it at the same time: then `watch` is to be called
    largest_bytes: float  # the largest payload that it takes; known once it is open

    def open(self) -> int:
        """Begin; the first row that may be used. Raises JournalError."""

    def records(self) -> Iterator[Sequence[Record]]:
        """What is kept and was not given yet, oldest first, in pieces. Raises JournalError.

        Payloads come only where their jobs' unique is `-`.
        """

    def commit(self, changes: Sequence[Persist]) -> None:
        """Make changes durable, all or none.

        Raises JournalRefused or JournalFenced for none, JournalBroken for nobody knows; after JournalUncertain the same
        changes are to be given again.
        """

    def load(self, rows: Sequence[int]) -> dict[int, bytes]:
        """The payloads of at least the first of these rows. Raises JournalError."""

    def watch(self) -> bool:
        """Show the others that this server lives, and take over from the dead; whether `records` has more.

        Raises JournalFenced, or JournalRefused where it cannot be done now.
        """

    def close(self) -> None:
        """End; what was committed stays, and other servers take it over at once."""
