"""How fast the dashboard's pages are over a large table, and what open pages cost the scheduler.

`pages` writes a table as the store would, past it: most jobs complete, 1,000 running, 100,000 waiting. Then it asks for
each page several times. By itself, with the time of every page and a table that is kept:

    python -m bench.dashboard FILE [ROWS]

`open-pages` runs jobs through a core at which nobody looks, and through one at which 50 pages listen: each fifth is the
overview, the others look at 50 of the very jobs that are queued.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import trio

from bench.figures import Bench, Effort, Metric, Sample
from bench.machine import cpu_seconds, free_port, running, wait_for_port
from bench.scheduler import CALLERS, WORKER, queue, wait_for_end, wait_for_worker
from gearbox.client import open_gearbox
from gearbox.store import open_store
from gearbox.store.rollups import bucket_of

__all__ = ["BENCHES"]

BIN = Path(sys.executable).parent
ROWS, RUNNING, WAITING = 5_000_000, 1_000, 100_000
METHODS = 20
ROUNDS = 5  # of each page
OPEN_PAGES = 50
JOBS = 5_000

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
PAGES = {
    "overview": ("/",),
    "jobs": ("/jobs", "/jobs?below={old}", "/jobs?q=status:running", "/jobs?q=status:waiting", "/jobs?q=status:failed"),
    "a search": (
        "/jobs?q=status:complete", "/jobs?q=method:shop::task3", "/jobs?q=method:shop::task3+status:errored",
        "/jobs?q=arg:file-777777", "/jobs?q=took>59s", "/jobs?q=dedupe:key-500000", "/jobs?q=method:shop::*+took>59s",
    ),
    "a job": ("/jobs/{old}", "/jobs/{running}"),
    "methods": ("/methods", "/method?name=shop::task3"),
    "scheduled": ("/scheduled",),
    "failed": ("/failed",),
    "others": ("/pools", "/gearman", "/workers", "/audit", "/system"),
    "metrics": ("/metrics",),
}  # fmt: skip


def fill(rows: int, path: Path) -> None:
    """Write the rows, and the sums that the store keeps of them."""
    open_store(str(path)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN")
        values = {"rows": rows, "running": min(RUNNING, rows // 10), "waiting": min(WAITING, rows // 10)}
        database.execute(FILL, values | {"now": int(time.time() * 1e6)})
        for statement in SUMS:
            database.execute(statement)
        chance = random.Random(1)
        for number in range(METHODS):
            for measure in ("wait", "run"):
                samples = Counter(bucket_of(chance.expovariate(0.2)) for _ in range(100_000))
                sums = [(f"shop::task{number}", measure, *one, one[1] * 5.0, 0) for one in samples.items()]
                database.executemany("INSERT INTO gearbox_measures VALUES (?, ?, ?, ?, ?, ?)", sums)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def served(path: Path) -> Iterator[tuple[int, str, int]]:
    """A core on the file: its process, its Gearman address and its port for HTTP."""
    address, port = f"127.0.0.1:{free_port()}", free_port()
    places = {"GEARBOX_DATABASE": str(path), "GEARBOX_LISTEN": address, "GEARBOX_HTTP": f"127.0.0.1:{port}"}
    with running([str(BIN / "g-core")], places) as pid:
        wait_for_port(port)
        yield pid, address, port


def ask_for_pages(path: Path) -> dict[str, dict[str, list[float]]]:
    """How many milliseconds each page took, by group and page."""
    with served(path) as (_, _, port), closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        time.sleep(5)  # what an earlier process left as running is looked at first
        with closing(sqlite3.connect(path)) as database:
            (rows,) = database.execute("SELECT max(id) FROM gearbox_jobs").fetchone()
        found: dict[str, dict[str, list[float]]] = {}
        for group, pages in PAGES.items():
            for page in pages:
                page = page.format(old=rows // 2, running=rows)
                spans = found.setdefault(group, {}).setdefault(page, [])
                for _ in range(ROUNDS):
                    began = time.perf_counter()
                    connection.request("GET", page)
                    answer = connection.getresponse()
                    answer.read()
                    spans.append(1000 * (time.perf_counter() - began))
                    if answer.status != 200:
                        raise RuntimeError(f"{page}: {answer.status}")
    return found


def pages(effort: Effort) -> Sample:
    """The slowest page of each group, by the median of its times; and the slowest request of all."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gearbox.db"
        fill(effort.count(ROWS), path)
        found = ask_for_pages(path)
    sample = {group: max(map(statistics.median, spans.values())) for group, spans in found.items()}
    return sample | {"slowest": max(max(one) for spans in found.values() for one in spans.values())}


def look_on(number: int, effort: Effort) -> Sample:
    """Jobs through a core at which so many pages look."""
    jobs = effort.count(JOBS)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pid, address, port = stack.enter_context(served(Path(folder) / "gearbox.db"))
        stack.enter_context(running([sys.executable, "-c", WORKER, address]))
        trio.run(wait_for_worker, address)
        for page in range(number):
            connection = stack.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=60)))
            first = 1 + page * jobs // number
            ids = ",".join(str(id) for id in range(first, first + 50))
            connection.request("GET", "/live?overview=1" if page % 5 == 0 else f"/live?jobs={ids}")
            connection.getresponse()
        cpu, began = cpu_seconds(pid), time.perf_counter()
        trio.run(run_jobs, address, jobs)
        took = time.perf_counter() - began
        return {"complete": jobs / took, "cpu": 1e6 * (cpu_seconds(pid) - cpu) / jobs}


async def run_jobs(address: str, jobs: int) -> None:
    async with open_gearbox([address]) as gearbox, trio.open_nursery() as nursery:
        ids: list[int] = []
        for caller in range(CALLERS):
            nursery.start_soon(queue, gearbox, len(range(caller, jobs, CALLERS)), ids)
    await wait_for_end(address, jobs)


BENCHES = [
    Bench(
        "pages",
        f"Pages of the dashboard over {ROWS:,} jobs, {RUNNING:,} of them running and {WAITING:,} waiting: the slowest "
        "of each kind by its median, and the slowest request",
        (
            *(Metric(group, "ms", more_is_better=False) for group in PAGES),
            Metric("slowest", "ms", is_main=True, more_is_better=False),
        ),
        lambda: {"gearbox (SQLite)": pages},
        rounds=1,
    ),
    Bench(
        "open-pages",
        f"Jobs that do nothing, from queue to complete, while {OPEN_PAGES} open pages of the dashboard look on",
        (Metric("complete", "jobs/s", is_main=True), Metric("cpu", "µs of the core a job", more_is_better=False)),
        lambda: {"nobody looks": partial(look_on, 0), f"{OPEN_PAGES} pages": partial(look_on, OPEN_PAGES)},
        reference="nobody looks",
    ),
]


def main(arguments: Sequence[str]) -> None:
    path = Path(arguments[0])
    if not path.exists():
        fill(int(arguments[1]) if len(arguments) > 1 else ROWS, path)
    found: Mapping[str, Mapping[str, list[float]]] = ask_for_pages(path)
    for spans in found.values():
        for page, one in spans.items():
            print(f"{statistics.median(one):8.1f} ms  {max(one):8.1f} ms  {page}")


if __name__ == "__main__":
    main(sys.argv[1:])
