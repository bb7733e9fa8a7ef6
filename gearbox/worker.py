"""Workers in Python: functions that do the jobs of Gearbox methods.

    worker = Worker(["127.0.0.1:4730"])

    @worker.method("text::upper", concurrency=4)
    def upper(text: str) -> str:
        return text.upper()

    worker.run()

A job's array becomes positional arguments, its object keyword arguments, any other value the only argument. What the
function returns is the result; it must be a JSON value, of at most 480 levels. An `RpcError` that it raises fails the
job with its code, message and data; any other exception, SystemExit too, does so with code -28500 and the traceback as
data.

An `async` function runs in the worker's own trio run, a plain one in a thread. Either may ask for `current_job()`, to
report progress and to read the results of the jobs before it.

Everything between the function and the core is what g-worker does as well: leave to start, a lease while it runs,
results that are repeated until the core has them. When the lease is lost (the job was cancelled, or given to somebody
else), an `async` function is cancelled. A thread cannot be: it goes on, its result is dropped, and no job takes its
place until it has ended; `Job.progress` raises `JobLost` there.
"""

from __future__ import annotations

import inspect
import signal
import socket
import threading
import traceback
import uuid
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from math import isfinite
from typing import Any, SupportsFloat, TypeVar

import attrs
import trio

from abraxas_py.handler import beyond_the_job
from abraxas_py.nursery import open_nursery
from gearbox import rpc
from gearbox.client import open_gearbox
from gearbox.errors import Code, GearboxError, RpcError
from gearbox.job import Status
from gearbox.trace import META, trace_of
from gearbox.work.assignment import Assignment
from gearbox.work.crew import Crew
from gearbox.work.runner import BAD_OUTPUT, Report, failure
from gearbox.work.teller import LogTeller

__all__ = ["Job", "JobLost", "Worker", "current_job"]

STOP_TIMEOUT = 30.0  # seconds that running jobs have after the worker was asked to stop
TRACEBACK_CHARACTERS = 2**14  # of its end

Function = TypeVar("Function", bound=Callable[..., Any])


class JobLost(GearboxError):
    """The core does not want this attempt of the job any more: stop, its result will not be used."""


class Job:
    """The job that a function is doing."""

    def __init__(self, work: Assignment, token: trio.lowlevel.TrioToken) -> None:
        self._work = work
        self._token = token

    @property
    def id(self) -> int | None:
        """None for a call that was not scheduled (`g-client raw`)."""
        return None if self._work.ticket is None else self._work.ticket.id

    @property
    def attempt(self) -> int | None:
        """The number of this try, from 1 on."""
        return None if self._work.ticket is None else self._work.ticket.attempt

    @property
    def method(self) -> str:
        """The method's full name."""
        return self._work.method

    @property
    def params(self) -> Any:
        """What the job was queued with."""
        return self._work.params

    @property
    def after(self) -> Any:
        """`{"id", "result"}` of the job named by `after_id`; None without one."""
        return self._work.meta.get("gearbox_after")

    @property
    def pool(self) -> list[Any]:
        """`{"id", "result"}` of each job of its pool (`before_id`)."""
        return self._work.meta.get("gearbox_pool") or []

    @property
    def traceparent(self) -> str | None:
        """The trace of whoever queued the job (W3C Trace Context): give it to what this job does and queues."""
        return trace_of(self._work.meta.get(META))

    def progress(self, number: SupportsFloat) -> None:
        """Tell how far it is, by custom a percentage; from any thread, as often as you like.

        Raises JobLost, and ValueError or TypeError for what is no finite number.
        """
        value = float(number)  # of whatever kind: a Decimal or a numpy.float32 is no JSON
        if not isfinite(value):
            raise ValueError(f"progress is not a finite number: {value}")
        if self._work.is_over:
            raise JobLost("the core does not want this job any more")
        self._token.run_sync_soon(self._work.tell_progress, value)


_current: ContextVar[Job] = ContextVar("gearbox job")


def current_job() -> Job:
    """The job that the calling function is doing. Raises LookupError outside of one."""
    return _current.get()


@attrs.define(eq=False)
class _Method:
    """A function at work."""

    name: str
    function: Callable[..., Any]
    concurrency: int
    signature: inspect.Signature | None = attrs.field(init=False)  # made once, not for each job
    threads: trio.CapacityLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.signature = signature_of(self.function)
        self.threads = trio.CapacityLimiter(self.concurrency)

    async def __call__(self, work: Assignment) -> Report:
        _current.set(Job(work, trio.lowlevel.current_trio_token()))
        call = bind(self.function, self.signature, work.params)
        if isinstance(call, Report):
            return call
        try:
            if inspect.iscoroutinefunction(self.function):
                return completed(await call())
            # Also the result is read there: it may be large. A thread that is abandoned keeps its place among `threads`
            # until it ends.
            report: Report = await trio.to_thread.run_sync(
                lambda: completed(call()), limiter=self.threads, abandon_on_cancel=True
            )
            return report
        except BaseException as problem:  # no job may end the worker, and a retry the next one
            beyond = beyond_the_job(problem)
            if beyond is not None:
                raise beyond from None
            return failed(problem)


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """None for what does not tell what it takes, as `max` and others that are not written in Python."""
    try:
        return inspect.signature(function)
    except ValueError:
        return None


def bind(function: Callable[..., Any], signature: inspect.Signature | None, params: Any) -> Callable[[], Any] | Report:
    """The call of a function with a job's params; a report, if they are known not to fit."""
    args: Sequence[Any] = ()
    kwargs: dict[str, Any] = {}
    match params:
        case None:
            pass
        case list():
            args = params
        case dict():
            kwargs = params
        case _:
            args = [params]
    try:
        if signature is not None:
            signature.bind(*args, **kwargs)
    except TypeError as problem:
        return failure(Code.BAD_REQUEST, f"the arguments do not fit: {problem}")
    return partial(function, *args, **kwargs)


def completed(value: Any) -> Report:
    """The report of a function that returned `value`."""
    try:
        return Report(Status.COMPLETE, _as_read(value))
    except (TypeError, ValueError) as problem:
        return failure(BAD_OUTPUT, f"the result is not JSON: {problem}")


def failed(problem: BaseException) -> Report:
    """The report of a function that raised `problem`, be it one that cannot tell of itself."""
    try:
        return _told(problem)
    except KeyboardInterrupt:
        raise
    except BaseException as second:
        return failure(Code.JOB_ERRORED, f"{type(problem).__name__}, which cannot be told: {type(second).__name__}")


def _told(problem: BaseException) -> Report:
    if isinstance(problem, RpcError):
        try:
            return Report(Status.ERRORED, _as_read(problem.as_json()))
        except (TypeError, ValueError):
            return failure(Code.JOB_ERRORED, str(problem))
    text = "".join(traceback.format_exception(problem))[-TRACEBACK_CHARACTERS:]
    message = "".join(traceback.format_exception_only(problem)).strip()
    return failure(Code.JOB_ERRORED, message, {"traceback": text})


def _as_read(value: Any) -> Any:
    """A value as others will read it, which the function cannot change any more. Raises TypeError, ValueError."""
    return rpc.load(rpc.dump(value), rpc.OUTPUT_DEEPEST)


class Worker:
    """Methods in Python on any of the Gearman `servers`."""

    def __init__(self, servers: Sequence[str], *, stop_timeout: float = STOP_TIMEOUT) -> None:
        self._servers = servers
        self._stop_timeout = stop_timeout
        self._methods: dict[str, _Method] = {}
        self._stop = trio.Event()

    def method(self, name: str, *, concurrency: int = 1) -> Callable[[Function], Function]:
        """Have the function do the jobs of the method `name`, up to `concurrency` at once."""

        def register(function: Function) -> Function:
            if name in self._methods:
                raise ValueError(f"{name} has a function already")
            self._methods[name] = _Method(name, function, concurrency)
            return function

        return register

    def stop(self) -> None:
        """Take no more jobs, finish those that run, and end; from the worker's own trio run."""
        self._stop.set()

    def run(self) -> None:
        """Work until a signal (TERM or INT) or `stop` ends it, in a trio run of its own."""
        trio.run(self.work)

    async def work(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The same in a trio run of yours; started once all methods are offered.

        Signals are heeded in the main thread only. Cancelled, it drops what runs.
        """
        instance = f"{socket.gethostname()}:{uuid.uuid4()}"
        async with open_gearbox(self._servers, client_id=instance) as gearbox, open_nursery() as nursery:
            crew = Crew(self._servers, gearbox=gearbox, teller=LogTeller(), nursery=nursery, instance=instance)
            for method in self._methods.values():
                crew.offer(method.name, method, max_jobs=method.concurrency)
            if threading.current_thread() is threading.main_thread():
                nursery.start_soon(self._heed_signals)
            await crew.wait_until_connected()
            task_status.started()
            await self._stop.wait()
            await crew.stop(self._stop_timeout)
            nursery.cancel_scope.cancel()

    async def _heed_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                self._stop.set()
