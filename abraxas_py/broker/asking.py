"""What the broker asks its shell for: messages to peers, and changes of what the journal keeps.

A message that promises something about a kept job is sent once the journal has reported on the change that it rests on
(`send_after`; see `backlog.py`). `_store`, `_amend` and `_strike` ask for the three changes of a row, `_look_ahead` for
payloads that are on disk alone. When to ask is decided in `state.py`; what follows from the journal's reports stands
in `keeping.py`.
"""

from __future__ import annotations

from abraxas_py.broker.backlog import Backlog
from abraxas_py.broker.effects import Amend, Close, Effect, Load, Record, Remove, Stop, Store
from abraxas_py.broker.model import Job, Peer, Queue
from abraxas_py.broker.schedule import next_due, text

__all__ = ["Asking"]

# How many payloads ahead of the next job are asked for, where they are on disk: at 30,000 jobs a second the journal's
# thread has 17 ms to read them.
LOOK_AHEAD = 512


class Asking:
    """The effects of one input, besides what is sent, and the requests that the journal has not reported on."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []
        self._backlog = Backlog(self._let_go)
        self._next_row = 0  # of the journal; 0: there is none
        self._numbered = 0  # how many things there ever were to wait for
        self._storing: dict[Job, tuple[int, float]] = {}  # the number of its `Store`, and when it is due
        self._removing: dict[bytes, int] = {}  # by handle: the numbers of the last changes for jobs that ended
        self._unsettled: dict[int, Job] = {}  # by number: whose change the journal has not reported on
        self._loads: dict[int, Job] = {}  # by row: whose payloads are being read
        self._assigning: dict[Job, tuple[int, int]] = {}  # those a worker waits for: what its answer is `After`

    # Messages

    def send_after(self, number: int, peer: Peer, data: bytes) -> None:
        """Send a message to a peer when the journal has reported on a change; 0: now."""
        if number:
            self._backlog.hold(peer, number, data)
        else:
            peer.send(data)

    def close(self, peer: Peer) -> None:
        """Close a peer's connection, when what was sent to it has left; nothing is sent to it any more."""
        peer.is_closed = True
        self._backlog.close(peer)

    def _let_go(self, peer: Peer) -> None:
        self._effects.append(Close(peer.id))

    def stop(self, *, drain: bool) -> None:
        """Stop the server."""
        self._effects.append(Stop(drain))

    # Rows

    def _number(self) -> int:
        self._numbered += 1
        return self._numbered

    def _store(self, job: Job, due_at: float) -> None:
        """Have a job kept."""
        assert job.data is not None
        job.row = self._next_row
        self._next_row += 1
        number = self._number()
        self._storing[job] = number, due_at
        self._unsettled[number] = job
        record = Record(
            job.row,
            job.handle,
            job.function.name,
            job.unique,
            job.priority,
            max(due_at, 0.0),
            job.retries,
            False,
            text(job.schedule) if job.schedule else b"",
            job.reducer,
            job.data,
        )
        self._effects.append(Store(number, record))

    def _amend(self, job: Job, due_at: float, *, is_dead: bool = False) -> int:
        """Have what has changed about a job kept; the change's number."""
        number = self._number()
        self._effects.append(Amend(number, job.row, due_at, job.retries, is_dead))
        return number

    def _strike(self, job: Job) -> int:
        """Have a job kept no more; the change's number."""
        number = self._number()
        self._unsettled[number] = job
        self._effects.append(Remove(number, job.row))
        self._removing[job.handle] = number
        job.row = 0
        return number

    def _keep_end(self, job: Job, now: float, *, is_dead: bool = False) -> None:
        """Have it kept that a run of a kept job is over."""
        if job.worker is not None:
            job.worker.last_end = job.handle
        if job.schedule is None and not is_dead:
            self._strike(job)
        else:
            due_at = 0.0
            if job.schedule is not None:
                job.retries = 0
                due_at = next_due(job.schedule, now)
            number = self._amend(job, due_at, is_dead=is_dead)
            self._removing.pop(job.handle, None)
            self._removing[job.handle] = number
            self._unsettled[number] = job

    def removal(self, handle: bytes) -> int:
        """The number of the change that makes the end of this job durable; 0 where there is none on its way."""
        return self._removing.get(handle, 0)

    @property
    def last_removal(self) -> int:
        """The number of the last such change that is on its way; 0: there is none."""
        return next(reversed(self._removing.values()), 0)

    def _look_ahead(self, job: Job, queue: Queue) -> None:
        """Before payloads on disk are wanted, ask for them, many at a time; this job has just left its queue."""
        absent = [job] if job.data is None and job.row not in self._loads else []
        edge = queue.ahead(LOOK_AHEAD)
        if absent or (edge is not None and edge.data is None and edge.row not in self._loads):
            absent += [
                other for other in queue.upcoming(2 * LOOK_AHEAD) if other.data is None and other.row not in self._loads
            ]
            self._loads.update((other.row, other) for other in absent)
            self._effects.append(Load(tuple(other.row for other in absent)))

    def assign_later(self, peer: Peer, job: Job, grab: int) -> None:
        """Answer a worker's grab when the payload of its job has been read."""
        number = self._number()
        self._assigning[job] = number, grab
        self._backlog.hold(peer, number, None)
