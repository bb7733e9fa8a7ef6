"""`g-core`: the Gearbox daemon."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import NoReturn

import structlog
import trio

from abraxas_py import AbraxasError, TlsUnusable, stdio
from abraxas_py.errors import JournalBroken, JournalError
from abraxas_py.nursery import open_nursery
from gearbox import daemon
from gearbox.cli import ExitCode, read_command_line, run_tool
from gearbox.cli.debug import configure_logging
from gearbox.cli.doctor import examine
from gearbox.daemon import Running
from gearbox.demo import demonstrate
from gearbox.errors import ConfigError, StoreBroken, StoreError
from gearbox.settings import Settings

__all__ = ["main", "run"]

MANUAL = """\
The Gearbox daemon: queues, schedules and remembers jobs, with a Gearman server of its own or on others.

Usage:
  g-core
  g-core --demo
  g-core --check
  g-core --help
  g-core --version

Options:
  --demo     serve, start three workers, and show a few real jobs being done
  --check    verify settings, database, clock, disk, permissions, Gearman and
             dashboard, say what to do, and exit
  --help     Show help
  --version  Show version number

It takes no other options and is controlled by its environment:
  GEARBOX_LISTEN    where its own Gearman server listens; several with commas,
                    host:port, tls://host:port or unix:///path
                    [default: 127.0.0.1:4730]
  GEARBOX_DATABASE  the SQLite file with the jobs
                    [default: $XDG_STATE_HOME/gearbox/gearbox.db, that is
                    ~/.local/state/gearbox/gearbox.db]
  MYSQL_HOSTNAME    keep the jobs on this MySQL 8 or MariaDB 10.6 server (or
                    newer) instead; with it go MYSQL_PORT, MYSQL_DATABASE,
                    MYSQL_USER, MYSQL_PASSWORD and MYSQL_UNIX_SOCKET
  MYSQL_SSL_CA      a file with the authority that the server's certificate has
                    to be of: nothing is said to another server, or in the
                    clear; MYSQL_SSL_CERT and MYSQL_SSL_KEY are the files of
                    our own certificate and key, for servers that want one
  DB_TABLE_JOBS     the table of jobs there [default: gearbox_jobs]
  GEARBOX_RETENTION how many days jobs are kept after their end, by status:
                    complete=30,errored=90 [default: for ever]
  GEARBOX_HTTP      where the dashboard, its API and /metrics are: host:port,
                    host:port/path or off [default: 127.0.0.1:4780]
  GEARBOX_HTTP_TOKEN
                    who may come in: SECRET, NAME:SECRET or NAME:SECRET:read,
                    several with commas; required beyond this machine
  GEARBOX_HTTP_HOSTS
                    other host names by which browsers may call it
  GEARMAN_SERVER    use these Gearman servers instead of its own:
                    host:port, several with commas
  DEBUG             show more, for instance gearbox:* or gearbox:core

TERM and INT end it gracefully: what has come in is stored, and jobs that run
are taken over by the next start. HUP changes nothing: it logs to standard error.

It waits for servers that are not there yet, and says so.

Exit codes: 0 ended as told, 1 bad command line, 69 address in use (or a server
out of reach, with --check), 74 the disk of the database failed: start it again,
what it acknowledged is there; 78 settings or database cannot be used.
"""

log = structlog.get_logger("gearbox:core")


def main(argv: Sequence[str]) -> int:
    """Run the daemon; returns its exit code."""
    options = read_command_line(MANUAL, argv)
    if isinstance(options, ExitCode):
        return options
    configure_logging(os.environ.get("DEBUG", ""))
    try:
        settings = Settings.from_environment(os.environ)
        if options["--check"]:
            return trio.run(_check, settings)
        trio.run(_serve, settings, bool(options["--demo"]))
    except ConfigError as error:
        for message in error.messages:
            print(message, file=sys.stderr)
        return ExitCode.CONFIG
    except StoreBroken as error:
        print(error, file=sys.stderr)
        stdio.settle()
        os._exit(ExitCode.IO_ERROR)  # an orderly end would close the database, and that would sync it
    except StoreError as error:
        print(error, file=sys.stderr)
        return ExitCode.CONFIG
    except JournalBroken as error:
        print(error, file=sys.stderr)
        stdio.settle()
        os._exit(ExitCode.IO_ERROR)
    except (JournalError, TlsUnusable) as error:
        print(error, file=sys.stderr)
        return ExitCode.CONFIG
    except AbraxasError as error:
        print(error, file=sys.stderr)
        return ExitCode.UNAVAILABLE
    return ExitCode.OK


def run() -> NoReturn:
    """The console script."""
    stdio.never_block()
    run_tool(main)


async def _serve(settings: Settings, is_demo: bool) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with open_nursery() as nursery:
            stop = trio.Event()
            async with open_nursery() as guests:

                def announce(running: Running) -> None:
                    where = ", ".join(running.servers)
                    print(f"=== Gearbox serves {where}, jobs are in {settings.database}", file=sys.stderr, flush=True)
                    if running.dashboard:
                        print(f"=== Look at it: {running.dashboard}", file=sys.stderr, flush=True)
                    if is_demo:
                        guests.start_soon(demonstrate, running.servers[0])

                nursery.start_soon(daemon.serve, settings, stop, announce)
                number = await _ending(signals)  # also while it waits for other servers
                print(f"=== Ending ({signal.Signals(number).name})", file=sys.stderr, flush=True)
                guests.cancel_scope.cancel()
            stop.set()


async def _ending(signals: AsyncIterator[int]) -> int:
    """The first signal that asks for the end."""
    async for number in signals:
        if number != signal.SIGHUP:
            return number
    raise AssertionError("a signal receiver does not end")


async def _check(settings: Settings) -> int:
    """A line for each thing that must work; the code of the first that does not."""
    code = ExitCode.OK
    async with aclosing(examine(settings, os.environ)) as findings:
        async for finding in findings:
            print(finding, flush=True)
            code = code or finding.code
    return code
