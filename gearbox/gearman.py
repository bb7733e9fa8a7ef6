"""The little that the core needs of Gearman, over the client code alone.

Whether the broker is in this process (a dialer to an in-memory pipe) or somewhere else (an address) is decided by who
makes the `Link`; nothing here knows. A link is three connections to each server: a client that starts attempts and
hears how they end, a worker that takes the calls of `gearbox\\core::...`, and one for the admin commands.

An attempt goes to a server that has workers for it, and its row says to which. A server that does not answer in time is
left out until it does: it may hold up neither the others nor what the core can do without Gearman.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from enum import Enum
from math import inf
from typing import Any, Protocol

import attrs
import structlog
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
from abraxas_py.nursery import open_nursery
from abraxas_py.transport import Dialer
from gearbox import rpc
from gearbox.errors import Code, RpcError
from gearbox.job import Ended, Event, Job, Outcome, Unsent
from gearbox.job import Priority as JobPriority
from gearbox.trace import META

__all__ = ["Call", "Failed", "Gearman", "Link", "Lost", "Presence", "ServerView"]

log = structlog.get_logger("gearbox:gearman")

SUBMIT_TIMEOUT = 5.0  # s; an attempt that no server takes by then is released and waits as a ready job
ANSWER_TIMEOUT = 5.0  # s for an admin command; without an answer Gearman counts as out of reach
SILENCE_LONGEST = 20.0  # s without an answer, after which a server is gone as far as others can do its work
SILENCE_PAUSE = 1.0  # s between questions to a server that did not answer in time
LISTING_LIMIT = 50_000  # jobs on a server that are listed to find the abandoned; a longer queue has to shrink first
MANY = 1_000_000  # calls held at once: watchers wait as calls, and must not shut out the others


@attrs.frozen
class Lost:
    """Nobody watches the attempt any more: the connection to its server is gone, or its worker lost its own."""

    with_server: bool = True


@attrs.frozen
class Failed:
    """WORK_FAIL, which says nothing: its worker gave the attempt up, or the server did after it lost the worker."""


BUILT_IN = "built in"  # what people read for the broker in this process, which has no name
PRIORITIES = {priority: Priority[priority.name] for priority in JobPriority}
News = Callable[[int, int, Event | Lost | Failed], None]  # job id, epoch, what happened


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


class Presence(Enum):
    """What a Gearman server says of an attempt."""

    RUNNING = "running"  # a worker has it
    QUEUED = "queued"
    UNKNOWN = "unknown"  # it has ended, or was forgotten by a restart
    SILENT = "silent"  # no answer, which says nothing about the attempt
    GONE = "gone"  # no answer for long


class Gearman(Protocol):
    """What the core asks of it."""

    servers: Mapping[str, Sequence[str]]
    """Method -> names of the servers where it is offered, as of the last `workers`. A broker in this process has no
    name: it does not outlive the core, so that nobody will have to find it again."""

    def start(self, job: Job, inputs: Mapping[str, Any], server: str | None) -> None:
        """Send the job's current attempt to a server, with `inputs` in its `_meta`; its end arrives as news."""

    def has_sent(self, job: Job) -> bool:
        """Whether the job's current attempt was sent, and its end has not been told yet."""

    async def workers(self) -> Mapping[str, int] | None:
        """How many workers offer each method; None if no server answers."""

    async def presence(self, job: Job, server: str | None) -> Presence:
        """What a server says of the job's current attempt; None is the server that it was sent to from here."""

    async def drop(self, job: Job) -> None:
        """Have the job's current attempt, sent from here, forgotten by its server, if that can be reached."""

    async def abandoned(self) -> Collection[bytes]:
        """Handles of jobs that no client waits for any more."""

    async def view(self) -> Sequence[ServerView]:
        """What each server says of itself."""


@attrs.define(eq=False)
class _Desk:
    """The connections to one server, but the one that takes calls."""

    name: str | None
    admin: Admin
    client: Client
    silent_since: float = inf  # it did not answer in time: nobody waits for it any more, until it does
    is_lost: bool = False  # it could not be asked the last time

    @property
    def is_silent(self) -> bool:
        return self.silent_since < inf


class Link:
    """`Gearman` over connections to `servers`: by name, how to reach each; None names the broker of this process."""

    def __init__(
        self,
        servers: Mapping[str | None, str | Endpoint | Dialer],
        *,
        instance: str,
        database: str,
        functions: Collection[str],
        on_call: Callable[[Call], None],
        on_news: News,
        on_connect: Callable[[str], None],
        census: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        self.servers: Mapping[str, Sequence[str]] = {}
        self._named = servers
        self._instance = instance
        self._database = database
        self._functions = functions
        self._on_call = on_call
        self._on_news = on_news
        self._on_connect = on_connect
        self._census = census  # of the broker in this process, which can be looked at instead of asked
        self._calls = itertools.count(1)
        self._sent: dict[tuple[int, int], tuple[_Desk, Task]] = {}  # (job, epoch) of attempts whose end has not come
        self._desks: dict[str | None, _Desk] = {}  # by the names of their servers, in their order

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connections, for ever; started once the functions are registered with a server."""
        worker = Worker(*self._named.values(), client_id=self._instance, max_jobs=MANY)
        worker.on_connect = self._on_connect
        for function in self._functions:
            worker.take(function, self._take)
        async with AsyncExitStack() as stack:
            for name, address in self._named.items():
                client = open_client(address, client_id=self._instance, submit_timeout=SUBMIT_TIMEOUT)
                admin = await stack.enter_async_context(open_admin(address))
                self._desks[name] = _Desk(name, admin, await stack.enter_async_context(client))
            async with open_nursery() as nursery:
                nursery.start_soon(self._listen)
                await worker.run(task_status=task_status)

    def _take(self, job: Assigned) -> None:
        self._on_call(Call(job.function.decode(), job.data, job.complete, job.handle, lambda: job.is_lost))

    def start(self, job: Job, inputs: Mapping[str, Any], server: str | None) -> None:
        desk = self._desks.get(server) or [*self._desks.values()][job.id % len(self._desks)]
        request_id = f"{self._instance}-{next(self._calls)}"
        meta = {"gearbox_id": job.id, "gearbox_attempt": job.epoch, **inputs}
        if job.traceparent is not None:
            meta[META] = job.traceparent
        key = job.id, job.epoch

        def ended(task: Task) -> None:
            self._sent.pop(key, None)
            self._on_news(job.id, job.epoch, _event(task, request_id))

        task = desk.client.submit(
            job.method,
            rpc.request_text(job.method, job.arguments, request_id, meta),
            unique=self._unique(job),
            priority=PRIORITIES[job.priority],
            on_end=ended,
        )
        if not task.is_done:
            self._sent[key] = desk, task

    def has_sent(self, job: Job) -> bool:
        return (job.id, job.epoch) in self._sent

    def _unique(self, job: Job) -> bytes:
        """At most 64 bytes. The attempt's own, so that Gearman can never merge two attempts."""
        return f"gb1.{self._database}.{job.id}.{job.epoch}".encode()

    async def workers(self) -> Mapping[str, int] | None:
        if self._census is not None:
            await trio.lowlevel.checkpoint()
            return self._census() if self._desks else None
        asked = [desk for desk in self._desks.values() if not desk.is_silent]
        answers: dict[_Desk, Sequence[FunctionStatus]] = {}
        if len(asked) == 1:
            await self._ask_status(asked[0], answers)
        else:
            async with trio.open_nursery() as nursery:
                for desk in asked:
                    nursery.start_soon(self._ask_status, desk, answers)
        total: Counter[str] = Counter()
        servers: defaultdict[str, list[str]] = defaultdict(list)
        for desk in asked:  # in their order
            for row in answers.get(desk, ()):
                function = row.function.decode(errors="replace")
                total[function] += row.workers
                if row.workers and desk.name is not None:
                    servers[function].append(desk.name)
        self.servers = servers
        return total if answers else None

    async def _ask_status(self, desk: _Desk, answers: dict[_Desk, Sequence[FunctionStatus]]) -> None:
        was_lost, desk.is_lost = desk.is_lost, True
        with trio.move_on_after(ANSWER_TIMEOUT) as scope, suppress(AbraxasError):
            answers[desk] = await desk.admin.status()
            desk.is_lost = False
            if was_lost:  # before anybody concludes from this answer that there are no workers
                self._on_connect(desk.name or "")
        if scope.cancelled_caught and not desk.is_silent:
            log.warning("a Gearman server does not answer", server=desk.name)
            desk.silent_since = trio.current_time()

    async def _listen(self) -> None:
        """Wait for silent servers to speak again, where nobody else has to wait for them."""
        while True:
            await trio.sleep(SILENCE_PAUSE)
            for desk in self._desks.values():
                if desk.is_silent:
                    answers: dict[_Desk, Sequence[FunctionStatus]] = {}
                    await self._ask_status(desk, answers)
                    if desk in answers:
                        desk.silent_since = inf
                        log.warning("a Gearman server answers again", server=desk.name)

    async def presence(self, job: Job, server: str | None) -> Presence:
        sent = self._sent.get((job.id, job.epoch))
        desk = self._desks.get(server) if server is not None else sent[0] if sent else None
        if desk is None:  # a server that this core was not told of, or one that is gone with its process
            return Presence.UNKNOWN
        if desk.is_silent:
            is_gone = len(self._desks) > 1 and trio.current_time() - desk.silent_since > SILENCE_LONGEST
            return Presence.GONE if is_gone else Presence.SILENT
        if not desk.client.is_connected:
            return Presence.SILENT
        with trio.move_on_after(ANSWER_TIMEOUT), suppress(AbraxasError):
            answer = await desk.client.get_status_unique(self._unique(job))
            if answer.is_running:
                return Presence.RUNNING
            return Presence.QUEUED if answer.is_known else Presence.UNKNOWN
        return Presence.SILENT

    async def drop(self, job: Job) -> None:
        sent = self._sent.get((job.id, job.epoch))
        if sent is None or not sent[1].handle:
            return
        desk, task = sent
        with trio.move_on_after(ANSWER_TIMEOUT), suppress(AbraxasError):
            await desk.admin.cancel_job(task.handle)

    async def abandoned(self) -> Collection[bytes]:
        ignored: set[bytes] = set()
        wanted: set[bytes] = set()  # two servers on one machine may give the same handle
        for desk in self._desks.values():
            if desk.is_silent:
                continue
            with trio.move_on_after(ANSWER_TIMEOUT):
                try:
                    if sum(row.total for row in await desk.admin.status()) > LISTING_LIMIT:
                        continue
                    rows = await desk.admin.jobs()
                except AbraxasError:
                    continue
                for row in rows:
                    (ignored if row.is_ignored else wanted).add(row.handle)
        return ignored - wanted

    async def view(self) -> Sequence[ServerView]:
        return [await _view(desk.name or BUILT_IN, desk) for desk in self._desks.values()]


async def _view(name: str, desk: _Desk) -> ServerView:
    if desk.is_silent:
        silence = ANSWER_TIMEOUT + trio.current_time() - desk.silent_since
        return ServerView(name, error=f"no answer for {silence:.0f} s")
    admin = desk.admin
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
        return ServerView(name, error=str(error) or f"no answer within {ANSWER_TIMEOUT:.0f} s")
    return ServerView(name, version, functions, queues, connections)


def _event(task: Task, request_id: str) -> Event | Lost | Failed:
    """How an attempt ended, from how its Gearman job did."""
    error = task.error
    if error is None:
        try:
            rpc.parse_response(task.result or b"", request_id)
        except RpcError as failure:
            # A second worker got the attempt and had no leave to run it: the first one has lost its connection.
            return Lost(with_server=False) if failure.code == Code.NO_LEAVE else Ended(failure.as_json())
        return Ended()
    if isinstance(error, JobRaised):
        text = error.data.decode(errors="replace")
        return Ended(_failure(Code.WORKER_FAILED, f"the worker raised an exception: {text}"))
    if isinstance(error, JobFailed):
        return Failed()
    if isinstance(error, Unavailable):
        return Unsent()
    if isinstance(error, ServerError):
        return Ended(_failure(Code.WORKER_FAILED, f"Gearman refused the job: {error}"), Outcome.REFUSED)
    assert isinstance(error, ConnectionLost), error
    return Lost()


def _failure(code: Code, message: str) -> dict[str, object]:
    return RpcError(int(code), message).as_json()
