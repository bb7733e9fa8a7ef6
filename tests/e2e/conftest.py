"""Real processes on real sockets: `g-core` and the tools as a user has them, on 127.0.0.1 and a port of their own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mariadb_stage import MariaDb

from gearbox.store.address import MysqlAddress

# Tests are imported by path, not as a package, so what they share must be found like this.
sys.path.insert(0, str(Path(__file__).parent))

START_TIMEOUT = 20.0  # s
TOOL_TIMEOUT = 60.0
BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port that no outgoing connection is given: one that tries a dead server's port again and again from the same
    range ends up connected to itself, and holds the port."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def port() -> int:
    """A port on which a server can be stopped and started again."""
    return free_port()


class Gearbox:
    """A place with a database and an address; `core` and `worker` start processes there, `client` runs the tool."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.address = f"127.0.0.1:{free_port()}"
        self.database = home / "gearbox.db"
        self.environment = os.environ | {
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "GEARBOX_DATABASE": str(self.database),
            "GEARBOX_HTTP": "off",
        }
        for name in ("GEARMAN_SERVER", "GEARBOX_LISTEN", "MYSQL_HOSTNAME", "DEBUG"):
            self.environment.pop(name, None)
        self.processes: list[subprocess.Popen[str]] = []

    def use(self, database: Mapping[str, str]) -> None:
        """Have the jobs in another database than a file."""
        del self.environment["GEARBOX_DATABASE"]
        self.environment |= database

    def core(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `g-core` and wait until it says that it serves."""
        process = subprocess.Popen(
            [BIN / "g-core", *arguments],
            env=self.environment | {"GEARBOX_LISTEN": self.address} | environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        assert process.stderr is not None
        said = ""
        while "Gearbox serves" not in said:
            line = process.stderr.readline()  # before it, there may be warnings
            assert line, said
            said += line
        return process

    def worker(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `g-worker` and wait until its method is offered."""
        process = subprocess.Popen(
            [BIN / "g-worker", *arguments],
            env=self.environment | {"GEARMAN_SERVER": self.address},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        method = next(word for word in arguments if "::" in word).replace("/", "\\")
        self.wait_for(lambda: any(row[0] == method and row[3] != "0" for row in self.functions()))
        return process

    def client(
        self, *arguments: str, address: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `g-client` to its end."""
        return subprocess.run(
            [BIN / "g-client", *arguments],
            env=self.environment | {"GEARMAN_SERVER": address or self.address} | environment,
            capture_output=True,
            text=True,
            timeout=TOOL_TIMEOUT,
            check=False,
        )

    def failing_core(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a `g-core` that is expected to refuse to start."""
        return subprocess.run(
            [BIN / "g-core"],
            env=self.environment | {"GEARBOX_LISTEN": self.address} | environment,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=False,
        )

    def functions(self) -> list[list[str]]:
        """The rows of the admin command `status`."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"status\n")
            answer = b""
            while not answer.endswith(b".\n"):
                piece = connection.recv(65536)
                assert piece
                answer += piece
        return [line.split("\t") for line in answer.decode().splitlines()[:-1]]

    @staticmethod
    def wait_for(question: Callable[[], Any], timeout: float = START_TIMEOUT) -> Any:
        """Ask until the answer is true; fail after `timeout`."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            answer = question()
            if answer:
                return answer
            time.sleep(0.05)
        raise AssertionError(f"did not come true within {timeout} s")

    def close(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr is not None:
                process.stderr.close()


@pytest.fixture
def gearbox(tmp_path: Path) -> Iterator[Gearbox]:
    place = Gearbox(tmp_path)
    yield place
    place.close()


@pytest.fixture
def mysql(mariadb: MariaDb) -> Iterator[MysqlAddress]:
    """A database of a server's, with nothing in it."""
    with mariadb.database() as address:
        yield address


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """What makes `g-core` use a database of the kind that the test is parametrised with."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return {"GEARBOX_DATABASE": str(tmp_path / "gearbox.db")}
    return MariaDb.environment(request.getfixturevalue("mysql"))


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def anywhere(request: pytest.FixtureRequest, gearbox: Gearbox) -> Gearbox:
    """The same place on each kind of database."""
    if request.param == "mariadb":
        gearbox.use(MariaDb.environment(request.getfixturevalue("mysql")))
    return gearbox


@pytest.fixture(scope="session")
def program() -> Callable[[str, str], str]:
    """Where a program is. Without it the test is skipped with the package's name; on CI it fails."""

    def find(name: str, package: str) -> str:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if path is None:
            message = f"{name} is missing (Debian: {package})"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


@pytest.fixture
def run() -> Callable[[Sequence[str]], subprocess.CompletedProcess[str]]:
    """Run any program to its end."""

    def run(argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, capture_output=True, text=True, timeout=TOOL_TIMEOUT, check=False, **options)

    return run
