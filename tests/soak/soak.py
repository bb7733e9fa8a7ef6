"""A core under a steady load of jobs of all kinds: its memory, descriptors, tasks and threads stay what they are."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from math import inf
from pathlib import Path

import attrs
import probe
import soak_load
import trio
from probe import MIB, Probe, Sample
from site_stage import Program, Site, free_port, functions
from soak_load import Load

from gearbox.client import open_gearbox
from gearbox.job import TERMINAL

__all__ = ["Limits", "Outcome", "soak"]

WARM_UP = 0.25  # of the time: caches fill
END_TIMEOUT = 120.0  # s for all jobs to end, and to be asked for
PAGE = 500  # ids asked for at once


@attrs.frozen
class Limits:
    """What may be at most."""

    mib_per_hour: float
    stall_ms: float  # of 999 in 1,000 echoes
    spread: int = 30  # how many more descriptors, or tasks, there may be in the second half than in the first


@attrs.frozen
class Outcome:
    """What was seen, and what of it is too much."""

    jobs: int
    seconds: float
    samples: list[Sample]
    mib_per_hour: float
    stall_ms: float
    refused: list[str]
    faults: list[str]

    def __str__(self) -> str:
        last = self.samples[-1]
        lines = [
            f"{self.jobs} jobs in {self.seconds:.0f} s, {self.jobs / self.seconds:.0f}/s, {len(self.refused)} refused",
            f"memory {last.memory / MIB:.1f} MiB at the end, {self.mib_per_hour:+.1f} MiB/h; on the way {self._way()}",
            f"descriptors {last.descriptors}, threads {last.threads}, tasks {last.tasks} at the end",
            f"echo: p99.9 {self.stall_ms:.1f} ms",
        ]
        return "\n".join([*lines, *(f"TOO MUCH: {fault}" for fault in self.faults)])

    def _way(self) -> str:
        """The memory in ten places."""
        places = [self.samples[len(self.samples) * tenth // 10] for tenth in range(10)]
        return " ".join(f"{sample.memory / MIB:.0f}" for sample in places)


async def soak(minutes: float, rate: float, limits: Limits, chaos: float = inf) -> Outcome:
    """Run a core, its workers and the load for so long; every `chaos` seconds something happens to a worker."""
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder)) as site:
        http = f"127.0.0.1:{free_port()}"
        core = await trio.to_thread.run_sync(
            partial(site.core, "core", [], GEARBOX_DATABASE=f"{folder}/jobs.db", GEARBOX_HTTP=http)
        )
        argv = [sys.executable, Path(__file__).parent / "worker.py", core.address]
        worker = await trio.to_thread.run_sync(
            site.add, "worker", argv, lambda _: bool(functions(core.address).get("soak::slow"))
        )
        command = await trio.to_thread.run_sync(
            site.worker, "command", [core], "soak::command", ["true"], "-I", "ignore"
        )
        seen = Probe(core.pid, core.address, http)
        async with trio.open_nursery() as nursery, open_gearbox([core.address]) as gearbox:
            nursery.start_soon(seen.run)
            nursery.start_soon(_disturb, [worker, command], chaos, minutes * 60, random.Random(2))
            under = Load(gearbox, rate, random.Random(1))
            await under.run(minutes * 60)
            unfinished = await _unfinished(under)
            nursery.cancel_scope.cancel()
    return _judge(under, seen, unfinished, minutes * 60, limits)


async def _disturb(workers: Sequence[Program], every: float, seconds: float, chance: random.Random) -> None:
    """For so many seconds, kill one and start it again, or stop it for a while."""
    ends_at = trio.current_time() + seconds
    while trio.current_time() + every < ends_at:
        await trio.sleep(every)
        worker = chance.choice(workers)
        if chance.random() < 0.5:
            worker.kill()
            await trio.to_thread.run_sync(worker.start)
        else:
            worker.stop()
            await trio.sleep(chance.uniform(1, 10))
            worker.cont()


async def _unfinished(under: soak_load.Load) -> int:
    """How many acknowledged jobs did not end."""
    ends = {status.value for status in TERMINAL}
    left = list(under.acknowledged)
    with trio.move_on_after(END_TIMEOUT):
        while left:
            page, left = left[:PAGE], left[PAGE:]
            rows = await under.gearbox.status(page)
            ended = {row["id"] for row in rows if row["status"] in ends}
            left += [id for id in page if id not in ended]
            if not ended:
                await trio.sleep(0.2)
    return len(left)


def _judge(under: Load, seen: Probe, unfinished: int, seconds: float, limits: Limits) -> Outcome:
    warm = [sample for sample in seen.samples if WARM_UP * seconds < sample.at <= seconds]
    early, late = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    slope = probe.mib_per_hour(warm)
    stall_ms = probe.percentile(seen.echoes, 0.999) * 1000
    faults = []
    if slope > limits.mib_per_hour:
        faults.append(f"memory grows by {slope:.1f} MiB/h, more than {limits.mib_per_hour}")
    if stall_ms > limits.stall_ms:
        faults.append(f"echoes take {stall_ms:.1f} ms, more than {limits.stall_ms}")
    for name in ("descriptors", "threads", "tasks"):
        was, now = (max(getattr(sample, name) for sample in half) for half in (early, late))
        if now > was + limits.spread:
            faults.append(f"{now} {name}, {was} before")
    if unfinished:
        faults.append(f"{unfinished} acknowledged jobs did not end")
    if under.refused:
        faults.append(f"{len(under.refused)} calls were refused: {sorted(set(under.refused))[:3]}")
    return Outcome(len(under.acknowledged), seconds, seen.samples, slope, stall_ms, under.refused, faults)
