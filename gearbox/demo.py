"""`g-core --demo`: three workers, a few real jobs, a pool of jobs that depend on each other, and what to type next.

Nothing here is special to the demonstration: the workers are `g-worker` processes, and the jobs are queued and watched
by the Python client, over the address that any other program would use.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from abraxas_py import AbraxasError, open_admin
from gearbox.client import Gearbox, open_gearbox
from gearbox.errors import RpcError
from gearbox.shapes import JobSpec

__all__ = ["demonstrate"]

FLAKY = 'test "$GEARBOX_ATTEMPT" -gt 1 && wc -l "$1"'  # fails at the first try
WORKERS = {"demo::checksum": ["cksum"], "demo::words": ["wc", "-w"], "demo::flaky": ["sh", "-c", FLAKY, "sh"]}
SINGLE = ("demo::checksum", "demo::words")  # POSIX has all these commands everywhere
FILES = 6
START_TIMEOUT = 15.0  # s for a worker to be there
STOP_TIMEOUT = 5.0
RETRY_DELAY = 0.5  # s

POOL = "=== A pool: a gate waits for three jobs, one of which needs a second try; the last job waits for the gate"
NEXT = """\
=== {jobs} jobs done in {seconds:.1f} s; Gearbox goes on serving until you press Ctrl-C. In another terminal, try:
      {prefix}g-client run demo::words {file}
      {prefix}g-client status {id}
      {prefix}g-client stats demo::checksum
      {prefix}g-client graph {gate}
      {prefix}g-client history {flaky}
      {prefix}g-client top
    and offer a method of your own:
      {prefix}g-worker -I append my::echo echo hello
      {prefix}g-client run my::echo world"""


async def demonstrate(server: str) -> None:
    """Do the jobs on `server` and keep the workers until cancelled."""
    # rich draws on standard error like every message to people; results belong to standard output.
    err, out = Console(stderr=True, highlight=False), Console(highlight=False, soft_wrap=True)
    async with trio.open_nursery() as nursery:
        for method, command in WORKERS.items():
            err.print(f"=== Starting a worker: g-worker -I append {method} {shlex.join(command)}", soft_wrap=True)
            await nursery.start(_keep_worker, server, method, command)
        try:
            await _wait_for_workers(server)
            await _show(server, err, out)
        except (AbraxasError, RpcError, trio.TooSlowError) as error:
            err.print(f"=== The demonstration failed: {error or 'no worker came'}; Gearbox goes on serving")


async def _show(server: str, err: Console, out: Console) -> None:
    files = sorted(Path(__file__).parent.glob("*.py"))[:FILES]
    started = perf_counter()
    columns = (TextColumn("    {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with open_gearbox([server], who="g-core --demo") as gearbox:
        jobs = [(await gearbox.queue(method, [str(file)]), method, file.name) for file in files for method in SINGLE]
        pool = _pool(files)
        err.print(POOL, soft_wrap=True)
        ids = await gearbox.queue_many(pool)
        jobs += [(id, job["name"], _file(job)) for id, job in zip(ids, pool, strict=True)]
        with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
            bar = progress.add_task("jobs done", total=len(jobs))
            for id, method, file in jobs:
                result = await _result(gearbox, id)
                progress.advance(bar)
                out.print(f"    job {id:>4}  {method:<18}  {file:<12}  {result}", markup=False)
    message = NEXT.format(
        jobs=len(jobs),
        seconds=perf_counter() - started,
        prefix="" if server.endswith(":4730") else f"GEARMAN_SERVER={server} ",
        file=files[0],
        id=jobs[0][0],
        flaky=ids[2],
        gate=ids[3],
    )
    err.print(message, soft_wrap=True, markup=False)


def _pool(files: Sequence[Path]) -> list[JobSpec]:
    """Three jobs, a gate that waits for them, and a job that waits for the gate."""
    one, other, last, *_ = map(str, files)
    return [
        {"name": "demo::words", "args": [one], "before_ref": "gate"},
        {"name": "demo::checksum", "args": [other], "before_ref": "gate"},
        {"name": "demo::flaky", "args": [last], "before_ref": "gate", "max_retries": 1, "retry_delay": RETRY_DELAY},
        {"name": "gearbox\\core::noop", "ref": "gate"},
        {"name": "demo::words", "args": [last], "after_ref": "gate"},
    ]


def _file(job: JobSpec) -> str:
    return Path(job["args"][0]).name if job.get("args") else ""


async def _result(gearbox: Gearbox, id: int) -> str:
    try:
        result = await gearbox.watch(id)
        return "done" if result is None else str(result).split()[0]
    except RpcError as error:
        return f"failed: {error}"


async def _keep_worker(server: str, method: str, command: Sequence[str], *, task_status: trio.TaskStatus[None]) -> None:
    """A `g-worker` process, stopped when this task is cancelled."""
    argv = [sys.executable, "-c", "from gearbox.cli.worker import run; run()"]
    argv += ["-q", "-I", "append", "--", method, *command]
    environment = os.environ | {"GEARMAN_SERVER": server}
    # A group of its own: Ctrl-C in the terminal reaches us first, and we stop it.
    process = await trio.lowlevel.open_process(argv, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    task_status.started()
    try:
        await process.wait()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(STOP_TIMEOUT) as waiting:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()
        if waiting.cancelled_caught:
            process.kill()


async def _wait_for_workers(server: str) -> None:
    with trio.fail_after(START_TIMEOUT):
        async with open_admin(server) as admin:
            while True:
                offered = {row.function.decode(errors="replace") for row in await admin.status() if row.workers}
                if offered >= WORKERS.keys():
                    return
                await trio.sleep(0.05)
