"""The storm: three cores, two gearmands, one MariaDB, six workers, thousands of jobs, and something dies all the time.

    python -m tests.cluster [--jobs=10000] [--every=3] [--seed=1] [--folder=DIR]

Afterwards no acknowledged job is lost, none was executed twice at once, no row changed once it was terminal, every core
did its share, and dead ones were replaced in time: two ledgers and triggers outside the system say so.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import attrs
import pymysql
import trio
from ledger_stage import Acknowledged, command
from mariadb_stage import DURABLE, MariaDb
from site_stage import Program, Site
from storm_load import METHODS, Load
from verdict import Seen, Verdict, judge, lines, watch_terminal_rows
from weather import Victim, Weather

CORES, WORKERS = 3, 6
JOBS_AT_ONCE = 4  # of each worker
CALM = 240.0  # s for everything to end once the weather is fair
REPORT = 5.0  # s between lines of progress


@attrs.define
class Database:
    """The database server as something that can be killed."""

    server: MariaDb
    name: str = "mariadb-1"

    @property
    def pid(self) -> int:
        assert self.server._process is not None
        return self.server._process.pid

    @property
    def is_running(self) -> bool:
        return self.server._process is not None and self.server._process.poll() is None

    def spawn(self) -> None:
        self.server.start()

    def kill(self) -> None:
        self.server.stop(SIGKILL)

    def stop(self) -> None:
        self.server.signal(SIGSTOP)

    def cont(self) -> None:
        self.server.signal(SIGCONT)


@attrs.define
class Cluster:
    """All that runs, and the ids of all processes that a core's program has had."""

    server: MariaDb
    database: str
    ledger: Path
    gearmands: list[Program]
    cores: list[Program]
    workers: list[Program]
    pids: dict[int, str] = attrs.field(factory=dict)

    @property
    def victims(self) -> list[Victim]:
        return [*self.cores, *self.gearmands, *self.workers, Database(self.server)]

    @property
    def servers(self) -> list[str]:
        return [one.address for one in self.gearmands]

    def note_pids(self) -> None:
        for core in self.cores:
            self.pids[core.pid] = core.name

    def ended(self) -> tuple[int, int]:
        """How many jobs there are, and how many of them have ended; raises pymysql.Error."""
        ((total, ended),) = self.server.sql(
            "SELECT COUNT(*), COALESCE(SUM(status IN ('complete', 'errored', 'invalid', 'duplicate')), 0) "
            "FROM gearbox_jobs",
            self.database,
        )
        return int(total), int(ended)


@contextmanager
def cluster(folder: Path, gearmand: str, workers: int = WORKERS) -> Iterator[Cluster]:
    """Everything up and ready. Half of the workers are g-worker, half g-multiworker with both methods."""
    with ExitStack() as stack:
        # the path of a socket has at most 107 bytes
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="storm")))
        server = MariaDb(data, DURABLE)
        server.install()
        server.start()
        stack.callback(server.stop)
        address = stack.enter_context(server.database())
        site = stack.enter_context(Site(folder))
        ledger = folder / "ledger"
        run = command(ledger)
        servers = [site.gearmand(f"gearmand-{n + 1}", gearmand) for n in range(2)]
        settings = MariaDb.environment(address) | {"GEARBOX_HTTP": "off"}
        cores = [site.core(f"core-{n + 1}", servers, **settings) for n in range(CORES)]
        watch_terminal_rows(server, address.database)
        config = "".join(
            f"[{method.replace('::', '.')}]\ncommand = {json.dumps(run)}\ninput = 'append'\n"
            f"concurrency = {JOBS_AT_ONCE // 2}\n"
            for method in METHODS
        )
        crew = []
        for n in range(workers):
            name = f"worker-{n + 1}"
            if n % 2:
                crew.append(site.multiworker(name, servers, config, METHODS))
            else:
                method = METHODS[n // 2 % 2]
                crew.append(site.worker(name, servers, method, run, "-I", "append", "-j", f"{JOBS_AT_ONCE}"))
        yield Cluster(server, address.database, ledger, servers, cores, crew)


async def storm(
    it: Cluster,
    folder: Path,
    jobs: int,
    every: float,
    seed: int,
    say: Callable[[str], None],
    seconds: float = inf,
) -> Verdict:
    """Queue the jobs in bad weather, wait for their end in fair weather, and judge.

    With a limit in `seconds`, no core has to have had its share.
    """
    chance = random.Random(seed)
    acknowledged = Acknowledged(folder / "acknowledged")
    load = Load(it.servers, jobs, acknowledged, chance, seconds)
    weather = Weather(it.victims, every, random.Random(seed + 1))
    it.note_pids()
    began = time.monotonic()
    lateness = 0.0  # s, the longest, of a task that only wanted to sleep: how busy the machine was

    def look() -> None:
        it.note_pids()
        try:
            total, ended = it.ended()
        except pymysql.Error:
            return
        load.done = ended - (total - len(acknowledged.jobs))

    async def tell() -> None:
        while True:
            await trio.sleep(REPORT)
            down = ", ".join(weather.down) or "nothing"
            say(
                f"{time.monotonic() - began:4.0f} s: {len(acknowledged.jobs)} acknowledged, {load.done} done, "
                f"{len(weather.faults)} faults, down: {down}"
            )

    async def supervise() -> None:
        """What has ended by itself (a core whose database was away when it started) is started again."""
        nonlocal lateness
        while True:
            due = time.monotonic() + 0.5
            await trio.sleep(0.5)
            lateness = max(lateness, time.monotonic() - due)
            await trio.to_thread.run_sync(look)
            for victim in weather.victims:
                if victim.name not in weather.down and not victim.is_running:
                    say(f"{victim.name} has ended by itself, and is started again")
                    await trio.to_thread.run_sync(victim.spawn)

    async with trio.open_nursery() as helpers:
        helpers.start_soon(tell)
        helpers.start_soon(supervise)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            nursery.start_soon(weather.run, lambda: load.is_queued)
        stormy = time.monotonic() - began
        with trio.move_on_after(CALM):
            while load.done < len(acknowledged.jobs):  # noqa: ASYNC110
                await trio.sleep(0.5)
        took = time.monotonic() - began
        helpers.cancel_scope.cancel()
    acknowledged.close()
    (folder / "faults").write_text("".join(f"{fault}\n" for fault in weather.faults))
    is_full = seconds == inf
    seen = Seen(acknowledged.jobs, load.watched, weather.faults, it.pids, lateness)
    verdict = judge(it.server, it.database, it.ledger, seen, is_full)
    kinds = sorted({fault.name.partition("-")[0] for fault in weather.faults})
    verdict.figures["faults"] = {
        kind: f"{sum(f.name.startswith(kind) and not f.is_stop for f in weather.faults)} killed, "
        f"{sum(f.name.startswith(kind) and f.is_stop for f in weather.faults)} stopped"
        for kind in kinds
    }
    verdict.figures["time"] = f"{took:.0f} s, of which {stormy:.0f} s in bad weather"
    return verdict


def main() -> None:
    """The command."""
    parser = ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between faults, on average")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--folder", type=Path, help="where logs and ledgers are kept")
    parser.add_argument("--gearmand", default="/usr/sbin/gearmand")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="storm-logs-"))
    folder.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    say(f"seed {given.seed}, logs in {folder}")
    with cluster(folder, given.gearmand) as it:
        verdict = trio.run(storm, it, folder, given.jobs, given.every, given.seed, say)
    for line in lines(verdict):
        print(line)
    for fault in verdict.faults:
        print(f"FAULT {fault}")
    sys.exit(1 if verdict.faults else 0)
