"""Taking over what the real gearmand has left in its sqlite queue."""

from __future__ import annotations

import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from abraxas_stage import Peer, serving, submission, work_off

from abraxas_py.errors import JournalError
from abraxas_py.journal.gearmand import read_queue
from abraxas_py.journal.sqlite import SqliteJournal
from abraxas_py.protocol.packets import Packet, Type


def gearmand() -> str:
    """The program; skips, or fails on CI, where it is missing."""
    path = shutil.which("gearmand", path="/usr/sbin:/usr/local/sbin") or shutil.which("gearmand")
    if path is None:
        message = "gearmand is missing (Debian: gearman-job-server)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def free_port() -> int:
    """A port that no outgoing connection is given."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def import_from(source: Path, queue: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "abraxas_py", "import", f"--queue-db={queue}", str(source)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.gearmand
def test_all_that_gearmand_has_left_runs_once_however_often_it_is_imported(tmp_path: Path) -> None:
    port = free_port()
    source, queue = tmp_path / "gearmand", tmp_path / "queue"
    user = ["-u", "root"] if os.geteuid() == 0 else []
    flags = [f"--libsqlite3-db={source}", f"--log-file={tmp_path / 'log'}", f"--pid-file={tmp_path / 'pid'}"]
    address = ["-L", "127.0.0.1", "-p", str(port)]
    left = subprocess.Popen([gearmand(), *user, *address, "-q", "libsqlite3", *flags])
    try:
        with connected(port) as peer:
            later = Packet.of(Type.SUBMIT_JOB_EPOCH, b"f", b"later", b"%d" % (time.time() + 3600), b"later")
            high = Packet.of(Type.SUBMIT_JOB_HIGH_BG, b"f", b"high", b"high")
            answers = peer.ask(submission(b"a\0b", unique=b"a"), submission(b"", unique=b"e"), high, later)
            assert {answer.type for answer in answers} == {Type.JOB_CREATED}
    finally:
        left.kill()
        left.wait()
    assert import_from(source, queue) == "4 jobs taken over\n"
    assert import_from(source, queue) == "0 jobs taken over, 4 had been before\n"
    with serving(queue) as (_, port), Peer(port) as peer:
        assert work_off(peer) == [b"high", b"a\0b", b""]
        assert peer.ask(Packet(Type.GET_STATUS_UNIQUE, b"later"))[0].split()[1] == b"1"
    assert import_from(source, queue) == "0 jobs taken over, 4 had been before\n"


def connected(port: int) -> Peer:
    """A connection to a server that is starting."""
    for _ in range(200):
        try:
            return Peer(port)
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("gearmand does not listen")


def test_what_is_no_queue_is_left_alone(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "queue")
    with pytest.raises(JournalError, match="cannot read"):
        journal.adopt(read_queue(str(tmp_path / "none"), "gearman_queue"))
    assert not (tmp_path / "none").exists()
    sqlite3.connect(tmp_path / "other").close()
    with pytest.raises(JournalError, match="no such table"):
        journal.adopt(read_queue(str(tmp_path / "other"), "gearman_queue"))
    with pytest.raises(JournalError, match="is no name of a table"):
        read_queue(str(tmp_path / "other"), "a; DROP TABLE b")
