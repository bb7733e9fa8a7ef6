"""Every change of the broker's state, as verbs; and nothing else.

`Broker` translates what peers say into these verbs; they change the model and append effects. There is no I/O, no clock
and no chance in here. Who is woken for a job is decided in `waking.py`.

A job's life
    admit -> [STORING ->] [DELAYED ->] QUEUED -> RUNNING -> ENDED. `_enqueue` is the only way into a queue, `take` the
    only way out to a worker, `_end` the only end that clients hear of, `_forget` the only exit from the indexes. A lost
    worker's job goes through `_lose`: back to the *tail* of its queue, or to its end. A recurring job
    (SUBMIT_JOB_SCHED) keeps its handle: at the end of each run its clients are dismissed and it is DELAYED again, so no
    two runs of it overlap.

Draining
    From `drain` to `resume` nothing is given out but what a client waits for: that client may be doing a job that runs.
    All else is WITHHELD, beside its queue, and queued when somebody joins it; queued jobs that their last client leaves
    are withheld. So what is queued is to be given out, in a drain as ever.

Coalescing
    is per (function, unique) while a job is known: whoever submits the same key joins it, gets the same handle, and
    what happens from then on. A foreground job whose last client leaves is abandoned: dropped at once if it waits; left
    to its worker but joined by nobody if it runs (defect G7). A job that anybody submitted in the background is never
    abandoned, whoever joins and leaves it (G2, G3).

Keeping
    Where there is a journal (`keep`), a job that anybody submitted in the background is kept: it is STORING until the
    journal reports its row durable, and only then answered by JOB_CREATED and given out, so a refused submission has
    left nothing and run nowhere (B1, B12). A background submission that joins a foreground job has a row made for it
    and waits for that alone. The end of a kept job is told (its clients, GET_STATUS, and ECHO_REQ of its worker) once
    its row's removal is durable: what anybody heard the end of never runs again. What is asked of the journal for this
    stands in `asking.py`, what follows from its reports in `keeping.py`, and how replies keep their order meanwhile in
    `backlog.py`.

Failing
    With a `Policy` for its function, a background job that fails or whose worker is lost is DELAYED and tried again
    (`_postpone`); its clients wait on. After the last try it is dead: they are told, nobody can join it, GET_STATUS
    does not know it, and it stays in `dead` until an administrator has it run anew or dropped.

Late reports
    Only the worker that holds a job may report on it (B3); anybody else gets ERROR. Pardoned, without an answer, are
    the reports of a worker from which a job was *taken* (timed out, cancelled), and a WORK_FAIL after its own
    WORK_EXCEPTION, which many libraries send although the exception already ended the job (PROTOCOL names both as
    ends).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from math import inf

from abraxas_py.broker.effects import Effect
from abraxas_py.broker.model import (
    DELAYED,
    ENDED,
    QUEUED,
    RUNNING,
    STORING,
    WITHHELD,
    Function,
    Job,
    Options,
    Origin,
    Outlet,
    Peer,
    Queue,
)
from abraxas_py.broker.policy import Policy
from abraxas_py.broker.schedule import Schedule, next_due
from abraxas_py.broker.waking import Waking, refuse
from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.packets import (
    MAX_HANDLE_BYTES,
    MAX_UNIQUE_BYTES,
    Priority,
    Type,
)
from abraxas_py.protocol.wire import response

__all__ = ["State", "coalescing_key"]

# How many taken handles are remembered for each worker: enough for one that holds many jobs, bounded for one that never
# reports.
MAX_PARDONED = 256

_JOB_CREATED = int(Type.JOB_CREATED)  # a number is packed in a tenth of the time
_NO_JOB = response(Type.NO_JOB)
# gearmand has a text for each, and clients log them.
_NOT_FOUND: dict[int, str] = {
    Type.WORK_DATA: "Job does not exist on server",
    Type.WORK_WARNING: "Job does not exist on server",
    Type.WORK_EXCEPTION: "An exception was received for a job that does not exist",
}
_ENDS: frozenset[int] = frozenset({Type.WORK_COMPLETE, Type.WORK_FAIL, Type.WORK_EXCEPTION})


class State(Waking):
    """`functions`, `jobs` and `peers` may be read by anyone and are changed only here.

    `handle_prefix` begins every job handle and must differ from start to start, so that a handle of an earlier run
    names nothing (G6). Peers are numbered by the shell, never twice.
    """

    def __init__(self, handle_prefix: bytes, options: Options | None = None) -> None:
        super().__init__(options or Options())
        self.jobs: dict[bytes, Job] = {}  # by handle
        self.peers: dict[int, Peer] = {}
        self.dead: dict[bytes, Job] = {}  # by handle: what failed for good under a policy, the oldest first
        self._handle_prefix = handle_prefix
        self._submitted = 0  # how many handles there ever were
        self._payload_bytes = 0  # of all jobs together
        self._on_disk = 0  # how many jobs have their payloads in the journal alone
        self._abandoned: dict[bytes, Job] = {}  # running, and nobody waits for them: by key, for who asks alone
        self._last: list[Job] = []  # those that ran when a drain began

    @property
    def deadline(self) -> float:
        """When `tick` is to be called next; inf when nothing is pending."""
        return self._timers.deadline

    # Draining

    def drain(self) -> None:
        """From now on give out nothing but what a client waits for. O(n) over the queued jobs: 1M take a second."""
        if not self.is_draining:
            self.is_draining = True
            self._last = [job for peer in self.peers.values() for job in peer.jobs]
            self._enqueue_anew()

    def resume(self, now: float) -> list[Effect]:
        """Give out all jobs again."""
        if self.is_draining:
            self.is_draining = False
            self._last = []
            self._enqueue_anew()
        return self._settle(now)

    def _enqueue_anew(self) -> None:
        for function in self.functions.values():
            for queue in function.queues:
                for job in queue.take_all():
                    self._enqueue(job)

    @property
    def is_drained(self) -> bool:
        """Whether the jobs that ran when a drain began have ended."""
        return self.is_draining and not any(job.state is RUNNING for job in self._last)

    # Peers

    def connect(
        self,
        peer: int,
        send: Outlet,
        origin: Origin | None = None,
        *,
        withhold: Callable[[int], None] = lambda more_bytes: None,
    ) -> None:
        """Take note of a new connection, numbered `peer`. From now on `send` is called with each message for it.

        `withhold` is called with how many more bytes (or fewer) are to be sent once the journal has answered.
        """
        assert peer not in self.peers
        self.peers[peer] = Peer(peer, origin or Origin(), self.options.has_exceptions, send, withhold)

    def disconnect(self, peer: int, now: float) -> list[Effect]:
        """Let go of a connection that has ended, whoever ended it."""
        gone = self.peers[peer]
        self._backlog.forget(gone)
        left: dict[Queue, list[Job]] = {}
        for job in list(gone.waiting):
            # O(n) over the clients of one job: if 10,000 leave one after the other, that is a second in all.
            job.clients = [client for client in job.clients if client != peer]
            if not job.clients and not job.is_background:
                self._abandon(job)
            elif not job.clients and self.is_draining and job.state is QUEUED:
                left.setdefault(job.function.queues[job.priority], []).append(job)
        for queue, jobs in left.items():
            queue.withhold_queued(jobs)
        self.unlearn_all(gone)
        self.rise(gone)
        del self.peers[peer]
        for job in list(gone.jobs):
            self._lose(job, now)
        return self._settle(now)

    def hang_up(self, peer: int) -> None:
        """A connection is about to end, whoever ends it: it is not heard any more, and nothing is sent to it."""
        if peer in self.peers:  # over TLS it comes late
            self.peers[peer].is_closed = True
            self._backlog.mute(self.peers[peer])

    def tick(self, now: float) -> list[Effect]:
        """Do all that is due."""
        for timer in self._timers.due(now):
            timer.action(timer.target, now)
        return self._settle(now)

    # Submissions

    def admit(
        self,
        peer: Peer,
        name: bytes,
        unique: bytes,
        data: bytes,
        priority: Priority,
        is_background: bool,
        now: float,
        *,
        reducer: bytes | None = None,
        due_at: float = -inf,
        schedule: Schedule | None = None,
    ) -> None:
        """Join the job of this unique or make a new one; answer JOB_CREATED. B12: validate, persist, answer, wake."""
        if not peer.may_submit:
            refuse()
        if len(unique) > MAX_UNIQUE_BYTES:
            raise RemoteProtocolError("ARGUMENT_TOO_LARGE", "Unique value too large")
        if unique and peer.is_streaming and not is_background:
            raise RemoteProtocolError("INVALID_ARGUMENT", "A streamed job cannot be shared, so it takes no unique")
        function = self.functions.get(name) or self.function(name)
        key = unique and coalescing_key(unique, data)
        job = function.jobs.get(key) if key else None
        if job is None:
            if 0 < function.max_queued[priority] <= function.total:
                raise RemoteProtocolError("QUEUE_ERROR", "Job queue is full")
            if self._payload_bytes + len(data) > self.options.max_payload_bytes:
                raise RemoteProtocolError("QUEUE_ERROR", "The server's memory for jobs is full")
            job = self._create(function, unique, key, data, priority, is_background)
            job.reducer = reducer
            job.schedule = schedule
            if is_background and self._next_row:
                job.state = STORING
                function.storing += 1
                self._store(job, due_at)
            elif due_at > now:
                self._delay(job, due_at)
            else:
                self._enqueue(job)
        elif is_background and not job.is_background:
            job.is_background = True
            if self._next_row:
                self._store(job, 0)
        if not is_background:
            self._join(peer, job)
        created = response(_JOB_CREATED, job.handle)
        if self._storing and job in self._storing and (is_background or job.state is STORING):
            self._backlog.hold(peer, self._storing[job][0], created)
        else:
            peer.send(created)

    def _join(self, peer: Peer, job: Job) -> None:
        """From now on, a peer hears of a job (once more)."""
        if not job.clients:
            job.clients = [peer.id]
            if job.state is WITHHELD:
                job.function.queues[job.priority].take_out(job)
                self._enqueue(job)
        else:
            job.clients.append(peer.id)
        peer.waiting[job] = None

    def _create(
        self, function: Function, unique: bytes, key: bytes, data: bytes, priority: Priority, is_background: bool
    ) -> Job:
        self._submitted += 1
        self._payload_bytes += len(data)
        job = Job(b"%b:%d" % (self._handle_prefix, self._submitted), function, unique, data, priority, is_background)
        self.jobs[job.handle] = job
        job.key = key
        if key:
            function.jobs[key] = job
        return job

    # Queues

    def _delay(self, job: Job, due_at: float) -> None:
        job.state = DELAYED
        job.function.delayed += 1
        job.timer = self._timers.arm(due_at, self._fall_due, job)

    def _fall_due(self, job: Job, now: float) -> None:
        job.timer = None
        job.function.delayed -= 1
        self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        if self.is_draining and job.is_background and not job.clients:
            job.function.queues[job.priority].withhold(job)
            return
        self._laden[job.function] = None
        job.function.queues[job.priority].append(job)
        self._gained[job.function] = None

    # Assignment

    def take(self, peer: Peer, now: float) -> Job | None:
        """Assign to a worker the job that is its turn; the only way of a job from its queue to a worker.

        O(functions for which anything waits), or O(abilities) where these are fewer.
        """
        functions = self._waiting_for(peer) if len(peer.abilities) > 1 else peer.abilities
        for level in (0, 1, 2):  # "priority is applied globally across registered functions"
            for function in functions:
                queue = function.queues[level]
                if queue.live:
                    job = queue.pop()
                    if self._on_disk:
                        self._look_ahead(job, queue)
                    job.state = RUNNING
                    job.worker = peer
                    peer.jobs[job] = None
                    function.running += 1
                    limit = peer.abilities[function]
                    if limit < inf:
                        job.timer = self._timers.arm(now + limit, self._time_out, job)
                    if self.options.round_robin:
                        peer.abilities = {function: limit, **peer.abilities}
                    return job
        return None

    def _waiting_for(self, peer: Peer) -> Sequence[Function]:
        """The functions of a worker that have jobs, its newest abilities first; perhaps some that have none."""
        abilities, laden = peer.abilities, self._laden
        if len(laden) < len(abilities):
            found = []
            for function in list(laden):
                if not function.queued:
                    del laden[function]
                elif function in abilities:
                    found.append(function)
            if len(found) < 2:
                return found
        return list(reversed(abilities))

    def _release(self, job: Job) -> None:
        """Take a running job from its worker."""
        assert job.worker is not None
        del job.worker.jobs[job]
        job.worker = None
        job.function.running -= 1
        if job.timer is not None:
            self._timers.cancel(job.timer)
            job.timer = None
        job.state = ENDED
        if self._assigning and job in self._assigning:
            self._backlog.settle(self._assigning.pop(job)[0], _NO_JOB)

    def held(self, peer: Peer, number: int, body: bytes) -> Job | None:
        """The job that a WORK_* packet is about; None where it is to be passed over. Raises for what nobody gave it."""
        end = body.find(b"\0", 0, MAX_HANDLE_BYTES + 1)
        handle = body if end < 0 else body[:end]
        job = self.jobs.get(handle)
        if job is not None and job.worker is peer:
            return job
        if handle in peer.pardoned and (peer.pardoned[handle] or number == Type.WORK_FAIL):
            if number in _ENDS:
                del peer.pardoned[handle]
            return None
        raise RemoteProtocolError("JOB_NOT_FOUND", _NOT_FOUND.get(number, "Job given in work result not found"))

    def relay(self, job: Job, news: bytes) -> None:
        """Send news of a job to all who wait for it: encoded once, however many they are."""
        for client in job.clients:
            self.peers[client].send(news)

    def _tell(self, job: Job, news: bytes, clients: Sequence[int]) -> None:
        """Tell clients of the end of a run; of a kept job, when that is durable."""
        number = self._removing.get(job.handle, 0) if self._removing else 0
        for client in clients:
            if number:
                self._backlog.hold(self.peers[client], number, news)
            else:
                self.peers[client].send(news)

    def _time_out(self, job: Job, now: float) -> None:
        assert job.worker is not None
        job.timer = None
        _pardon(job.worker, job.handle, everything=True)
        if self.options.fail_on_timeout:
            self.fail(job, now)
        else:
            self._lose(job, now)

    # Ends

    def cancel(self, job: Job) -> None:
        """End a job in whatever state; its clients get WORK_FAIL, and a worker that runs it is not heard any more."""
        if job.worker is not None:
            _pardon(job.worker, job.handle, everything=True)
        if job.row:
            self._strike(job)
        self._tell(job, response(Type.WORK_FAIL, job.handle), job.clients)
        self._forget(job)

    def fail(self, job: Job, now: float) -> None:
        """Try a job again, or end it with WORK_FAIL to those who wait for it."""
        if not self._postpone(job, now):
            self._give_up(job, ((response(Type.WORK_FAIL, job.handle), job.clients),), now)

    def _give_up(self, job: Job, farewells: Iterable[tuple[bytes, Sequence[int]]], now: float) -> None:
        """End a failed run of a job for good."""
        is_dead = _policy(job) is not None
        if job.row:
            self._keep_end(job, now, is_dead=is_dead)
        for news, clients in farewells:
            self._tell(job, news, clients)
        if is_dead:
            self._bury(job)
        else:
            self._end(job, now)

    def _postpone(self, job: Job, now: float) -> bool:
        """Have a failed job tried again later; False where it has been tried often enough, or has no policy."""
        policy = _policy(job)
        if policy is None or job.retries >= policy.retries:
            return False
        if job.state is RUNNING:
            self._release(job)
        job.retries += 1
        job.numerator = job.denominator = b"0"
        due_at = now + policy.delay(job.retries)
        if job.row:
            self._amend(job, due_at)
        self._delay(job, due_at)
        return True

    def _bury(self, job: Job) -> None:
        """Put a job on the dead list, its row with it."""
        row, job.row = job.row, 0
        self._forget(job)
        job.row = row
        self.dead[job.handle] = job
        if job.data is None:
            self._on_disk += 1
        else:
            self._payload_bytes += len(job.data)

    def complete(self, job: Job, news: bytes, now: float) -> None:
        """End a job with its result: its worker's WORK_COMPLETE."""
        if job.row:
            self._keep_end(job, now)
        self._tell(job, news, job.clients)
        self._end(job, now)

    def raise_exception(self, job: Job, news: bytes, now: float) -> None:
        """End a job with its worker's WORK_EXCEPTION to the clients that asked for it, WORK_FAIL to others."""
        assert job.worker is not None
        _pardon(job.worker, job.handle, everything=False)
        told = tuple(client for client in job.clients if self.peers[client].wants_exceptions)
        others = tuple(client for client in job.clients if not self.peers[client].wants_exceptions)
        if not self._postpone(job, now):
            # The bare handle: libgearman ignores, and Perl dies of, the NUL that gearmand leaves behind it (G12).
            self._give_up(job, ((news, told), (response(Type.WORK_FAIL, job.handle), others)), now)

    def _end(self, job: Job, now: float) -> None:
        """A run of a job is over, and its clients know; a recurring one waits for its next time."""
        if job.schedule is None:
            self._forget(job)
            return
        if job.state is RUNNING:
            self._release(job)
        self._dismiss(job)
        job.retries = 0
        job.numerator = job.denominator = b"0"
        self._delay(job, next_due(job.schedule, now))

    def _dismiss(self, job: Job) -> None:
        """Nobody waits for this job any more."""
        for client in job.clients:
            self.peers[client].waiting.pop(job, None)
        job.clients = ()

    def _lose(self, job: Job, now: float) -> None:
        """A worker did not do it: another one shall, unless nobody waits for it or it has been tried often enough."""
        assert job.worker is not None
        if job.worker.is_streaming and job.clients:
            # What it sent cannot be taken back, so these clients cannot be told anew.
            self.relay(job, response(Type.WORK_FAIL, job.handle))  # the run's end, not the job's: it is kept
            self._dismiss(job)
        self._release(job)
        job.numerator = job.denominator = b"0"
        if not job.clients and not job.is_background:
            self._forget(job)
            return
        if self._postpone(job, now):
            return
        is_dead = _policy(job) is not None
        job.retries += not is_dead
        if is_dead or 0 < self.options.job_retries <= job.retries:
            self._give_up(job, ((response(Type.WORK_FAIL, job.handle), job.clients),), now)
        else:
            if job.row:
                self._amend(job, 0)
            self._enqueue(job)

    def _abandon(self, job: Job) -> None:
        """Nobody waits for this foreground job any more."""
        if job.state is RUNNING:
            self._unindex(job)
            if job.key:
                self._abandoned[job.key] = job
        else:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        """Take a job out of everything that knows it."""
        if job.state is RUNNING:
            self._release(job)
        elif job.state is QUEUED:
            job.function.queues[job.priority].leave(job)
        elif job.state is WITHHELD:
            job.function.queues[job.priority].take_out(job)
            job.state = ENDED
        elif job.state is DELAYED:
            assert job.timer is not None
            self._timers.cancel(job.timer)
            job.function.delayed -= 1
            job.state = ENDED
        elif job.state is STORING:
            job.function.storing -= 1
            job.state = ENDED
        if job.row:
            self._strike(job)
        del self.jobs[job.handle]
        if job.key:
            self._unindex(job)
        if self._abandoned and self._abandoned.get(job.key) is job:
            del self._abandoned[job.key]
        if job.clients:
            self._dismiss(job)
        if job.data is None:
            self._on_disk -= 1
        else:
            self._payload_bytes -= len(job.data)

    def _unindex(self, job: Job) -> None:
        if job.key and job.function.jobs.get(job.key) is job:
            del job.function.jobs[job.key]

    # Questions

    def find(self, unique: bytes) -> Job | None:
        """The job of a unique. The packet names no function, so of several the first known function's answers (G8)."""
        candidates = (function.jobs.get(unique) for function in self.functions.values()) if unique else ()
        return next(filter(None, candidates), None) or self._abandoned.get(unique)


def _policy(job: Job) -> Policy | None:
    return job.function.policy if job.is_background and job.schedule is None else None


def coalescing_key(unique: bytes, data: bytes) -> bytes:
    """What a submission coalesces by; empty: nothing."""
    # The text knows nothing of `-`; gearmand and libgearman take it for "the payload is the key", and an empty payload
    # for none. No unique holds NUL.
    if unique == b"-":
        return b"\0" + sha256(data).digest() if data else b""
    return unique


def _pardon(peer: Peer, handle: bytes, *, everything: bool) -> None:
    """Let a worker's late reports on a handle pass: `everything` up to an end, or a WORK_FAIL after an exception."""
    peer.pardoned[handle] = everything
    if len(peer.pardoned) > MAX_PARDONED:
        del peer.pardoned[next(iter(peer.pardoned))]
