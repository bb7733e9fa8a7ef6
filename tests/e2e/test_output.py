"""Programs whose output nobody reads, or cannot be written: they go on all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from site_stage import BIN, free_port, functions, wait_for

from abraxas_py.spool import LIMIT_BYTES
from gearbox.blocking import connect

PROMPT = 10.0  # s that an end takes at most, on a machine that is at work; one of them for what nobody reads
SPEAKER = """
import sys
from abraxas_py import stdio
stdio.never_block()
for number in range(int(sys.argv[1])):
    print(f"line {number:06}", "." * 100, file=sys.stderr if number % 2 else sys.stdout)
sys.stdin.readline()
print("the end")
"""


@contextmanager
def unread() -> Iterator[int]:
    """A full pipe, as a terminal that was stopped."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def forsaken() -> Iterator[int]:
    """A pipe whose reader has died."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@contextmanager
def full_disk() -> Iterator[int]:
    file = os.open("/dev/full", os.O_WRONLY)
    try:
        yield file
    finally:
        os.close(file)


@pytest.mark.parametrize("output", [unread, forsaken, full_disk])
def test_they_serve_and_end_as_ever(output: object, tmp_path: Path) -> None:
    names = ("GEARMAN", "GEARBOX", "MYSQL", "DB_")
    given = {name: text for name, text in os.environ.items() if not name.startswith(names)}
    core, broker = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    (tmp_path / "methods.toml").write_text('[Test.length]\ncommand = "wc -c"\noutput = "json"\n')
    starts: list[tuple[list[str | Path], dict[str, str]]] = [
        (
            [BIN / "g-core"],
            {"GEARBOX_LISTEN": core, "GEARBOX_HTTP": "off", "GEARBOX_DATABASE": str(tmp_path / "db"), "DEBUG": "*"},
        ),
        ([BIN / "g-worker", "-I", "append", "test::echo", "echo"], {"GEARMAN_SERVER": core, "DEBUG": "*"}),
        ([BIN / "g-multiworker", tmp_path / "methods.toml"], {"GEARMAN_SERVER": core, "DEBUG": "*"}),
        ([BIN / "abraxas", "--listen", broker, "--log-file=stderr", "--verbose=DEBUG"], {}),
        ([BIN / "g-worker", "test::echo", "echo"], {"GEARMAN_SERVER": broker}),
    ]
    with ExitStack() as stack:
        file = stack.enter_context(output())  # type: ignore[operator]
        programs = []
        for argv, more in starts:
            program = subprocess.Popen(argv, env=given | more, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
            stack.callback(program.wait)
            stack.callback(program.kill)
            programs.append(program)
        wait_for(lambda: "test::echo" in functions(broker), what="the other worker is there")
        wait_for(lambda: {"test::echo", "Test::length"} <= functions(core).keys(), what="the workers are there")
        with connect([core]) as gearbox:
            for number in range(10):
                assert gearbox.watch(gearbox.queue("test::echo", [f"job {number}"])) == f"job {number}\n"
                assert gearbox.watch(gearbox.queue("Test::length", [number])) == 4
        for program in reversed(programs):
            began = time.monotonic()
            program.send_signal(signal.SIGTERM)
            assert program.wait(30) == 0
            assert time.monotonic() - began < PROMPT


def test_what_is_read_in_time_comes_in_its_order_and_the_rest_is_counted() -> None:
    lines = 3 * LIMIT_BYTES // 100
    with subprocess.Popen(
        [sys.executable, "-c", SPEAKER, str(lines)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        time.sleep(1)  # it has said all that it has to say, but for the last line
        said = [process.stdout.readline() for _ in range(LIMIT_BYTES // 200)]
        process.stdin.close()
        said += process.stdout
        assert process.wait(10) == 0
    numbers = [int(line.split()[1]) for line in said if line.startswith(b"line")]
    assert numbers == list(range(len(numbers)))
    assert said[len(numbers) :] == [b"=== %d lines could not be written here\n" % (lines - len(numbers)), b"the end\n"]


def test_all_is_said_before_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPEAKER, "5000"], input=b"\n", capture_output=True, timeout=30, check=True
    )
    assert done.stdout.count(b"line") == done.stderr.count(b"line") == 2500
    assert done.stdout.endswith(b"the end\n")
