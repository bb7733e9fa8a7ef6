"""A g-core process with real workers and jobs of every kind, for a real browser to look at."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from gearbox.client import Gearbox, open_gearbox
from gearbox.errors import RpcError

BIN = Path(sys.executable).parent
FILE = "/etc/hostname"
LATER = "2099-01-01T00:00:00Z"
LONG = f"warehouse\\monthly\\{'a_very_long_name_' * 8}::{'and_it_goes_on_' * 5}"
WORDS = " ".join(["because"] * 40)
MEMBERS = 300
SLOW = 'for n in 20 40 60; do echo $n > "$GEARBOX_PROGRESS"; sleep 0.2; done; exec sleep 300'
WORKERS = (
    ("-I", "append", "-j", "4", "report::count", "wc", "-c"),
    ("-I", "ignore", "-j", "2", "report::slow", "sh", "-c", SLOW),
    ("-I", "ignore", "report::broken", "sh", "-c", "echo 'the printer is on fire' >&2; exit 3"),
)


def free_port() -> int:
    """A port that nobody has; not of the range from which the system gives its own."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex(("127.0.0.1", port)):
                return port


class Shop:
    """The running processes, where they are, and the ids of the jobs."""

    def __init__(self, folder: Path, *, tokens: str = "") -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://127.0.0.1:{free_port()}/gear"
        self.jobs: dict[str, int] = {}
        self.processes: list[subprocess.Popen[str]] = []
        self.environment = os.environ | {
            "HOME": str(folder),
            "GEARBOX_LISTEN": self.address,
            "GEARBOX_HTTP": self.url.removeprefix("http://"),
            "GEARBOX_DATABASE": str(folder / "gearbox.db"),
            "GEARBOX_HTTP_TOKEN": tokens,
        }
        for name in ("GEARMAN_SERVER", "MYSQL_HOSTNAME", "DEBUG"):
            self.environment.pop(name, None)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [BIN / command[0], *command[1:]],
            env=self.environment | environment,
            stderr=subprocess.PIPE if command[0] == "g-core" else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        return process

    def open(self) -> None:
        """Start the core."""
        core = self.start("g-core")
        assert core.stderr is not None
        for line in core.stderr:
            if "Look at it" in line:
                break
        else:
            raise AssertionError("g-core ended")

    def fill(self) -> None:
        """Start the workers, and queue jobs of every kind."""
        for worker in WORKERS:
            self.start("g-worker", *worker, GEARMAN_SERVER=self.address)
        trio.run(self._fill)

    def fill_with_oddities(self) -> None:
        """The same, and names and reasons of all lengths."""
        self.fill()
        trio.run(self._oddities)

    def close(self) -> None:
        for process in self.processes[1:]:  # workers, which would wait for what they run
            process.kill()
            process.wait()
        for process in self.processes[:1]:
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
            if process.stderr is not None:
                process.stderr.close()

    def call(self, method: str, /, **params: Any) -> Any:
        """A method of the core."""

        async def ask() -> Any:
            async with open_gearbox([self.address]) as gearbox:
                return await gearbox.call(f"gearbox\\core::{method}", params)

        return trio.run(ask)

    def wait_until_ended(self, ids: Sequence[int]) -> None:
        """Wait for jobs, however they end."""

        async def wait() -> None:
            async with open_gearbox([self.address]) as gearbox:
                for id in ids:
                    with suppress(RpcError):
                        await gearbox.watch(id)

        trio.run(wait)

    async def _fill(self) -> None:
        async with open_gearbox([self.address]) as gearbox:
            with trio.fail_after(60):
                while {"report::count", "report::slow", "report::broken"} - await _offered(gearbox):  # noqa: ASYNC110
                    await trio.sleep(0.1)
            jobs = self.jobs
            jobs["done"] = await gearbox.queue("report::count", [FILE])
            jobs["failed"] = await gearbox.queue("report::broken", ["ink"], max_retries=0)
            jobs["child of failed"] = await gearbox.queue("report::count", ["x"], after_id=jobs["failed"])
            jobs["nobody"] = await gearbox.queue("nobody::here", ["x"])
            jobs["later"] = await gearbox.queue("report::count", ["later"], after_date=LATER, dedupe="once")
            jobs["running"] = await gearbox.queue("report::slow")
            await gearbox.schedule("nightly", "0 3 * * *", "report::count", timezone="Europe/Berlin")
            await gearbox.schedule("often", "*/7 * * * *", "report::count", [FILE])
            await self._pool(gearbox)
            for name in ("done", "failed", "nobody"):
                try:
                    await gearbox.watch(jobs[name])
                except RpcError:
                    assert name != "done"

    async def _oddities(self) -> None:
        """What is longer than anybody would make it."""
        jobs = self.jobs
        async with open_gearbox([self.address]) as gearbox:
            jobs["long"] = await gearbox.queue(
                LONG, ["x" * 400, {"y" * 80: [WORDS]}], after_date=LATER, dedupe="d" * 200
            )
            await gearbox.cancel(jobs["long"], WORDS)
            await gearbox.call("gearbox\\core::pause", {"method": "shelf::empty", "reason": WORDS})

    async def _pool(self, gearbox: Gearbox) -> None:
        """A pool of hundreds before one job, with one more after it."""
        members = [
            {"name": "report::count", "args": [FILE], "before_ref": "sum", "after_date": LATER} for _ in range(MEMBERS)
        ]
        for member in members[: MEMBERS * 2 // 3]:
            del member["after_date"]
        members[0]["name"] = "report::broken"
        ids = await gearbox.queue_many(
            [
                *members,  # type: ignore[list-item]
                {"name": "report::count", "args": ["sum"], "ref": "sum", "after_date": LATER},
                {"name": "report::count", "args": ["mail"], "after_ref": "sum"},
            ]
        )
        self.jobs |= {"member": ids[-3], "sum": ids[-2], "mail": ids[-1]}


async def _offered(gearbox: Gearbox) -> set[str]:
    return {row["method"] for row in await gearbox.methods() if row["workers"]}


@contextmanager
def shop(folder: Path, *, tokens: str = "") -> Iterator[Shop]:
    """Open for the block, and empty."""
    one = Shop(folder, tokens=tokens)
    try:
        one.open()
        yield one
    finally:
        one.close()
