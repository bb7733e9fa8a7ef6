"""Takes the results of finished jobs to the core, and does not let go of one until the core has it.

A result is sent as a call of `gearbox\\core::job_data`, not as the notification of the original, so that its arrival
is known. Without an answer it is sent again, after 0.1 s and then ever longer, up to 5 s: a core or a Gearman server
that is restarted costs no finished work. The core knows the attempt, so sending twice does nothing twice. An answer
that says no (no such job, invalid data) ends it as well; a result that is too large makes the job fail.
"""

from __future__ import annotations

import logging

import trio

from abraxas_py import AbraxasError
from gearbox.client import Gearbox
from gearbox.errors import Code, RpcError
from gearbox.work.runner import Report, failure
from gearbox.work.teller import Teller

__all__ = ["Reporter"]

log = logging.getLogger("gearbox.worker")

FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0  # seconds between tries
ANSWER_TIMEOUT = 10.0  # seconds for one try: of several servers one may be stuck, and the core waits 30 s for the data
PASSING = frozenset({Code.UNAVAILABLE, Code.STORAGE_FULL, Code.TIMEOUT})  # the core could not store it now


class Reporter:
    """Sends reports. `wait_until_empty` returns once the core has all of them."""

    def __init__(self, gearbox: Gearbox, teller: Teller) -> None:
        self._gearbox = gearbox
        self._teller = teller
        self._empty = trio.Event()
        self.unsent = 0

    async def wait_until_empty(self) -> None:
        """Wait for the core to have every report."""
        if self.unsent:
            await self._empty.wait()

    async def deliver(self, id: int, attempt: int | None, report: Report) -> None:
        """Take over the report of one job; returns when it is settled."""
        if self.unsent == 0:
            self._empty = trio.Event()
        self.unsent += 1
        delay, is_late = FIRST_DELAY, False
        while True:
            problem = await self._try(id, attempt, report)
            log.debug("reported id=%d attempt=%s status=%s problem=%s", id, attempt, report.status.value, problem)
            if problem is None:
                break
            if isinstance(problem, RpcError) and problem.code == Code.TOO_LARGE and report.data is not None:
                report = failure(Code.TOO_LARGE, f"the result is too large: {problem.message}")
                continue
            if isinstance(problem, RpcError) and problem.code not in PASSING:
                self._teller.complain(f"job {id}: the core refused its result: {problem}")
                break
            if not is_late:
                self._teller.complain(f"job {id}: the core does not take its result, trying on: {problem}")
                is_late = True
            await trio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)
        if is_late:
            self._teller.announce(f"job {id}: the core has its result now")
        self.unsent -= 1
        if self.unsent == 0:
            self._empty.set()

    async def _try(self, id: int, attempt: int | None, report: Report) -> Exception | None:
        """None once the core has it."""
        try:
            with trio.fail_after(ANSWER_TIMEOUT):
                await self._gearbox.job_data(id, data=report.data, status=report.status.value, attempt=attempt)
        except (RpcError, AbraxasError) as problem:
            return problem
        except trio.TooSlowError:
            return TimeoutError(f"no answer within {ANSWER_TIMEOUT:g} s")
        return None
