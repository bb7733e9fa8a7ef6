"""What follows from the journal's reports: the other half of what `state.py` asks the journal for.

Every `Store` is answered by `persisted` or `refused`, every `Amend` and `Remove` by `persisted` (the shell tries those
until they succeed), every `Load` by `loaded` or `unreadable`. `restore` takes back what the journal kept, here or for
another server that has died; `forsake` answers all of them, where it is this one that the others hold for dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from abraxas_py.broker import schedule
from abraxas_py.broker.effects import Effect, Load, Record
from abraxas_py.broker.model import ENDED, STORING, Job
from abraxas_py.broker.state import State, coalescing_key
from abraxas_py.protocol.packets import Priority, Type
from abraxas_py.protocol.wire import response

__all__ = ["Keeping", "assignment"]

_GRAB_JOB, _JOB_ASSIGN = int(Type.GRAB_JOB), int(Type.JOB_ASSIGN)  # see `broker`

# After how many seconds a job whose payload could not be read is given out again.
UNREADABLE_DELAY = 5.0

_PRIORITIES = tuple(Priority)  # a million look-ups in an enumeration take half a second


class Keeping(State):
    """A broker whose background jobs a journal keeps, once `keep` was called."""

    def keep(self, first_row: int) -> None:
        """From now on have background jobs kept, as rows from `first_row` on."""
        assert first_row > 0
        self._next_row = first_row

    def restore(self, records: Iterable[Record], now: float) -> list[Effect]:
        """Take back jobs that the journal kept; of those with the unique `-` the payload must be there."""
        jobs, dead, functions = self.jobs, self.dead, self.functions
        for row, handle, name, unique, priority, due_at, retries, is_dead, recurrence, reducer, data in records:
            if handle in jobs or handle in dead:
                continue
            function = functions.get(name) or self._add_function(name)
            job = Job(handle, function, unique, data or b"", _PRIORITIES[priority], True)
            job.row = row
            job.retries = retries
            job.reducer = reducer
            if recurrence:
                job.schedule = schedule.parse(recurrence.split(b" "))
            if unique == b"-":
                job.key = coalescing_key(unique, data or b"")
            if data is None:
                job.data = None
                self._on_disk += 1
            else:
                self._payload_bytes += len(data)
                self._spare(job)
            if is_dead:
                dead[handle] = job
            else:
                self._index(job)
                self._begin(job, due_at, now)
        return self._settle(now)

    def _index(self, job: Job) -> None:
        """Make a job known (again)."""
        self.jobs[job.handle] = job
        if job.key:
            job.function.jobs.setdefault(job.key, job)

    def _begin(self, job: Job, due_at: float, now: float) -> None:
        if due_at > now:
            self._delay(job, due_at)
        else:
            self._enqueue(job)

    def _spare(self, job: Job) -> None:
        """Keep the memory for payloads within bounds."""
        if self._payload_bytes > self.options.resident_bytes:
            self._set_aside(job)

    def _set_aside(self, job: Job) -> None:
        """Leave the payload of a kept job to the journal."""
        assert job.data is not None
        self._payload_bytes -= len(job.data)
        self._on_disk += 1
        job.data = None

    def retry_dead(self, job: Job) -> None:
        """Have a dead job run anew, under the handle that it had."""
        del self.dead[job.handle]
        job.function = self.functions.setdefault(job.function.name, job.function)  # it may have been dropped
        job.retries = 0
        if job.row:
            self._amend(job, 0)
        self._index(job)
        self._enqueue(job)

    def drop_dead(self, job: Job) -> None:
        """Forget a dead job."""
        del self.dead[job.handle]
        if job.row:
            self._strike(job)
        if job.data is None:
            self._on_disk -= 1
        else:
            self._payload_bytes -= len(job.data)

    def persisted(self, numbers: Iterable[int], now: float) -> list[Effect]:
        """These changes are durable."""
        is_awaited = bool(self._backlog)
        for number in numbers:
            job = self._unsettled.pop(number, None)
            if job is not None:
                self._confirm(job, number, now)
            if is_awaited:
                self._backlog.settle(number)
        return self._settle(now)

    def _confirm(self, job: Job, number: int, now: float) -> None:
        if self._storing and job in self._storing and self._storing[job][0] == number:
            _, due_at = self._storing.pop(job)
            if job.state is STORING:
                job.function.storing -= 1
                self._begin(job, due_at, now)
                self._spare(job)
        elif self._removing.get(job.handle) == number:
            del self._removing[job.handle]

    def refused(self, numbers: Iterable[int], reason: str, now: float) -> list[Effect]:
        """These jobs could not be stored: nothing is left of them, and whoever waits for an answer gets ERROR."""
        refusal = response(Type.ERROR, b"QUEUE_ERROR\0" + reason.encode())
        for number in numbers:
            job = self._unsettled.pop(number)
            del self._storing[job]
            job.row = 0
            self._backlog.settle(number, refusal)
            if job.state is STORING:
                self._forget(job)
            elif job.state is not ENDED:  # it was there before, in the foreground, and stays so
                job.is_background = False
                if not job.clients:
                    self._abandon(job)
        return self._settle(now)

    def forsake(self, now: float) -> list[Effect]:
        """The journal has given all that was kept to another server: forget it.

        Whoever runs such a job, waits for one, or waits for the journal's word is cut off, as if this server had died:
        what they would hear from it may not be true. What is asked of the journal from now on is new to it.
        """
        concerned = self._backlog.peers()
        concerned |= {peer.id for peer in self.peers.values() if peer.last_end in self._removing}
        lost = [job for job in self.jobs.values() if job.row]
        for job in lost:
            concerned.update(job.clients)
            if job.worker is not None:
                concerned.add(job.worker.id)
        for id in concerned:
            self._backlog.forget(self.peers[id])
            self.close(self.peers[id])
        for job in lost:
            job.row = 0
            self._forget(job)
        for job in list(self.dead.values()):
            job.row = 0
            self.drop_dead(job)
        for requests in (self._storing, self._removing, self._unsettled, self._loads, self._assigning):
            requests.clear()
        return self._settle(now)

    def loaded(self, asked: Iterable[int], payloads: Mapping[int, bytes], now: float) -> list[Effect]:
        """Payloads have been read; of those that have not, the ones that a worker waits for are asked for again."""
        again = []
        for row in asked:
            job = self._loads.pop(row)
            data = payloads.get(row)
            if data is None:
                if job in self._assigning:
                    again.append(row)
                    self._loads[row] = job
            elif job.data is None and (job.handle in self.jobs or job.handle in self.dead):
                job.data = data
                self._payload_bytes += len(data)
                self._on_disk -= 1
                if job in self._assigning:
                    number, grab = self._assigning.pop(job)
                    self._backlog.settle(number, assignment(job, grab, data))
        if again:
            self._effects.append(Load(tuple(again)))
        return self._settle(now)

    def unreadable(self, asked: Iterable[int], now: float) -> list[Effect]:
        """Payloads could not be read: workers that wait for them get NO_JOB, and others the jobs, later."""
        for row in asked:
            job = self._loads.pop(row)
            if job in self._assigning:
                self._release(job)
                self._delay(job, now + UNREADABLE_DELAY)
        return self._settle(now)


def assignment(job: Job, grab: int, data: bytes) -> bytes:
    """What a worker that grabbed a job is sent."""
    handle, name = job.handle, job.function.name
    if grab == _GRAB_JOB:
        return response(_JOB_ASSIGN, b"%b\0%b\0%b" % (handle, name, data))
    if grab == Type.GRAB_JOB_ALL and job.reducer is not None:
        return response(Type.JOB_ASSIGN_ALL, b"\0".join((handle, name, job.unique, job.reducer, data)))
    return response(Type.JOB_ASSIGN_UNIQ, b"%b\0%b\0%b\0%b" % (handle, name, job.unique, data))
