"""Real children, some of which misbehave, and arguments that would have a shell do something else."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from process_stage import is_alive, until

from gearbox.errors import Code
from gearbox.job import Status
from gearbox.work import child
from gearbox.work.child import execute, run
from gearbox.work.runner import Command, Exit, Input, Invocation, Output, Report

Shortage = Callable[[], AbstractContextManager[None]]


def sh(text: str, *arguments: str) -> Invocation:
    return Invocation(("/bin/sh", "-c", text, "sh", *arguments) if arguments else ("/bin/sh", "-c", text))


def complete(data: Any) -> Report:
    return Report(Status.COMPLETE, data)


def errored(code: int, message: str, **data: Any) -> Report:
    return Report(Status.ERRORED, {"code": code, "message": message, **({"data": data} if data else {})})


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


async def test_hostile_progress_executes_nothing(tmp_path: Path) -> None:
    canary, numbers = tmp_path / "canary", list[float]()
    script = 'for line do printf "%s\\n" "$line"; done > "$GEARBOX_PROGRESS"; echo 100 > "$GEARBOX_PROGRESS"; cat'
    exit = await execute(sh(script, *hostile_arguments(canary)), progress=numbers.append)
    assert exit == Exit(0)
    assert numbers == [100.0]
    assert not canary.exists()


async def test_no_argument_becomes_a_name_in_the_environment() -> None:
    arguments = ["GEARBOX_PROGRESS=/etc/passwd", "PATH=/tmp", "LD_PRELOAD=x", *hostile_arguments(Path("canary"))]
    params = {argument: argument for argument in arguments}
    for input in (Input.STDIN, Input.APPEND, Input.IGNORE):
        report, _ = await run("env -0 | tr '\\0' '\\n'; true", input, Output.STRING, params, environment={"A": "1"})
        names = {line.partition("=")[0] for line in report.data.splitlines()}
        assert names <= {"A", "GEARBOX_PROGRESS", "PWD", "SHLVL", "_", "OLDPWD", "PATH"}


async def test_progress_is_told_while_the_command_runs() -> None:
    told = trio.Event()
    numbers: list[float] = []

    def progress(number: float) -> None:
        numbers.append(number)
        told.set()

    async with trio.open_nursery() as nursery:
        script = sh('echo 7 > "$GEARBOX_PROGRESS"; echo 42.5% >> "$GEARBOX_PROGRESS"; sleep 1000')
        nursery.start_soon(lambda: execute(script, progress=progress))
        with trio.fail_after(10):
            while 42.5 not in numbers:
                await told.wait()
                told = trio.Event()
        nursery.cancel_scope.cancel()


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


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Nothing can be opened within the block."""
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


async def waits(shortage: Shortage, reason: str) -> None:
    """A job does, for as long as the machine is short of something, and says why."""
    reasons: list[str] = []
    reports: list[Report] = []

    async def echo() -> None:
        report, _ = await run("echo hi", Input.IGNORE, Output.STRING, None, held_up=reasons.append)
        reports.append(report)

    async with trio.open_nursery() as nursery:
        with shortage():
            nursery.start_soon(echo)
            await trio.sleep(0.2)
            assert reasons == [reason]
            assert not reports
    assert reports == [complete("hi\n")]


async def test_a_job_waits_for_a_machine_that_is_short_of_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SHORTAGE_PAUSE", 0.01)
    await waits(no_descriptors, "Too many open files")


async def test_a_job_waits_for_the_thread_in_which_its_command_is_started(
    monkeypatch: pytest.MonkeyPatch, no_threads: Shortage
) -> None:
    monkeypatch.setattr(child, "SHORTAGE_PAUSE", 0.01)
    await waits(no_threads, "can't start new thread")


async def test_much_output_is_decoded_without_a_thread_where_none_can_be_started(no_threads: Shortage) -> None:
    with ExitStack() as shortage:
        report, _ = await run(
            "yes | head -c 2000000",
            Input.IGNORE,
            Output.STRING,
            None,
            started=lambda group: shortage.enter_context(no_threads()),
        )
    assert report == complete("y\n" * 1_000_000)


async def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SHORTAGE_PAUSE", 0.01)
    monkeypatch.setattr(child, "SHORTAGE_LONGEST", 0.1)
    with no_descriptors():
        report, exit = await run("echo hi", Input.IGNORE, Output.STRING, None)
    assert exit is None
    assert report == errored(Code.INTERNAL, "command could not be started: [Errno 24] Too many open files")


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
    monkeypatch.setattr("gearbox.work.child.LINGER", 0.2)
    pid_file = tmp_path / "pid"
    report, _ = await run(f"echo done; sleep 1000 & echo $! > {pid_file}", Input.IGNORE, Output.STRING, None)
    assert report == complete("done\n")
    os.kill(int(pid_file.read_text()), 9)


async def test_a_child_that_was_detached_properly_does_not_hold_the_job_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has the pipe for progress nevertheless, and the input, of which neither has ended."""
    monkeypatch.setattr("gearbox.work.child.LINGER", 1000)
    pid_file, numbers = tmp_path / "pid", list[float]()
    detach = f'exec 3<&0; sleep 1000 <&3 >/dev/null 2>&1 & echo $! > {pid_file}; echo 99 > "$GEARBOX_PROGRESS"; echo ok'
    with trio.fail_after(10):
        exit = await execute(Invocation(("/bin/sh", "-c", detach), b"x" * 1_000_000), progress=numbers.append)
    assert exit == Exit(0, b"ok\n")
    assert numbers == [99.0]  # although it was told in the last moment
    os.kill(int(pid_file.read_text()), 9)


async def test_the_environment_is_the_one_given() -> None:
    report, _ = await run("echo $A$HOME", Input.IGNORE, Output.STRING, None, environment={"A": "1"})
    assert report == complete("1\n")
