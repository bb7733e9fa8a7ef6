"""Where logs go: what becomes of files and of syslog holds nobody up."""

from __future__ import annotations

import logging
import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from abraxas_py import spool
from abraxas_py.logs import LogFile, Syslog, open_log

WAIT = 10.0  # s for what should come at once


def test_the_file_is_appended_to_and_not_for_everyone(tmp_path: Path) -> None:
    path, complaints = tmp_path / "log", list[str]()
    for line in ("one", "two"):
        log = LogFile(str(path), complaints.append)
        log.write(f"{line}\n")
        log.close()
        spool.settle()
    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0
    assert complaints == []


def test_a_file_that_was_moved_away_or_replaced_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path), print)
    log.write("one\n")
    spool.settle()
    path.rename(tmp_path / "log.1")
    log.write("two\n")
    spool.settle()
    (tmp_path / "new").touch()
    (tmp_path / "new").rename(path)
    log.write("three\n")
    spool.settle()
    assert (tmp_path / "log.1").read_text() == "one\n"
    assert path.read_text() == "three\n"


def test_a_file_that_was_opened_before_is_written_to_without_being_opened(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "target")  # which is refused
    log = LogFile(str(tmp_path / "log"), print, open_log(str(tmp_path / "target")))
    log.write("one\n")
    spool.settle()
    assert (tmp_path / "target").read_text() == "one\n"


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "log"
    target.write_text("untouched")
    link.symlink_to(target)
    complaints = list[str]()
    log = LogFile(str(link), complaints.append)
    for _ in range(2):
        log.write("x\n")
        spool.settle()
    assert target.read_text() == "untouched"
    assert len(complaints) == 1
    assert str(link) in complaints[0]


def test_what_cannot_be_written_is_told_once_until_it_works_again(tmp_path: Path) -> None:
    complaints = list[str]()
    log = LogFile(str(tmp_path / "none" / "log"), complaints.append)
    for _ in range(2):
        log.write("lost\n")
        spool.settle()
    (tmp_path / "none").mkdir()
    log.write("kept\n")
    spool.settle()
    (tmp_path / "none" / "log").rename(tmp_path / "old")
    (tmp_path / "none").rmdir()
    log.write("lost\n")
    spool.settle()
    assert len(complaints) == 2
    assert (tmp_path / "old").read_text() == "=== 2 lines could not be written here\nkept\n"


def test_a_full_disk_and_an_unread_pipe_fail_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("/dev/full", str(tmp_path / "fifo")):
        complaints = list[str]()
        LogFile(path, complaints.append).write("x\n")
        spool.settle()
        assert len(complaints) == 1


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, usual = threading.Event(), os.open

    def hang(*arguments: Any) -> int:
        answers.wait(30)
        return usual(*arguments)

    monkeypatch.setattr(os, "open", hang)
    log = LogFile(str(tmp_path / "log"), print)
    for number in range(1000):
        log.write(f"line {number}\n")
    log.close()
    assert not (tmp_path / "log").exists()
    answers.set()
    spool.settle()
    assert (tmp_path / "log").read_text().splitlines() == [f"line {number}" for number in range(1000)]


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "syslog")


def daemon(address: str) -> socket.socket:
    """Takes messages, when asked to."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(address)
    receiver.settimeout(WAIT)
    return receiver


@contextmanager
def speaker(address: str) -> Iterator[logging.Logger]:
    handler = Syslog(address)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_syslog_hears_how_severe_each_line_is(address: str) -> None:
    with daemon(address) as receiver, speaker(address) as logger:
        logger.info("one")
        logger.error("two\nlines")
        assert [receiver.recv(100) for _ in range(3)] == [b"<30>one", b"<27>two", b"<27>lines"]


def test_a_syslog_that_hangs_holds_nobody_up(address: str) -> None:
    with daemon(address) as receiver, speaker(address) as logger:
        for number in range(1000):  # its socket takes some ten
            logger.info("line %d", number)
        assert [receiver.recv(100) for _ in range(1000)] == [b"<30>line %d" % number for number in range(1000)]


def test_a_syslog_that_is_started_anew_is_found_again(address: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(daemon(address))
        logger = stack.enter_context(speaker(address))
        logger.info("one")
        assert first.recv(100) == b"<30>one"
        first.close()
        os.unlink(address)
        logger.info("lost")
        spool.settle()
        second = stack.enter_context(daemon(address))
        logger.info("two")
        assert [second.recv(100) for _ in range(2)] == [b"=== 1 lines could not be written here", b"<30>two"]
