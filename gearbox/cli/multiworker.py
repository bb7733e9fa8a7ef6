"""g-multiworker: the methods that TOML files define."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import trio

from abraxas_py import stdio
from gearbox.cli import ExitCode, gearman_servers, read_command_line, run_tool
from gearbox.cli.console import Console
from gearbox.cli.crew import hold_signals, work
from gearbox.cli.debug import configure_logging
from gearbox.errors import ConfigError
from gearbox.work import config

__all__ = ["main", "run"]

MANUAL = r"""
Sets up the methods that one or more TOML files describe, and works on their
jobs.

Usage: g-multiworker [options] <config.toml>...
       g-multiworker --help | --version

Options:
  --help       Show help                                               [boolean]
  --version    Show version number                                     [boolean]
  --check      only read the files and tell what is wrong with them    [boolean]
  --quiet, -q  output minimally                                        [boolean]

A table is a method: [Test.Foo.echo] defines Test\Foo::echo.

  [config]
  reload_worker = true     # offer gearbox\reloadmw::UUID: reloads the files
  stop_timeout = 30        # seconds for running jobs to end after TERM or INT

  [Test.Foo.echo]
  command = "echo test"    # text: run by /bin/sh; ["program", "word"]: not
  input = "append"         # stdin (default), append, prepend (not for text),
                           # ignore
  output = "string"        # string (default), buffer, json, nl-json, ignore
  concurrency = 10         # jobs at the same time; 1 is the default, 0 disables
  log = "/var/log/echo"    # log every run to this file
  log_output = true        # with the end of what the command printed
  log_no_time = false      # without timestamps
  output_limit = 16777216  # bytes that the command may print
  disabled = false

With input = "append" a text command gets the job's arguments as "$@" at its
end; the shell never parses them. See g-worker --help about input, output, and
the command's environment.

A file that is not TOML stops the start. A method with a wrong setting is left
out, and the others work; what is wrong is told with file, line and key.

Signals: TERM and INT finish what runs, then end; USR1 reloads the files
(running jobs are not disturbed); HUP changes nothing: log files that were
moved away are opened anew by themselves.

Environment:
  GEARMAN_SERVER  where Gearman is: host:port, several with commas
                                                     [default: 127.0.0.1:4730]
  DEBUG           gearbox:* shows what happens inside

Exit codes: 0 stopped by a signal, 1 wrong usage, 78 a file cannot be read or is
not TOML; with --check, also when a method is left out, or there is none.
"""


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns its exit code."""
    typed = read_command_line(MANUAL, argv)
    if isinstance(typed, ExitCode):
        return typed
    console = Console(is_quiet=typed["--quiet"])
    load = partial(config.read, typed["<config.toml>"])
    console.announce("Loading configuration")
    try:
        loaded = load()
    except ConfigError as problem:
        for message in problem.messages:
            console.complain(message)
        return ExitCode.CONFIG
    for remark in loaded.remarks:
        console.complain(remark)
    if not loaded.methods:
        console.complain("there is no method to work on")
    if typed["--check"]:
        for method in loaded.methods:
            console.say(f"=== {method.name} is well defined")
        return ExitCode.CONFIG if loaded.remarks or not loaded.methods else ExitCode.OK
    try:
        servers = gearman_servers()
    except ValueError as problem:
        console.complain(str(problem))
        return ExitCode.FAILED
    configure_logging(os.environ.get("DEBUG", ""))
    trio.run(partial(work, servers, loaded, console, reload=load))
    return ExitCode.OK


def run() -> NoReturn:
    """The console script."""
    hold_signals(signal.SIGHUP, signal.SIGUSR1)
    stdio.never_block()
    run_tool(main)
