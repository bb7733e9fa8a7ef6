"""How a foreign program is found, built and run: what the tests of real clients share.

The programs are in `clients/`. Python's libraries share a module name, so each is looked for in a folder of its own,
`$GEARMAN_CLIENTS/<package>` (`pip install --target`); npm's where `NODE_PATH` says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path

import pytest
import trio

from abraxas_py import Assigned, JobFailed, JobRaised, Server, Worker, serve

CLIENTS = Path(__file__).parent / "clients"
LIBRARIES = Path(os.environ.get("GEARMAN_CLIENTS", "/nowhere"))
TIMEOUT = 20.0  # seconds for a program


@cache
def has(*probe: str) -> bool:
    """Whether a command exists and ends well."""
    if shutil.which(probe[0]) is None:
        return False
    return subprocess.run(probe, capture_output=True, timeout=60, check=False).returncode == 0


def need(what: str, package: str, *probe: str) -> None:
    """Skip, or fail on CI, where a client is missing."""
    if not has(*probe):
        message = f"{what} is missing ({package})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def python(package: str, module: str, program: str) -> list[str]:
    """The command that runs a program with a Python library; skips where that is missing."""
    environment = ["env", f"PYTHONPATH={LIBRARIES / package}", sys.executable, "-W", "ignore"]
    need(
        f"Python's {package}",
        f"pip install --target $GEARMAN_CLIENTS/{package}",
        *environment,
        "-c",
        f"import {module}",
    )
    return [*environment, str(CLIENTS / program)]


def compiled(program: str, folder: Path) -> list[str]:
    """The command that runs a program of libgearman's, built in `folder`."""
    need("a C compiler", "Debian: gcc", "gcc", "--version")
    built = folder / program.removesuffix(".c")
    command = ["gcc", "-o", str(built), str(CLIENTS / program), "-lgearman"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        need(f"libgearman's development files: {done.stderr}", "Debian: libgearman-dev", "false")
    return [str(built)]


def gearman(program: str) -> list[str]:
    """The command that runs a script of the command gearman's."""
    need("gearman", "Debian: gearman-tools", "gearman", "-H")
    return ["sh", str(CLIENTS / program)]


def php(program: str) -> list[str]:
    """The command that runs a program with PHP's extension."""
    need("PHP's gearman extension", "Debian: php-gearman", "php", "-r", "new GearmanClient();")
    return ["php", str(CLIENTS / program)]


def perl(program: str) -> list[str]:
    """The command that runs a program with Perl's modules."""
    need("Perl's Gearman", "Debian: libgearman-client-perl", "perl", "-MGearman::Client", "-MGearman::Worker", "-e1")
    return ["perl", str(CLIENTS / program)]


def node(module: str, program: str) -> list[str]:
    """The command that runs a program with one of Node's modules."""
    need(f"Node's {module}", f"npm install {module}", "node", "-e", f"require({module!r})")
    return ["node", str(CLIENTS / program)]


# The command for a kind of program (`worker`, `lines`, `epoch`) with each library, built in a folder where need be.
PROGRAMS: dict[str, Callable[[str, Path], list[str]]] = {
    "gearman": lambda kind, _: gearman(f"{kind}.sh"),
    "libgearman": lambda kind, folder: compiled(f"{kind}.c", folder),
    "php": lambda kind, _: php(f"{kind}.php"),
    "perl": lambda kind, _: perl(f"{kind}.pl"),
    "gear": lambda kind, _: python("gear", "gear", f"gear_{kind}.py"),
    "pygearman": lambda kind, _: python("pygearman", "gearman", f"gearman_{kind}.py"),
    "abraxas": lambda kind, _: node("abraxas", f"abraxas_{kind}.js"),
    "gearmanode": lambda kind, _: node("gearmanode", f"gearmanode_{kind}.js"),
}


def worker_of(server: Server) -> Worker:
    """What foreign clients ask for."""
    worker = Worker(server.endpoints[0], client_id="ours", max_jobs=10)

    async def reverse(job: Assigned) -> bytes:
        return job.data[::-1]

    async def empty(job: Assigned) -> bytes:
        return b""

    async def fail(job: Assigned) -> None:
        raise JobFailed("no")

    async def boom(job: Assigned) -> None:
        raise JobRaised(b"boom")

    async def chatty(job: Assigned) -> bytes:
        job.status(1, 2)
        job.send_data(b"piece")
        job.warn(b"careful")
        return b"end"

    for function in (reverse, empty, fail, boom, chatty):
        worker.add(function.__name__, function)
    return worker


async def outcome(server: Server, argv: Sequence[str]) -> list[str]:
    """What a foreign client prints, line by line."""
    async with trio.open_nursery() as nursery:
        await nursery.start(worker_of(server).run)
        with trio.fail_after(TIMEOUT):
            done = await trio.run_process(
                [*argv, server.endpoints[0]], capture_stdout=True, capture_stderr=True, check=False
            )
        nursery.cancel_scope.cancel()
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return re.sub("H:[^ ]*:[0-9]+", "H", done.stdout.decode()).splitlines()


@asynccontextmanager
async def running(argv: Sequence[str], endpoint: str) -> AsyncIterator[None]:
    """A foreign program, for the time of a block."""
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        process: trio.Process = await nursery.start(run, [*argv, endpoint])
        yield
        process.kill()


async def has_workers(server: Server, function: bytes, count: int = 1) -> None:
    """Wait until a function has so many workers."""
    with trio.fail_after(TIMEOUT):
        known = server.broker.functions
        while function not in known or known[function].workers < count:  # noqa: ASYNC110
            await trio.sleep(0.02)


@asynccontextmanager
async def foreign_worker(argv: Sequence[str], *, function: bytes = b"reverse") -> AsyncIterator[Server]:
    """A server with a foreign worker that has registered a function."""
    async with serve("127.0.0.1:0") as server, running(argv, server.endpoints[0]):
        await has_workers(server, function)
        yield server


class Lines:
    """A foreign client that is given lines, and answers each with a line."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._unread = b""

    async def ask(self, line: str) -> str:
        """Send a line, wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with trio.fail_after(TIMEOUT):
            await self._process.stdin.send_all(line.encode() + b"\n")
            while b"\n" not in self._unread:
                received = await self._process.stdout.receive_some()
                assert received, "the client has ended"
                self._unread += received
        answer, _, self._unread = self._unread.partition(b"\n")
        return answer.decode()


@asynccontextmanager
async def lines(argv: Sequence[str], endpoint: str) -> AsyncIterator[Lines]:
    """A foreign client that is given lines, for the time of a block."""
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        process: trio.Process = await nursery.start(run, [*argv, endpoint])
        yield Lines(process)
        process.kill()
