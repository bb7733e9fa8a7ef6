"""A command as a job: what is started, and what its output becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearbox.job import Status
from gearbox.work.runner import (
    Command,
    Exit,
    Input,
    Invocation,
    Output,
    Report,
    decode,
    prepare,
    read_progress,
    refusal,
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


@pytest.mark.parametrize("line", ["42", "42%", " 42 % ", "42.0", "42\r", "42%\r", "42 %\t\r"])
def test_progress_is_read_from_a_line_of_any_make(line: str) -> None:
    assert read_progress(line.encode() + b"\n") == ([42.0], b"")


@given(st.binary() | st.text("0123456789.% \t\r\x0b\x0c\n").map(str.encode))
def test_what_is_no_progress_is_passed_over(text: bytes) -> None:
    numbers, _ = read_progress(text)
    assert all(0 <= number <= 1e15 for number in numbers)


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
