"""A multiworker whose files change while it stops, or while they are read."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from process_stage import until

from abraxas_py import open_client
from gearbox import rpc
from gearbox.cli.console import Console
from gearbox.cli.crew import work
from gearbox.work.config import Config, Method

ACCEPTING = {"job_data": lambda params: None, "job_start": lambda params: True}


class Files:
    """What the files say one reading after the other; the first one takes until `end`."""

    def __init__(self, *configs: Config) -> None:
        self._configs: Iterator[Config] = iter(configs)
        self.begun = threading.Event()
        self.end = threading.Event()

    def read(self) -> Config:
        config = next(self._configs)
        if not self.begun.is_set():
            self.begun.set()
            self.end.wait(10)
        return config


@asynccontextmanager
async def a_multiworker(address: str, config: Config, reload: Callable[[], Config]) -> AsyncIterator[None]:
    """At work within the block, at the end of which it has to have been told to stop."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(work, [address], config, Console(), reload=reload))
        await until(lambda: signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL)
        yield


def tell(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def installed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Which methods were started since the last question."""
    lines = capsys.readouterr().out.splitlines()
    return [line.rpartition(" ")[2] for line in lines if line.startswith("=== Installing ")]


async def test_a_reload_that_ends_while_the_multiworker_stops_changes_nothing(
    open_gearman: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    slow = Method("a::slow", f"touch {started}; while ! test -e {go}; do sleep 0.02; done; echo done")
    files = Files(Config((Method("a::slow", "echo new"), Method("a::added", "true"))))
    async with open_gearman(ACCEPTING) as gearman:
        async with a_multiworker(gearman.address, Config((slow,)), files.read):
            async with open_client(gearman.address) as client:
                await client.submit_bg(slow.name, rpc.request(slow.name, None, "x", {"gearbox_id": 7}))
            await until(started.exists)
            tell(signal.SIGUSR1)
            await until(files.begun.is_set)
            assert installed(capsys) == ["a::slow"]
            tell(signal.SIGTERM)
            await until(lambda: "Finishing what runs" in capsys.readouterr().err)
            files.end.set()
            await trio.testing.wait_all_tasks_blocked(0.05)
            go.touch()
        assert [report["data"] for report in gearman.params_of("job_data")] == ["done\n"]
    assert installed(capsys) == []


async def test_of_two_reloads_the_one_that_read_the_files_last_comes_last(
    open_gearman: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = (Config((Method(f"a::{name}", "true"),)) for name in ("first", "second", "third"))
    files = Files(second, third)
    seen: list[str] = []
    async with (
        open_gearman(ACCEPTING) as gearman,
        a_multiworker(gearman.address, first, files.read),
    ):
        tell(signal.SIGUSR1)
        await until(files.begun.is_set)
        tell(signal.SIGUSR1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        files.end.set()
        await until(lambda: seen.extend(installed(capsys)) or len(seen) == 3)
        tell(signal.SIGTERM)
    assert seen == ["a::first", "a::second", "a::third"]


async def test_a_reload_for_which_no_thread_can_be_started_leaves_all_as_it_was(
    open_gearman: Any, no_threads: Callable[[], AbstractContextManager[None]], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (Config((Method(f"a::{name}", "true"),)) for name in ("first", "second"))
    said: list[str] = []
    seen: list[str] = []
    async with (
        open_gearman(ACCEPTING) as gearman,
        a_multiworker(gearman.address, first, lambda: second),
    ):
        await until(lambda: seen.extend(installed(capsys)) or seen == ["a::first"])
        with no_threads():
            tell(signal.SIGUSR1)
            await until(lambda: said.extend(capsys.readouterr().err.splitlines()) or len(said) == 3)
        tell(signal.SIGUSR1)
        await until(lambda: seen.extend(installed(capsys)) or seen == ["a::first", "a::second"])
        tell(signal.SIGTERM)
    assert said[1:] == ["??? can't start new thread", "??? the configuration stays as it was"]
