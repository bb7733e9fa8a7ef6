"""Several cores on one MariaDB and one gearmand: what a second and a third one add, and where the time goes.

Two loads, each with as many callers as keep the cores busy: calls of `queue` for jobs far in the future, which is the
cores' and the database's work alone, and jobs that do nothing from `queue` to `complete` with one worker process.

All processes share this machine, so the figures show how much of its processors each kind has used up: with three cores
to two processors there is nothing left to gain, and the database's share says what a larger machine would leave it to.

`held-cores` is that larger machine in small: each core may use a small share of a processor, so that there is room for
the database, Gearman, the worker and the callers, as if each core had a machine of its own. There the callers are as
many for each core, which sees the same load whether it is alone or not.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pymysql
import trio

from abraxas_py import open_admin
from bench.brokers import REFERENCE, Broker, found
from bench.figures import Bench, Effort, Metric, Run, Sample
from bench.machine import can_hold, cpu_seconds, free_port, held, running, wait_for_port
from bench.scheduler import METHOD, WORKER, queue, wait_for_worker
from gearbox.client import Gearbox, open_gearbox

__all__ = ["BENCHES"]

JOBS, JOBS_HELD = 3_000, 600
SHARE = 0.15  # of a processor, for a core that is held
CLIENTS = 4  # connections, each with so many calls at once
CALLERS = 32
START_TIMEOUT = 30.0  # s
QUEUE = b"gearbox\\core::queue"
FAR = "2999-01-01"


@contextmanager
def mariadb(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """A server of our own, durable at every commit: its process id, and what makes `g-core` use it."""
    port, socket = free_port(), folder / "s"
    common = ["--no-defaults", f"--datadir={folder / 'data'}", f"--socket={socket}", "--user=root"]
    subprocess.run(
        ["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        capture_output=True,
    )
    flags = [f"--port={port}", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=256M", "--performance-schema=OFF"]
    with running(["mariadbd", *common, *flags]) as pid:
        wait_for_port(port)
        connection = pymysql.connect(unix_socket=str(socket), user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE bench CHARACTER SET utf8mb4")
            cursor.execute("CREATE USER bench@127.0.0.1 IDENTIFIED BY 'bench'")
            cursor.execute("GRANT ALL ON bench.* TO bench@127.0.0.1")
        yield (
            pid,
            {
                "MYSQL_HOSTNAME": "127.0.0.1",
                "MYSQL_PORT": str(port),
                "MYSQL_DATABASE": "bench",
                "MYSQL_USER": "bench",
                "MYSQL_PASSWORD": "bench",
                "GEARBOX_HTTP": "off",
            },
        )


def measure(cores: int, gearmand: Broker, share: float | None, effort: Effort) -> Sample:
    """Start everything, put both loads on it, and see what each process has used. `share`: what a core may use."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder, ExitStack() as stack:
        database, environment = stack.enter_context(mariadb(Path(folder)))
        port = free_port()
        server = stack.enter_context(running(gearmand.command(port)))
        wait_for_port(port)
        address = f"127.0.0.1:{port}"
        command = [str(Path(sys.executable).parent / "g-core")]
        core = partial(running, command, environment | {"GEARMAN_SERVER": address})
        pids = [stack.enter_context(core()) for _ in range(cores)]
        worker = stack.enter_context(running([sys.executable, "-c", WORKER, address]))
        trio.run(wait_for_worker, address)
        used = {"cores": pids, "database": [database], "gearmand": [server], "worker": [worker]}
        trio.run(wait_for_cores, address, cores)
        if share is not None:
            for pid in pids:
                stack.enter_context(held(pid, share))
            return trio.run(load, address, effort.count(JOBS_HELD) * cores, CALLERS * cores, used)
        return trio.run(load, address, effort.count(JOBS), CALLERS, used)


async def load(address: str, jobs: int, callers: int, used: Mapping[str, Sequence[int]]) -> Sample:
    each = max(1, jobs // callers)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_gearbox([address])) for _ in range(CLIENTS)]
        before = {name: sum(map(cpu_seconds, pids)) for name, pids in used.items()}
        queued = await timed([partial(queue_far, clients[n % CLIENTS], each) for n in range(callers)])
        ids: list[int] = []
        began = time.perf_counter()
        await timed([partial(queue, clients[n % CLIENTS], each, ids) for n in range(callers)])
        while (await clients[0].stats(METHOD))["states"].get("complete", 0) < len(ids):  # noqa: ASYNC110
            await trio.sleep(0.05)
        done = time.perf_counter() - began
        shares = {
            name: 100 * (sum(map(cpu_seconds, pids)) - before[name]) / (queued + done) for name, pids in used.items()
        }
        return {"queued": each * callers / queued, "complete": len(ids) / done, **shares}


async def wait_for_cores(address: str, cores: int) -> None:
    """Wait until every core offers its functions."""
    with trio.fail_after(START_TIMEOUT):
        async with open_admin(address) as admin:
            while not any(row.function == QUEUE and row.workers == cores for row in await admin.status()):  # noqa: ASYNC110
                await trio.sleep(0.05)


async def timed(tasks: Sequence[Callable[[], Awaitable[None]]]) -> float:
    """How long they take together."""
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
    return time.perf_counter() - began


async def queue_far(gearbox: Gearbox, jobs: int) -> None:
    for _ in range(jobs):
        await gearbox.queue("bench::later", after_date=FAR)


def systems(share: float | None = None) -> dict[str, Run]:
    """One to three cores, where there is a gearmand and a MariaDB, and, if they are held, a way to do that."""
    gearmand = next((broker for broker in found() if broker.name == REFERENCE), None)
    if gearmand is None or not shutil.which("mariadb-install-db") or (share is not None and not can_hold()):
        return {}
    return {f"{n} core{'s' * (n > 1)}": partial(measure, n, gearmand, share) for n in (1, 2, 3)}


METRICS = (
    Metric("queued", "jobs/s", is_main=True),
    Metric("complete", "jobs/s", is_main=True),
    Metric("cores", "% of a processor"),
    Metric("database", "% of a processor"),
    Metric("gearmand", "% of a processor"),
    Metric("worker", "% of a processor"),
)


BENCHES = [
    Bench(
        "cores",
        "Several cores on one MariaDB (durable) and one gearmand, 32 callers: jobs for later queued, jobs done",
        METRICS,
        systems,
        reference="1 core",
        rounds=3,
    ),
    Bench(
        "held-cores",
        f"The same, each core held to {SHARE:.0%} of a processor, and 32 callers for each: nothing else is the limit",
        METRICS,
        partial(systems, SHARE),
        reference="1 core",
        rounds=3,
    ),
]
