"""What `g-core --check` finds, each fault with what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from doctor_stage import examined

from gearbox.cli import ExitCode, doctor
from gearbox.cli.doctor import Finding
from gearbox.store import open_store


def findings(path: Path, **environment: str) -> list[Finding]:
    given = {"GEARBOX_DATABASE": str(path), "GEARBOX_LISTEN": "127.0.0.1:0", "GEARBOX_HTTP": "off", **environment}
    given = {name: value for name, value in given.items() if value}
    return examined(given)


def about(found: list[Finding], word: str) -> Finding:
    (one,) = [finding for finding in found if word in finding.text]
    return one


def test_all_is_well(tmp_path: Path) -> None:
    found = findings(tmp_path / "jobs.db")
    assert [finding for finding in found if finding.level == "fail"] == []
    assert about(found, "settings").text == "settings: GEARBOX_DATABASE, GEARBOX_HTTP, GEARBOX_LISTEN"
    assert about(found, "database /").level == "ok"


def test_a_database_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"this is no database " * 100)
    one = about(findings(path), "not a database")
    assert (one.level, one.code) == ("fail", ExitCode.CONFIG)


def test_a_database_server_that_is_not_there() -> None:
    given = {"MYSQL_HOSTNAME": "127.0.0.1", "MYSQL_PORT": "1", "MYSQL_DATABASE": "jobs", "MYSQL_USER": "someone"}
    given |= {"GEARBOX_LISTEN": "127.0.0.1:0", "GEARBOX_HTTP": "off"}
    one = about(examined(given), "cannot use the database")
    assert (one.level, one.code) == ("fail", ExitCode.UNAVAILABLE)


def test_a_database_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(doctor, "open_store", lambda place: answers.wait(30))
    monkeypatch.setattr(doctor, "STORE_TIMEOUT", 0.1)
    found = findings(tmp_path / "jobs.db")
    answers.set()
    one = about(found, "no answer from the database")
    assert (one.level, one.code) == ("fail", ExitCode.UNAVAILABLE)
    assert about(found, "open files")  # the others are told of all the same


def test_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOM_WANTED", 1 << 60)
    assert about(findings(tmp_path / "jobs.db"), "disk:").level == "warn"
    monkeypatch.setattr(doctor, "ROOM_LEAST", 1 << 60)
    one = about(findings(tmp_path / "jobs.db"), "disk:")
    assert (one.level, "make room" in one.text) == ("fail", True)


def test_nobody_else_may_read_what_is_made(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        store = open_store(str(path))
        modes = {file.name: f"{file.stat().st_mode & 0o777:o}" for file in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db.lock"), "600")
    assert about(findings(path), "permissions").level == "ok"


@pytest.mark.parametrize(("mode", "level"), [(0o600, "ok"), (0o644, "warn")])
def test_jobs_that_everybody_may_read(tmp_path: Path, mode: int, level: str) -> None:
    path = tmp_path / "jobs.db"
    findings(path)
    tmp_path.chmod(0o755)
    path.chmod(mode)
    assert about(findings(path), "permissions").level == level


def test_a_clock_that_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    assert doctor._clock(now, now + 1).level == "ok"
    assert "was it set back" in doctor._clock(now, now + 3600).text
    assert doctor._clock(86400.0, 0.0).level == "fail"


def test_addresses_that_are_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        one = about(findings(tmp_path / "jobs.db", GEARBOX_LISTEN=address), address)
        assert (one.level, one.code) == ("fail", ExitCode.UNAVAILABLE)
        one = about(findings(tmp_path / "jobs.db", GEARBOX_HTTP=address), "dashboard:")
        assert (one.level, "GEARBOX_HTTP" in one.text) == ("fail", True)


@pytest.mark.parametrize(
    ("files", "fault"), [("", "needs a certificate"), ("?cert=none.pem&key=none.key", "No such file or directory")]
)
def test_tls_that_cannot_be_used(files: str, fault: str, tmp_path: Path) -> None:
    given = {"GEARBOX_LISTEN": f"tls://127.0.0.1:0{files}", "GEARBOX_HTTP": "off"}
    given |= {"GEARBOX_DATABASE": str(tmp_path / "jobs.db")}
    one = about(examined(given), "tls://")
    assert (one.level, one.code, fault in one.text) == ("fail", ExitCode.CONFIG, True)
    command = [sys.executable, "-c", "from gearbox.cli.core import run; run()"]
    start = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, timeout=60, check=False)
    assert (start.returncode, fault in start.stderr) == (ExitCode.CONFIG, True)


def test_tls_that_can_be_used(tmp_path: Path, certificates: Path) -> None:
    address = f"tls://127.0.0.1:0?cert={certificates}/server.pem&key={certificates}/server.key"
    assert about(findings(tmp_path / "jobs.db", GEARBOX_LISTEN=address), "tls://").level == "ok"


def test_a_socket_that_is_free_is_left_so(tmp_path: Path) -> None:
    path = tmp_path / "gearman.sock"
    one = about(findings(tmp_path / "jobs.db", GEARBOX_LISTEN=f"unix://{path}"), str(path))
    assert (one.level, path.exists()) == ("ok", False)
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        one = about(findings(tmp_path / "jobs.db", GEARBOX_LISTEN=f"unix://{path}"), str(path))
        assert (one.level, path.exists()) == ("fail", True)


def test_a_gearman_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        found = findings(tmp_path / "jobs.db", GEARMAN_SERVER=address, GEARBOX_LISTEN="")
        one = about(found, "Gearman server")
        assert (one.level, one.code, "GEARMAN_SERVER" in one.text) == ("fail", ExitCode.UNAVAILABLE, True)


def test_too_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FILES_WANTED", 1 << 60)
    assert "ulimit -n" in doctor._limits().text


def test_a_dashboard_without_its_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "WEB_MODULES", ("no_such_module",))
    one = about(findings(tmp_path / "jobs.db", GEARBOX_HTTP="127.0.0.1:0"), "dashboard:")
    assert (one.level, "pip install" in one.text) == ("warn", True)
