"""What a process holds, and how fast it answers, seen from outside."""

from __future__ import annotations

import os
import socket
import struct
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from abraxas_py.protocol.packets import Type

__all__ = ["Probe", "Sample", "mib_per_hour", "percentile"]

ECHO_EVERY = 0.02  # s
SAMPLE_EVERY = 2.0
MIB = 1024 * 1024


@attrs.frozen
class Sample:
    """One look."""

    at: float  # s since the beginning
    memory: int  # bytes, resident
    descriptors: int
    threads: int
    tasks: int


@attrs.define
class Probe:
    """Looks at the process `pid` and asks its broker for echoes until cancelled."""

    pid: int
    address: str
    http: str
    samples: list[Sample] = attrs.field(factory=list)
    echoes: list[float] = attrs.field(factory=list)  # s that each answer took

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            # In a thread of its own, so that what is measured is the other process's loop and not ours.
            await trio.to_thread.run_sync(self._echo, abandon_on_cancel=True)

    async def _look(self) -> None:
        began = time.monotonic()
        while True:
            sample = await trio.to_thread.run_sync(self._sample, began)
            self.samples.append(sample)
            await trio.sleep(SAMPLE_EVERY)

    def _sample(self, began: float) -> Sample:
        process = Path(f"/proc/{self.pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return Sample(
            time.monotonic() - began,
            int(status["VmRSS"].split()[0]) * 1024,
            len(os.listdir(process / "fd")),
            int(status["Threads"]),
            self._tasks(),
        )

    def _tasks(self) -> int:
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return int(float(next(line for line in lines if line.startswith("gearbox_tasks ")).split()[1]))

    def _echo(self) -> None:
        host, port = self.address.split(":")
        request = struct.pack(">4sII", b"\0REQ", Type.ECHO_REQ, 0)
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            while True:
                began = time.perf_counter()
                connection.sendall(request)
                if not connection.recv(64):
                    return
                self.echoes.append(time.perf_counter() - began)
                time.sleep(ECHO_EVERY)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed.

    >>> percentile([3, 1, 2], 0.5)
    2
    """
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def mib_per_hour(samples: Sequence[Sample]) -> float:
    """How fast the memory grows: the slope of the line that fits best.

    >>> round(mib_per_hour([Sample(at, 1000 + 1048576 * at // 3600, 1, 1, 1) for at in range(0, 7200, 10)]), 2)
    1.0
    """
    mean_at = sum(sample.at for sample in samples) / len(samples)
    mean_memory = sum(sample.memory for sample in samples) / len(samples)
    above = sum((sample.at - mean_at) * (sample.memory - mean_memory) for sample in samples)
    below = sum((sample.at - mean_at) ** 2 for sample in samples)
    return above / below * 3600 / MIB
