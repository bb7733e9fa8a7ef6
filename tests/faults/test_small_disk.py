"""The disk of the scheduler's database is full, and then is not, under calls that queue jobs.

Nothing refused is stored, nothing acknowledged is lost, and no restart is needed. The disk is filled to every number of
free pages in turn; CI goes over the same range in larger steps than `GEARBOX_TEST_STEPS=200 pytest
tests/faults/test_small_disk.py`, whose step is one page of 4 KiB.
"""

from __future__ import annotations

import os
import sqlite3
from itertools import count
from pathlib import Path

import attrs
import trio
from site_stage import Program, Site
from small_disk_stage import SmallDisk, small_disk

from gearbox.client import Gearbox, open_gearbox
from gearbox.errors import RpcError

PAGES = 200
STEPS = int(os.environ.get("GEARBOX_TEST_STEPS", "10"))
JOBS = 60  # of 3 KB in each step: 45 pages, and their log
PADDING = "." * 3000
FULL = 507
NEVER = "9999-01-01"


@attrs.define
class Told:
    """What callers were told, by the names of the jobs."""

    acknowledged: dict[int, str] = attrs.field(factory=dict)
    refused: set[str] = attrs.field(factory=set)
    _numbers: count[int] = attrs.field(factory=count)

    async def queue(self, gearbox: Gearbox) -> bool:
        name = f"{next(self._numbers)}"
        try:
            id = await gearbox.queue("full::job", [name, PADDING], after_date=NEVER)
        except RpcError as error:
            if error.code != FULL:
                raise
            self.refused.add(name)
            return False
        self.acknowledged[id] = name
        return True


def test_a_disk_that_is_full_to_the_page_and_then_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, "96m") as disk, Site(tmp_path) as site:
        core = site.core("core", [], within=disk.within, GEARBOX_DATABASE=str(folder / "jobs.db"))
        told = trio.run(_fill_and_free, core, disk)
        assert core.lives == 1
        core.terminate()
        core.start()
        rows = trio.run(_rows, core)
        core.terminate()
        with sqlite3.connect(disk.outside / "jobs.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    assert told.refused, "the disk never was full"
    assert rows == told.acknowledged
    print(f"{STEPS} steps: {len(told.acknowledged)} acknowledged, {len(told.refused)} refused")


async def _fill_and_free(core: Program, disk: SmallDisk) -> Told:
    told = Told()
    async with open_gearbox([core.address]) as gearbox:
        for step in range(STEPS):
            disk.fill(step * PAGES // STEPS)
            async with trio.open_nursery() as nursery:
                for _ in range(JOBS):
                    nursery.start_soon(told.queue, gearbox)
            disk.free()
            assert await told.queue(gearbox), "there is room again"
    return told


async def _rows(core: Program) -> dict[int, str]:
    """All jobs that there are, with their names."""
    async with open_gearbox([core.address]) as gearbox:
        rows = await gearbox.status()
    return {row["id"]: row["arguments"][0] for row in rows}
