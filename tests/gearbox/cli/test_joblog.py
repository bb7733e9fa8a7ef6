"""The log of a method: its form, and that it cannot be forged."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from abraxas_py import spool
from gearbox.cli.joblog import JobLog, format_lines

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


def test_timestamps_are_the_default(tmp_path: Path) -> None:
    log = JobLog(str(tmp_path / "job.log"), complain=print)
    log.write(0.5, "x")
    spool.settle()
    line = (tmp_path / "job.log").read_text()
    assert re.fullmatch(r"\d\d [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \[000\.500000\] x\n", line)
