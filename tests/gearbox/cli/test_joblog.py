"""The log file of a method: its form, and that it can neither be forged nor fail a job."""

from __future__ import annotations

import os
import re
import stat
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

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


def test_the_file_is_appended_to_and_not_for_everyone(tmp_path: Path) -> None:
    path, complaints = tmp_path / "job.log", list[str]()
    for line in ("one", "two"):
        log = JobLog(str(path), is_timed=False, complain=complaints.append)
        log.write(0, line)
        log.close()
        log.settle()
    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0
    assert complaints == []


def test_timestamps_are_the_default(tmp_path: Path) -> None:
    log = JobLog(str(tmp_path / "job.log"), complain=print)
    log.write(0.5, "x")
    log.settle()
    line = (tmp_path / "job.log").read_text()
    assert re.fullmatch(r"\d\d [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \[000\.500000\] x\n", line)


def test_reopening_goes_on_in_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    log = JobLog(str(path), is_timed=False, complain=print)
    log.write(0, "one")
    log.settle()
    path.rename(tmp_path / "job.log.1")
    log.write(0, "two")
    log.settle()
    log.reopen()
    log.write(0, "three")
    log.settle()
    assert (tmp_path / "job.log.1").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "job.log"
    target.write_text("untouched")
    link.symlink_to(target)
    complaints = list[str]()
    log = JobLog(str(link), complain=complaints.append)
    log.write(0, "x")
    log.settle()
    log.write(0, "y")
    log.settle()
    assert target.read_text() == "untouched"
    assert len(complaints) == 1
    assert "job.log" in complaints[0]


def test_a_log_that_cannot_be_written_is_told_once_until_it_works_again(tmp_path: Path) -> None:
    complaints = list[str]()
    log = JobLog(str(tmp_path / "none" / "job.log"), is_timed=False, complain=complaints.append)
    for _ in range(2):
        log.write(0, "lost")
        log.settle()
    (tmp_path / "none").mkdir()
    log.write(0, "kept")
    log.settle()
    log.reopen()
    (tmp_path / "none" / "job.log").rename(tmp_path / "old")
    (tmp_path / "none").rmdir()
    log.write(0, "lost")
    log.settle()
    assert len(complaints) == 2
    assert (tmp_path / "old").read_text() == "=== 2 lines could not be written here\nkept\n"


def test_a_full_disk_and_an_unread_pipe_fail_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("/dev/full", str(tmp_path / "fifo")):
        complaints = list[str]()
        log = JobLog(path, complain=complaints.append)
        log.write(0, "x")
        log.settle()
        assert len(complaints) == 1


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, usual = threading.Event(), os.open

    def hang(*arguments: Any) -> int:
        answers.wait(30)
        return usual(*arguments)

    monkeypatch.setattr(os, "open", hang)
    log = JobLog(str(tmp_path / "job.log"), is_timed=False, complain=print)
    for number in range(1000):
        log.write(0, f"line {number}")
    log.close()
    assert not (tmp_path / "job.log").exists()
    answers.set()
    log.settle()
    assert (tmp_path / "job.log").read_text().splitlines() == [f"line {number}" for number in range(1000)]
