"""Two servers, one of them killed and started again, over and over, under load."""

from __future__ import annotations

import itertools
import random
import subprocess
from collections import Counter
from collections.abc import Callable

import gearman_servers
import pytest
import trio
from gearman_servers import answers, free_port, process

from abraxas_py import AbraxasError, Assigned, ConnectionLost, Worker, open_client

ROUNDS = 6
SUBMITTERS = 20


@pytest.fixture(params=["abraxas", pytest.param("gearmand", marks=pytest.mark.gearmand)])
def start(
    request: pytest.FixtureRequest, program: Callable[[str, str], str]
) -> Callable[[int], subprocess.Popen[bytes]]:
    """Starts a server on a port."""
    if request.param == "abraxas":
        return gearman_servers.abraxas
    path = program("gearmand", "gearman-job-server")
    return lambda port: gearman_servers.gearmand(path, port)


async def test_every_job_ends_and_workers_come_back(start: Callable[[int], subprocess.Popen[bytes]]) -> None:
    steady, shaky = free_port(), free_port()
    addresses = [f"127.0.0.1:{steady}", f"127.0.0.1:{shaky}"]
    chance = random.Random(4)
    ends: Counter[str] = Counter()
    numbers = itertools.count()
    is_over = False

    async def double(job: Assigned) -> bytes:
        await trio.sleep(chance.random() * 0.02)
        return job.data * 2

    async def submit() -> None:
        while not is_over:
            data = b"%d" % next(numbers)
            try:
                assert await client.submit("double", data) == data * 2
            except ConnectionLost:
                ends["lost"] += 1
            else:
                ends["done"] += 1

    async def flap() -> None:
        nonlocal is_over
        for _ in range(ROUNDS):
            await trio.sleep(0.2)
            server = start(shaky)
            async with process(server):
                await answers(addresses[1])
                # Only a worker that has come back can do this one.
                async with open_client(addresses[1]) as direct:
                    with trio.fail_after(10):
                        while True:
                            try:
                                assert await direct.submit("double", b"ab") == b"abab"
                                break
                            except AbraxasError:
                                continue
                await trio.sleep(chance.random() * 0.3)
        is_over = True

    worker = Worker(*addresses, max_jobs=SUBMITTERS)
    worker.add("double", double)
    async with process(start(steady)):
        await answers(addresses[0])
        async with open_client(*addresses) as client, trio.open_nursery() as work:
            await work.start(worker.run)
            with trio.fail_after(45):
                async with trio.open_nursery() as load:
                    load.start_soon(flap)
                    for _ in range(SUBMITTERS):
                        load.start_soon(submit)
            assert ends["done"] > 100
            worker.stop()
    # Nothing but a result or ConnectionLost was seen, and nothing hangs: the nursery of submitters came to its end.
    assert set(ends) <= {"done", "lost"}
