"""g-client: the scheduler from the command line. Results go to standard output, all else to standard error."""

from __future__ import annotations

import getpass
import logging
import os
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NoReturn

import trio

from abraxas_py import AbraxasError, ConnectionLost, JobError, Unavailable
from gearbox.cli import ExitCode, gearman_servers, read_command_line, run_tool
from gearbox.cli.debug import configure_logging, printable
from gearbox.cli.lookout import NobodyThere, unreachable
from gearbox.cli.manual import COMMANDS, MANUAL, manual_for
from gearbox.cli.session import Session
from gearbox.cli.terminal import Terminal
from gearbox.cli.wanted import Complaint, Wanted, understand
from gearbox.client import open_gearbox
from gearbox.errors import RpcError
from gearbox.trace import ENVIRONMENT, trace_of

__all__ = ["main", "run"]

log = logging.getLogger("gearbox.client")

CONNECT_TIMEOUT = 5.0  # seconds until Gearman counts as out of reach


async def converse(servers: Sequence[str], wanted: Wanted) -> ExitCode:
    """Carry out one command, from connecting to its exit code."""
    log.debug("servers=%s %s", servers, wanted)
    terminal = Terminal(wanted, trio.current_time())
    session: Session | None = None
    try:
        with trio.fail_after(wanted.timeout):
            trace = trace_of(os.environ.get(ENVIRONMENT))
            opening = open_gearbox(servers, connect_timeout=CONNECT_TIMEOUT, who=_who(), traceparent=trace)
            async with opening as gearbox:
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
        terminal.tell(f"g-client: {error}; whether the call was carried out is unknown")
        return ExitCode.UNAVAILABLE
    except (AbraxasError, Complaint) as error:
        terminal.tell(f"g-client: {error}")
        return ExitCode.FAILED
    except NobodyThere:  # the hint has been given
        return ExitCode.UNAVAILABLE
    except trio.TooSlowError:
        terminal.tell(f"g-client: no answer within {wanted.timeout:g} s{_left_behind(wanted, session)}")
        return ExitCode.TIMEOUT
    return ExitCode.OK


def _who() -> str:
    """Who is at the keyboard, for the audit."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()} (g-client)"


def _left_behind(wanted: Wanted, session: Session | None) -> str:
    """What goes on without us."""
    id = session.queued if session else None
    if wanted.command == "watch":
        (id,) = wanted.ids
    return f"; the job goes on: g-client watch {id}" if id is not None else ""


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns its exit code."""
    typed = read_command_line(MANUAL, argv, commands=COMMANDS, extract=manual_for(argv))
    if isinstance(typed, ExitCode):
        return typed
    try:
        wanted = understand(typed, datetime.now(UTC))
        servers = gearman_servers()
    except ValueError as problem:
        print(f"g-client: {printable(str(problem))}; --help tells more", file=sys.stderr)
        return ExitCode.FAILED
    if wanted.shell:
        from gearbox.cli.completion import script

        print(script(wanted.shell), end="")
        return ExitCode.OK
    if os.environ.get("DEBUG"):
        configure_logging(os.environ["DEBUG"])
    # An interrupt comes to `converse`. In a task of the client's it would look like a lost connection, which is mended.
    return trio.run(converse, servers, wanted, restrict_keyboard_interrupt_to_checkpoints=True)


def run() -> NoReturn:
    """The console script."""
    run_tool(main, can_output_fail=True)
