"""What each tool does with its command line alone: help, versions, and everything that cannot be meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from abraxas_py import __version__
from gearbox.cli import ExitCode, client, core, gearman_servers, multiworker, read_command_line, worker
from gearbox.cli.manual import COMMANDS, manual_for
from gearbox.cli.wanted import understand
from gearbox.cli.worker import MANUAL, parse_typed, split_command
from gearbox.work.config import Config, Method
from gearbox.work.runner import Input, Output

Main = Callable[[Sequence[str]], int]
MAINS: list[Main] = [client.main, worker.main, multiworker.main]


@pytest.mark.parametrize("main", MAINS)
def test_help_is_the_manual_on_standard_output(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for part in ("Usage:", "Options:", "--help", "--quiet, -q", "Exit codes:", "GEARMAN_SERVER"):
        assert part in captured.out
    assert max(map(len, captured.out.splitlines())) <= 80


@pytest.mark.parametrize("main", MAINS)
def test_version(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("main", "argv", "message"),
    [
        (client.main, [], "no command given"),
        (client.main, ["frobnicate", "x"], "unknown command: frobnicate"),
        (client.main, ["run"], "missing or superfluous arguments"),
        (client.main, ["watch"], "missing or superfluous arguments"),
        (client.main, ["watch", "1", "2"], "missing or superfluous arguments"),
        (client.main, ["run", "--nope", "a::b"], "unknown option: --nope"),
        (client.main, ["run", "a::b", "-x"], "unknown option: -x (write -- before arguments that begin with a dash)"),
        (client.main, ["cancel", "7", "-x"], "unknown option: -x; "),
        (core.main, ["--chek"], "unknown option: --chek; "),
        (client.main, ["run", "a::b", "--after"], "--after requires argument"),
        (client.main, ["run", "--quiet=yes", "a::b"], "--quiet must not have an argument"),
        (worker.main, [], "no arguments given"),
        (worker.main, ["a::b"], "missing or superfluous arguments"),
        (worker.main, ["-x", "a::b", "cat"], "unknown option: -x"),
        (worker.main, ["-I", "nope", "a::b", "cat"], "invalid value for --input: nope (choose from stdin, append,"),
        (worker.main, ["-O", "xml", "a::b", "cat"], "invalid value for --output: xml (choose from string, buffer,"),
        (worker.main, ["-j", "0", "a::b", "cat"], "invalid value for --concurrency: 0 (out of range)"),
        (worker.main, ["-j", "many", "a::b", "cat"], "invalid value for --concurrency: many (not a number)"),
        (worker.main, ["--output-limit", "1.5", "a::b", "cat"], "invalid value for --output-limit: 1.5 (not a number)"),
        (worker.main, ["--stop-timeout", "nan", "a::b", "cat"], "invalid value for --stop-timeout: nan (out of range)"),
        (worker.main, ["a b", "cat"], "not a method name: 'a b'"),
        (worker.main, ["", "cat"], "not a method name: ''"),
        (worker.main, ["a" * 511, "cat"], "a method's name has at most 512 bytes: ::aaa"),
        (multiworker.main, [], "no arguments given"),
        (multiworker.main, ["--nope", "a.toml"], "unknown option: --nope; "),
    ],
)
def test_usage_errors_show_usage_and_what_is_wrong(
    main: Main, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == ExitCode.FAILED == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage:")
    assert captured.err.splitlines()[-1].startswith(message)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "a::b", "-J", "{"], "not JSON: {"),
        (["run", "a::b", "-J", "a=text"], "not JSON: text"),
        (["queue", "a::b", "--after", "garbage"], "cannot read a date in 'garbage'"),
        (["queue", "a::b", "--after-job", "abc"], "not a job id for --after-job: abc"),
        (["queue", "a::b", "--before-job", "0"], "not a job id for --before-job: 0"),
        (["queue", "a::b", "--retries", "abc"], "invalid value for --retries: abc (not a whole number from 0 on)"),
        (["queue", "a::b", "--retries", "-1"], "invalid value for --retries: -1 (not a whole number from 0 on)"),
        (["queue", "a::b", "--retry-delay", "inf"], "invalid value for --retry-delay: inf (not a number from 0 on)"),
        (["queue", "a::b", "--run-limit", "0.0"], "invalid value for --run-limit: 0.0 (not a number above 0)"),
        (["queue", "a::b", "-P", "urgent"], "invalid value for --priority: urgent (choose from high, normal, low)"),
        (["run", "a::b", "-O", "xml"], "invalid value for --output: xml (choose from inspect, json, nl-json, plain)"),
        (["run", "a::b", "--timeout", "soon"], "invalid value for --timeout: soon (not a number from 0 on)"),
        (["watch", "abc"], "not a job id: abc"),
        (["watch", "-1"], "not a job id: -1"),
        (["watch", "1.5"], "not a job id: 1.5"),
        (["watch", "²"], "not a job id: ²"),
        (["status", "1", "abc"], "not a job id: abc"),
        (["status", "--after", "now"], "status takes no --after"),
        (["cancel", "7", "--alone"], "cancel takes no --alone"),
        (["queue", "a::b", "--overlap", "queue"], "queue takes no --overlap"),
        (["limit", "a::b", "0"], "not a limit: 0"),
        (["limit", "a::b", "-2"], "not a limit: -2"),
        (["watch", "7", "-O", "svg"], "invalid value for --output: svg (choose from inspect, json, nl-json, plain)"),
        (["queue", "a::b", "--backoff", "no"], "invalid value for --backoff: no (choose from fixed, exponential)"),
        (["queue", "a::b", "--expires", "garbage"], "cannot read a date in 'garbage'"),
        (["act", "drop", "12"], "unknown word: drop (choose from cancel, retry, hurry, reprioritise)"),
        (["status", "--reason", "x"], "status takes no --reason"),
        (["search", "--limit", "no"], "invalid value for --limit: no (not a whole number from 0 on)"),
        (["status", "--yes"], "status takes no --yes"),
        (["completion", "tcsh"], "unknown shell: tcsh (choose from bash, zsh, fish)"),
        (["raw", "a::b", "--retries", "1"], "raw takes no --retries"),
        (["run", ""], "not a method name: ''"),
        (["run", "a::\nb"], "not a method name: 'a::\\nb'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEARMAN_SERVER", "127.0.0.1:1")  # where a call would take 5 s to fail
    assert client.main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"g-client: {message}")
    assert captured.err.endswith("; --help tells more\n")
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_the_usage_of_one_command_is_part_of_the_manual(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert client.main(["-q", command, "--frobnicate"]) == 1
    usage, complaint = capsys.readouterr().err.split("\n\n")
    assert usage.startswith(f"Usage:\n  g-client {command} ")
    assert usage.removeprefix("Usage:\n") in client.MANUAL
    assert usage.count("g-client") == 1
    assert complaint.startswith("unknown option: --frobnicate")


def test_the_value_of_an_option_may_be_the_name_of_a_command() -> None:
    argv = ["-D", "queue", "run", "a::b", "watch"]
    typed = read_command_line(client.MANUAL, argv, extract=manual_for(argv))
    assert isinstance(typed, dict)
    wanted = understand(typed, datetime.now(UTC))
    assert (wanted.command, wanted.dedupe, wanted.method, wanted.arguments) == ("run", "queue", "a::b", ["watch"])


def test_an_address_that_is_none_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARMAN_SERVER", "localhost:port")
    assert client.main(["status"]) == 1
    assert "'localhost:port' is no server address" in capsys.readouterr().err
    assert worker.main(["a::b", "cat"]) == 1
    assert "'localhost:port' is no server address" in capsys.readouterr().err


def test_servers_of_the_environment() -> None:
    assert gearman_servers({}) == ["127.0.0.1:4730"]
    assert gearman_servers({"GEARMAN_SERVER": " "}) == ["127.0.0.1:4730"]
    assert gearman_servers({"GEARMAN_SERVER": "a:1, b,unix:///c"}) == ["a:1", "b", "unix:///c"]


@pytest.mark.parametrize(
    ("argv", "own", "command"),
    [
        (["a::b", "cat"], ["--", "a::b"], ["cat"]),
        (["-I", "append", "a::b", "echo", "-n"], ["-I", "append", "--", "a::b"], ["echo", "-n"]),
        (["a::b", "-j2", "-q", "sh", "-c", "x"], ["-j2", "-q", "--", "a::b"], ["sh", "-c", "x"]),
        (["a::b", "--", "-x"], ["--", "a::b"], ["-x"]),
        (["-q", "--", "a::b", "cat", "--", "-"], ["-q", "--", "a::b"], ["cat", "--", "-"]),
        (["--log=f", "a::b", "-"], ["--log=f", "--", "a::b"], ["-"]),
        (["--help"], ["--help"], []),
        (["--"], [], []),
        (["-j"], ["-j"], []),
    ],
)
def test_what_follows_the_command_belongs_to_it(argv: list[str], own: list[str], command: list[str]) -> None:
    assert split_command(argv) == (own, command)


def typed(*argv: str) -> Config | str:
    from gearbox.cli import read_command_line

    own, command = split_command(argv)
    options = read_command_line(MANUAL, [*own, *command])
    assert isinstance(options, dict)
    return parse_typed(options)


def test_a_worker_without_options_has_the_seeds_defaults() -> None:
    assert typed("a/b/c::x", "cat") == Config((Method("a\\b\\c::x", ("cat",)),))


def test_all_options_of_a_worker() -> None:
    argv = ["-j", "3", "-I", "prepend", "-O", "nl-json", "--log", "f", "--log-output", "--log-no-time", "-q"]
    limits = ["--output-limit", "5", "--stop-timeout", "0.5"]
    assert typed(*argv, *limits, "name", "sh", "-c", "--", "x") == Config(
        (Method("::name", ("sh", "-c", "--", "x"), Input.PREPEND, Output.NL_JSON, "f", True, True, 3, False, 5),),
        stop_timeout=0.5,
    )


def test_a_file_that_is_not_toml_is_exit_code_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[a.b]\ncommand = \n")
    assert multiworker.main([str(path), str(tmp_path / "none.toml")]) == ExitCode.CONFIG == 78
    assert (
        capsys.readouterr().err == f"=== Loading configuration\n??? {tmp_path}/none.toml: No such file or directory\n"
    )
    assert multiworker.main([str(path)]) == 78
    assert f"??? {path}: Unexpected character: '\\n' at line 2 col 10" in capsys.readouterr().err


def test_checking_files_tells_what_would_be_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[a.b]\ncommand = 'true'\n[a.c]\ncommand = 1\n")
    assert multiworker.main(["--check", str(path)]) == 78
    captured = capsys.readouterr()
    assert captured.out == "=== a::b is well defined\n"
    assert "??? a::c has invalid command syntax" in captured.err
    path.write_text("[a.b]\ncommand = 'true'\n")
    assert multiworker.main(["--check", str(path)]) == 0


@pytest.mark.parametrize(
    ("text", "remark"),
    [("", ""), ("[config]\n", ""), ("[a.b]\n", "??? a::b has no command ({} line 1, a.b), method skipped\n")],
)
def test_checking_files_tells_that_there_is_nothing_to_do(
    text: str, remark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    assert multiworker.main(["--check", str(path)]) == 78
    said = f"=== Loading configuration\n{remark.format(path)}??? there is no method to work on\n"
    assert capsys.readouterr() == ("", said)
