"""Taking over what the real gearmand has left in its queues on SQLite and MySQL."""

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
from abraxas_stage import Peer, flags_of, serving, submission, work_off
from journal_stage import place_on
from mariadb_stage import MariaDb

from abraxas_py.errors import JournalError
from abraxas_py.journal.gearmand import read_queue
from abraxas_py.journal.mysql_link import MysqlPlace
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


def import_from(source: str, queue: Path | MysqlPlace) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "abraxas_py", "import", *flags_of(queue), source],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MYSQL_PASSWORD": "secret"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def leave(*flags: str) -> None:
    """Have gearmand keep four jobs, and kill it."""
    port = free_port()
    user = ["-u", "root"] if os.geteuid() == 0 else []
    left = subprocess.Popen([gearmand(), *user, "-L", "127.0.0.1", "-p", str(port), *flags])
    try:
        with connected(port) as peer:
            later = Packet.of(Type.SUBMIT_JOB_EPOCH, b"f", b"later", b"%d" % (time.time() + 3600), b"later")
            high = Packet.of(Type.SUBMIT_JOB_HIGH_BG, b"f", b"high", b"high")
            odd = submission(bytes(range(256)), unique="é".encode())
            answers = peer.ask(odd, submission(b"", unique=b"empty"), high, later)
            assert {answer.type for answer in answers} == {Type.JOB_CREATED}
    finally:
        left.kill()
        left.wait()


def check(source: str, queue: Path | MysqlPlace) -> None:
    """All of it is taken over once, and runs once, however often it is imported."""
    assert import_from(source, queue) == "4 jobs taken over\n"
    assert import_from(source, queue) == "0 jobs taken over, 4 had been before\n"
    with serving(queue) as (_, port), Peer(port) as peer:
        for unique in (b"later", "é".encode()):
            assert peer.ask(Packet(Type.GET_STATUS_UNIQUE, unique))[0].split()[1] == b"1"
        done = work_off(peer)
        assert done[0] == b"high"
        assert sorted(done[1:]) == [b"", bytes(range(256))]
        assert peer.ask(Packet(Type.GET_STATUS_UNIQUE, b"later"))[0].split()[1] == b"1"
    assert import_from(source, queue) == "0 jobs taken over, 4 had been before\n"


@pytest.mark.gearmand
def test_all_that_gearmand_has_left_in_a_file_runs_once(tmp_path: Path) -> None:
    source = str(tmp_path / "gearmand")
    files = [f"--log-file={tmp_path / 'log'}", f"--pid-file={tmp_path / 'pid'}"]
    leave("-q", "libsqlite3", f"--libsqlite3-db={source}", *files)
    check(source, tmp_path / "queue")


@pytest.mark.gearmand
@pytest.mark.mariadb
@pytest.mark.parametrize("target", ["sqlite", "mysql"])
def test_all_that_gearmand_has_left_in_a_table_runs_once(mariadb: MariaDb, tmp_path: Path, target: str) -> None:
    user = f"g{mariadb.port}"
    files = [f"--log-file={tmp_path / 'log'}", f"--pid-file={tmp_path / 'pid'}"]
    with mariadb.database() as left, place_on(mariadb) as place:
        mariadb.sql(f"CREATE USER {user}@'%' IDENTIFIED BY 'secret'")
        try:
            mariadb.sql(f"GRANT ALL ON {left.database}.* TO {user}@'%'")
            where = ["--mysql-host=127.0.0.1", f"--mysql-port={mariadb.port}", f"--mysql-db={left.database}"]
            leave("-q", "mysql", *where, f"--mysql-user={user}", "--mysql-password=secret", *files)
            source = f"mysql://{user}@127.0.0.1:{mariadb.port}/{left.database}"
            if target == "sqlite":
                check(source, tmp_path / "queue")
            else:
                mariadb.sql(f"GRANT ALL ON {place.database}.* TO {user}@'%'")
                check(source, MysqlPlace("127.0.0.1", user, place.database, "secret", mariadb.port))
        finally:
            mariadb.sql(f"DROP USER {user}@'%'")


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
