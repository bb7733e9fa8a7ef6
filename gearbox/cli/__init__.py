"""The command-line tools. Each module `core`, `client`, `worker`, `multiworker` has `main(argv)`, which returns an exit
code, and `run()`, which is the console script.

What they share stands here: exit codes, reading a command line by its manual, the servers' addresses, how a tool ends.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

import docopt

from abraxas_py import __version__, parse_endpoint

__all__ = ["ExitCode", "choose", "gearman_servers", "read_command_line", "run_tool", "usage_error"]


class ExitCode(IntEnum):
    """How a tool ends. From 64 on, the words of sysexits.h."""

    OK = 0
    FAILED = 1  # the job, or the call, ended in an error; also a command line that cannot be read, as in the original
    UNAVAILABLE = 69  # Gearman cannot be reached, or nobody there does what was asked
    IO_ERROR = 74
    TIMEOUT = 75
    CONFIG = 78
    INTERRUPTED = 130  # as a shell says of SIGINT
    CLOSED = 141  # and of SIGPIPE


UNWRITABLE = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}  # write(2), of files and terminals
DEFAULT_SERVER = "127.0.0.1:4730"


def gearman_servers(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The addresses in GEARMAN_SERVER; several are parted by commas. Raises InvalidEndpoint (a ValueError).

    >>> gearman_servers({"GEARMAN_SERVER": "a:4731, b"})
    ['a:4731', 'b']
    """
    named = [server.strip() for server in environment.get("GEARMAN_SERVER", "").split(",")]
    servers = [server for server in named if server] or [DEFAULT_SERVER]
    for server in servers:
        parse_endpoint(server)
    return servers


def read_command_line(
    manual: str, argv: Sequence[str], *, commands: Sequence[str] = (), extract: str | None = None
) -> dict[str, Any] | ExitCode:
    """What was typed, by the names in the manual; or the exit code, when the tool's work is done already.

    `commands`: one of these words must be there; they only serve to say so. `extract` is a part of the manual that
    probably suffices and is tried first.
    """
    try:
        if extract is not None:
            with suppress(docopt.DocoptExit):
                return dict(docopt.docopt(extract, list(argv), True, __version__))
        return dict(docopt.docopt(manual, list(argv), True, __version__))
    except docopt.DocoptExit as problem:
        shown = extract or manual
        return usage_error(shown, _complaint(shown, argv, str(problem), commands))
    except SystemExit:  # --help and --version
        return ExitCode.OK


def _complaint(manual: str, argv: Sequence[str], problem: str, commands: Sequence[str]) -> str:
    """docopt's message where it has one of its own; else what can be found out."""
    first = problem.splitlines()[0]
    if first.endswith(("requires argument", "must not have an argument")) or "is not a unique prefix" in first:
        return first
    known = {word.strip(",").partition("=")[0] for word in manual.split() if word.startswith("-")}
    for word in argv:
        if word == "--":
            break
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        is_prefix = name.startswith("--") and any(each.startswith(name) for each in known)
        if word.startswith("-") and word != "-" and name not in known and not is_prefix and not _is_number(word):
            hint = " (write -- before arguments that begin with a dash)" if "[--]" in manual else ""
            return f"unknown option: {name}{hint}"
    if commands and not set(commands) & set(argv):
        typed = next((word for word in argv if not word.startswith("-")), None)
        return f"unknown command: {typed}" if typed is not None else "no command given"
    return "missing or superfluous arguments" if argv else "no arguments given"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def usage_error(manual: str, message: str) -> ExitCode:
    """Tell what is wrong with a command line, after how it should look."""
    usage = manual.strip("\n").split("\n\n")
    start = next(number for number, part in enumerate(usage) if part.startswith("Usage:"))
    print(usage[start], file=sys.stderr)
    print(f"\n{message}; --help tells more", file=sys.stderr)
    return ExitCode.FAILED


def choose(option: str, typed: str, choices: Sequence[str]) -> str | None:
    """A complaint if what was typed for an option is none of its choices."""
    if typed in choices:
        return None
    return f"invalid value for {option}: {typed} (choose from {', '.join(choices)})"


def run_tool(main: Callable[[Sequence[str]], int], *, can_output_fail: bool = False) -> NoReturn:
    """Run a tool on the process's command line, and exit. Being interrupted is no traceback.

    Nor is not being heard, if `can_output_fail`. After `stdio.never_block` it cannot: such an error has another cause.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us; its number would soon be a socket's
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # results may hold half surrogates
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BaseException as problem:
        if _is_all(problem, KeyboardInterrupt):
            code = ExitCode.INTERRUPTED
        elif not can_output_fail:
            raise
        elif _is_all(problem, BrokenPipeError):
            _write_no_more()
            code = ExitCode.CLOSED
        elif isinstance(problem, OSError) and problem.errno in UNWRITABLE:
            _write_no_more()
            with suppress(OSError):  # the other output may be the one
                print(f"{Path(sys.argv[0]).name}: cannot write the output: {problem.strerror}", file=sys.stderr)
            code = ExitCode.IO_ERROR
        else:
            raise
    sys.exit(code)


def _write_no_more() -> None:
    """The interpreter would try to flush once more while it ends, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_all(problem: BaseException, kind: type[BaseException]) -> bool:
    """Whether a problem, or all in the groups that nurseries made of it, are of one kind."""
    if isinstance(problem, BaseExceptionGroup):
        return all(_is_all(each, kind) for each in problem.exceptions)
    return isinstance(problem, kind)
