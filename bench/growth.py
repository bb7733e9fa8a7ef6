"""What a job costs the store, from an empty table to millions of jobs of every kind: it should not grow.

Without Gearman and without g-core: batches of 250 jobs are queued and claimed, started, ended and reported, in four
transactions. The cost is processor time, which tells more than jobs per second on a machine that others use, too.

Millions of finished jobs would take hours to live. So the first thousands are lived, and their rows copied until there
are enough: of jobs, attempts and events, under new ids, with the counts brought up to them.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from bench.figures import Bench, Effort, Metric, Sample
from bench.restart import BATCH, now, queue
from gearbox.job import Ended, NewJob, Recheck, Reported, Status
from gearbox.steps import life
from gearbox.store import Moment, Result, Step, Store, open_store

__all__ = ["BENCHES"]

FINISHED = (0, 100_000, 1_000_000, 10_000_000)  # jobs; the last take 8 GB of disk
CROWDS = {"waiting": 1_000_000, "due": 100_000, "pool": 100_000}
FEW = 1_000  # what a crowd is compared with
MEASURED = 20 * BATCH
COPIED = 250_000  # jobs in one transaction
TABLES = {"gearbox_jobs": "id", "gearbox_attempts": "job_id", "gearbox_events": "job_id"}
HOUR = 3600.0


def growth(effort: Effort) -> Sample:
    sample = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gearbox.db"
        for mark in FINISHED:
            wanted = effort.count(mark) if mark else 0
            if wanted:
                copy(path, Status.COMPLETE, wanted)
            with opened(path) as store:
                sample[f"{mark:,}"] = cost(partial(live_all, store), MEASURED)
    return sample


def crowds(effort: Effort) -> Sample:
    sample = {}
    for crowd, size in CROWDS.items():
        for jobs in (FEW, effort.count(size)):
            with tempfile.TemporaryDirectory() as folder:
                place = "few" if jobs == FEW else "many"
                sample[f"{crowd}, {place}"] = COSTS[crowd](Path(folder) / "gearbox.db", jobs)
    return sample


def beside_waiting(path: Path, jobs: int) -> float:
    """What a job costs while so many others wait for a date."""
    with opened(path) as store:
        queue(store, [NewJob("bench::job", after_date=time.time() + HOUR)] * FEW)
    copy(path, Status.WAITING, jobs)
    with opened(path) as store:
        return cost(partial(live_all, store), MEASURED)


def due_at_once(path: Path, jobs: int) -> float:
    """What it costs to start a job whose date has come together with those of so many others."""
    at = time.time() + HOUR
    with opened(path) as store:
        for start in range(0, jobs, BATCH):
            queue(store, [NewJob("bench::job", after_date=at)] * min(BATCH, jobs - start))
        moment = Moment(at + 1, "bench", since=0.0, workers={"bench::job": 1})

        def start_all() -> None:
            while due := perform(store, [life.due], moment):
                perform(store, [partial(life.look, id) for id in due], moment)
            assert store.run_batch([life.due], moment).next_at > at + HOUR

        return cost(start_all, jobs)


def in_a_pool(path: Path, jobs: int) -> float:
    """What a job costs, from the beginning to the end, that another one waits for together with so many others."""
    with opened(path) as store:
        (target,) = queue(store, [NewJob("bench::job", after_date=time.time() + HOUR)])

        def live_through() -> None:
            for start in range(0, jobs, BATCH):
                live(store, [NewJob("bench::job", arguments='["x"]', before_id=target)] * min(BATCH, jobs - start))

        return cost(live_through, jobs)


COSTS: dict[str, Callable[[Path, int], float]] = {
    "waiting": beside_waiting,
    "due": due_at_once,
    "pool": in_a_pool,
}


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """A store that has found its pace: the first batches prepare statements and read what will be needed again."""
    store = open_store(str(path))
    for _ in range(4):
        live(store, [NewJob("bench::job", arguments='["x"]')] * BATCH)
    yield store
    store.close()


def cost(work: Callable[[], None], jobs: int) -> float:
    """Processor time in µs a job."""
    began = time.process_time()
    work()
    return 1e6 * (time.process_time() - began) / jobs


def live_all(store: Store) -> None:
    for _ in range(MEASURED // BATCH):
        live(store, [NewJob("bench::job", arguments='["x"]')] * BATCH)


def live(store: Store, jobs: list[NewJob]) -> None:
    """A batch of jobs, from the beginning to the end, and what is to be looked at because of it."""
    ids = queue(store, jobs)
    moment = now()
    perform(store, [partial(life.job_start, id, 1, "bench") for id in ids], moment)
    perform(store, [partial(life.settle, id, 1, Ended()) for id in ids], moment)
    again = perform(store, [partial(life.report, id, 1, Reported(Status.COMPLETE, '"result"')) for id in ids], moment)
    while again:
        again = perform(store, [partial(life.look, id) for id in again], moment)


def perform(store: Store, steps: list[Step], moment: Moment) -> list[int]:
    """Run a batch; the jobs that it wants looked at again."""
    done = store.run_batch(steps, moment)
    actions = list(done.actions)
    for outcome in done.outcomes:
        if not isinstance(outcome, Result):
            raise RuntimeError("a step failed") from outcome
        actions += outcome.actions
    return list(dict.fromkeys(id for action in actions if isinstance(action, Recheck) for id in action.ids))


def copy(path: Path, status: Status, wanted: int) -> None:
    """Copy the jobs of a status until there are so many."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        execute = connection.execute
        execute("PRAGMA synchronous = OFF")  # whoever loses it begins anew
        (jobs,) = execute("SELECT sum(jobs) FROM gearbox_counts WHERE status = ?", (status.value,)).fetchone()
        while jobs < wanted:
            added = min(jobs, wanted - jobs, COPIED)
            (last,) = execute("SELECT max(id) FROM gearbox_jobs").fetchone()
            first = last - added + 1  # the newest are all of this status
            execute("BEGIN")
            for table, key in TABLES.items():
                columns = [name for (name,) in execute("SELECT name FROM pragma_table_info(?)", (table,))]
                shifted = ", ".join(f"{key} + :shift" if name == key else name for name in columns)
                execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) SELECT {shifted} FROM {table} "
                    f"WHERE {key} >= :first AND {key} <= :last",
                    {"shift": added, "first": first, "last": last},
                )
            execute("UPDATE gearbox_counts SET jobs = jobs + ? WHERE status = ?", (added, status.value))
            execute("COMMIT")
            jobs += added


BENCHES = [
    Bench(
        "growth",
        "What a job costs the store alone, by how many have finished before it (processor time)",
        tuple(Metric(f"{mark:,}", "µs", is_main=True, more_is_better=False) for mark in FINISHED),
        lambda: {"gearbox (SQLite)": growth},
        axis="finished jobs",
        rounds=1,
    ),
    Bench(
        "crowds",
        "What a job costs the store alone beside 1,000 and 1,000,000 that wait, and when 1,000 or 100,000 are due in "
        "one moment, or are waited for together (processor time)",
        tuple(
            Metric(f"{crowd}, {place}", "µs", is_main=True, more_is_better=False)
            for crowd in CROWDS
            for place in ("few", "many")
        ),
        lambda: {"gearbox (SQLite)": crowds},
        rounds=1,
    ),
]
