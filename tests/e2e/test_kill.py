"""`kill -9` of g-core at random moments under load: nothing that was acknowledged is lost, nothing runs twice.

Two ledgers outside the system: the ids that were acknowledged, and what the worker's command wrote when it ran. More
kills than CI has time for: `GEARBOX_TEST_KILLS=200 pytest tests/e2e/test_kill.py`.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import trio

from abraxas_py import AbraxasError
from gearbox.client import Gearbox, open_gearbox
from gearbox.errors import RpcError

KILLS = int(os.environ.get("GEARBOX_TEST_KILLS", "4"))
SEED = int(os.environ.get("GEARBOX_TEST_SEED", "1"))
QUEUERS = 4
WATCH_TIMEOUT = 100.0  # s
RESUME_TIMEOUT = 120.0  # s from a death to the next acknowledged job, on a machine on which all else waits too


def test_kill_at_random_moments_under_load(gearbox: Any, tmp_path: Path) -> None:
    trio.run(kill_and_count, gearbox, tmp_path)


async def kill_and_count(gearbox: Any, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    ledger = tmp_path / "ran"
    ledger.touch()
    acknowledged: dict[int, str] = {}
    answered: list[tuple[float, float]] = []  # when such a call was made, and when its id was there
    deaths: list[float] = []
    core = gearbox.core()
    # The command says that it ran, takes a moment, and says so again: an overlap or a second run shows in the ledger.
    script = f'echo "start $1" >> {ledger}; sleep 0.0$2; echo "end $1" >> {ledger}; echo "$1"'
    gearbox.worker("-q", "-j", "4", "-I", "append", "kill::job", "--", "sh", "-c", script, "sh")

    async def queue(g: Gearbox, number: int, done: trio.Event) -> None:
        n = 0
        while not done.is_set():
            n += 1
            name = f"{number}.{n}"
            called = trio.current_time()
            try:
                id = await g.queue("kill::job", [name, str(n % 10)])
            except (AbraxasError, RpcError):
                await trio.sleep(0.05)  # not acknowledged: it may have been stored or not
            else:
                assert id not in acknowledged
                acknowledged[id] = name
                answered.append((called, trio.current_time()))
            await trio.sleep(chance.uniform(0.05, 0.15))

    async def until_answered() -> None:
        """Until a job is acknowledged that was queued after the last death."""
        with trio.fail_after(RESUME_TIMEOUT):
            while max(answered, default=(0.0, 0.0))[0] <= max(deaths, default=0.0):  # noqa: ASYNC110
                await trio.sleep(0.01)

    async with open_gearbox([gearbox.address], connect_timeout=5) as g:
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            for number in range(QUEUERS):
                nursery.start_soon(queue, g, number, done)
            for kill in range(KILLS):
                if kill % 2:  # the others may come before its clients are there again
                    await until_answered()
                await trio.sleep(chance.uniform(0.2, 1.5))
                core.send_signal(signal.SIGKILL)
                core.wait()
                deaths.append(trio.current_time())
                core = await trio.to_thread.run_sync(gearbox.core)
            await until_answered()
            done.set()

        assert len(acknowledged) > KILLS  # on a busy machine; else some 20 times as many
        results: dict[int, str] = {}

        async def watch(id: int) -> None:
            with trio.move_on_after(WATCH_TIMEOUT):
                results[id] = (await g.watch(id)).strip()

        async with trio.open_nursery() as nursery:
            for id in acknowledged:
                nursery.start_soon(watch, id)

    assert results == acknowledged
    lines = ledger.read_text().split("\n")[:-1]
    runs = Counter(line.split()[1] for line in lines if line.startswith("start"))
    twice = {name: count for name, count in runs.items() if count > 1}
    assert not twice, f"ran more than once: {twice}"
    assert runs.keys() >= set(acknowledged.values())
    resumed = [min(at for called, at in answered if called > death) - death for death in deaths]
    print(
        f"{KILLS} kills, seed {SEED}: {len(acknowledged)} jobs acknowledged, each ran once; from a death to the next "
        f"acknowledged job, with g-core's start: median {median(resumed):.2f} s, at most {max(resumed):.2f} s"
    )
