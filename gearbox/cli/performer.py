"""Runs a method's command for each of its jobs, and tells console and log about it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
import trio

from gearbox import rpc
from gearbox.cli.joblog import Log
from gearbox.job import Status
from gearbox.trace import ENVIRONMENT, META, trace_of
from gearbox.work.assignment import Assignment, Ticket
from gearbox.work.child import run
from gearbox.work.config import Method
from gearbox.work.guard import Guard
from gearbox.work.runner import Exit, Input, Report, words
from gearbox.work.teller import Teller

__all__ = ["CommandPerformer", "command_environment", "command_files", "command_line", "output_lines"]

logger = logging.getLogger("gearbox.worker")

SHOWN_CHARACTERS = 1000  # of a command on the console and in the log; a job may bring megabytes of arguments
# Of the end of each output in the log: a hundredth of a second's work, and with all escapes and times no more than may
# wait for the disk (`spool.LIMIT_BYTES`). Megabytes of short lines took half a minute, in which no lease was renewed.
LOGGED_BYTES, LOGGED_LINES = 2**16, 5000
SECRETS = frozenset({"MYSQL_PASSWORD", "GEARBOX_HTTP_TOKEN"})  # no command's business, and readable in /proc
OURS = SECRETS | {ENVIRONMENT}  # the trace of whoever started the worker is not the job's


def command_environment(
    environment: Mapping[str, str], method: str, ticket: Ticket | None, traceparent: str | None = None
) -> dict[str, str]:
    """A command's environment: ours without secrets, which job it is, and its trace; nothing else that it brought."""
    inherited = {name: value for name, value in environment.items() if name not in OURS}
    inherited["GEARBOX_METHOD"] = method
    if traceparent is not None:
        inherited[ENVIRONMENT] = traceparent
    if ticket is not None:
        inherited["GEARBOX_JOB_ID"] = str(ticket.id)
        if ticket.attempt is not None:
            inherited["GEARBOX_ATTEMPT"] = str(ticket.attempt)
    return inherited


def command_files(meta: Mapping[str, Any]) -> dict[str, bytes]:
    """What a command may read about the jobs before its own: their results, where there are any.

    >>> command_files({"gearbox_id": 7, "gearbox_after": {"id": 6, "result": "x"}})
    {'GEARBOX_INPUTS': b'{"after":{"id":6,"result":"x"}}\\n'}
    """
    inputs = {name: meta[f"gearbox_{name}"] for name in ("after", "pool", "pool_is_cut") if f"gearbox_{name}" in meta}
    return {"GEARBOX_INPUTS": rpc.dump(inputs).encode() + b"\n"} if inputs else {}


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


def output_lines(exit: Exit) -> list[str]:
    r"""The end of a command's output, for the log.

    >>> output_lines(Exit(0, b"a\nb\r\n", b"c"))
    ['  out| a', '  out| b', '  err| c']
    """
    outputs = (("out", exit.stdout), ("err", exit.stderr))
    return [f"  {name}| {line}" for name, output in outputs for line in _last_lines(output)]


def _last_lines(output: bytes) -> list[str]:
    lines = output[-LOGGED_BYTES:].splitlines(keepends=True)[-LOGGED_LINES:]
    cut = len(output) - sum(map(len, lines))
    texts = [line.decode(errors="replace").rstrip("\r\n") for line in lines]
    return [f"[{cut} bytes left out]", *texts] if cut else texts


@attrs.frozen
class CommandPerformer:
    """Runs a method's command for each of its jobs, and tells console and log about it."""

    method: Method
    log: Log
    guard: Guard
    teller: Teller

    async def __call__(self, work: Assignment) -> Report:
        ticket, params, assigned_at = work.ticket, work.params, work.assigned_at
        self._tell(assigned_at, f"==> Starting job ({ticket.id if ticket else 'raw'})")
        self._tell(assigned_at, f"  $ {command_line(self.method, params)}")
        report, exit = await run(
            self.method.command,
            self.method.input,
            self.method.output,
            params,
            environment=command_environment(os.environ, self.method.name, ticket, trace_of(work.meta.get(META))),
            output_limit_bytes=self.method.output_limit,
            started=partial(self._started, work),
            ended=self.guard.remove,
            progress=work.tell_progress,
            files=command_files(work.meta),
            held_up=partial(self._held_up, assigned_at),
        )
        if exit is not None:
            sizes = len(exit.stdout), len(exit.stderr)
            logger.debug("ended ticket=%s status=%d stdout_bytes=%d stderr_bytes=%d", ticket, exit.status, *sizes)
        if exit is not None and self.method.log_output:
            self.log.write(trio.current_time() - assigned_at, *output_lines(exit))
        if report.status is Status.COMPLETE:
            self._tell(assigned_at, "<== Job ended successfully, sending output back")
        else:
            self._tell(assigned_at, "<== Job failed, sending error back")
            self._tell(assigned_at, f"  {report.data['message']}")
        return report

    def _started(self, work: Assignment, group: int) -> None:
        self.guard.add(group)
        if work.lease is not None:
            work.lease.listen(partial(self.guard.hold, group), trio.current_time())

    def _held_up(self, assigned_at: float, reason: str) -> None:
        line = f"the command cannot be started now: {reason}; trying on"
        self.teller.complain(line)
        self.log.write(trio.current_time() - assigned_at, f"  {line}")

    def _tell(self, assigned_at: float, line: str) -> None:
        self.teller.say(line)
        self.log.write(trio.current_time() - assigned_at, line)
