"""Every real client, unchanged and from its package, against our server: it prints what it would with gearmand.

The programs are in `clients/`. A foreign client talks to a worker of ours that knows five functions, a foreign worker
to a client of ours. Python's libraries share a module name, so each is looked for in a folder of its own,
`$GEARMAN_CLIENTS/<package>` (`pip install --target`); npm's where `NODE_PATH` says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path

import pytest
import trio

from abraxas_py import Assigned, JobFailed, JobRaised, Server, Worker, open_client, serve

CLIENTS = Path(__file__).parent / "clients"
LIBRARIES = Path(os.environ.get("GEARMAN_CLIENTS", "/nowhere"))
TIMEOUT = 20.0  # seconds for a program

needs_tools = pytest.mark.gearman_tools


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


def need_node(module: str) -> None:
    need(f"Node's {module}", f"npm install {module}", "node", "-e", f"require({module!r})")


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
async def foreign_worker(argv: Sequence[str]) -> AsyncIterator[Server]:
    """A server with a foreign worker that has registered itself."""
    async with serve("127.0.0.1:0") as server, trio.open_nursery() as nursery:
        command = [*argv, server.endpoints[0]]
        run = partial(trio.run_process, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        process: trio.Process = await nursery.start(run)
        with trio.fail_after(TIMEOUT):
            while not any(f.workers for f in server.broker.functions.values()):  # noqa: ASYNC110
                await trio.sleep(0.02)
        yield server
        process.kill()


async def check_worker(server: Server, *, status: bytes = b"done") -> None:
    """What every foreign worker must do."""
    async with open_client(server.endpoints[0]) as client:
        with trio.fail_after(TIMEOUT):
            assert await client.submit("reverse", b"abc") == b"cba"
            assert await client.submit("empty") == b""
            assert await client.submit("status") == status
            assert [await task for task in [client.submit("reverse", b"%d" % n) for n in range(100, 130)]] == [
                (b"%d" % n)[::-1] for n in range(100, 130)
            ]


# gearman and gearadmin


@pytest.fixture
def gearman_tools() -> None:
    need("gearman", "Debian: gearman-tools", "gearman", "-H")


@needs_tools
@pytest.mark.usefixtures("gearman_tools")
async def test_gearman_as_client() -> None:
    async with serve("127.0.0.1:0") as server, trio.open_nursery() as nursery:
        port = server.endpoints[0].rpartition(":")[2]
        await nursery.start(worker_of(server).run)

        async def gearman(*arguments: str, data: bytes = b"") -> tuple[int, bytes]:
            with trio.fail_after(TIMEOUT):
                done = await trio.run_process(
                    ["gearman", "-h", "127.0.0.1", "-p", port, "-t", "10000", *arguments],
                    stdin=data,
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
            return done.returncode, done.stdout

        assert await gearman("-f", "reverse", "abc") == (0, b"cba")
        assert await gearman("-f", "reverse", "-I", data=b"from stdin") == (0, b"nidts morf")
        assert await gearman("-f", "reverse", "-L", "-u", "unique", "low") == (0, b"wol")
        assert await gearman("-f", "reverse", "-n", data=b"ab\ncd\n") == (0, b"\nba\ndc")
        code, text = await gearman("-f", "chatty", "x")
        assert code == 0
        assert b"piece" in text
        assert b"end" in text
        code, _ = await gearman("-f", "fail", "x")
        assert code != 0
        assert (await gearman("-f", "nobody", "-b", "-u", "bg", "x"))[0] == 0
        assert server.broker.functions[b"nobody"].total == 1
        nursery.cancel_scope.cancel()


@needs_tools
@pytest.mark.usefixtures("gearman_tools")
async def test_gearman_as_worker() -> None:
    argv = ["sh", "-c", 'exec gearman -w -h 127.0.0.1 -p "${1##*:}" -f reverse -f empty -- rev', "sh"]
    async with foreign_worker(argv) as server, open_client(server.endpoints[0]) as client:
        with trio.fail_after(TIMEOUT):
            assert await client.submit("reverse", b"abc") == b"cba"
            assert await client.submit("reverse", b"x" * 100_000) == b"x" * 100_000
            assert await client.submit("empty") == b""


@needs_tools
async def test_every_option_of_gearadmin() -> None:
    need("gearadmin", "Debian: gearman-tools", "gearadmin", "--help")
    async with (
        serve("127.0.0.1:0") as server,
        trio.open_nursery() as nursery,
        open_client(server.endpoints[0]) as client,
    ):
        port = server.endpoints[0].rpartition(":")[2]
        await nursery.start(worker_of(server).run)
        handle = await client.submit_bg("nobody", b"x", unique=b"bg")

        async def gearadmin(*arguments: str) -> str:
            with trio.fail_after(TIMEOUT):
                done = await trio.run_process(
                    ["gearadmin", "-h", "127.0.0.1", "-p", port, *arguments],
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
            return done.stdout.decode()

        assert "reverse\t0\t0\t1\n" in await gearadmin("--status")
        assert "nobody\t0\t1\t0\t0\n" in await gearadmin("--priority-status")
        assert "127.0.0.1 ours : chatty boom fail empty reverse" in await gearadmin("--workers")
        assert "1.1.20" in await gearadmin("--server-version")
        assert "ERROR" in await gearadmin("--server-verbose")
        assert str(os.getpid()) in await gearadmin("--getpid")
        assert f"{handle.decode()}\t0\t0\t1" in await gearadmin("--show-jobs")
        assert "bg" in await gearadmin("--show-unique-jobs")
        await gearadmin(f"--cancel-job={handle.decode()}")
        assert server.broker.jobs == {}
        await gearadmin("--create-function=new")
        assert b"new" in server.broker.functions
        await gearadmin("--drop-function=new")
        assert b"new" not in server.broker.functions
        nursery.cancel_scope.cancel()


# libgearman from C


@pytest.fixture(scope="session")
def c_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("a C compiler", "Debian: gcc", "gcc", "--version")
    program = tmp_path_factory.mktemp("c") / "client"
    compiled = subprocess.run(
        ["gcc", "-o", program, CLIENTS / "client.c", "-lgearman"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if compiled.returncode:
        need(f"libgearman's development files: {compiled.stderr}", "Debian: libgearman-dev", "false")
    return program


async def test_libgearman(c_client: Path) -> None:
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, [str(c_client)]) == [
            "reverse GEARMAN_SUCCESS cba",
            "unique GEARMAN_SUCCESS cba",
            "empty GEARMAN_SUCCESS ",
            "chatty GEARMAN_SUCCESS pieceend",
            "fail GEARMAN_WORK_FAIL ",
            "background GEARMAN_SUCCESS",
            "status known 1 running 0",
            "unique known 1 running 0",
            "echo GEARMAN_SUCCESS",
        ]


# Perl, PHP, Python, Node


async def test_perl_client() -> None:
    need("Perl's Gearman::Client", "Debian: libgearman-client-perl", "perl", "-MGearman::Client", "-e1")
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, ["perl", str(CLIENTS / "client.pl")]) == [
            "reverse cba",
            "empty []",
            "high gih",
            "complete end",
            "exception",
            "failed",
            "status 1/2",
            "background known 1 running 0",
        ]


async def test_perl_worker() -> None:
    need("Perl's Gearman::Worker", "Debian: libgearman-client-perl", "perl", "-MGearman::Worker", "-e1")
    async with foreign_worker(["perl", str(CLIENTS / "worker.pl")]) as server:
        await check_worker(server)
        async with open_client(server.endpoints[0]) as client:
            with pytest.raises(JobFailed):
                await client.submit("fail")
            with pytest.raises((JobFailed, JobRaised)):
                await client.submit("boom")


async def test_php_client() -> None:
    need("PHP's gearman extension", "Debian: php-gearman", "php", "-r", "new GearmanClient();")
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, ["php", str(CLIENTS / "client.php")]) == [
            "reverse cba",
            "high gih",
            "low wol",
            "chatty pieceend",
            "fail failed",
            "exception boom",
            "background known 1 running 0",
            "echo ok",
        ]


async def test_php_worker() -> None:
    need("PHP's gearman extension", "Debian: php-gearman", "php", "-r", "new GearmanWorker();")
    async with foreign_worker(["php", str(CLIENTS / "worker.php")]) as server:
        await check_worker(server, status=b"piece done")
        async with open_client(server.endpoints[0]) as client:
            with pytest.raises(JobFailed):
                await client.submit("fail")
            with pytest.raises(JobRaised, match="boom"):
                await client.submit("boom")


async def test_python_gear() -> None:
    command = python("gear", "gear", "gear_both.py")
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, command) == [
            "gear:reverse piece cba ok",
            "reverse cba ok",
            "high gih",
            "gear:fail failed None",
            "fail failed None",
            "gear:boom failed None",  # it does not ask for exceptions
            "boom failed None",
            "background True",
            "admin True",
        ]


def old_python_gearman(package: str, program: str) -> list[str]:
    if package == "gearman3" and sys.version_info >= (3, 9):
        pytest.skip("gearman3 uses array.fromstring, which Python 3.9 removed")
    return python(package, "gearman", program)


@pytest.mark.parametrize("package", ["gearman3", "pygearman"])
async def test_python_gearman_client(package: str) -> None:
    command = old_python_gearman(package, "gearman_client.py")
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, command) == [
            "reverse b'cba'",
            "high b'gih'",
            "chatty COMPLETE b'end'",
            "fail FAILED",
            "background CREATED",
            "status known True running False",
            "version OK 1.1.20",
            "admin [1]",
        ]


@pytest.mark.parametrize("package", ["gearman3", "pygearman"])
async def test_python_gearman_worker(package: str) -> None:
    async with foreign_worker(old_python_gearman(package, "gearman_worker.py")) as server:
        await check_worker(server)
        async with open_client(server.endpoints[0]) as client:
            with pytest.raises((JobFailed, JobRaised)):
                await client.submit("boom")


async def test_node_abraxas() -> None:
    need_node("abraxas")
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, ["node", str(CLIENTS / "abraxas_both.js")]) == [
            "node:reverse cba",
            "reverse cba",
            "high gih",
            "chatty pieceend",
            "fail failed Job H failed",
            "boom failed boom",
            "node:boom failed Error: boom",
            "background true",
            "echo x",
        ]


async def test_node_gearmanode() -> None:
    need_node("gearmanode")
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, ["node", str(CLIENTS / "gearmanode_both.js")]) == [
            "node:reverse complete cba",
            "reverse complete cba",
            "reverse complete gih",
            "chatty status undefined/undefined, data piece, warning careful, complete end",
            "fail failed",
            "node:boom failed",  # it does not ask for exceptions
            "nobody created",
        ]
