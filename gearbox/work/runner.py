"""A command as a job: the job's parameters in, a child process, the job's data out.

Two decisions, both pure: `prepare` makes the argument vector and standard input from the command and the job's
parameters, and `decode` makes the job's data from what the command printed and how it ended. Between them stands
`child`, which does nothing but run it.

A command is either text, which a shell runs, or a program with its arguments, which is run as it stands. Parameters
of a job never become part of a text that a shell parses: `append` hands them to the shell's own `"$@"`.

A failure is data as well, in the form of an RPC error, which is how watchers get it: `{"code": 3, "message": "command
exited with status 3", "data": {"status": 3, "signal": null, "stdout": "", "stderr": "..."}}`. `code` is what a shell
would have in `$?` (128 + n after signal n, 127 not found, 126 not executable); 400 and above are faults of the job's
input (400), of its size (413) and of the form of its output (422).
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import attrs

from gearbox import rpc
from gearbox.errors import Code
from gearbox.job import Status

__all__ = [
    "OUTPUT_LIMIT_BYTES",
    "Command",
    "Exit",
    "Input",
    "Invocation",
    "Output",
    "Report",
    "decode",
    "failure",
    "prepare",
    "read_progress",
    "refusal",
    "warnings",
    "words",
]

Command = str | tuple[str, ...]
"""Text for the shell, or a program and its arguments."""

OUTPUT_LIMIT_BYTES = 16 * 2**20  # of standard output, which is held in memory, several times over while decoded
REMAINS_BYTES = 2**16  # of the end of each output in the data of a failure: it is for people to read

NOT_EXECUTABLE = 126  # POSIX, "Exit Status for Commands"
NOT_FOUND = 127
SIGNAL_BASE = 128
NUMBER = re.compile(rb"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*%?\s*")
PROGRESS_LONGEST = 64  # bytes of a line with a number
BAD_OUTPUT = 422  # the command ended well, but what it printed is not in the form that was declared


class Input(Enum):
    """How the job's parameters reach the command."""

    STDIN = "stdin"
    APPEND = "append"
    PREPEND = "prepend"
    IGNORE = "ignore"


class Output(Enum):
    """How the command's output becomes the job's data."""

    STRING = "string"
    BUFFER = "buffer"
    JSON = "json"
    NL_JSON = "nl-json"
    IGNORE = "ignore"


@attrs.frozen
class Invocation:
    """What to start, and what to write to its standard input."""

    argv: tuple[str, ...]
    stdin: bytes = b""


@attrs.frozen
class Exit:
    """How a command ended. `status` is as in `subprocess`: negative for a signal."""

    status: int
    stdout: bytes = b""
    stderr: bytes = b""
    is_over_limit: bool = False


@attrs.frozen
class Report:
    """What a job has come to: COMPLETE with its data, or ERRORED with an RPC error as its data."""

    status: Status
    data: Any = None


def failure(code: int, message: str, data: Any = None) -> Report:
    """A report of a job that failed; `code`, `message` and `data` are what its watchers get."""
    value: dict[str, Any] = {"code": int(code), "message": message}
    if data is not None:
        value["data"] = data
    return Report(Status.ERRORED, value)


def words(params: Any) -> tuple[str, ...]:
    """A job's parameters as command arguments: the items of an array, `key=value` of an object, else the one value.

    Text stays as it is, null is the empty text, and all else is JSON.

    >>> words(["a", 1, None, {"b": True}])
    ('a', '1', '', '{"b":true}')
    >>> words({"a": None, "b": "c"})
    ('a=', 'b=c')
    """
    match params:
        case None:
            return ()
        case list():
            return tuple(_word(item) for item in params)
        case dict():
            return tuple(f"{key}={_word(value)}" for key, value in params.items())
        case _:
            return (_word(params),)


def _word(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else rpc.dump(value)


def refusal(command: Command, input: Input) -> str | None:
    """Why this command cannot have its input in this way, if it cannot."""
    if not isinstance(command, str):
        return None
    if input is Input.PREPEND:
        return "prepend is not supported with string command"
    if input is Input.APPEND and command.rstrip().endswith((";", "&", "|")):
        return f"append would run the job's arguments as a command, since the command ends in {command.rstrip()[-1]}"
    return None


def warnings(command: Command, input: Input) -> list[str]:
    """What is probably not meant about a command; it can be run nevertheless."""
    if not isinstance(command, str) or input is not Input.APPEND:
        return []
    if re.search(r"(?:^|\s)#[^'\"\n]*$", command.rstrip()):
        return ["the command ends in a comment, which swallows the job's arguments"]
    if command.rstrip().endswith("\\"):
        return ["the command ends in a backslash, which changes the job's first argument"]
    return []


def prepare(command: Command, input: Input, params: Any) -> Invocation | Report:
    """The invocation for a job with `params`; a report, if no command can be given them."""
    arguments = words(params) if input in (Input.APPEND, Input.PREPEND) else ()
    for number, word in enumerate(arguments, 1):
        if "\0" in word:
            return failure(Code.BAD_REQUEST, f"argument {number} has a NUL, which cannot be given to a command")
        if not _is_unicode(word):
            return failure(Code.BAD_REQUEST, f"argument {number} has half a surrogate pair, which is no text")
    stdin = rpc.dump(params).encode() + b"\n" if input is Input.STDIN else b""
    if isinstance(command, str):
        assert refusal(command, input) is None
        if input is Input.APPEND:
            # "$@" is expanded after the parsing, so that no argument is ever read as shell. It must stay on the
            # command's last line: on one of its own, the first argument would be the command
            return Invocation(("/bin/sh", "-c", f'{command.rstrip()} "$@"', "sh", *arguments), stdin)
        return Invocation(("/bin/sh", "-c", command), stdin)
    program, *rest = command
    if input is Input.PREPEND:
        return Invocation((program, *arguments, *rest), stdin)
    return Invocation((program, *rest, *arguments), stdin)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_progress(text: bytes) -> tuple[list[float], bytes]:
    r"""The numbers on the whole lines of `text`, and the rest that is no line yet. A `%` behind a number is allowed.

    >>> read_progress(b"1\n2.5 %\nhello\nnan\n-1\n3")
    ([1.0, 2.5], b'3')
    """
    *lines, rest = text.split(b"\n")
    numbers = [float(match[1]) for line in lines if (match := NUMBER.fullmatch(line))]
    return numbers, rest if len(rest) <= PROGRESS_LONGEST else b"?"  # of a line that is no number


def decode(output: Output, exit: Exit) -> Report:
    """The report of a job whose command ended this way."""
    if exit.is_over_limit:
        return failure(Code.TOO_LARGE, "command printed more than its limit and was killed", _remains(exit))
    if exit.status < 0:
        number = -exit.status
        return failure(SIGNAL_BASE + number, f"command was killed by signal {_signal_name(number)}", _remains(exit))
    if exit.status > 0:
        return failure(exit.status, f"command exited with status {exit.status}", _remains(exit))
    try:
        return Report(Status.COMPLETE, DECODERS[output](exit.stdout))
    except ValueError as problem:
        return failure(BAD_OUTPUT, f"output is not {output.value}: {problem}", _remains(exit))


def _remains(exit: Exit) -> dict[str, Any]:
    """What a failed command leaves to read."""
    return {
        "status": None if exit.status < 0 else exit.status,
        "signal": _signal_name(-exit.status) if exit.status < 0 else None,
        "stdout": _end_of(exit.stdout),
        "stderr": _end_of(exit.stderr),
    }


def _end_of(output: bytes) -> str:
    cut = max(0, len(output) - REMAINS_BYTES)
    text = output[cut:].decode(errors="replace")
    return f"[{cut} bytes left out] {text}" if cut else text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _decode_string(stdout: bytes) -> str:
    return stdout.decode(errors="replace")  # as the original; `buffer` is for what is no text


def _decode_buffer(stdout: bytes) -> dict[str, Any]:
    return {"type": "Buffer", "data": list(stdout)}


def _decode_json(stdout: bytes) -> Any:
    if not stdout.strip():
        raise ValueError("nothing was printed")
    return rpc.load(stdout, rpc.OUTPUT_DEEPEST)


def _decode_nl_json(stdout: bytes) -> list[Any]:
    # split at newlines alone: JSON text may hold the other characters that Python takes for the end of a line
    lines = stdout.removesuffix(b"\n").split(b"\n") if stdout else []
    values = []
    for number, line in enumerate(lines, 1):
        try:
            values.append(_decode_json(line))
        except ValueError as problem:
            raise ValueError(f"line {number}: {problem}") from None
    return values


def _decode_ignore(stdout: bytes) -> None:
    return None


DECODERS: Mapping[Output, Callable[[bytes], Any]] = {
    Output.STRING: _decode_string,
    Output.BUFFER: _decode_buffer,
    Output.JSON: _decode_json,
    Output.NL_JSON: _decode_nl_json,
    Output.IGNORE: _decode_ignore,
}
