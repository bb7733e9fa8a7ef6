"""The worker: takes jobs from one or several servers and runs them.

What it knows of each connection, and when it asks for jobs, is `engagement`'s; how handlers are called is `handler`'s.

What jobs send, and what is to be sent next, leaves once per scheduler pass: the writer of a connection is woken, asks
`Worker.decide`, and sends everything with one `send_all`.

A worker has connections of its own (`Worker(...)`, `run`), or shares those of a client (`Client.worker`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from math import inf

import trio

from abraxas_py.admin import Admin, FunctionStatus
from abraxas_py.assigned import Assigned
from abraxas_py.backoff import MAX_DELAY
from abraxas_py.call import Command, Fence, function_name
from abraxas_py.engagement import Condition, Engagement, decide
from abraxas_py.errors import AbraxasError, LocalProtocolError, PayloadError, ServerError
from abraxas_py.handler import Handler, handle, text_of
from abraxas_py.lifeline import Lifeline
from abraxas_py.lifelines import Lifelines
from abraxas_py.nursery import open_nursery
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import MAX_PACKET_BYTES, REQUEST, encode
from abraxas_py.settings import Settings, Target
from abraxas_py.transport import Dialer, Endpoint

__all__ = ["Assigned", "Registration", "Worker"]

log = logging.getLogger("abraxas.worker")

_PRE_SLEEP = encode(REQUEST, Packet(Type.PRE_SLEEP))

GOODBYE_TIMEOUT = 5.0  # seconds for the last reports to leave: a stuck server is not waited for long


Spawn = Callable[..., None]


class _Function:
    """What a worker does for a function."""

    __slots__ = ("callback", "is_stream", "max_queue", "timeout")

    def __init__(self, callback: Callable[[Assigned], None], timeout: float, is_stream: bool) -> None:
        self.callback = callback
        self.timeout = timeout
        self.is_stream = is_stream


class Registration:
    """A function that a worker does; what `Worker.add` and `Worker.take` return."""

    def __init__(self, worker: Worker, function: bytes) -> None:
        self._worker = worker
        self.function = function

    def unregister(self) -> None:
        """Take no more jobs of this function."""
        self._worker.remove(self.function)

    async def max_queue(self, *sizes: int) -> None:
        """Limit the function's queue; see `Worker.max_queue`."""
        await self._worker.max_queue(self.function, *sizes)

    async def status(self) -> FunctionStatus:
        """The function's jobs and workers, over all servers."""
        return await self._worker.status(self.function)


class Worker:
    """Takes jobs for the functions that were added; `run` does it.

    `max_jobs` jobs at once, over all servers together. Connections are made to all servers, and again after a loss
    (`backoff`), with all functions, the client id and queue limits registered anew. `on_connect` and `on_disconnect`
    are called with the server's name: after the functions were registered, and after its jobs were marked as lost;
    `on_error` with an error of a connection and the server's name. None of that is fatal: it goes on by itself, and
    what these functions raise is logged.

    `streaming`: what is written to `Assigned.output` is sent at once, and the client of a job whose worker is lost is
    told so; only Abraxas servers have it. `reducers`: grab with GRAB_JOB_ALL, which tells the reducer of a job. The
    rest is in `Settings`, which may also be given whole.
    """

    def __init__(
        self,
        *servers: str | Endpoint | Dialer | Target,
        client_id: str = "",
        max_jobs: int = 1,
        streaming: bool = False,
        reducers: bool = False,
        reconnect_delay: float = MAX_DELAY,
        debug: bool = False,
        settings: Settings | None = None,
    ) -> None:
        if settings is None:
            settings = Settings(client_id, streaming, reconnect_delay, debug=debug)
        self._set_up(Lifelines(servers, settings), Admin(*servers), max_jobs, reducers)
        self._owns_lines = True

    @classmethod
    def over(cls, lines: Lifelines, admin: Admin, spawn: Spawn, max_jobs: int) -> Worker:
        """A worker on the connections of somebody else, who runs them, and handlers too (`spawn`). It need not be run.

        There can be one on each connection, since a connection is awake or asleep as a whole.
        """
        worker = cls.__new__(cls)
        worker._set_up(lines, admin, max_jobs, reducers=False)
        worker._owns_lines = False
        worker._spawn = spawn
        lines.worker = worker
        lines.join(worker)
        return worker

    def _set_up(self, lines: Lifelines, admin: Admin, max_jobs: int, reducers: bool) -> None:
        if max_jobs < 1:
            raise LocalProtocolError("max_jobs must be at least 1")
        self.max_jobs = max_jobs
        self.on_connect: Callable[[str], None] | None = None
        self.on_disconnect: Callable[[str], None] | None = None
        self.on_error: Callable[[AbraxasError, str], None] | None = None
        self._lines = lines
        self._admin = admin
        self._grab = encode(REQUEST, Packet(Type.GRAB_JOB_ALL if reducers else Type.GRAB_JOB_UNIQ))
        self._functions: dict[bytes, _Function] = {}
        self._left: dict[bytes, _Function] = {}  # functions that were removed: a job may be on its way
        self._limits: dict[bytes, tuple[int, ...]] = {}  # of queues, by function
        self._engagements: dict[Lifeline, Engagement] = {}
        self._running = 0
        self._is_stopping = False
        self._started = trio.Event()  # a server knows our functions
        self._ended = trio.Event()  # the last job of a stopping worker has ended
        self._spawn: Spawn | None = None  # starts the task of a job

    # Functions

    def add(self, function: bytes | str, handler: Handler, *, timeout: float = 0, stream: bool = False) -> Registration:
        """Run `handler` for each job of a function, in a task of its own. See `handler.Handler` for what it may be.

        What it returns or yields completes the job, unless it has ended the job itself. An exception ends the job in
        WORK_EXCEPTION with `Type: text`, JobRaised with its data, JobFailed in WORK_FAIL.

        `stream`: call it when the job comes, to read `job.payload`; otherwise when the payload is there as `job.data`.
        `timeout` (seconds, 0: none) is what the server is told: after it, the job goes to another worker.
        """
        return self.take(function, partial(self._start, handler), timeout=timeout, stream=stream)

    def take(
        self,
        function: bytes | str,
        callback: Callable[[Assigned], None],
        *,
        timeout: float = 0,
        stream: bool = False,
    ) -> Registration:
        """Have `callback` called for each job of a function, synchronously, in the pass that reads it.

        For thousands of jobs per second: no task is made. It must be quick and must not raise; the job is ended by its
        methods, then or later. It holds a slot until then.
        """
        name = function_name(function)
        if not 0 <= timeout < inf:
            raise LocalProtocolError(f"a function's timeout is seconds, or 0 for none, not {timeout}")
        self._functions[name] = _Function(callback, timeout, stream)
        for engagement in self._engagements.values():
            engagement.leaving.discard(name)
            self._register(engagement, _can_do(name, timeout))
            # No server wakes a sleeping worker for what waited before its CAN_DO, so it has to look for itself.
            engagement.condition = Condition.AWAKE
        return Registration(self, name)

    def remove(self, function: bytes | str) -> None:
        """Take no more jobs of a function; what runs goes on.

        Until that has ended, no other jobs are taken either from the server that it came from: gearmand would give what
        runs to another worker if it were told at once.
        """
        name = function.encode() if isinstance(function, str) else function
        known = self._functions.pop(name, None)
        if known is not None:
            self._left[name] = known
            for engagement in self._engagements.values():
                engagement.leaving.add(name)
                engagement.leave()

    def remove_all(self) -> None:
        """Take no more jobs of any function; what runs goes on."""
        for name in list(self._functions):
            self.remove(name)

    async def max_queue(self, function: bytes | str, *sizes: int) -> None:
        """Limit a function's queue on all servers, and on those that come later.

        One size for all priorities, three for high, normal, low, or none for no limit; what is over it is refused
        (QUEUE_ERROR). Raises ServerError when a server refuses, such as one that takes no such command from here.
        """
        name = function_name(function)
        if set(name) & set(b" \t\r\n"):
            raise LocalProtocolError("the admin protocol cannot say a function name with spaces or line ends")
        self._limits[name] = sizes
        commands = [self._limit(line, name) for line in self._lines.live]
        for command in commands:
            await command.ended()

    async def status(self, function: bytes | str) -> FunctionStatus:
        """A function's jobs and workers, over all servers. Raises ConnectionLost where no server answers."""
        name = function_name(function)
        rows = [row for row in await self._admin.status() if row.function == name]
        return rows[0] if rows else FunctionStatus(name, 0, 0, 0)

    # Its life

    def stop(self) -> None:
        """Take no more jobs; `run` returns when those that run have ended."""
        self._is_stopping = True
        self._check_ended()

    async def finish(self) -> None:
        """`stop`, and wait until the jobs that run have ended and the servers have been told."""
        self.stop()
        await self._ended.wait()
        with trio.move_on_after(GOODBYE_TIMEOUT):
            await self._lines.is_empty()

    def _check_ended(self) -> None:
        """Whether a stopping worker has nothing left to do: no job, and none on its way."""
        if self._is_stopping:
            for engagement in self._engagements.values():
                engagement.retire()
            if not self._running and not any(engagement.grabs for engagement in self._engagements.values()):
                self._ended.set()
                self._started.set()  # or nobody would find out while no server answers

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled or stopped. `task_status.started` once the functions are registered with any server."""
        if not self._owns_lines:  # it runs already
            await self._started.wait()
            task_status.started()
            await self._ended.wait()
            return
        self._is_stopping = False
        self._ended = trio.Event()
        if self._lines.worker is None:
            self._lines.worker = self
            self._lines.join(self)
        self._started = trio.Event()
        try:
            async with open_nursery() as nursery:
                self._spawn = nursery.start_soon
                nursery.start_soon(self._lines.run)
                await self._started.wait()
                task_status.started()
                await self._ended.wait()
                await self.finish()
                nursery.cancel_scope.cancel()
        finally:
            self._lines.close()
            with trio.CancelScope(shield=True):
                await self._admin.aclose()

    # Jobs

    def assign(self, job: Assigned) -> None:
        """Begin with a job."""
        self._running += 1
        known = self._functions.get(job.function) or self._left.get(job.function)
        if known is None:  # never offered: the server is mistaken
            job.fail()
        elif job.is_pulled and not known.is_stream:
            assert self._spawn is not None
            self._spawn(self._gather, known.callback, job)
        else:
            self._call(known.callback, job)

    def _call(self, callback: Callable[[Assigned], None], job: Assigned) -> None:
        try:
            callback(job)
        except Exception as error:
            log.exception("a callback raised function=%s", job.function.decode(errors="replace"))
            if not job.is_ended:
                job.exception(text_of(error))

    async def _gather(self, callback: Callable[[Assigned], None], job: Assigned) -> None:
        """Pull a payload whole, for a function that wants it so."""
        gathered = bytearray()
        try:
            async for piece in job.payload:
                gathered += piece
                if len(gathered) > MAX_PACKET_BYTES:
                    raise PayloadError(f"the payload is longer than {MAX_PACKET_BYTES} bytes, and not read as a stream")
        except Exception as error:  # whatever a stranger's ticket led to: it is this job's matter alone
            job.exception(text_of(error))
            return
        job.data = bytes(gathered)
        self._call(callback, job)

    def _start(self, handler: Handler, job: Assigned) -> None:
        assert self._spawn is not None
        self._spawn(handle, handler, job)

    def free_slot(self) -> None:
        """A job has ended."""
        self._running -= 1
        self.go_on()

    # As the party of its connections

    def line_up(self, line: Lifeline) -> None:
        engagement = self._engagements[line] = Engagement(self, line)
        packets = [_can_do(name, function.timeout) for name, function in self._functions.items()]
        self._register(engagement, *([] if self._is_stopping else packets))
        for name in self._limits:
            self._limit(line, name)

    def line_down(self, line: Lifeline) -> None:
        engagement = self._engagements.pop(line)
        engagement.is_gone = True
        lost, engagement.jobs = engagement.jobs, {}
        self._running -= len(lost)
        for job in lost:
            line.tell(job.on_lost)
        self.go_on()
        if engagement.is_known:
            line.tell(self.on_disconnect, line.name)

    def line_failed(self, line: Lifeline, error: AbraxasError) -> None:
        line.tell(self.on_error, error, line.name)

    def receive(self, line: Lifeline, packet: Packet) -> None:
        self._engagements[line].receive(packet)

    def go_on(self) -> None:
        """Something has changed: have the writers decide what is to be done next, once per pass."""
        for line, engagement in self._engagements.items():
            engagement.leave()
            line.wakeup.set()
        if self._is_stopping:
            self._check_ended()

    def decide(self, line: Lifeline) -> None:
        engagement = self._engagements.get(line)
        if engagement is None or not engagement.is_known or engagement.leaving:
            return
        if self._is_stopping or not self._functions:
            return
        free = self.max_jobs - self._running - sum(other.grabs for other in self._engagements.values())
        grabs, sleeps = decide(engagement.condition, engagement.grabs, engagement.window, free)
        engagement.grabs += grabs
        if sleeps:
            engagement.condition = Condition.ASLEEP
        if grabs or sleeps:
            engagement.post(self._grab * grabs + (_PRE_SLEEP if sleeps else b""))

    def _register(self, engagement: Engagement, *packets: Packet) -> None:
        """Send CAN_DOs; the answer to what follows them says that the server, which answers in order, knows them."""
        request = encode(REQUEST, *packets, Packet(Type.ECHO_REQ, b"registered"))
        engagement.line.put(Fence(request, lambda line: self._registered(engagement), self._refused))

    def _registered(self, engagement: Engagement) -> None:
        if engagement.is_known:
            return
        engagement.is_known = True
        self._started.set()
        engagement.line.tell(self.on_connect, engagement.line.name)

    def _refused(self, error: ServerError, line: Lifeline) -> None:
        log.error("a function was refused server=%s error=%s", line.name, error)
        self.line_failed(line, error)

    def _limit(self, line: Lifeline, name: bytes) -> Command:
        words = [b"maxqueue", name, *(b"%d" % size for size in self._limits[name])]
        command = Command(b" ".join(words))
        line.put(command)
        return command


def _can_do(name: bytes, timeout: float) -> Packet:
    if timeout:
        return Packet.of(Type.CAN_DO_TIMEOUT, name, b"%d" % round(timeout * 1000))
    return Packet(Type.CAN_DO, name)
