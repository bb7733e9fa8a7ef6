"""The log of a method: its form, and that it cannot be forged."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from abraxas_py import spool
from gearbox.cli.joblog import JobLog, format_lines
from gearbox.cli.performer import output_lines
from gearbox.work.runner import Exit

NOW = datetime(2026, 3, 1, 6, 5, 4)


def test_lines_have_the_time_and_real_microseconds() -> None:
    assert format_lines(["a", "b"], NOW, 61.5000015) == (
        "01 Mar 26 06:05:04 [061.500002] a\n01 Mar 26 06:05:04 [061.500002] b\n"
    )
    assert format_lines(["a"], None, 1) == "a\n"
    assert format_lines(["a"], NOW, 12345.25) == "01 Mar 26 06:05:04 [12345.250000] a\n"


def test_control_characters_cannot_forge_a_line() -> None:
    text = format_lines(["a\n21 Nov 26 ==> forged\r\x1b[2J\x00\x9b\u2028\ud800é"], None, 0)
    assert text == "a\\n21 Nov 26 ==> forged\\r\\x1b[2J\\x00\\x9b\\u2028\\ud800é\n"


def test_of_a_long_output_the_end_is_logged() -> None:
    assert output_lines(Exit(0, b"x" * 10 + b"a" * 2**16, b"")) == [
        "  out| [10 bytes left out]",
        "  out| " + "a" * 2**16,
    ]
    assert output_lines(Exit(0, b"", b"y\n" * 5002)) == ["  err| [4 bytes left out]", *["  err| y"] * 5000]


@pytest.mark.parametrize("piece", [b"\n", b"y\n", b"y" * 12 + b"\n", b"\0", b"\xff", "\u2028".encode(), b"\xc2\x9b"])
def test_no_output_is_too_much_to_wait_for_the_disk(piece: bytes) -> None:
    lines = output_lines(Exit(0, piece * 2**17, piece * 2**17))
    assert len(format_lines(lines, NOW, 12345.25).encode()) <= spool.LIMIT_BYTES


def test_timestamps_are_the_default(tmp_path: Path) -> None:
    log = JobLog(str(tmp_path / "job.log"), complain=print)
    log.write(0.5, "x")
    spool.settle()
    line = (tmp_path / "job.log").read_text()
    assert re.fullmatch(r"\d\d [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \[000\.500000\] x\n", line)
