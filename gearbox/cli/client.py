"""g-client: the scheduler from the command line. Results go to standard output, all else to standard error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import attrs
import trio

from abraxas_py import AbraxasError, ConnectionLost, JobError, Priority, Unavailable
from gearbox.cli import ExitCode, gearman_servers, read_command_line, run_tool
from gearbox.cli.dates import iso
from gearbox.cli.debug import configure_logging, printable
from gearbox.cli.lookout import NobodyThere, looking_out, unreachable
from gearbox.cli.output import inspect, render
from gearbox.cli.wanted import COMMANDS, Wanted, understand
from gearbox.client import NAMESPACE, Gearbox, open_gearbox
from gearbox.errors import RpcError

__all__ = ["main", "run"]

MANUAL = r"""
Queues, watches and inspects gearbox jobs.

Usage:
  g-client run [options] [--] <name/space::method> [<arguments>...]
  g-client queue [options] [--] <name/space::method> [<arguments>...]
  g-client watch [options] <id>
  g-client raw [options] [--] <name/space::method> [<arguments>...]
  g-client status [options] [<ids>...]
  g-client stats [options] <name/space::method>
  g-client --help | --version

Commands:
  queue   queue a job, print its id, and return at once
  watch   wait for a job, and print its result; also long after it ended
  run     both of the above
  raw     call a gearbox RPC method (gearbox/core::status), or a worker's own
          method without scheduling, and print the result
  status  print the status of all current jobs, or of the jobs with these ids
  stats   print statistics about a method

Options:
  --help                 Show help                                     [boolean]
  --version              Show version number                           [boolean]
  --priority, -P LEVEL   of the job   [choices: "high", "normal", "low"]
                                                       [default: normal]
  --dedupe, -D TEXT      if a job with the same text runs when this one is due,
                         this one becomes its duplicate                 [string]
  --after DATE           do not run before: ISO 8601 (UTC, if it has no offset),
                         or English in your time zone: "in 5 minutes",
                         "tomorrow 9:00"                                [string]
  --after-job ID         run when that job is complete                  [number]
  --before-job ID        let that job wait for this one                 [number]
  --retries N            how often to try again if it fails
                                                           [number] [default: 0]
  --retry-delay SECONDS  how long to wait before each retry
                                                           [number] [default: 1]
  --json, -J             the arguments are JSON                        [boolean]
  --output, -O MODE      how to print results
        [choices: "inspect", "json", "nl-json", "plain"] [default: inspect]
  --timeout SECONDS      give up waiting; the job itself goes on        [number]
  --quiet, -q            print results and errors only                 [boolean]

Arguments:
  a b c                        ["a", "b", "c"]
  a=b c=d                      {"a": "b", "c": "d"}
  a=b c                        {"a": "b", "c": null}
  1 2 3                        ["1", "2", "3"]
  1 2 3            with -J     [1, 2, 3]
  a=true c         with -J     {"a": true, "c": null}
  '{"a":[1,true]}' with -J     {"a": [1, true]}; any one JSON value is itself
  '{"a":[1,true]}' without     the text "{\"a\":[1,true]}"
Write -- before arguments that begin with a dash.
In method names, / stands for \.

Environment:
  GEARMAN_SERVER  where Gearman is: host:port, several with commas
                                                     [default: 127.0.0.1:4730]
  DEBUG           gearbox:* shows what happens inside
  NO_COLOR        no colours, also on a terminal

Exit codes: 0 done; 1 the job or the call failed, or wrong usage (then nothing
was queued); 69 Gearman or g-core cannot be reached; 75 --timeout has passed;
130 interrupted.
"""

log = logging.getLogger("gearbox.client")

CONNECT_TIMEOUT = 5.0  # seconds until Gearman counts as out of reach
CORE_PATIENCE = 5.0  # seconds for a core to be there
WATCH_PATIENCE = 60.0  # the same once a job is queued: a core may be restarted


@attrs.frozen
class Terminal:
    """The two outputs. Nothing of the first is lost by -q."""

    wanted: Wanted
    started_at: float

    def say(self, line: str) -> None:
        """What goes on; not with -q."""
        if not self.wanted.is_quiet:
            self.tell(line)

    def tell(self, line: str, end: str = "\n") -> None:
        """What must be known."""
        print(printable(line), end=end, file=sys.stderr, flush=True)

    def took(self) -> None:
        self.say(f"=== Took {round(1000 * (trio.current_time() - self.started_at))}ms")

    def show(self, value: Any) -> None:
        """A result."""
        text = render(value, self.wanted.mode, is_coloured=_is_coloured(sys.stdout))
        print(text, end="", flush=True)

    def show_arguments(self) -> None:
        if not self.wanted.is_quiet:
            text = inspect(self.wanted.arguments, is_coloured=_is_coloured(sys.stderr))
            print(f"==> Arguments: {text}", file=sys.stderr, flush=True)

    def show_error(self, error: RpcError) -> None:
        self.say("<== Received an error")
        self.tell(f"code: {error.code}")
        self.tell(f"message: {error.message}")
        if error.data is not None:
            print(f"data: {inspect(error.data, is_coloured=_is_coloured(sys.stderr))}", file=sys.stderr, flush=True)


def _is_coloured(stream: Any) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class Session:
    """One command against the servers."""

    def __init__(self, servers: Sequence[str], gearbox: Gearbox, wanted: Wanted, terminal: Terminal) -> None:
        self._servers = servers
        self._gearbox = gearbox
        self._wanted = wanted
        self._terminal = terminal
        self.queued: int | None = None  # the job that goes on without us

    async def perform(self) -> None:
        """Raises RpcError, AbraxasError, NobodyThere."""
        steps: Mapping[str, Callable[[], Awaitable[None]]] = {
            "run": self._run,
            "queue": self._queue,
            "watch": self._watch,
            "raw": self._raw,
            "status": self._status,
            "stats": self._stats,
        }
        await steps[self._wanted.command]()

    async def _submit(self) -> int:
        wanted, terminal = self._wanted, self._terminal
        terminal.say(f"==> Queueing {wanted.method} with {wanted.priority} priority")
        terminal.show_arguments()
        if wanted.after_date is not None:
            is_past = wanted.after_date <= datetime.now(UTC)
            terminal.say(f"==> After {iso(wanted.after_date)}{' (past, so at once)' if is_past else ''}")
        async with self._core_wanted("queue", CORE_PATIENCE):
            id = await self._gearbox.queue(
                wanted.method,
                wanted.arguments,
                priority=wanted.priority,
                dedupe=wanted.dedupe,
                after_date=None if wanted.after_date is None else iso(wanted.after_date),
                after_id=wanted.after_id,
                before_id=wanted.before_id,
                max_retries=wanted.max_retries,
                retry_delay=wanted.retry_delay,
            )
        terminal.took()
        return id

    async def _queue(self) -> None:
        id = await self._submit()
        if not self._wanted.is_quiet:
            self._terminal.tell("<== Job ID: ", end="")
        print(id, flush=True)

    async def _run(self) -> None:
        self.queued = await self._submit()
        await self._watch_job(self.queued)

    async def _watch(self) -> None:
        (id,) = self._wanted.ids
        await self._watch_job(id)

    async def _watch_job(self, id: int) -> None:
        self._terminal.say(f"==> Watching job {id}")
        async with self._core_wanted("watch", WATCH_PATIENCE if self.queued else CORE_PATIENCE):
            result = await self._gearbox.watch(id)
        self._terminal.took()
        self._terminal.show(result)

    async def _raw(self) -> None:
        wanted, terminal = self._wanted, self._terminal
        terminal.say(f"==> Running {wanted.method} with {wanted.priority} priority")
        terminal.show_arguments()
        if wanted.method.startswith(NAMESPACE):
            looking = self._core_wanted(wanted.method.removeprefix(NAMESPACE), CORE_PATIENCE)
        else:
            hint = f"=== No worker offers {wanted.method} now; waiting for one"
            looking = looking_out(self._servers, wanted.method, hint, terminal.tell)
        async with looking:
            result = await self._gearbox.call(
                wanted.method, wanted.arguments, priority=Priority[wanted.priority.upper()]
            )
        terminal.took()
        terminal.show(result)

    async def _status(self) -> None:
        async with self._core_wanted("status", CORE_PATIENCE):
            rows = await self._gearbox.status(self._wanted.ids)
        self._terminal.show(rows)

    async def _stats(self) -> None:
        async with self._core_wanted("stats", CORE_PATIENCE):
            stats = await self._gearbox.stats(self._wanted.method)
        self._terminal.show(stats)

    def _core_wanted(self, method: str, patience: float) -> Any:
        hint = (
            f"=== Gearman at {', '.join(self._servers)} has no worker for {NAMESPACE}{method}: "
            "is g-core running and connected to it?"
        )
        return looking_out(self._servers, f"{NAMESPACE}{method}", hint, self._terminal.tell, patience=patience)


async def converse(servers: Sequence[str], wanted: Wanted) -> ExitCode:
    """Carry out one command, from connecting to its exit code."""
    log.debug("servers=%s %s", servers, wanted)
    terminal = Terminal(wanted, trio.current_time())
    session: Session | None = None
    try:
        with trio.fail_after(wanted.timeout):
            async with open_gearbox(servers, connect_timeout=CONNECT_TIMEOUT) as gearbox:
                gearbox.on_repeat = lambda error: terminal.tell("=== Lost the connection, trying again")
                session = Session(servers, gearbox, wanted, terminal)
                await session.perform()
    except RpcError as error:
        terminal.show_error(error)
        terminal.took()
        return ExitCode.FAILED
    except JobError as error:
        terminal.say("<== Received an error")
        terminal.tell(f"message: {error or 'the worker ended the job without an answer'}")
        terminal.took()
        return ExitCode.FAILED
    except Unavailable:
        terminal.tell(f"g-client: {unreachable(servers, CONNECT_TIMEOUT)}")
        return ExitCode.UNAVAILABLE
    except ConnectionLost as error:
        unknown = "; whether the job was queued is unknown" if wanted.command in ("run", "queue") else ""
        terminal.tell(f"g-client: {error}{unknown}")
        return ExitCode.UNAVAILABLE
    except AbraxasError as error:
        terminal.tell(f"g-client: {error}")
        return ExitCode.FAILED
    except NobodyThere:  # the hint has been given
        return ExitCode.UNAVAILABLE
    except trio.TooSlowError:
        terminal.tell(f"g-client: no answer within {wanted.timeout:g} s{_left_behind(wanted, session)}")
        return ExitCode.TIMEOUT
    return ExitCode.OK


def _left_behind(wanted: Wanted, session: Session | None) -> str:
    """What goes on without us."""
    id = session.queued if session else None
    if wanted.command == "watch":
        (id,) = wanted.ids
    return f"; the job goes on: g-client watch {id}" if id is not None else ""


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns its exit code."""
    typed = read_command_line(MANUAL, argv, commands=COMMANDS)
    if isinstance(typed, ExitCode):
        return typed
    try:
        wanted = understand(typed, datetime.now(UTC))
        servers = gearman_servers()
    except ValueError as problem:
        print(f"g-client: {printable(str(problem))}; --help tells more", file=sys.stderr)
        return ExitCode.FAILED
    if os.environ.get("DEBUG"):
        configure_logging(os.environ["DEBUG"])
    return trio.run(converse, servers, wanted)


def run() -> NoReturn:
    """The console script."""
    run_tool(main)
