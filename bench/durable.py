"""Background jobs that are on disk when they are answered: how fast, and what a million of them cost a new start.

The files lie in the temporary folder, so that should be on a disk (`TMPDIR`), not in memory. gearmand's queue is its
sqlite plugin's: one transaction and one sync for each job.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from abraxas_py.broker import Record, Store
from abraxas_py.journal.sqlite import SqliteJournal
from bench.broker import COSTS, DRAINED, LARGE, LATENCIES, QUEUED, RATE, systems, under
from bench.brokers import OURS, REFERENCE, Broker
from bench.cores import mariadb
from bench.figures import Bench, Effort, Metric, Run, Sample
from bench.load import Load, compiled, drive
from bench.machine import resident_mib

__all__ = ["BENCHES"]

FILLED = 10_000  # jobs of a transaction
PAYLOAD = b"." * 64  # as `load` submits
SLOW_SYNC = 8  # ms; a turn of a disk that turns 7,200 times a minute


def queue(broker: Broker, folder: str) -> Sequence[str]:
    """The flags for a queue in a folder."""
    if broker.name == REFERENCE:
        return ("-q", "libsqlite3", f"--libsqlite3-db={folder}/queue")
    return ("-q", "sqlite", f"--queue-db={folder}/queue")


def submit(broker: Broker, effort: Effort) -> Sample:
    """Requests for a while."""
    with tempfile.TemporaryDirectory() as folder, broker.serving(*queue(broker, folder)) as serving:
        return under(Load("bg", 4, 32, seconds=effort.seconds), serving)


def submit_to_mariadb(broker: Broker, effort: Effort) -> Sample:
    """The same with the queue in a table of a server on this machine."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder, mariadb(Path(folder)) as (_, where):
        flags = [f"--mysql-host={where['MYSQL_HOSTNAME']}", f"--mysql-port={where['MYSQL_PORT']}"]
        flags += [f"--mysql-user={where['MYSQL_USER']}", f"--mysql-password={where['MYSQL_PASSWORD']}"]
        with broker.serving("-q", "mysql", *flags, f"--mysql-db={where['MYSQL_DATABASE']}") as serving:
            return under(Load("bg", 4, 32, seconds=effort.seconds), serving)


def submissions() -> Mapping[str, Run]:
    """In a file; ours, where MariaDB is here, in a table, too. (gearmand's MySQL queue answers QUEUE_ERROR to this.)"""
    runs = dict(systems(submit, only=LARGE))
    if shutil.which("mariadbd", path=f"/usr/sbin:{os.environ['PATH']}"):
        runs |= {f"{name}, MariaDB": run for name, run in systems(submit_to_mariadb, only=(OURS,)).items()}
    return runs


def submit_slowly(broker: Broker, effort: Effort) -> Sample:
    """The same on a disk that takes its time to sync."""
    library = compiled("slow_sync.c", "-shared", "-fPIC", "-ldl")
    assert library is not None
    environment = {**broker.environment, "LD_PRELOAD": library, "SYNC_MS": str(SLOW_SYNC)}
    return submit(replace(broker, environment=environment), effort)


def slow_submissions() -> Mapping[str, Run]:
    """Nobody where nothing can be compiled."""
    return systems(submit_slowly, only=LARGE) if compiled("slow_sync.c", "-shared", "-fPIC", "-ldl") else {}


def restart(broker: Broker, effort: Effort) -> Sample:
    """Start on a file of very many jobs, and work some of them off."""
    jobs, drained = effort.count(QUEUED), effort.count(DRAINED)
    with tempfile.TemporaryDirectory() as folder:
        fill(f"{folder}/queue", jobs)
        began = time.monotonic()
        with broker.serving(*queue(broker, folder)) as serving:
            start = time.monotonic() - began
            memory = resident_mib(serving.pid)
            kept = drive(Load("drain", workers=4, jobs=drained), serving.port)["rate"]
    with broker.serving() as serving:
        drive(Load("bg", 4, 32, jobs=drained), serving.port)
        builtin = drive(Load("drain", workers=4, jobs=drained), serving.port)["rate"]
    return {"start": start, "memory": memory, "drain": kept, "drain of memory": builtin, "ratio": kept / builtin}


def fill(path: str, jobs: int) -> None:
    """What a server leaves that was killed with so many jobs."""
    journal = SqliteJournal(path)
    row = journal.open()
    for first in range(row, row + jobs, FILLED):
        rows = range(first, min(first + FILLED, row + jobs))
        journal.commit(
            [Store(n, Record(n, b"H:bench:%d" % n, b"bench", b"", 1, 0, 0, False, b"", None, PAYLOAD)) for n in rows]
        )
    journal.close()


def ours() -> Mapping[str, Run]:
    """gearmand would take hours for the first step."""
    return systems(restart, only=(OURS,))


BENCHES = [
    Bench(
        "durable",
        "SUBMIT_JOB_BG until JOB_CREATED with the queue on disk (or in MariaDB), 4 connections x 32 under way",
        (RATE, *LATENCIES, *COSTS),
        submissions,
        REFERENCE,
    ),
    Bench(
        "durable-slow",
        f"The same where each sync of the disk takes {SLOW_SYNC} ms longer",
        (RATE, *LATENCIES, *COSTS),
        slow_submissions,
        REFERENCE,
    ),
    Bench(
        "durable-restart",
        f"{QUEUED:,} queued jobs on disk: a new start, then {DRAINED:,} of them worked off by 4 workers",
        (
            Metric("start", "s", is_main=True, more_is_better=False),
            Metric("memory", "MiB", more_is_better=False),
            Metric("drain", "jobs/s"),
            Metric("drain of memory", "jobs/s"),
            Metric("ratio", "", more_is_better=True),
        ),
        ours,
        OURS,
        rounds=1,
    ),
]
