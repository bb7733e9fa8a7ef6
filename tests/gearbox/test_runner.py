"""A command as a job: what is started, what its output becomes, and real children that misbehave."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gearbox.job import Status
from gearbox.runner import (
    Command,
    Exit,
    Input,
    Invocation,
    Output,
    Report,
    decode,
    execute,
    prepare,
    refusal,
    run,
    warnings,
    words,
)

ECHO = ("echo", "x")
SHELL = "echo x"


def sh(text: str, *arguments: str) -> Invocation:
    return Invocation(("/bin/sh", "-c", text, "sh", *arguments) if arguments else ("/bin/sh", "-c", text))


def complete(data: Any) -> Report:
    return Report(Status.COMPLETE, data)


def errored(code: int, message: str, **data: Any) -> Report:
    return Report(Status.ERRORED, {"code": code, "message": message, **({"data": data} if data else {})})


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (None, ()),
        ([], ()),
        ({}, ()),
        (["a", "b c", ""], ("a", "b c", "")),
        ([1, 2.5, True, None, "é"], ("1", "2.5", "true", "", "é")),
        ([["a", 1], {"k": "v"}], ('["a",1]', '{"k":"v"}')),
        ({"a": None, "b": "c", "d": 1, "e": False}, ("a=", "b=c", "d=1", "e=false")),
        ("text", ("text",)),
        (12, ("12",)),
        (False, ("false",)),
    ],
)
def test_parameters_as_arguments(params: Any, expected: tuple[str, ...]) -> None:
    assert words(params) == expected


@pytest.mark.parametrize(
    ("command", "input", "expected"),
    [
        (ECHO, Input.IGNORE, Invocation(("echo", "x"))),
        (ECHO, Input.APPEND, Invocation(("echo", "x", "1", "b"))),
        (ECHO, Input.PREPEND, Invocation(("echo", "1", "b", "x"))),
        (ECHO, Input.STDIN, Invocation(("echo", "x"), b'[1,"b"]\n')),
        (SHELL, Input.IGNORE, sh("echo x")),
        (SHELL, Input.APPEND, sh('echo x "$@"', "1", "b")),
        (SHELL, Input.STDIN, Invocation(("/bin/sh", "-c", "echo x"), b'[1,"b"]\n')),
        ("echo x \n\n", Input.APPEND, sh('echo x "$@"', "1", "b")),
    ],
)
def test_invocation_of_each_input_mode(command: Command, input: Input, expected: Invocation) -> None:
    assert prepare(command, input, [1, "b"]) == expected


@pytest.mark.parametrize("command", [ECHO, SHELL])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        (["a", "b\0c"], "argument 2 has a NUL, which cannot be given to a command"),
        (["\ud800"], "argument 1 has half a surrogate pair, which is no text"),
        (["a\ude00"], "argument 1 has half a surrogate pair, which is no text"),
    ],
)
def test_arguments_that_no_command_can_have_fail_the_job(command: Command, params: Any, message: str) -> None:
    assert prepare(command, Input.APPEND, params) == errored(400, message)


def test_stdin_can_carry_what_arguments_cannot() -> None:
    assert prepare(ECHO, Input.STDIN, ["a\0", "\ud800"]) == Invocation(("echo", "x"), b'["a\\u0000","\\ud800"]\n')


def test_commands_that_would_run_arguments_as_commands_are_refused() -> None:
    for end in (";", "&", "&&", "|", "; \n"):
        assert refusal(f"echo x {end}", Input.APPEND), end
        assert refusal(f"echo x {end}", Input.STDIN) is None
    assert refusal(SHELL, Input.PREPEND) == "prepend is not supported with string command"
    assert [refusal(SHELL, Input.APPEND), refusal(("x;",), Input.APPEND), refusal(ECHO, Input.PREPEND)] == [None] * 3


def test_commands_whose_end_changes_the_arguments_are_warned_of() -> None:
    for text in ("echo x # all", "#", "echo x #", "echo x \\"):
        assert warnings(text, Input.APPEND), text
    for text in ("echo x", "echo a#b", "echo '# no comment'", 'echo "#"', "echo # one\necho two"):
        assert warnings(text, Input.APPEND) == [], text
    assert warnings("echo x #", Input.STDIN) == []


@pytest.mark.parametrize(
    ("output", "stdout", "expected"),
    [
        (Output.STRING, b"a b c\n", "a b c\n"),
        (Output.STRING, b"\xff\xc3\xa9", "\ufffdé"),
        (Output.BUFFER, b"hi\0\xff", {"type": "Buffer", "data": [104, 105, 0, 255]}),
        (Output.JSON, b' {"a": [1, null]}\n', {"a": [1, None]}),
        (Output.NL_JSON, b'1\n{"a":2}\n"s"\n', [1, {"a": 2}, "s"]),
        (Output.NL_JSON, b"1\n2", [1, 2]),
        (Output.NL_JSON, b"1\r\n2\r\n", [1, 2]),
        (Output.NL_JSON, '"\u2028"\n'.encode(), ["\u2028"]),
        (Output.NL_JSON, b"", []),
        (Output.IGNORE, b"whatever", None),
    ],
)
def test_output_of_a_command_that_succeeds(output: Output, stdout: bytes, expected: Any) -> None:
    assert decode(output, Exit(0, stdout, b"noise")) == complete(expected)


@pytest.mark.parametrize(
    ("output", "stdout", "message"),
    [
        (Output.JSON, b"", "output is not json: nothing was printed"),
        (Output.JSON, b"{", "output is not json: Expecting property name"),
        (Output.JSON, b"NaN", "output is not json: NaN is not JSON"),
        (Output.JSON, b"[" * 100_000, "output is not json: nested too deeply"),
        (Output.JSON, b'"\xff"', "output is not json: 'utf-8' codec"),
        (Output.NL_JSON, b"1\n{\n", "output is not nl-json: line 2: Expecting"),
        (Output.NL_JSON, b"1\n\n2\n", "output is not nl-json: line 2: nothing was printed"),
        (Output.NL_JSON, b"\n", "output is not nl-json: line 1: nothing was printed"),
    ],
)
def test_output_in_another_form_than_declared_fails_the_job(output: Output, stdout: bytes, message: str) -> None:
    report = decode(output, Exit(0, stdout, b"e"))
    assert report.status is Status.ERRORED
    assert report.data["code"] == 422
    assert report.data["message"].startswith(message)
    assert report.data["data"]["stderr"] == "e"


def test_a_failed_command_keeps_its_status_and_output() -> None:
    assert decode(Output.JSON, Exit(3, b"out\n", b"err\n")) == errored(
        3, "command exited with status 3", status=3, signal=None, stdout="out\n", stderr="err\n"
    )


def test_a_killed_command_names_its_signal() -> None:
    assert decode(Output.STRING, Exit(-9)) == errored(
        137, "command was killed by signal SIGKILL", status=None, signal="SIGKILL", stdout="", stderr=""
    )


def test_the_output_of_a_failed_command_is_bounded() -> None:
    report = decode(Output.STRING, Exit(1, b"a" * (2**16 + 5), b""))
    assert report.data["data"]["stdout"] == "[5 bytes left out] " + "a" * 2**16


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(JSON_VALUES, st.sampled_from(Input), st.sampled_from([ECHO, SHELL]))
def test_no_parameter_ever_changes_what_the_shell_parses(params: Any, input: Input, command: Command) -> None:
    if refusal(command, input):
        return
    invocation = prepare(command, input, params)
    if isinstance(invocation, Report):
        assert invocation.data["code"] == 400
    elif isinstance(command, str):
        assert invocation.argv[:3] == ("/bin/sh", "-c", 'echo x "$@"' if input is Input.APPEND else "echo x")
    else:
        assert invocation.argv[0] == "echo"


@given(st.lists(JSON_VALUES, max_size=10))
def test_json_output_is_read_back_as_it_was_meant(values: list[Any]) -> None:
    assert decode(Output.JSON, Exit(0, json.dumps(values).encode())) == complete(values)
    lines = "".join(json.dumps(value) + "\n" for value in values)
    assert decode(Output.NL_JSON, Exit(0, lines.encode())) == complete(values)


def hostile_arguments(canary: Path) -> list[str]:
    """500 ways to ask a shell for `canary`."""
    action = f"touch {canary}"
    frames = [
        *(
            "; {}",
            "& {}",
            "&& {}",
            "| {}",
            "|| {}",
            "\n{}\n",
            "\r\n{}",
            "`{}`",
            "$({})",
            '"; {}; "',
            "'; {}; '",
            "){}(",
        ),
        *("<({})", ">({})", "${{IFS}}; {}", "'$({})'", '"$({})"', "\\; {}", "#\n{}", "\t;{}", "{} #", "x=$({})"),
        *("$(({}))", "a[$({})]", "-exec {} ;", "--; {}", "%s; {}", "\x1b; {}", "\u2028{}", "!{}", "() {{ :; }}; {}"),
        *(
            "EOF\n{}\nEOF",
            "'\"`; {}; `\"'",
            "\\\n; {}",
            "*; {}",
            "?; {}",
            "~; {}",
            "$@; {}",
            "$0; {}",
            "&>{}",
            "1>&2; {}",
        ),
        *(
            "=; {}",
            "a=b; {}",
            "-c {}",
            "sh -c '{}'",
            "{}",
            "exec {}",
            "eval {}",
            ". {}",
            "\x00"[:0] + ";;{}",
            "\x7f;{}",
        ),
    ]
    endings = ["", ";", "\n", " #", "'", '"', "`", ")", "&", " && true"]
    arguments = [frame.format(action) + ending for frame in frames for ending in endings]
    assert len(arguments) >= 500
    return arguments


@pytest.mark.parametrize("input", Input)
@pytest.mark.parametrize("form", ["text", "program"])
async def test_hostile_arguments_execute_nothing(input: Input, form: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    arguments = hostile_arguments(canary)
    command: Command = "printf '%s\\0'" if form == "text" else ("printf", r"%s\0")
    if input is Input.PREPEND:
        if form == "text":
            return
        command = (sys.executable, "-c", "import sys; print('\\0'.join(sys.argv[1:]), end='\\0')")
        command = ("env", "--", sys.executable, "-c", command[2])
        report, _ = await run(("echo",), input, Output.STRING, arguments)
        assert report == complete(" ".join(arguments) + "\n")
    else:
        report, _ = await run(command, input, Output.STRING, arguments)
        expected = "\0".join(arguments) + "\0" if input is Input.APPEND else "\0"
        assert report == complete(expected)
    for argument in arguments[::25]:  # each alone, as text, in an array and in an object
        for params in (argument, [argument], {argument: argument}):
            if input is not Input.PREPEND:
                assert (await run(command, input, Output.STRING, params))[0].status is Status.COMPLETE
    assert not canary.exists()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=20))
def test_arguments_reach_the_shell_commands_program_unchanged(arguments: list[str]) -> None:
    async def main() -> None:
        report, _ = await run("printf '%s\\0'", Input.APPEND, Output.STRING, arguments)
        assert report == complete("\0".join(arguments) + "\0")

    trio.run(main)


async def test_stdin_is_written_and_closed() -> None:
    report, _ = await run(("cat",), Input.STDIN, Output.JSON, {"a": "é"})
    assert report == complete({"a": "é"})


async def test_a_command_that_does_not_read_its_stdin_is_no_failure() -> None:
    report, _ = await run(("true",), Input.STDIN, Output.STRING, "x" * 10_000_000)
    assert report == complete("")


async def test_large_input_and_output_at_once_do_not_deadlock() -> None:
    text = "x" * 5_000_000
    report, _ = await run(("cat",), Input.STDIN, Output.JSON, text)
    assert report == complete(text)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("/no/such/program",), 127, "command not found: /no/such/program"),
        (("/etc/passwd",), 126, "command cannot be executed: /etc/passwd: Permission denied"),
        (("/",), 126, "command cannot be executed: /: Permission denied"),
        ("no-such-program-here", 127, "command exited with status 127"),
    ],
)
async def test_a_program_that_cannot_be_started_fails_the_job(command: Command, code: int, message: str) -> None:
    report, _ = await run(command, Input.IGNORE, Output.STRING, None)
    assert (report.status, report.data["code"], report.data["message"]) == (Status.ERRORED, code, message)


@pytest.mark.parametrize("command", [("true",), "true"])
async def test_an_argument_too_long_for_the_system_fails_the_job(command: Command) -> None:
    report, _ = await run(command, Input.APPEND, Output.STRING, ["x" * 3_000_000])
    assert (report.status, report.data["code"]) == (Status.ERRORED, 413)
    assert "input mode stdin" in report.data["message"]


async def test_the_shells_own_error_text_is_kept() -> None:
    report, _ = await run("echo out; echo oops >&2; exit 7", Input.IGNORE, Output.STRING, None)
    assert report == errored(7, "command exited with status 7", status=7, signal=None, stdout="out\n", stderr="oops\n")


async def test_a_command_that_kills_itself() -> None:
    report, _ = await run("kill -SEGV $$", Input.IGNORE, Output.STRING, None)
    assert (report.data["code"], report.data["data"]["signal"]) == (139, "SIGSEGV")


async def test_a_command_that_prints_without_end_is_killed_and_costs_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    report, _ = await run(("yes",), Input.IGNORE, Output.STRING, None, output_limit_bytes=2**20)
    assert (report.status, report.data["code"]) == (Status.ERRORED, 413)
    assert report.data["message"] == "command printed more than its limit and was killed"
    assert time.monotonic() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


async def test_errors_without_end_are_read_and_only_their_end_is_kept() -> None:
    report, exit = await run("yes | head -c 30000000 >&2; echo last >&2; echo ok", Input.IGNORE, Output.STRING, None)
    assert report == complete("ok\n")
    assert exit is not None
    assert len(exit.stderr) == 2**20
    assert exit.stderr.endswith(b"y\nlast\n")


async def test_output_at_the_limit_is_complete() -> None:
    report, _ = await run("printf 12345", Input.IGNORE, Output.STRING, None, output_limit_bytes=5)
    assert report == complete("12345")
    report, _ = await run("printf 123456", Input.IGNORE, Output.STRING, None, output_limit_bytes=5)
    assert report.data["code"] == 413


def is_alive(pid: int) -> bool:
    """A zombie waiting for init counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does; nothing in this one could tell."""
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_cancelling_kills_the_command_and_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    groups: list[tuple[str, int]] = []
    async with trio.open_nursery() as nursery:

        async def job() -> None:
            await execute(
                sh(f"sleep 1000 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait"),
                started=lambda group: groups.append(("started", group)),
                ended=lambda group: groups.append(("ended", group)),
            )

        nursery.start_soon(job)
        await until(pids.exists)
        nursery.cancel_scope.cancel()
    child, leader = map(int, pids.read_text().split())
    await until(lambda: not is_alive(child) and not is_alive(leader))
    assert groups == [("started", leader), ("ended", leader)]


async def test_a_child_left_in_the_background_does_not_hold_the_job_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gearbox.runner.LINGER", 0.2)
    pid_file = tmp_path / "pid"
    report, _ = await run(f"echo done; sleep 1000 & echo $! > {pid_file}", Input.IGNORE, Output.STRING, None)
    assert report == complete("done\n")
    os.kill(int(pid_file.read_text()), 9)


async def test_the_environment_is_the_one_given() -> None:
    report, _ = await run("echo $A$HOME", Input.IGNORE, Output.STRING, None, environment={"A": "1"})
    assert report == complete("1\n")
