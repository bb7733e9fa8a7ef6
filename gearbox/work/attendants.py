"""Who attends to a job while it runs: its lease is kept (`lease.keep`), and the core is told of its progress.

Most jobs are over before there is anything to ask or to tell, and a task for each would cost them more than they do. So
the lease of a young job is nobody's task until it is time for the first question, or until the connection is lost from
which the job came; and progress is told from its first news on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from abraxas_py import AbraxasError
from gearbox.client import Gearbox
from gearbox.errors import RpcError
from gearbox.work.assignment import Assignment, Ticket
from gearbox.work.lease import FIRST_QUESTION, keep

__all__ = ["Attendants"]

logger = logging.getLogger("gearbox.worker")

PROGRESS_INTERVAL = 1.0  # seconds between two reports of progress, of which the newest counts
PROGRESS_TIMEOUT = 5.0  # seconds for one to be taken; another will come


class _Attendance:
    """What is done beside one job, in tasks that end with it."""

    def __init__(self, work: Assignment, ticket: Ticket, scope: trio.CancelScope, staff: Attendants) -> None:
        self._work = work
        self._ticket = ticket
        self._scope = scope  # of the work
        self._staff = staff
        self._tasks: dict[Callable[[], Awaitable[None]], trio.CancelScope] = {}

    def keep_lease(self) -> None:
        """Ask from now on."""
        self._staff.young.pop(self, None)
        self._start(self._keep_lease)

    def tell_progress(self) -> None:
        """There is news."""
        self._start(self._tell_progress)

    def end(self) -> None:
        """The work is over."""
        self._staff.young.pop(self, None)
        for scope in self._tasks.values():
            scope.cancel()

    def _start(self, task: Callable[[], Awaitable[None]]) -> None:
        if task not in self._tasks:
            self._tasks[task] = trio.CancelScope()
            self._staff.nursery.start_soon(self._run, task)

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        with self._tasks[task]:
            await task()

    async def _keep_lease(self) -> None:
        assert self._ticket.attempt is not None
        assert self._work.lease is not None
        await keep(self._work.lease, self._staff.gearbox, self._ticket.id, self._ticket.attempt, self._scope)

    async def _tell_progress(self) -> None:
        while True:
            progress = await self._work.next_progress()
            try:
                with trio.move_on_after(PROGRESS_TIMEOUT):
                    await self._staff.gearbox.job_data(self._ticket.id, progress=progress, attempt=self._ticket.attempt)
            except (RpcError, AbraxasError) as problem:
                logger.debug("progress was not taken id=%d problem=%s", self._ticket.id, problem)
            await trio.sleep(PROGRESS_INTERVAL)


class Attendants:
    """They work in tasks of `nursery`."""

    def __init__(self, gearbox: Gearbox, nursery: trio.Nursery) -> None:
        self.gearbox = gearbox
        self.nursery = nursery
        self.young: dict[_Attendance, float] = {}  # whose lease is nobody's task yet, and until when, in order
        self._is_watching = False  # a task does, for the first of them to come of age

    @contextmanager
    def beside(self, work: Assignment, ticket: Ticket, scope: trio.CancelScope) -> Iterator[None]:
        """For the time in which a job runs; `scope` is cancelled when its lease is lost."""
        attendance = _Attendance(work, ticket, scope, self)
        work.on_progress = attendance.tell_progress
        if work.lease is not None:
            work.lease.on_cut = attendance.keep_lease
            self.young[attendance] = trio.current_time() + FIRST_QUESTION
            if not self._is_watching:
                self._is_watching = True
                self.nursery.start_soon(self._watch)
        try:
            yield
        finally:
            attendance.end()

    async def _watch(self) -> None:
        while self.young:
            attendance, at = next(iter(self.young.items()))
            if at > trio.current_time():
                await trio.sleep_until(at)
            else:
                attendance.keep_lease()
        self._is_watching = False
