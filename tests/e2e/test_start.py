"""`g-core` that is started before the servers it needs: it says so, waits for them, and can be ended meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
import trio
from mariadb_stage import MariaDb
from site_stage import BIN, Site, free_port, functions, wait_for
from structlog.testing import capture_logs

from gearbox import daemon

PROMPT = 4.0  # s that an end takes at most, on a machine that is at work


@contextmanager
def core(folder: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A `g-core`, and what it says."""
    said = folder / "said"
    names = ("GEARMAN", "GEARBOX", "MYSQL", "DB_")
    given = {name: text for name, text in os.environ.items() if not name.startswith(names)}
    given |= {"GEARBOX_HTTP": "off", "XDG_STATE_HOME": str(folder)} | environment
    with open(said, "wb") as log, subprocess.Popen([BIN / "g-core"], env=given, stdout=log, stderr=log) as process:
        try:
            yield process, said
        finally:
            process.kill()


def gearman(port: int) -> Mapping[str, str]:
    return {"GEARMAN_SERVER": f"127.0.0.1:{port}"}


def mysql(port: int) -> Mapping[str, str]:
    listen = f"127.0.0.1:{free_port()}"
    return {
        "MYSQL_HOSTNAME": "127.0.0.1",
        "MYSQL_PORT": str(port),
        "MYSQL_DATABASE": "jobs",
        "MYSQL_USER": "someone",
        "GEARBOX_LISTEN": listen,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
@pytest.mark.parametrize("needs", [gearman, mysql])
def test_it_says_what_it_waits_for_and_can_be_ended(needs: object, number: signal.Signals, tmp_path: Path) -> None:
    with core(tmp_path, **needs(free_port())) as (process, said):  # type: ignore[operator]
        wait_for(lambda: "waiting for" in said.read_text(), what="it says what it waits for")
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(30) == 0
        assert time.monotonic() - began < PROMPT
    assert f"=== Ending ({number.name})" in said.read_text()
    assert "Traceback" not in said.read_text()


def test_it_serves_when_gearman_comes_and_shows_meanwhile_what_there_is(tmp_path: Path) -> None:
    page = free_port()
    with Site(tmp_path) as site:
        server = site.abraxas("server")
        server.kill()
        environment = {"GEARMAN_SERVER": server.address, "GEARBOX_HTTP": f"127.0.0.1:{page}"}
        with core(tmp_path, **environment) as (process, said):
            wait_for(lambda: "waiting for Gearman" in said.read_text(), what="it says that it waits")
            with urlopen(f"http://127.0.0.1:{page}/", timeout=10) as answer:
                assert "No Gearman server can be reached" in answer.read().decode()
            server.start()
            wait_for(lambda: "=== Gearbox serves" in said.read_text(), what="it serves")
            assert functions(server.address)["gearbox\\core::queue"] == 1
            process.terminate()
            assert process.wait(30) == 0


@pytest.mark.mariadb
def test_it_serves_when_the_database_comes(mariadb: MariaDb, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="gearbox") as folder:  # a short path, for the socket's name
        late = MariaDb(Path(folder))
        late.install(mariadb)
        late.start()
        with late.database() as address:
            late.stop()
            environment = MariaDb.environment(address) | {"GEARBOX_LISTEN": f"127.0.0.1:{free_port()}"}
            with core(tmp_path, **environment) as (process, said):
                wait_for(lambda: "waiting for the database" in said.read_text(), what="it says that it waits")
                late.start()
                wait_for(lambda: "=== Gearbox serves" in said.read_text(), what="it serves")
                process.terminate()
                assert process.wait(30) == 0
        late.stop()


async def test_it_says_when_its_disk_hangs_as_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(daemon, "open_apart", lambda place: answers.wait(30))
    monkeypatch.setattr(daemon, "STORE_PATIENCE", 0.1)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon._open, "jobs.db", trio.Event())
            await trio.sleep(0.5)
            answers.set()
    (one,) = logs
    assert "its disk or server hangs" in one["event"]
