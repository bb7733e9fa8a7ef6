"""One method at work: a Gearman job comes in, it is performed, and what became of it goes out.

A job that the core scheduled carries `_meta.gearbox_id`. Before anything runs, the core is asked for leave to start
this attempt (`gearbox\\core::job_start`), for it may have given the job to somebody else meanwhile; without leave the
job is answered with the error -28409. While it runs, the core is asked whether to go on (`lease`), and told of
progress. Afterwards the Gearman job is answered with the result null, and the data goes to the core through the
`Reporter`.

A job without `gearbox_id`, from `g-client raw` or any other JSON-RPC caller, has no row to store data in: it is
answered with its data as the result, or with its failure as the RPC error. (The original answered null.)
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import trio

from abraxas_py import AbraxasError, Assigned, JobFailed
from abraxas_py.nursery import open_nursery
from gearbox import rpc
from gearbox.client import Gearbox
from gearbox.errors import Code, RpcError
from gearbox.job import Status
from gearbox.work.lease import Lease, keep
from gearbox.work.reporter import PASSING, Reporter
from gearbox.work.runner import Report
from gearbox.work.teller import Teller

__all__ = ["Assignment", "Handler", "Performer", "Ticket", "as_answer"]

logger = logging.getLogger("gearbox.worker")

LEAVE_TIMEOUT = 50.0  # seconds for the core to give leave, of the 60 s that a restarted core waits for its workers
LEAVE_ANSWER_TIMEOUT = 10.0  # seconds for one try: of several servers one may be stuck
LEAVE_PAUSE = 0.2  # seconds before asking again
PROGRESS_INTERVAL = 1.0  # seconds between two reports of progress, of which the newest counts
PROGRESS_TIMEOUT = 5.0  # seconds for one to be taken; another will come


@attrs.frozen
class Ticket:
    """What the core wants to hear back with the result of a scheduled job."""

    id: int
    attempt: int | None

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Ticket | None:
        """None for a job that the core does not know.

        >>> Ticket.of({"gearbox_id": 7, "gearbox_attempt": 1})
        Ticket(id=7, attempt=1)
        """
        id, attempt = meta.get("gearbox_id"), meta.get("gearbox_attempt")
        if not isinstance(id, int) or isinstance(id, bool):
            return None
        return cls(id, attempt if isinstance(attempt, int) and not isinstance(attempt, bool) else None)


class Assignment:
    """A job in work, for those who perform it. `lease` is None where nobody can take the job away."""

    def __init__(self, request: rpc.Request, ticket: Ticket | None, assigned_at: float) -> None:
        self.method = request.method
        self.params = request.params
        self.meta = request.meta
        self.ticket = ticket
        self.assigned_at = assigned_at
        self.lease = Lease(assigned_at) if ticket is not None and ticket.attempt is not None else None
        self.is_over = False  # nobody waits for its outcome any more
        self._progress: float | None = None
        self._news = trio.Event()

    def tell_progress(self, number: float) -> None:
        """How far it is, by custom a percentage. It reaches the core within about a second, unless newer news does."""
        self._progress = number
        self._news.set()

    async def next_progress(self) -> float:
        """Wait for news of progress."""
        await self._news.wait()
        self._news = trio.Event()
        assert self._progress is not None
        return self._progress


Performer = Callable[[Assignment], Awaitable[Report]]
"""Does a job. It is cancelled when the job's lease is lost."""


def as_answer(id: Any, report: Report) -> bytes:
    """The RPC response that carries a report itself."""
    if report.status is Status.COMPLETE:
        return rpc.result(id, report.data)
    return rpc.error(id, RpcError(report.data["code"], report.data["message"], report.data.get("data")))


@attrs.define(eq=False)
class _Task:
    """A job in work. `answer` is None if it was not run, or taken away."""

    answer: bytes | None = None
    assignment: Assignment | None = None
    done: trio.Event = attrs.Factory(trio.Event)

    def lost_connection(self) -> None:
        if self.assignment is not None and self.assignment.lease is not None:
            self.assignment.lease.cut()


class Handler:
    """The protocol's side of one method: called with each of its jobs, returns what completes the Gearman job.

    The work itself is done in `nursery`, not in the calling task: when the connection is lost, a job goes on and its
    result still reaches the core. Should Gearman then assign the same attempt once more, it is not run twice. Never do
    more than `max_jobs` run, also when a worker that has lost its jobs takes new ones.
    """

    def __init__(
        self,
        name: str,
        perform: Performer,
        *,
        max_jobs: int,
        gearbox: Gearbox,
        reporter: Reporter,
        teller: Teller,
        nursery: trio.Nursery,
        worker: str = "",
    ) -> None:
        self._name = name
        self._perform = perform
        self._slots = trio.CapacityLimiter(max_jobs)
        self._gearbox = gearbox
        self._reporter = reporter
        self._teller = teller
        self._nursery = nursery
        self._worker = worker
        self._tasks: dict[object, _Task] = {}  # by ticket, where that names one attempt

    async def __call__(self, job: Assigned) -> bytes:
        request = rpc.parse_request(job.data, self._name)
        if isinstance(request, rpc.Refused):
            self._teller.complain(f"{self._name}: a job's payload is no request: {request.error}")
            return b"" if request.is_notification else rpc.error(request.id, request.error)
        ticket = Ticket.of(request.meta)
        key = ticket if ticket is not None and ticket.attempt is not None else object()  # equal to no other
        task = self._tasks.get(key)
        logger.debug(
            "assigned handle=%r ticket=%s bytes=%d again=%s", job.handle, ticket, len(job.data), task is not None
        )
        if task is None:
            task = self._tasks[key] = _Task()
            unique = job.unique.decode(errors="replace")
            self._nursery.start_soon(self._do, key, request, ticket, f"{self._name}#{unique}")
        job.on_lost = task.lost_connection
        await task.done.wait()
        if task.answer is None:
            raise JobFailed
        return task.answer

    async def wait_until_idle(self) -> None:
        """Wait for all jobs to be done."""
        while self._tasks:
            await next(iter(self._tasks.values())).done.wait()

    async def _do(self, key: object, request: rpc.Request, ticket: Ticket | None, name: str) -> None:
        task = self._tasks[key]
        try:
            async with self._slots:
                task.answer = await self._answer(task, request, ticket, name)
        finally:
            del self._tasks[key]
            task.done.set()

    async def _answer(self, task: _Task, request: rpc.Request, ticket: Ticket | None, name: str) -> bytes | None:
        assigned_at = trio.current_time()
        self._teller.say(f"==> Processing {name}")
        if ticket is not None and not await self._has_leave(ticket):
            return rpc.error(request.id, RpcError(Code.NO_LEAVE, "no leave to start"))
        task.assignment = Assignment(request, ticket, assigned_at)
        report = await self._work(task.assignment)
        if report is None:
            return None
        self._teller.say(f"=== Took {round(1000 * (trio.current_time() - assigned_at))}ms")
        self._teller.say(f"<== Done with  {name}")
        if ticket is not None:
            self._reporter.put(ticket.id, ticket.attempt, report)
        if request.id is None:
            return b""
        return rpc.result(request.id, None) if ticket is not None else as_answer(request.id, report)

    async def _work(self, work: Assignment) -> Report | None:
        """Perform the job, as long as the core agrees; None if it was taken away."""
        ticket, report = work.ticket, None
        async with open_nursery() as nursery:
            if ticket is not None:
                nursery.start_soon(self._tell_progress, ticket, work)
            if ticket is not None and ticket.attempt is not None and work.lease is not None:
                nursery.start_soon(keep, work.lease, self._gearbox, ticket.id, ticket.attempt, nursery.cancel_scope)
            try:
                report = await self._perform(work)
            finally:
                work.is_over = True
            nursery.cancel_scope.cancel()
        if work.lease is None or work.lease.check(trio.current_time()):
            return report
        self._teller.complain(f"job {ticket.id if ticket else ''} is stopped: {work.lease.lost}")
        return None

    async def _tell_progress(self, ticket: Ticket, work: Assignment) -> None:
        while True:
            progress = await work.next_progress()
            try:
                with trio.move_on_after(PROGRESS_TIMEOUT):
                    await self._gearbox.job_data(ticket.id, progress=progress, attempt=ticket.attempt)
            except (RpcError, AbraxasError) as problem:
                logger.debug("progress was not taken id=%d problem=%s", ticket.id, problem)
            await trio.sleep(PROGRESS_INTERVAL)

    async def _has_leave(self, ticket: Ticket) -> bool:
        """Whether the core still wants this attempt. Cores that give no attempt number know no leave."""
        if ticket.attempt is None:
            return True
        reason = f"no answer within {LEAVE_TIMEOUT:g} s"
        with trio.move_on_after(LEAVE_TIMEOUT):
            while True:  # an answer that was lost with its connection is asked for again: leave may have been given
                try:
                    with trio.move_on_after(LEAVE_ANSWER_TIMEOUT):
                        if await self._gearbox.job_start(ticket.id, ticket.attempt, self._worker):
                            return True
                        reason = "it was given to somebody else, or has ended"
                        break
                except RpcError as problem:
                    reason = str(problem)
                    if problem.code not in PASSING:
                        break
                except AbraxasError as problem:
                    reason = str(problem)
                await trio.sleep(LEAVE_PAUSE)
        self._teller.complain(f"job {ticket.id} is not run, the core gives no leave: {reason}")
        return False
