"""What changes while somebody watches a terminal: the progress of one job, and `g-client top`.

Both ask the core, once a second, and only as long as they are watched.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from abraxas_py import AbraxasError
from abraxas_py.nursery import open_nursery
from gearbox.cli.debug import printable
from gearbox.cli.terminal import is_terminal
from gearbox.client import Gearbox
from gearbox.errors import RpcError
from gearbox.shapes import MethodRow, StatusRow

__all__ = ["show_top", "watching_bar"]

INTERVAL = 1.0  # seconds between questions
CURRENT = ("running", "almost-done", "missing", "ready", "waiting")
LISTED = 500  # current jobs, beyond which they are counted only: the core would have to send them all
JOBS_SHOWN = 30


@asynccontextmanager
async def watching_bar(gearbox: Gearbox, id: int) -> AsyncIterator[None]:
    """A bar on standard error during the block, gone afterwards. Jobs that end within a second show none."""
    columns = (TextColumn("    {task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)

    async def follow() -> None:
        await trio.sleep(INTERVAL)
        task = bar.add_task(f"job {id}", total=None)
        bar.start()
        while True:
            try:
                for row in await gearbox.status([id]):
                    progress = row["progress"]
                    description = f"job {id} {row['status']}"
                    if progress:
                        bar.update(task, description=description, total=100, completed=min(progress["n"], 100))
                    else:
                        bar.update(task, description=description)
            except (RpcError, AbraxasError):
                bar.update(task, description=f"job {id} (no answer)")
            bar.refresh()
            await trio.sleep(INTERVAL)

    async with open_nursery() as nursery:
        nursery.start_soon(follow)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()
            bar.stop()


async def show_top(gearbox: Gearbox, where: str) -> None:
    """Show what goes on until interrupted; once, where standard output is no terminal."""
    console = Console(highlight=False)
    if not is_terminal(sys.stdout):
        console.print(await _look(gearbox, where))
        return
    with Live(await _look(gearbox, where), console=console, auto_refresh=False, screen=True) as live:
        while True:
            await trio.sleep(INTERVAL)
            try:
                live.update(await _look(gearbox, where), refresh=True)
            except (RpcError, AbraxasError) as problem:
                live.update(Text(f"no answer: {problem}"), refresh=True)


async def _look(gearbox: Gearbox, where: str) -> Group:
    methods = await gearbox.methods()
    counts: Counter[str] = Counter()
    for method in methods:
        counts.update(method["states"])
    is_listed = sum(counts[status] for status in CURRENT) <= LISTED
    return view(methods, counts, await gearbox.status() if is_listed else None, where, datetime.now(UTC))


def view(
    methods: Sequence[MethodRow], counts: Counter[str], jobs: Sequence[StatusRow] | None, where: str, now: datetime
) -> Group:
    """All that is shown; `jobs` are the current ones, None if there are too many."""
    states = "  ".join(f"{counts[status]} {status}" for status in (*CURRENT, "complete", "errored"))
    head = Text(f"gearbox at {where}  {now:%H:%M:%S} UTC\n{states}\n")
    return Group(head, _methods(methods), Text(), _jobs(jobs, now))


def _methods(methods: Sequence[MethodRow]) -> Table:
    table = Table("METHOD", "WORKERS", "LIMIT", *(status.upper() for status in CURRENT), box=None, pad_edge=False)
    for row in methods:
        name = printable(row["method"]) + ("  (paused)" if row["is_paused"] else "")
        workers = "?" if row["workers"] is None else str(row["workers"])
        limit = "-" if row["concurrency"] is None else str(row["concurrency"])
        table.add_row(Text(name), workers, limit, *(str(row["states"].get(status, 0)) for status in CURRENT))
    return table


def _jobs(jobs: Sequence[StatusRow] | None, now: datetime) -> Table | Text:
    if jobs is None:
        return Text(f"more than {LISTED} current jobs")
    table = Table("JOB", "METHOD", "STATUS", "PROGRESS", "SINCE", box=None, pad_edge=False)
    order = {status: place for place, status in enumerate(CURRENT)}
    for row in sorted(jobs, key=lambda row: (order.get(row["status"], 0), row["id"]))[:JOBS_SHOWN]:
        progress = f"{row['progress']['n']:g}" if row["progress"] else "-"
        since = (now - datetime.fromisoformat(row["updated"])).total_seconds()
        table.add_row(
            str(row["id"]), Text(printable(row["method_name"])), row["status"], progress, f"{max(since, 0.0):.0f} s"
        )
    return table
