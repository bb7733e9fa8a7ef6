"""One method at work: a Gearman job comes in, its command runs, and what became of it goes out.

A job that the core scheduled carries `_meta.gearbox_id`. Before anything runs, the core is asked for leave to start
this attempt (`gearbox\\core::job_start`), for it may have given the job to somebody else meanwhile; without leave the
job ends in WORK_FAIL. Afterwards the Gearman job is answered with the result null, and the data goes to the core
through the `Reporter`.

A job without `gearbox_id`, from `g-client raw` or any other JSON-RPC caller, has no row to store data in: it is
answered with its data as the result, or with its failure as the RPC error. (The original answered null.)
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import trio

from abraxas_py import AbraxasError, Assigned, JobFailed
from gearbox import rpc
from gearbox.child import run
from gearbox.cli.console import Console
from gearbox.cli.joblog import Log
from gearbox.cli.reporter import Reporter
from gearbox.client import Gearbox
from gearbox.config import Method
from gearbox.errors import RpcError
from gearbox.guard import Guard
from gearbox.job import Status
from gearbox.runner import Exit, Input, Report, words

__all__ = ["CommandPerformer", "Handler", "Performer", "Ticket", "as_answer", "command_environment", "command_line"]

logger = logging.getLogger("gearbox.worker")

SHOWN_CHARACTERS = 1000  # of a command on the console and in the log; a job may bring megabytes of arguments
LEAVE_TIMEOUT = 10.0  # seconds for the core to give leave; then the attempt is given up, and the core may try again
SECRETS = frozenset({"MYSQL_PASSWORD", "GEARBOX_HTTP_TOKEN"})  # no command's business, and readable in /proc


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


def command_environment(environment: Mapping[str, str], method: str, ticket: Ticket | None) -> dict[str, str]:
    """A command's environment: ours without secrets, and which job it is, never anything that the job brought."""
    inherited = {name: value for name, value in environment.items() if name not in SECRETS}
    inherited["GEARBOX_METHOD"] = method
    if ticket is not None:
        inherited["GEARBOX_JOB_ID"] = str(ticket.id)
        if ticket.attempt is not None:
            inherited["GEARBOX_ATTEMPT"] = str(ticket.attempt)
    return inherited


def as_answer(id: Any, report: Report) -> bytes:
    """The RPC response that carries a report itself."""
    if report.status is Status.COMPLETE:
        return rpc.result(id, report.data)
    return rpc.error(id, RpcError(report.data["code"], report.data["message"], report.data.get("data")))


def command_line(method: Method, params: Any) -> str:
    """What is run, to show."""
    arguments = words(params) if method.input in (Input.APPEND, Input.PREPEND) else ()
    if isinstance(method.command, str):
        shown = [method.command, *arguments]
    elif method.input is Input.PREPEND:
        shown = [method.command[0], *arguments, *method.command[1:]]
    else:
        shown = [*method.command, *arguments]
    text = " ".join(shown)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."


def _output_lines(exit: Exit) -> list[str]:
    """A command's output for the log."""
    return [
        f"  {name}| {line}"
        for name, data in (("out", exit.stdout), ("err", exit.stderr))
        for line in data.decode(errors="replace").splitlines()
    ]


Performer = Callable[[Any, Ticket | None, float], Awaitable[Report]]
"""Does a job: its params, its ticket, and when it was assigned."""


@attrs.define(eq=False)
class _Task:
    """A job in work. `answer` is None if it was not run."""

    answer: bytes | None = None
    done: trio.Event = attrs.Factory(trio.Event)


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
        console: Console,
        nursery: trio.Nursery,
    ) -> None:
        self._name = name
        self._perform = perform
        self._slots = trio.CapacityLimiter(max_jobs)
        self._gearbox = gearbox
        self._reporter = reporter
        self._console = console
        self._nursery = nursery
        self._tasks: dict[object, _Task] = {}  # by ticket, where that names one attempt

    async def __call__(self, job: Assigned) -> bytes:
        request = rpc.parse_request(job.data, self._name)
        if isinstance(request, rpc.Refused):
            self._console.complain(f"{self._name}: a job's payload is no request: {request.error}")
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
                task.answer = await self._answer(request, ticket, name)
        finally:
            del self._tasks[key]
            task.done.set()

    async def _answer(self, request: rpc.Request, ticket: Ticket | None, name: str) -> bytes | None:
        assigned_at = trio.current_time()
        self._console.say(f"==> Processing {name}")
        if ticket is not None and not await self._has_leave(ticket):
            return None
        report = await self._perform(request.params, ticket, assigned_at)
        self._console.say(f"=== Took {round(1000 * (trio.current_time() - assigned_at))}ms")
        self._console.say(f"<== Done with  {name}")
        if ticket is not None:
            self._reporter.put(ticket.id, ticket.attempt, report)
        if request.id is None:
            return b""
        return rpc.result(request.id, None) if ticket is not None else as_answer(request.id, report)

    async def _has_leave(self, ticket: Ticket) -> bool:
        """Whether the core still wants this attempt. Cores that give no attempt number know no leave."""
        if ticket.attempt is None:
            return True
        try:
            with trio.fail_after(LEAVE_TIMEOUT):
                if await self._gearbox.job_start(ticket.id, ticket.attempt):
                    return True
            reason = "it was given to somebody else, or has ended"
        except (RpcError, AbraxasError) as problem:
            reason = str(problem)
        except trio.TooSlowError:
            reason = f"no answer within {LEAVE_TIMEOUT:g} s"
        self._console.complain(f"job {ticket.id} is not run, the core gives no leave: {reason}")
        return False


@attrs.frozen
class CommandPerformer:
    """Runs a method's command for each of its jobs, and tells console and log about it."""

    method: Method
    log: Log
    guard: Guard
    console: Console

    async def __call__(self, params: Any, ticket: Ticket | None, assigned_at: float) -> Report:
        self._tell(assigned_at, f"==> Starting job ({ticket.id if ticket else 'raw'})")
        self._tell(assigned_at, f"  $ {command_line(self.method, params)}")
        report, exit = await run(
            self.method.command,
            self.method.input,
            self.method.output,
            params,
            environment=command_environment(os.environ, self.method.name, ticket),
            output_limit_bytes=self.method.output_limit,
            started=self.guard.add,
            ended=self.guard.remove,
        )
        if exit is not None:
            sizes = len(exit.stdout), len(exit.stderr)
            logger.debug("ended ticket=%s status=%d stdout_bytes=%d stderr_bytes=%d", ticket, exit.status, *sizes)
        if exit is not None and self.method.log_output:
            self.log.write(trio.current_time() - assigned_at, *_output_lines(exit))
        if report.status is Status.COMPLETE:
            self._tell(assigned_at, "<== Job ended successfully, sending output back")
        else:
            self._tell(assigned_at, "<== Job failed, sending error back")
            self._tell(assigned_at, f"  {report.data['message']}")
        return report

    def _tell(self, assigned_at: float, line: str) -> None:
        self.console.say(line)
        self.log.write(trio.current_time() - assigned_at, line)
