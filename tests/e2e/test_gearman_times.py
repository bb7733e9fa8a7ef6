"""What takes time, with every real client that offers it: jobs for later, time limits of workers, clients' patience."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio
from clients_stage import PROGRAMS, TIMEOUT, foreign_worker, has_workers, lines

from abraxas_py import Assigned, Server, Worker, open_client, serve

# Jobs for later. libgearman can (gearman_execute; not the command gearman), and abraxas. PHP's extension, Perl's
# modules, gear, pygearman and gearmanode have no call for SUBMIT_JOB_EPOCH; SUBMIT_JOB_SCHED only abraxas has.


async def run_when(server: Server, count: int) -> list[str]:
    """Run so many jobs whose data is the second they are for; which came, and whether that second had."""
    ran: list[str] = []
    worker = Worker(server.endpoints[0])

    async def when(job: Assigned) -> None:
        ran.append("due" if time.time() >= int(job.data) else "too early")

    worker.add("when", when)
    async with trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        with trio.fail_after(TIMEOUT):
            while len(ran) < count or server.broker.functions[b"when"].total:  # noqa: ASYNC110
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    return ran


@pytest.mark.parametrize(
    ("library", "printed"),
    [
        ("libgearman", ["later GEARMAN_SUCCESS", "known 1 running 0", "past GEARMAN_SUCCESS", "known 1 running 0"]),
        ("abraxas", ["later known 1 running 0", "past true", "schedule true"]),
    ],
)
async def test_a_job_for_later_is_not_given_out_before(library: str, printed: list[str], tmp_path: Path) -> None:
    command = PROGRAMS[library]("epoch", tmp_path)
    async with serve("127.0.0.1:0") as server:
        with trio.fail_after(TIMEOUT):
            done = await trio.run_process([*command, server.endpoints[0]], capture_stdout=True)
        assert done.stdout.decode().splitlines() == printed
        assert await run_when(server, 2) == ["due", "due"]
        scheduled = server.broker.functions.get(b"yearly")
        assert (scheduled.total if scheduled else 0) == (1 if "schedule true" in printed else 0)


# A worker's limit for a job (CAN_DO_TIMEOUT): `slow` takes a second of the 0.3 s for which it was registered. The
# command gearman registers without one (its -t is how long it waits itself), and pygearman has no call for it.


@pytest.mark.parametrize("library", ["libgearman", "php", "perl", "gear", "abraxas", "gearmanode"])
async def test_a_job_that_exceeds_its_worker_s_limit_is_given_to_another(library: str, tmp_path: Path) -> None:
    async with (
        foreign_worker(PROGRAMS[library]("worker", tmp_path), function=b"slow") as server,
        open_client(server.endpoints[0]) as client,
        trio.open_nursery() as nursery,
    ):
        slow = server.broker.functions[b"slow"]
        await has_workers(server, b"reverse")
        with trio.fail_after(TIMEOUT):
            task = client.submit("slow", b"x")
            while not slow.running:  # noqa: ASYNC110
                await trio.sleep(0.01)
            other = Worker(server.endpoints[0])

            async def ours(job: Assigned) -> bytes:
                return b"ours"

            other.add("slow", ours)
            await nursery.start(other.run)
            assert await task == b"ours"
            assert server.broker.jobs == {}
            # Its late result is passed over, and it goes on.
            assert await client.submit("reverse", b"abc") == b"cba"
            assert server.broker.jobs == {}
            assert slow.running == 0
        nursery.cancel_scope.cancel()


# A client's own patience ends; the connection, and the server's memory of the job, do not suffer. gear's and
# gearmanode's clients wait for a result as long as it takes, and so does abraxas: its responseTimeout ends with
# JOB_CREATED.


@pytest.mark.parametrize(
    ("library", "said"),
    [
        pytest.param("gearman", "timeout reached", marks=pytest.mark.gearman_tools),
        ("libgearman", "GEARMAN_TIMEOUT"),
        ("php", "GEARMAN_TIMEOUT"),
        ("perl", "Task nobody elapsed timeout [0.3s]"),
        ("pygearman", "timed out True"),
    ],
)
async def test_a_client_that_waited_long_enough_goes_on(library: str, said: str, tmp_path: Path) -> None:
    command, worker = (PROGRAMS[library](kind, tmp_path) for kind in ("lines", "worker"))
    async with foreign_worker(worker) as server:
        async with lines(command, server.endpoints[0]) as client:
            assert await client.ask("timeout") == said
            assert await client.ask("abc") == "cba"
        with trio.fail_after(TIMEOUT):
            while server.broker.jobs:  # noqa: ASYNC110
                await trio.sleep(0.02)
