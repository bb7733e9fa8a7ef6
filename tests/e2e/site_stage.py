"""A site of real processes: Gearman servers, cores, workers, each of which can be killed, stopped, and started again.

    with Site(folder) as site:
        gearmand = site.gearmand("gearmand-1", path)
        core = site.core("core-1", [gearmand])
        worker = site.worker("worker-1", [gearmand], "a::echo", ["echo"], "-I", "append")
        gearmand.kill()
        gearmand.start()

Everything listens on 127.0.0.1 and writes what it says to `folder/NAME.log`. Nothing here is asynchronous: in a trio
run, what waits (`start`) belongs into a thread.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

__all__ = ["Program", "Site", "free_port", "functions", "wait_for"]

BIN = Path(sys.executable).parent
START_TIMEOUT = 30.0  # s
FAREWELL = 10.0  # s that a program has to end after TERM
SERVE = "import sys, trio, abraxas_py; trio.run(abraxas_py.Server().serve, sys.argv[1:])"


def free_port() -> int:
    """A port that no outgoing connection is given: one that tries a dead server's port again and again from the same
    range ends up connected to itself, and holds the port."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(question: Callable[[], object], timeout: float = START_TIMEOUT, what: str = "") -> None:
    """Ask until the answer is true; fail after `timeout`."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if question():
            return
        time.sleep(0.02)
    raise AssertionError(f"did not come true within {timeout} s: {what}")


def functions(address: str) -> dict[str, int]:
    """How many workers offer each function of a Gearman server; none if it does not answer."""
    host, port = address.split(":")
    answer = b""
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=1) as connection:
        connection.sendall(b"status\n")
        while not answer.endswith(b".\n"):
            piece = connection.recv(65536)
            if not piece:
                return {}
            answer += piece
    rows = [line.split("\t") for line in answer.decode().splitlines() if "\t" in line]
    return {row[0]: int(row[3]) for row in rows}


class Program:
    """A process, and all its lives. `is_ready` is asked after each start until it says yes."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str],
        is_ready: Callable[[Program], bool],
        address: str = "",
    ) -> None:
        self.name = name
        self.address = address
        self.lives = 0
        self.is_stopped = False
        self._argv = list(argv)
        self._log = log
        self.environment = environment  # of its next life
        self._is_ready = is_ready
        self._said_before = 0  # bytes of the log that are of earlier lives
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def said(self) -> str:
        """What it has written in this life."""
        with suppress(FileNotFoundError):
            return self._log.read_bytes()[self._said_before :].decode(errors="replace")
        return ""

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start it, and wait until it is ready."""
        self.spawn()
        self.wait_until_ready(timeout)

    def spawn(self) -> None:
        """Start it without waiting."""
        assert not self.is_running, self.name
        self._said_before = self._log.stat().st_size if self._log.exists() else 0
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._argv, env=self.environment, stdout=log, stderr=log)
        self.lives += 1
        self.is_stopped = False

    def wait_until_ready(self, timeout: float = START_TIMEOUT) -> None:
        wait_for(lambda: not self.is_running or self._is_ready(self), timeout, f"{self.name} is ready")
        assert self.is_running, f"{self.name} ended at once: {self.said()}"

    def kill(self) -> None:
        """`kill -9`, also while it is stopped."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGTERM)

    def stop(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        self.is_stopped = True

    def cont(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)
        self.is_stopped = False

    def _end(self, number: int) -> None:
        if self._process is None or not self.is_running:
            return
        if self.is_stopped and number != signal.SIGKILL:
            self.cont()
        self._process.send_signal(number)
        try:
            self._process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.is_stopped = False


class Site:
    """All programs of one test, in `folder`. Leaving the block ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: dict[str, Program] = {}
        home = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "GEARBOX_HTTP": "off"}
        self.environment = os.environ | home
        for name in ("GEARMAN_SERVER", "GEARBOX_LISTEN", "GEARBOX_DATABASE", "MYSQL_HOSTNAME", "DEBUG"):
            self.environment.pop(name, None)

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for program in reversed(self.programs.values()):
            program.terminate()

    def add(
        self,
        name: str,
        argv: Sequence[str | Path],
        is_ready: Callable[[Program], bool],
        *,
        address: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """Any program; it is started, and ready."""
        log = self.folder / f"{name}.log"
        program = Program(name, argv, log, self.environment | dict(environment or {}), is_ready, address)
        self.programs[name] = program
        program.start()
        return program

    def gearmand(self, name: str, path: str, *options: str) -> Program:
        """The C++ server, found at `path`."""
        port = free_port()
        argv = [path, "-u", "root", "-L", "127.0.0.1", "-p", str(port), "--log-file=none", *options]
        return self.add(name, argv, is_listening, address=f"127.0.0.1:{port}")

    def abraxas(self, name: str) -> Program:
        """Our server by itself."""
        address = f"127.0.0.1:{free_port()}"
        return self.add(name, [sys.executable, "-c", SERVE, address], is_listening, address=address)

    def core(self, name: str, servers: Sequence[Program], *, within: Sequence[str] = (), **environment: str) -> Program:
        """A `g-core` on these servers; without any, on a broker of its own. `environment` names its database.

        `within` is a program that starts it where it is to run.
        """
        if servers:
            here = {"GEARMAN_SERVER": addresses(servers)}
            address = addresses(servers)
        else:
            address = f"127.0.0.1:{free_port()}"
            here = {"GEARBOX_LISTEN": address}

        def serves(program: Program) -> bool:
            return "Gearbox serves" in program.said()

        return self.add(name, [*within, BIN / "g-core"], serves, address=address, environment=here | environment)

    def worker(
        self, name: str, servers: Sequence[Program], method: str, command: Sequence[str], *options: str
    ) -> Program:
        """A `g-worker` that runs `command` for the jobs of `method`."""
        return self._workers(name, servers, [BIN / "g-worker", "-q", *options, method, *command], [method])

    def multiworker(self, name: str, servers: Sequence[Program], config: str, methods: Iterable[str]) -> Program:
        """A `g-multiworker` with this configuration, which offers `methods`."""
        path = self.folder / f"{name}.toml"
        path.write_text(config)
        return self._workers(name, servers, [BIN / "g-multiworker", "-q", str(path)], methods)

    def _workers(
        self, name: str, servers: Sequence[Program], argv: Sequence[str | Path], methods: Iterable[str]
    ) -> Program:
        named = [method.replace("/", "\\") for method in methods]
        address = addresses(servers)

        def is_known(program: Program) -> bool:
            """Wherever a server runs."""
            up = [server for server in address.split(",") if functions(server)]
            return bool(up) and all(functions(server).get(method) for server in up for method in named)

        return self.add(name, argv, is_known, address=address, environment={"GEARMAN_SERVER": address})


def addresses(servers: Sequence[Program]) -> str:
    return ",".join(server.address for server in servers)


def is_listening(program: Program) -> bool:
    host, port = program.address.split(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False
