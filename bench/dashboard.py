"""How fast the dashboard is over a large table, and what open pages cost the scheduler.

    python bench/dashboard.py fill 5000000 /tmp/large.db     # once; some minutes
    python bench/dashboard.py pages /tmp/large.db            # time of each page, on the server
    python bench/dashboard.py live                           # throughput with 0 and 50 open pages, in turns

`fill` writes rows as the store would, past it: most of them complete, 1,000 running, 100,000 waiting.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import trio

from gearbox.client import open_gearbox
from gearbox.store import open_store
from gearbox.store.rollups import bucket_of

BIN = Path(sys.executable).parent
RUNNING, WAITING = 1_000, 100_000
ROUNDS = 5  # of each page
OPEN_PAGES = 50
JOBS = 3_000  # of one round of `live`
LIVE_ROUNDS = 4

# Of 20 methods; the last rows run or wait, of the others two in a hundred failed; a job took up to a minute.
FILL = """
INSERT INTO gearbox_jobs (
    id, method_name, arguments, created, updated, status, dedupe, has_dedupe, completed, result_data, ready_at,
    claimed_at, epoch, events, after_date, next_at, opens_at)
WITH RECURSIVE counted (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM counted WHERE id < :rows),
    made AS (SELECT id, abs(random()) % 20 AS method, abs(random()) % 60000000 AS took,
        CASE WHEN :rows - id < :running THEN 'running' WHEN :rows - id < :running + :waiting THEN 'waiting'
            WHEN abs(random()) % 50 = 0 THEN 'errored' ELSE 'complete' END AS status,
        :now - (:rows - id) * 1000 AS created FROM counted)
SELECT id, 'shop::task' || method, '["file-' || id || '",{"size":' || id || '}]', created, created, status,
    'key-' || id, id % 100 = 0,
    CASE WHEN status IN ('complete', 'errored') THEN created + 1000 + took END,
    CASE status WHEN 'errored' THEN '{"code":7,"message":"no"}' WHEN 'complete' THEN '"fine"' END, created,
    CASE WHEN status <> 'waiting' THEN created + 1000 END, status <> 'waiting', 1,
    CASE WHEN status = 'waiting' THEN :now + 10000000000000 + id END,
    CASE WHEN status = 'waiting' THEN :now + 10000000000000 + id END,
    CASE WHEN status = 'waiting' THEN :now + 10000000000000 + id END
FROM made
"""
SUMS = (
    "INSERT INTO gearbox_counts SELECT method_name, status, COUNT(*) FROM gearbox_jobs GROUP BY method_name, status",
    "INSERT INTO gearbox_methods SELECT method_name, min(created), max(created) FROM gearbox_jobs GROUP BY method_name",
    """INSERT INTO gearbox_attempts (job_id, epoch, owner, claimed_at, started_at, worker)
    SELECT id, 1, 'bench', claimed_at, claimed_at, 'bench' FROM gearbox_jobs WHERE status = 'running'""",
)
PAGES = (
    "/", "/jobs", "/jobs?q=status:failed", "/jobs?q=status:running", "/jobs?q=status:waiting",
    "/jobs?q=status:complete",
    "/jobs?q=method:shop::task3", "/jobs?q=method:shop::task3+status:errored", "/jobs?q=arg:file-777777",
    "/jobs?q=took>59s", "/jobs?q=dedupe:key-500000", "/jobs?q=method:shop::*+took>59s", "/jobs?below=2500000",
    "/jobs/{old}", "/jobs/{running}", "/pools", "/methods", "/method?name=shop::task3", "/scheduled", "/failed",
    "/gearman", "/workers", "/audit", "/system", "/metrics",
)  # fmt: skip


def fill(rows: int, path: Path) -> None:
    """Write the rows, and the sums that the store keeps of them."""
    open_store(str(path)).close()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")
    database.execute("BEGIN")
    values = {"rows": rows, "running": RUNNING, "waiting": WAITING, "now": int(time.time() * 1e6)}
    database.execute(FILL, values)
    for statement in SUMS:
        database.execute(statement)
    chance = random.Random(1)
    for number in range(20):
        for measure in ("wait", "run"):
            samples = Counter(bucket_of(chance.expovariate(0.2)) for _ in range(100_000))
            rows_of = [
                (f"shop::task{number}", measure, bucket, jobs, jobs * 5.0, 0) for bucket, jobs in samples.items()
            ]
            database.executemany("INSERT INTO gearbox_measures VALUES (?, ?, ?, ?, ?, ?)", rows_of)
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


@contextmanager
def served(path: Path) -> Iterator[tuple[str, int]]:
    """A core on the file: its Gearman address and its port for HTTP."""
    address, port = f"127.0.0.1:{_free_port()}", _free_port()
    process = subprocess.Popen(
        [BIN / "g-core"],
        env=os.environ
        | {"GEARBOX_DATABASE": str(path), "GEARBOX_LISTEN": address, "GEARBOX_HTTP": f"127.0.0.1:{port}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "Look at it" in line:
                break
        yield address, port
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def _free_port() -> int:
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def pages(path: Path) -> None:
    """The median time of each page; the slowest of all its rounds beside it."""
    with served(path) as (_, port):
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        time.sleep(5)  # what an earlier process left as running is looked at first
        with sqlite3.connect(path) as database:
            rows = database.execute("SELECT max(id) FROM gearbox_jobs").fetchone()[0]
        for page in PAGES:
            page = page.format(old=rows // 2, running=rows)
            spans = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                connection.request("GET", page)
                answer = connection.getresponse()
                answer.read()
                spans.append(1000 * (time.perf_counter() - began))
                assert answer.status in (200, 404), (page, answer.status)
            print(f"{statistics.median(spans):8.1f} ms  {max(spans):8.1f} ms  {page}", flush=True)


def live() -> None:
    """Jobs a second with and without open pages, in turns on one core."""
    folder = Path(tempfile.mkdtemp())
    try:
        with served(folder / "live.db") as (address, port):
            found: dict[int, list[float]] = {0: [], OPEN_PAGES: []}
            for _ in range(LIVE_ROUNDS):
                for number in found:
                    open_pages = [_listen(port, one) for one in range(number)]
                    found[number].append(trio.run(_run_jobs, address))
                    for one in open_pages:
                        one.close()
                    time.sleep(1)
            for number, speeds in found.items():
                print(f"{number:3} pages: {statistics.median(speeds):8.0f} jobs/s  {[round(s) for s in speeds]}")
            ratio = statistics.median(found[OPEN_PAGES]) / statistics.median(found[0])
            print(f"ratio {ratio:.3f}")
    finally:
        shutil.rmtree(folder)


def _listen(port: int, number: int) -> HTTPConnection:
    """An open page: each fifth is the overview, the others look at jobs."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    ids = ",".join(str(id) for id in range(number * 10 + 1, number * 10 + 51))
    connection.request("GET", "/live?overview=1" if number % 5 == 0 else f"/live?jobs={ids}")
    connection.getresponse()
    return connection


async def _run_jobs(address: str) -> float:
    """Noops through the whole scheduler, durable each: jobs a second."""
    began = trio.current_time()
    async with open_gearbox([address]) as gearbox, trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(_queue_some, gearbox)
    return JOBS / (trio.current_time() - began)


async def _queue_some(gearbox: object) -> None:
    for _ in range(JOBS // 64):
        await gearbox.queue("gearbox\\core::noop")  # type: ignore[attr-defined]


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["fill", rows, path]:
            fill(int(rows), Path(path))
        case ["pages", path]:
            pages(Path(path))
        case ["live"]:
            live()
        case _:
            print(__doc__, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
