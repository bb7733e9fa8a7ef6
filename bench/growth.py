"""What a job costs the store, from an empty table to millions of finished jobs: it should not grow.

Without Gearman and without g-core: batches of 250 jobs are queued and claimed, started, ended and reported, in four
transactions. The cost is processor time, which tells more than jobs per second on a machine that others use, too.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

from bench.figures import Bench, Effort, Metric, Sample
from bench.restart import BATCH, now, queue
from gearbox.job import Ended, NewJob, Reported, Status
from gearbox.steps import life
from gearbox.store import Step, Store, open_store

__all__ = ["BENCHES"]

MARKS = (0, 100_000, 1_000_000)  # finished jobs
MEASURED = 20 * BATCH


def growth(effort: Effort) -> Sample:
    sample = {}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(str(Path(folder) / "gearbox.db"))
        finished = 0
        for mark in MARKS:
            wanted = effort.count(mark) if mark else 0
            while finished < wanted:
                live(store)
                finished += BATCH
            began = time.process_time()
            for _ in range(MEASURED // BATCH):
                live(store)
            sample[f"{mark:,}"] = 1e6 * (time.process_time() - began) / MEASURED
            finished += MEASURED
        store.close()
    return sample


def live(store: Store) -> None:
    """A batch of jobs, from the beginning to the end."""
    ids = queue(store, [NewJob("bench::job", arguments='["x"]')] * BATCH)
    _run(store, [partial(life.job_start, id, 1, "bench") for id in ids])
    _run(store, [partial(life.settle, id, 1, Ended()) for id in ids])
    _run(store, [partial(life.report, id, 1, Reported(Status.COMPLETE, '"result"')) for id in ids])


def _run(store: Store, steps: list[Step]) -> None:
    for outcome in store.run_batch(steps, now()).outcomes:
        if isinstance(outcome, Exception):
            raise RuntimeError("a step failed") from outcome


BENCHES = [
    Bench(
        "growth",
        "What a job costs the store alone, by how many have finished before it (processor time)",
        tuple(Metric(f"{mark:,}", "µs", is_main=True, more_is_better=False) for mark in MARKS),
        lambda: {"gearbox (SQLite)": growth},
        axis="finished jobs",
        rounds=1,
    )
]
