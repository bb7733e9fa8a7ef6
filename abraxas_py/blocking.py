"""The same calls without `async`: for scripts, Django, notebooks.

    from abraxas_py import blocking

    with blocking.open_client("127.0.0.1:4730") as client:
        print(client.submit("reverse", b"abc").result())

A trio thread inside does the work. Everything here may be used from several threads at once, but not from a trio (or
asyncio) task, which it would hold up. Errors are those of the asynchronous API; a time limit that is the caller's
raises `trio.TooSlowError`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Generic, overload

import trio
import trio.from_thread
import trio.to_thread

import abraxas_py.client
from abraxas_py.admin import Admin, FunctionStatus, JobRow, PriorityStatus, WorkerRow
from abraxas_py.assigned import Assigned
from abraxas_py.backoff import MAX_DELAY
from abraxas_py.client import JobStatus
from abraxas_py.handler import Outcome
from abraxas_py.nursery import open_nursery
from abraxas_py.portal import Portal
from abraxas_py.protocol.packets import Priority
from abraxas_py.settings import Target
from abraxas_py.task import Event
from abraxas_py.task import Task as AsyncTask
from abraxas_py.transport import Endpoint
from abraxas_py.worker import Worker as AsyncWorker

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=bytes)
else:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["BlockingAdmin", "BlockingClient", "BlockingJob", "BlockingTask", "open_admin", "open_client", "work"]

Servers = str | Endpoint | Target


class BlockingTask(Generic[T]):
    """A job that was submitted. Iterate it for `Data`, `Warning` and `Status`; `result` waits for its end."""

    def __init__(self, portal: Portal, task: AsyncTask[T]) -> None:
        self._portal = portal
        self._task = task

    def result(self, timeout: float = inf) -> T:
        """The job's result; raises what awaiting a `Task` raises, and TooSlowError after `timeout` seconds."""

        async def wait() -> T:
            with trio.fail_after(timeout):
                return await self._task

        return self._portal.run(wait)

    def created(self, timeout: float = inf) -> bytes:
        """The handle, once the server has given it."""

        async def wait() -> bytes:
            with trio.fail_after(timeout):
                return await self._task.created()

        return self._portal.run(wait)

    @property
    def handle(self) -> bytes:
        """The handle; empty until the server has given it."""
        return self._task.handle

    @property
    def done(self) -> bool:
        """Whether the job has ended, one way or another."""
        return self._task.done

    def __iter__(self) -> Iterator[Event[T]]:
        events = self._portal.call(self._task.__aiter__)
        while True:
            try:
                yield self._portal.run(events.__anext__)
            except StopAsyncIteration:
                return

    def output(self) -> Iterator[bytes]:
        """The result in pieces of bytes, with back-pressure; raises the job's error in place of an end."""
        stream = self._portal.call(lambda: self._task.output)
        while piece := self._portal.run(stream.receive_some):
            yield piece

    def write(self, data: bytes) -> None:
        """Write to the payload of a job that comes from `BlockingClient.stream`; waits while it cannot be sent."""
        self._portal.run(self._task.payload.send_all, data)

    def close(self) -> None:
        """End the payload."""
        self._portal.run(self._task.payload.aclose)


class BlockingAdmin:
    """`Admin` without `async`."""

    def __init__(self, portal: Portal, admin: Admin) -> None:
        self._portal = portal
        self._admin = admin

    @property
    def servers(self) -> tuple[BlockingAdmin, ...]:
        """An administrator for each server alone."""
        return tuple(BlockingAdmin(self._portal, admin) for admin in self._admin.servers)

    def status(self) -> list[FunctionStatus]:
        """As `Admin.status`."""
        return self._portal.run(self._admin.status)

    def priority_status(self) -> list[PriorityStatus]:
        """As `Admin.priority_status`."""
        return self._portal.run(self._admin.priority_status)

    def workers(self) -> list[WorkerRow]:
        """As `Admin.workers`."""
        return self._portal.run(self._admin.workers)

    def jobs(self) -> list[JobRow]:
        """As `Admin.jobs`."""
        return self._portal.run(self._admin.jobs)

    def unique_jobs(self) -> list[bytes]:
        """As `Admin.unique_jobs`."""
        return self._portal.run(self._admin.unique_jobs)

    def version(self) -> str:
        """As `Admin.version`."""
        return self._portal.run(self._admin.version)

    def verbose(self) -> str:
        """As `Admin.verbose`."""
        return self._portal.run(self._admin.verbose)

    def getpid(self) -> int:
        """As `Admin.getpid`."""
        return self._portal.run(self._admin.getpid)

    def cancel_job(self, handle: bytes) -> None:
        """As `Admin.cancel_job`."""
        self._portal.run(self._admin.cancel_job, handle)

    def create_function(self, function: bytes | str) -> None:
        """As `Admin.create_function`."""
        self._portal.run(self._admin.create_function, function)

    def drop_function(self, function: bytes | str) -> None:
        """As `Admin.drop_function`."""
        self._portal.run(self._admin.drop_function, function)

    def max_queue(self, function: bytes | str, *sizes: int) -> None:
        """As `Admin.max_queue`."""
        self._portal.run(self._admin.max_queue, function, *sizes)

    def shutdown(self, *, graceful: bool = False) -> None:
        """As `Admin.shutdown`."""
        self._portal.run(partial(self._admin.shutdown, graceful=graceful))


class BlockingClient(Generic[T]):
    """`Client` without `async`; made by `open_client`. Its keywords are those of the method of the same name there."""

    def __init__(self, portal: Portal, client: abraxas_py.client.Client[T]) -> None:
        self._portal = portal
        self._client = client
        self.admin = BlockingAdmin(portal, client.admin)

    def submit(
        self,
        function: bytes | str,
        data: bytes | str = b"",
        *,
        unique: bytes | str = b"",
        priority: Priority = Priority.NORMAL,
        reducer: bytes | str = b"",
        submit_timeout: float | None = None,
        response_timeout: float | None = None,
    ) -> BlockingTask[T]:
        """Submit a foreground job; returns at once."""
        submit = partial(
            self._client.submit,
            function,
            data,
            unique=unique,
            priority=priority,
            reducer=reducer,
            submit_timeout=submit_timeout,
            response_timeout=response_timeout,
        )
        return BlockingTask(self._portal, self._portal.call(submit))

    def stream(
        self, function: bytes | str, *, unique: bytes | str = b"", priority: Priority = Priority.NORMAL
    ) -> BlockingTask[T]:
        """A foreground job whose payload is yet to be written: `task.write(data)`, then `task.close()`."""
        stream = partial(self._client.stream, function, unique=unique, priority=priority)
        return BlockingTask(self._portal, self._portal.call(stream))

    def submit_bg(
        self,
        function: bytes | str,
        data: bytes | str = b"",
        *,
        unique: bytes | str = b"",
        priority: Priority = Priority.NORMAL,
        reducer: bytes | str = b"",
        submit_timeout: float | None = None,
    ) -> bytes:
        """Submit a background job and return its handle, once the server has it."""
        submit = partial(
            self._client.submit_bg,
            unique=unique,
            priority=priority,
            reducer=reducer,
            submit_timeout=submit_timeout,
        )
        return self._portal.run(submit, function, data)

    def submit_at(
        self, function: bytes | str, when: datetime | float, data: bytes | str = b"", *, unique: bytes | str = b""
    ) -> bytes:
        """Submit a background job that begins at `when` or later, and return its handle."""
        return self._portal.run(partial(self._client.submit_at, unique=unique), function, when, data)

    def submit_sched(
        self,
        function: bytes | str,
        data: bytes | str = b"",
        *,
        minute: int | str = "*",
        hour: int | str = "*",
        day: int | str = "*",
        month: int | str = "*",
        weekday: int | str = "*",
        unique: bytes | str = b"",
    ) -> bytes:
        """Submit a background job that begins at each time of a schedule, and return its handle."""
        submit = partial(
            self._client.submit_sched,
            minute=minute,
            hour=hour,
            day=day,
            month=month,
            weekday=weekday,
            unique=unique,
        )
        return self._portal.run(submit, function, data)

    def echo(self, data: bytes | str) -> T:
        """Have a server send something back."""
        return self._portal.run(self._client.echo, data)

    def get_status(self, handle: bytes) -> JobStatus:
        """What the servers know of a job by its handle."""
        return self._portal.run(self._client.get_status, handle)

    def get_status_unique(self, unique: bytes | str) -> JobStatus:
        """What the servers know of a job by its unique."""
        return self._portal.run(self._client.get_status_unique, unique)

    def set_client_id(self, client_id: str | bytes) -> None:
        """Have the admin command `workers` show this for our connections."""
        self._portal.call(self._client.set_client_id, client_id)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to any server."""
        return self._client.is_connected


@overload
def open_client(
    *servers: Servers,
    encoding: None = None,
    client_id: str = "",
    streaming: bool = False,
    submit_timeout: float = inf,
    response_timeout: float = inf,
    reconnect_delay: float = MAX_DELAY,
    debug: bool = False,
) -> AbstractContextManager[BlockingClient[bytes]]: ...


@overload
def open_client(
    *servers: Servers,
    encoding: str,
    client_id: str = "",
    streaming: bool = False,
    submit_timeout: float = inf,
    response_timeout: float = inf,
    reconnect_delay: float = MAX_DELAY,
    debug: bool = False,
) -> AbstractContextManager[BlockingClient[str]]: ...


@contextmanager
def open_client(
    *servers: Servers,
    encoding: str | None = None,
    client_id: str = "",
    streaming: bool = False,
    submit_timeout: float = inf,
    response_timeout: float = inf,
    reconnect_delay: float = MAX_DELAY,
    debug: bool = False,
) -> Iterator[BlockingClient[Any]]:
    """A client for the time of a block; see `abraxas_py.open_client` for the options. Raises InvalidEndpoint."""
    portal = Portal()

    async def body(task_status: trio.TaskStatus[abraxas_py.client.Client[Any]]) -> None:
        opened: Any = abraxas_py.client.open_client(
            *servers,
            encoding=encoding,
            client_id=client_id,
            streaming=streaming,
            submit_timeout=submit_timeout,
            response_timeout=response_timeout,
            reconnect_delay=reconnect_delay,
            debug=debug,
        )
        async with opened as client:
            task_status.started(client)
            await trio.sleep_forever()

    with portal.hold(body) as client:
        yield BlockingClient(portal, client)


@contextmanager
def open_admin(*servers: Servers) -> Iterator[BlockingAdmin]:
    """An administrator of one or several servers for the time of a block. Raises InvalidEndpoint."""
    portal = Portal()

    async def body(task_status: trio.TaskStatus[Admin]) -> None:
        async with Admin(*servers) as admin:
            task_status.started(admin)
            await trio.sleep_forever()

    with portal.hold(body) as admin:
        yield BlockingAdmin(portal, admin)


class BlockingJob:
    """A job that `work` was given, for a handler in a thread."""

    def __init__(self, job: Assigned) -> None:
        self._job = job
        self.function = job.function
        self.handle = job.handle
        self.unique = job.unique
        self.data = job.data

    @property
    def text(self) -> str:
        """The payload as UTF-8 text."""
        return self._job.text

    @property
    def is_lost(self) -> bool:
        """Whether the connection that it came from is gone: nobody waits for what it does."""
        return self._job.is_lost

    def status(self, numerator: float, denominator: float = 1) -> None:
        """Send progress."""
        trio.from_thread.run_sync(self._job.status, numerator, denominator)

    def warn(self, data: bytes | str) -> None:
        """Send a warning."""
        trio.from_thread.run_sync(self._job.warn, data)

    def send_data(self, data: bytes | str) -> None:
        """Send a piece of the result at once; waits while the connection is full."""

        async def send() -> None:
            await self._job.has_room()
            self._job.send_data(data)

        trio.from_thread.run(send)


def work(
    functions: dict[str, Callable[[BlockingJob], Outcome]],
    *servers: Servers,
    max_jobs: int = 1,
    client_id: str = "",
    stop: threading.Event | None = None,
) -> None:
    """Work on jobs until interrupted (Ctrl-C), or until `stop` is set; what runs then is finished.

    Each job runs in a thread, `max_jobs` at once; handlers return and raise what those of `Worker.add` do.
    """

    async def main() -> None:
        worker = AsyncWorker(*servers, max_jobs=max_jobs, client_id=client_id)
        threads = trio.CapacityLimiter(max_jobs)  # trio's own allows 40, for everything
        for function, handler in functions.items():
            worker.add(function, partial(_in_thread, handler, threads))
        async with open_nursery() as nursery:
            nursery.start_soon(_watch, stop, worker)
            await worker.run()
            nursery.cancel_scope.cancel()

    trio.run(main)


async def _in_thread(
    handler: Callable[[BlockingJob], Outcome], threads: trio.CapacityLimiter, job: Assigned
) -> Outcome:
    return await trio.to_thread.run_sync(handler, BlockingJob(job), limiter=threads)


async def _watch(stop: threading.Event | None, worker: AsyncWorker) -> None:
    while stop is not None:
        # A short wait, again and again: a thread that waits for ever could not be left behind.
        if await trio.to_thread.run_sync(partial(stop.wait, 0.2), abandon_on_cancel=True):
            worker.stop()
            return
