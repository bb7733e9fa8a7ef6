"""A store in a process of its own, on a disk that fails.

`drive` runs this file as a program: it stores jobs, says `acked ID` for each batch that `run_batch` returned from, and
ends as g-core does when the disk fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import attrs

from gearbox.errors import StoreBroken, StoreError, StoreFull
from gearbox.job import NewJob, Reported, Status
from gearbox.steps import life
from gearbox.store import Moment, open_store

BATCHES = 60
IO_ERROR = 74
POWER_CUT = 137
SOURCE = Path(__file__).parent / "faulty_disk.c"


def compile_disk(folder: Path) -> Path:
    """The library to preload; needs a C compiler."""
    library = folder / "faulty_disk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
    return library


@attrs.frozen
class Driven:
    """How the process ended, and what it had been told."""

    status: int
    acked: list[int]
    errors: str


def faults(library: Path, fault: str, call: str, nth: int, **more: str) -> dict[str, str]:
    """The environment of a process whose database is on a disk with this fault."""
    return {
        "LD_PRELOAD": str(library),
        "DISK_FILES": ".db",
        "DISK_FAULT": fault,
        "DISK_CALL": call,
        "DISK_NTH": str(nth),
    } | more


def drive(database: Path, environment: Mapping[str, str]) -> Driven:
    done = subprocess.run(
        [sys.executable, __file__, database],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    words = [line.split() for line in done.stdout.splitlines()]
    return Driven(done.returncode, [int(id) for verb, id in words if verb == "acked"], done.stderr)


def store_jobs(path: str) -> int:
    """Queue jobs and complete every second of them, a batch each."""
    try:
        store = open_store(path)
    except StoreBroken:
        return IO_ERROR
    full = 0
    for number in range(BATCHES):
        moment = Moment(1_800_000_000.0 + number, "core", 0.0, {"a::b": 1})
        try:
            (queued,) = store.run_batch(
                [partial(life.queue, NewJob("a::b", arguments='"' + "x" * 3000 + '"'))], moment
            ).outcomes
            assert not isinstance(queued, Exception), queued
            print("acked", queued.value, flush=True)
            if number % 2:
                news = Reported(Status.COMPLETE, '"done"')
                store.run_batch([partial(life.report, queued.value, None, news)], moment)
        except StoreBroken:
            return IO_ERROR
        except StoreFull:
            full += 1
            if full == 5:
                Path(os.environ["DISK_FREED"]).touch()
        except StoreError as error:
            print(error, file=sys.stderr)
            return 1
    store.close()
    return 0


if __name__ == "__main__":
    # No farewell to the store: to close it is to sync again, which may say that all is well.
    status = store_jobs(sys.argv[1])
    sys.stdout.flush()
    os._exit(status)
