"""A disk that fails: what was acknowledged is there afterwards, and nothing is acknowledged after a failed sync.

In CI a few of the moments at which a call can fail; with `GEARBOX_TEST_DISK_FAULTS=1000` all of them, and as many cuts
of the power.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import store_stage
from disk_stage import BATCHES, IO_ERROR, POWER_CUT, Driven, drive, faults

from gearbox.store import open_store

FAULTS = int(os.environ.get("GEARBOX_TEST_DISK_FAULTS", "5"))
SEED = int(os.environ.get("GEARBOX_TEST_SEED", "1"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the databases are: in memory if there is such a place, for the disk's own speed does not matter here."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as path:
        yield Path(path)


def moments(last: int) -> Iterator[int]:
    """All calls from the first to the last one that a run makes; in CI some, more of them at the beginning."""
    if last <= FAULTS:
        return iter(range(1, last + 1))
    return iter(sorted({1 + int((last - 1) * (place / (FAULTS - 1)) ** 2) for place in range(FAULTS)}))


def check(database: Path, driven: Driven) -> None:
    """What was acknowledged is there, whole, and a store can be opened and go on."""
    connection = sqlite3.connect(database)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not connection.execute("PRAGMA foreign_key_check").fetchall()
    there = {id for (id,) in connection.execute("SELECT id FROM gearbox_jobs")} if driven.acked else set()
    connection.close()
    assert set(driven.acked) <= there, f"acknowledged and lost: {set(driven.acked) - there}"
    store = open_store(str(database))
    try:
        assert not isinstance(store_stage.queue(store).value, Exception)
    finally:
        store.close()


@pytest.mark.parametrize(("call", "last"), [("sync", 110), ("write", 700)])
def test_after_a_failed_call_nothing_is_acknowledged_and_the_process_ends(
    disk: Path, folder: Path, call: str, last: int
) -> None:
    ended, tried = 0, list(moments(last))
    for nth in tried:
        database = folder / f"{nth}.db"
        driven = drive(database, faults(disk, "eio", call, nth))
        assert driven.status in (0, IO_ERROR), driven.errors
        # A checkpoint that fails is done again by the next one, from the log: it need not end anything.
        ended += driven.status == IO_ERROR
        assert driven.status == IO_ERROR or len(driven.acked) == BATCHES
        check(database, driven)
    assert ended >= len(tried) // 3


def test_the_power_fails(disk: Path, folder: Path) -> None:
    for cut in range(FAULTS):
        database = folder / f"{cut}.db"
        driven = drive(
            database, faults(disk, "cut", "any", 40 + cut * 1100 // FAULTS % 600, DISK_SEED=str(SEED * 1_000_000 + cut))
        )
        assert driven.status in (0, POWER_CUT), driven.errors
        check(database, driven)


def test_a_full_disk_refuses_and_takes_again_when_there_is_room(disk: Path, folder: Path) -> None:
    for nth in moments(200):
        database = folder / f"{nth}.db"
        driven = drive(database, faults(disk, "full", "write", 120 + nth, DISK_FREED=str(folder / f"freed-{nth}")))
        assert driven.status == 0, driven.errors
        assert 0 < len(driven.acked) <= BATCHES
        check(database, driven)
