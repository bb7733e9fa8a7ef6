"""The little that the core needs of Gearman, over the client code alone.

Whether the broker is in this process (a dialer to an in-memory pipe) or somewhere else (an address) is decided by who
makes the `Link`; nothing here knows. A link is three connections to each server: a client that starts attempts and
hears how they end, a worker that takes the calls of `gearbox\\core::...`, and one for the admin commands.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

import attrs
import trio

from abraxas_py import (
    AbraxasError,
    Admin,
    Assigned,
    Client,
    ConnectionLost,
    Endpoint,
    JobFailed,
    JobRaised,
    Priority,
    ServerError,
    Task,
    Unavailable,
    Worker,
    open_admin,
    open_client,
)
from abraxas_py.admin import FunctionStatus, PriorityStatus, WorkerRow
from abraxas_py.transport import Dialer
from gearbox import rpc
from gearbox.errors import Code, RpcError
from gearbox.job import Ended, Event, Job, Outcome, Unsent

__all__ = ["Call", "Gearman", "Link", "Lost", "ServerView"]

SUBMIT_TIMEOUT = 5.0  # s; an attempt that no server takes by then is released and waits as a ready job
ANSWER_TIMEOUT = 5.0  # s for an admin command; without an answer Gearman counts as out of reach
LISTING_LIMIT = 50_000  # jobs on a server that are listed to find the abandoned; a longer queue has to shrink first
MANY = 1_000_000  # calls held at once: watchers wait as calls, and must not shut out the others


@attrs.frozen
class Lost:
    """The connection that watched an attempt is gone."""


News = Callable[[int, int, Event | Lost], None]  # job id, epoch, what happened


@attrs.frozen
class Call:
    """A call of one of our functions. `reply` is to be called once, now or later; b"" answers a notification."""

    function: str
    payload: bytes
    reply: Callable[[bytes], None]
    handle: bytes = b""  # of the Gearman job that the call is
    is_lost: Callable[[], bool] = bool  # whether the connection that brought it is gone; this gives False


@attrs.frozen
class ServerView:
    """What one Gearman server says of itself; `error` where it cannot be asked."""

    name: str
    version: str = ""
    functions: Sequence[FunctionStatus] = ()
    queues: Sequence[PriorityStatus] = ()
    connections: Sequence[WorkerRow] = ()
    error: str = ""


class Gearman(Protocol):
    """What the core asks of it."""

    def start(self, job: Job, inputs: Mapping[str, Any]) -> None:
        """Send the job's current attempt, with `inputs` in its `_meta`; its end arrives as news."""

    def has_sent(self, job: Job) -> bool:
        """Whether the job's current attempt was sent, and its end has not been told yet."""

    async def workers(self) -> Mapping[str, int] | None:
        """How many workers offer each method; None if no server answers."""

    async def is_running(self, job: Job) -> bool:
        """Whether a worker has the job's current attempt. True as well if nobody can tell."""

    async def abandoned(self) -> Collection[bytes]:
        """Handles of jobs that no client waits for any more."""

    async def view(self) -> Sequence[ServerView]:
        """What each server says of itself."""


class Link:
    """`Gearman` over connections to `servers`."""

    def __init__(
        self,
        servers: Sequence[str | Endpoint | Dialer],
        *,
        instance: str,
        database: str,
        functions: Collection[str],
        on_call: Callable[[Call], None],
        on_news: News,
        on_connect: Callable[[str], None],
    ) -> None:
        self._servers = servers
        self._instance = instance
        self._database = database
        self._functions = functions
        self._on_call = on_call
        self._on_news = on_news
        self._on_connect = on_connect
        self._calls = itertools.count(1)
        self._sent: set[tuple[int, int]] = set()  # (job, epoch) of attempts whose end has not come
        self._client: Client | None = None
        self._admins: list[Admin] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connections, for ever; started once the functions are registered with a server."""
        worker = Worker(*self._servers, client_id=self._instance, max_jobs=MANY)
        worker.on_connect = self._on_connect
        for function in self._functions:
            worker.take(function, self._take)
        async with AsyncExitStack() as stack:
            for server in self._servers:
                self._admins.append(await stack.enter_async_context(open_admin(server)))
            self._client = await stack.enter_async_context(
                open_client(*self._servers, client_id=self._instance, submit_timeout=SUBMIT_TIMEOUT)
            )
            await worker.run(task_status=task_status)

    def _take(self, job: Assigned) -> None:
        self._on_call(Call(job.function.decode(), job.data, job.complete, job.handle, lambda: job.is_lost))

    def start(self, job: Job, inputs: Mapping[str, Any]) -> None:
        assert self._client is not None
        request_id = f"{self._instance}-{next(self._calls)}"
        meta = {"gearbox_id": job.id, "gearbox_attempt": job.epoch, **inputs}

        self._sent.add((job.id, job.epoch))

        def ended(task: Task) -> None:
            self._sent.discard((job.id, job.epoch))
            self._on_news(job.id, job.epoch, _event(task, request_id))

        self._client.submit(
            job.method,
            rpc.request_text(job.method, job.arguments, request_id, meta),
            unique=self._unique(job),
            priority=Priority[job.priority.name],
            on_end=ended,
        )

    def has_sent(self, job: Job) -> bool:
        return (job.id, job.epoch) in self._sent

    def _unique(self, job: Job) -> bytes:
        """At most 64 bytes. The attempt's own, so that Gearman can never merge two attempts."""
        return f"gb1.{self._database}.{job.id}.{job.epoch}".encode()

    async def workers(self) -> Mapping[str, int] | None:
        total: Counter[str] = Counter()
        is_known = False
        for admin in self._admins:
            with trio.move_on_after(ANSWER_TIMEOUT):
                try:
                    rows = await admin.status()
                except AbraxasError:
                    continue
                is_known = True
                for row in rows:
                    total[row.function.decode(errors="replace")] += row.workers
        return total if is_known else None

    async def is_running(self, job: Job) -> bool:
        assert self._client is not None
        with trio.move_on_after(ANSWER_TIMEOUT):
            try:
                return (await self._client.get_status_unique(self._unique(job))).running > 0
            except AbraxasError:
                return True
        return True

    async def abandoned(self) -> Collection[bytes]:
        ignored: set[bytes] = set()
        wanted: set[bytes] = set()  # two servers on one machine may give the same handle
        for admin in self._admins:
            with trio.move_on_after(ANSWER_TIMEOUT):
                try:
                    if sum(row.total for row in await admin.status()) > LISTING_LIMIT:
                        continue
                    rows = await admin.jobs()
                except AbraxasError:
                    continue
                for row in rows:
                    (ignored if row.is_ignored else wanted).add(row.handle)
        return ignored - wanted

    async def view(self) -> Sequence[ServerView]:
        return [await _view(admin) for admin in self._admins]


async def _view(admin: Admin) -> ServerView:
    try:
        with trio.fail_after(ANSWER_TIMEOUT):
            version = await admin.version()
            functions = await admin.status()
            connections = await admin.workers()
            try:
                queues = await admin.priority_status()
            except AbraxasError:  # gearmand knows it since 1.1.19 only
                queues = []
    except (AbraxasError, trio.TooSlowError) as error:
        return ServerView(admin.name, error=str(error) or f"no answer within {ANSWER_TIMEOUT:.0f} s")
    return ServerView(admin.name, version, functions, queues, connections)


def _event(task: Task, request_id: str) -> Event | Lost:
    """How an attempt ended, from how its Gearman job did."""
    error = task.error
    if error is None:
        try:
            rpc.parse_response(task.result or b"", request_id)
        except RpcError as failure:
            # A second worker got the attempt and had no leave to run it: the first one has lost its connection.
            return Lost() if failure.code == Code.NO_LEAVE else Ended(failure.as_json())
        return Ended()
    if isinstance(error, JobRaised):
        text = error.data.decode(errors="replace")
        return Ended(_failure(Code.WORKER_FAILED, f"the worker raised an exception: {text}"))
    if isinstance(error, JobFailed):
        return Ended(_failure(Code.WORKER_FAILED, "the worker failed"))
    if isinstance(error, Unavailable):
        return Unsent()
    if isinstance(error, ServerError):
        return Ended(_failure(Code.WORKER_FAILED, f"Gearman refused the job: {error}"), Outcome.REFUSED)
    assert isinstance(error, ConnectionLost), error
    return Lost()


def _failure(code: Code, message: str) -> dict[str, object]:
    return RpcError(int(code), message).as_json()
