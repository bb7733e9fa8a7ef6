"""One method at work: a Gearman job comes in, it is performed, and what became of it goes out.

A job that the core scheduled carries `_meta.gearbox_id`. Before anything runs, the core is asked for leave to start
this attempt (`gearbox\\core::job_start`), for it may have given the job to somebody else meanwhile; without leave the
job is answered with the error -28409. While it runs, the core is asked whether to go on and told of progress
(`attendants`). Afterwards the Gearman job is answered with the result null, and the data goes to the core through the
`Reporter`.

A job without `gearbox_id`, from `g-client raw` or any other JSON-RPC caller, has no row to store data in: it is
answered with its data as the result, or with its failure as the RPC error. (The original answered null.)
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from abraxas_py import AbraxasError, Assigned
from gearbox import rpc
from gearbox.client import Gearbox
from gearbox.errors import Code, RpcError
from gearbox.job import Status
from gearbox.work.assignment import Assignment, Ticket
from gearbox.work.attendants import Attendants
from gearbox.work.reporter import PASSING, Reporter
from gearbox.work.runner import Report
from gearbox.work.teller import Teller

__all__ = ["Handler", "Performer", "as_answer"]

logger = logging.getLogger("gearbox.worker")

LEAVE_TIMEOUT = 50.0  # seconds for the core to give leave, of the 60 s that a restarted core waits for its workers
LEAVE_ANSWER_TIMEOUT = 10.0  # seconds for one try: of several servers one may be stuck
LEAVE_PAUSE = 0.2  # seconds before asking again

Performer = Callable[[Assignment], Awaitable[Report]]
"""Does a job. It is cancelled when the job's lease is lost."""


def as_answer(id: Any, report: Report) -> bytes:
    """The RPC response that carries a report itself."""
    if report.status is Status.COMPLETE:
        return rpc.result(id, report.data)
    return rpc.error(id, RpcError(report.data["code"], report.data["message"], report.data.get("data")))


@attrs.define(eq=False)
class _Task:
    """A job in work, and the Gearman jobs that wait for it: more than one, where Gearman assigned it again."""

    jobs: list[Assigned] = attrs.Factory(list)
    assignment: Assignment | None = None
    done: trio.Event = attrs.Factory(trio.Event)

    def lost_connection(self) -> None:
        if self.assignment is not None and self.assignment.lease is not None:
            self.assignment.lease.cut()

    def end(self, answer: bytes | None) -> None:
        """Answer who waits; None: it was taken away."""
        for job in self.jobs:
            if answer is None:
                job.fail()
            else:
                job.complete(answer)


class Handler:
    """The protocol's side of one method: `take` begins with a job, a task of `nursery` does it and completes it.

    When the connection is lost, a job goes on and its result still reaches the core. Should Gearman then assign the
    same attempt once more, it is not run twice. Never do more than `max_jobs` run, also when a worker that has lost its
    jobs takes new ones.
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
        self._attendants = Attendants(gearbox, nursery)
        self._worker = worker
        self._tasks: dict[object, _Task] = {}  # by ticket, where that names one attempt
        self._reporting: dict[object, bytes] = {}  # what Gearman was answered, while the core has no report yet

    def take(self, job: Assigned) -> None:
        """Begin with a job; see `abraxas_py.Worker.take`."""
        request = rpc.parse_request(job.data, self._name)
        if isinstance(request, rpc.Refused):
            self._teller.complain(f"{self._name}: a job's payload is no request: {request.error}")
            job.complete(b"" if request.is_notification else rpc.error(request.id, request.error))
            return
        ticket = Ticket.of(request.meta)
        key = ticket if ticket is not None and ticket.attempt is not None else object()  # equal to no other
        if key in self._reporting:  # it has run, but Gearman lost sight of us before it heard so
            job.complete(self._reporting[key])
            return
        task = self._tasks.get(key)
        logger.debug(
            "assigned handle=%r ticket=%s bytes=%d again=%s", job.handle, ticket, len(job.data), task is not None
        )
        if task is None:
            task = self._tasks[key] = _Task()
            unique = job.unique.decode(errors="replace")
            self._nursery.start_soon(self._do, key, request, ticket, f"{self._name}#{unique}")
        task.jobs.append(job)
        job.on_lost = task.lost_connection

    async def wait_until_idle(self) -> None:
        """Wait for all jobs to be done."""
        while self._tasks:
            await next(iter(self._tasks.values())).done.wait()

    async def _do(self, key: object, request: rpc.Request, ticket: Ticket | None, name: str) -> None:
        task = self._tasks[key]
        try:
            async with self._slots:
                answer, report = await self._answer(task, request, ticket, name)
        finally:
            del self._tasks[key]
            task.done.set()
        task.end(answer)
        if ticket is not None and report is not None:
            self._reporting[key] = answer or b""
            try:
                await self._reporter.deliver(ticket.id, ticket.attempt, report)
            finally:
                del self._reporting[key]

    async def _answer(
        self, task: _Task, request: rpc.Request, ticket: Ticket | None, name: str
    ) -> tuple[bytes | None, Report | None]:
        """What to answer Gearman, None if the job was taken away; and what to report to the core."""
        assigned_at = trio.current_time()
        self._teller.say(f"==> Processing {name}")
        if ticket is not None and not await self._has_leave(ticket):
            refused = RpcError(Code.NO_LEAVE, "no leave to start")
            return b"" if request.id is None else rpc.error(request.id, refused), None
        task.assignment = Assignment(request, ticket, assigned_at)
        report = await self._work(task.assignment)
        if report is None:
            return None, None
        self._teller.say(f"=== Took {round(1000 * (trio.current_time() - assigned_at))}ms")
        self._teller.say(f"<== Done with  {name}")
        if request.id is None:
            return b"", report
        return rpc.result(request.id, None) if ticket is not None else as_answer(request.id, report), report

    async def _work(self, work: Assignment) -> Report | None:
        """Perform the job, as long as the core agrees; None if it was taken away."""
        report = None
        with trio.CancelScope() as scope:
            try:
                if work.ticket is None:
                    report = await self._perform(work)
                else:
                    with self._attendants.beside(work, work.ticket, scope):
                        report = await self._perform(work)
            finally:
                work.is_over = True
        if work.lease is None or work.lease.check(trio.current_time()):
            return report
        self._teller.complain(f"job {work.ticket.id if work.ticket else ''} is stopped: {work.lease.lost}")
        return None

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
