"""Every real client, unchanged and from its package, against our server: it prints what it would with gearmand.

A foreign client talks to a worker of ours that knows five functions, a foreign worker to a client of ours. What takes
time is in `test_gearman_times.py`, a server that goes and comes back in `test_gearman_reconnect.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from clients_stage import TIMEOUT, compiled, foreign_worker, gearman, need, node, outcome, perl, php, python, worker_of

from abraxas_py import JobFailed, JobRaised, Server, open_client, serve

needs_tools = pytest.mark.gearman_tools


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

        async def run(*arguments: str, data: bytes = b"") -> tuple[int, bytes]:
            with trio.fail_after(TIMEOUT):
                done = await trio.run_process(
                    ["gearman", "-h", "127.0.0.1", "-p", port, "-t", "10000", *arguments],
                    stdin=data,
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
            return done.returncode, done.stdout

        assert await run("-f", "reverse", "abc") == (0, b"cba")
        assert await run("-f", "reverse", "-I", data=b"from stdin") == (0, b"nidts morf")
        assert await run("-f", "reverse", "-L", "-u", "unique", "low") == (0, b"wol")
        assert await run("-f", "reverse", "-n", data=b"ab\ncd\n") == (0, b"\nba\ndc")
        code, text = await run("-f", "chatty", "x")
        assert code == 0
        assert b"piece" in text
        assert b"end" in text
        code, _ = await run("-f", "fail", "x")
        assert code != 0
        assert (await run("-f", "nobody", "-b", "-u", "bg", "x"))[0] == 0
        assert server.broker.functions[b"nobody"].total == 1
        nursery.cancel_scope.cancel()


@needs_tools
async def test_gearman_as_worker() -> None:
    async with foreign_worker(gearman("worker.sh")) as server, open_client(server.endpoints[0]) as client:
        with trio.fail_after(TIMEOUT):
            assert await client.submit("reverse", b"abc") == b"cba"
            assert await client.submit("reverse", b"x" * 100_000) == b"x" * 100_000
            assert await client.submit("empty") == b""


# Its -S is --ssl; --shutdown, which older ones had, is not among the options of 1.1.20.
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


async def test_libgearman(tmp_path: Path) -> None:
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, compiled("client.c", tmp_path)) == [
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
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, perl("client.pl")) == [
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
    async with foreign_worker(perl("worker.pl")) as server:
        await check_worker(server)
        async with open_client(server.endpoints[0]) as client:
            with pytest.raises(JobFailed):
                await client.submit("fail")
            with pytest.raises((JobFailed, JobRaised)):
                await client.submit("boom")


async def test_php_client() -> None:
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, php("client.php")) == [
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
    async with foreign_worker(php("worker.php")) as server:
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


# pygearman has python-gearman 2's API, and so has gearman3; but gearman3 0.2.1 uses array.fromstring, which Python 3.9
# removed, so no Python that runs this server runs it.


async def test_pygearman_client() -> None:
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, python("pygearman", "gearman", "gearman_client.py")) == [
            "reverse b'cba'",
            "high b'gih'",
            "chatty COMPLETE b'end'",
            "fail FAILED",
            "background CREATED",
            "status known True running False",
            "version OK 1.1.20",
            "admin [1]",
        ]


async def test_pygearman_worker() -> None:
    async with foreign_worker(python("pygearman", "gearman", "gearman_worker.py")) as server:
        await check_worker(server)
        async with open_client(server.endpoints[0]) as client:
            with pytest.raises((JobFailed, JobRaised)):
                await client.submit("boom")


async def test_node_abraxas() -> None:
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, node("abraxas", "abraxas_both.js")) == [
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
    async with serve("127.0.0.1:0") as server:
        assert await outcome(server, node("gearmanode", "gearmanode_both.js")) == [
            "node:reverse complete cba",
            "reverse complete cba",
            "reverse complete gih",
            "chatty status undefined/undefined, data piece, warning careful, complete end",
            "fail failed",
            "node:boom failed",  # it does not ask for exceptions
            "nobody created",
        ]
