"""g-worker: one method, defined on the command line."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import trio

from abraxas_py import stdio
from abraxas_py.protocol.packets import MAX_FUNCTION_BYTES
from gearbox.cli import ExitCode, choose, gearman_servers, read_command_line, run_tool, usage_error
from gearbox.cli.arguments import method_name
from gearbox.cli.console import Console
from gearbox.cli.crew import hold_signals, work
from gearbox.cli.debug import configure_logging
from gearbox.work.config import STOP_TIMEOUT, Config, Method
from gearbox.work.runner import OUTPUT_LIMIT_BYTES, Input, Output

__all__ = ["main", "parse_typed", "run"]

MANUAL = rf"""
Operates a single gearbox method: runs a command for each of its jobs.

Usage: g-worker [options] [--] <name/space::method> <command> [<arguments>...]
       g-worker --help | --version

Options:
  --help                  Show help                                    [boolean]
  --version               Show version number                          [boolean]
  --concurrency, -j N     how many jobs can run at the same time.
                                                           [number] [default: 1]
  --input, -I MODE        handle job input
            [choices: "stdin", "append", "prepend", "ignore"] [default: stdin]
  --output, -O MODE       handle command output
  [choices: "string", "buffer", "json", "nl-json", "ignore"] [default: string]
  --log FILE              log every run to a file                       [string]
  --log-output            log the end of each job’s output as well     [boolean]
  --log-no-time           don’t prepend timestamps to log lines        [boolean]
  --quiet, -q             output minimally                             [boolean]
  --output-limit BYTES    how much a command may print; beyond it, it is killed
                           and its job fails   [number] [default: {OUTPUT_LIMIT_BYTES}]
  --stop-timeout SECONDS  how long running jobs have to end after TERM or INT;
                           then they are killed           [number] [default: {STOP_TIMEOUT:g}]

Options stand before the command; all that follows the command belongs to it.
The command is run directly, not by a shell:  g-worker m -- sh -c 'echo "$1"' sh

Input, from the job's arguments:
  stdin    written to standard input, as one line of JSON
  append   after the command's arguments: the items of an array, or k=v for each
           member of an object. Texts stay as they are, null is empty, all else
           is JSON. A command that takes options should end in -- so that no job
           can pass one:  g-worker -I append text::find grep -c -- pattern
  prepend  the same, between program and arguments
  ignore   not at all

Output, to the job's result:
  string   as it is; bytes that are no UTF-8 become U+FFFD
  buffer   {{"type":"Buffer","data":[byte,...]}}
  json     parsed; the job fails if it is not JSON
  nl-json  each line parsed, collected in an array
  ignore   null

A job fails when its command exits with another status than 0. Its watchers get
{{"code":STATUS,"message":...,"data":{{"status","signal","stdout","stderr"}}}}; code
is 128+N after signal N, 127 if there is no such program, 413 if it printed too
much, 422 if the output is not in the declared form. A job that does not come
from g-core (g-client raw) gets its data as the RPC result.

The command's environment has
  GEARBOX_JOB_ID, GEARBOX_ATTEMPT, GEARBOX_METHOD
  TRACEPARENT       the trace of whoever queued the job, if it has one
  GEARBOX_PROGRESS  a file to write progress to: echo 42 > "$GEARBOX_PROGRESS"
  GEARBOX_INPUTS    a file with the results of the jobs it has waited for:
                    {{"after":{{"id","result"}},"pool":[{{"id","result"}},...]}}

A job that is cancelled, or runs longer than its limit, has its command killed
within 10 seconds, with all that it started; so has one of which g-core was not
heard for 50 seconds (20, once the connection was lost), since it may be given
to another worker then. This holds also while g-worker itself is stopped.

Signals: TERM and INT finish what runs, then end; HUP changes nothing: a
log file that was moved away is opened anew by itself.

Environment:
  GEARMAN_SERVER  where Gearman is: host:port, several with commas
                                                     [default: 127.0.0.1:4730]
  DEBUG           gearbox:* shows what happens inside

Exit codes: 0 stopped by a signal, 1 wrong usage.
"""

VALUED = ("--concurrency", "--input", "--output", "--log", "--output-limit", "--stop-timeout")
"""Options that take a value, and may be shortened."""
VALUED_SHORT = re.compile("-q*[jIO]")


def split_command(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own words, up to the method, and those of the command; options may stand before and after the method.

    >>> split_command(["-q", "a::b", "-I", "append", "--", "sh", "-c", "x"])
    (['-q', '-I', 'append', '--', 'a::b'], ['sh', '-c', 'x'])
    >>> split_command(["-qj", "4", "a::b", "--conc", "5", "echo", "-j"])
    (['-qj', '4', '--conc', '5', '--', 'a::b'], ['echo', '-j'])
    """
    own: list[str] = []
    method: list[str] = []
    rest = list(argv)
    while rest:
        if rest[0] == "--":
            rest.pop(0)
            if not method:
                method = [rest.pop(0)] if rest else []
            break
        if rest[0].startswith("-") and rest[0] != "-":
            own.append(rest.pop(0))
            if rest and (VALUED_SHORT.fullmatch(own[-1]) or any(option.startswith(own[-1]) for option in VALUED)):
                own.append(rest.pop(0))
        elif not method:
            method.append(rest.pop(0))
        else:
            break
    return [*own, *(["--", *method] if method else [])], rest


def parse_typed(typed: dict[str, Any]) -> Config | str:
    """The configuration that was typed, or a complaint."""
    numbers: dict[str, float] = {}
    for option, kind in (("--concurrency", int), ("--output-limit", int), ("--stop-timeout", float)):
        try:
            numbers[option] = kind(typed[option])
        except ValueError:
            return f"invalid value for {option}: {typed[option]} (not a number)"
        if not 0 <= numbers[option] < float("inf") or (kind is int and numbers[option] < 1):
            return f"invalid value for {option}: {typed[option]} (out of range)"
    for option, choices in (("--input", Input), ("--output", Output)):
        complaint = choose(option, typed[option], [choice.value for choice in choices])
        if complaint:
            return complaint
    name = method_name(typed["<name/space::method>"])
    if not name or not name.isprintable() or " " in name:
        return f"not a method name: {name!r}"
    if "::" not in name:
        name = f"::{name}"  # as the original
    if len(name.encode()) > MAX_FUNCTION_BYTES:
        return f"a method's name has at most {MAX_FUNCTION_BYTES} bytes: {name}"
    method = Method(
        name,
        (typed["<command>"], *typed["<arguments>"]),
        Input(typed["--input"]),
        Output(typed["--output"]),
        typed["--log"],
        typed["--log-output"],
        typed["--log-no-time"],
        int(numbers["--concurrency"]),
        output_limit=int(numbers["--output-limit"]),
    )
    return Config((method,), stop_timeout=numbers["--stop-timeout"])


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns its exit code."""
    own, command = split_command(argv)
    typed = read_command_line(MANUAL, [*own, *command])
    if isinstance(typed, ExitCode):
        return typed
    config = parse_typed(typed)
    if isinstance(config, str):
        return usage_error(MANUAL, config)
    try:
        servers = gearman_servers()
    except ValueError as problem:
        print(f"g-worker: {problem}", file=sys.stderr)
        return ExitCode.FAILED
    configure_logging(os.environ.get("DEBUG", ""))
    trio.run(work, servers, config, Console(is_quiet=typed["--quiet"]))
    return ExitCode.OK


def run() -> NoReturn:
    """The console script."""
    hold_signals(signal.SIGHUP)
    stdio.never_block()
    run_tool(main)
