"""One seed, one run: all that would differ from run to run is taken away here, and nowhere else.

trio shuffles what runs next, on purpose. With its switch for deterministic scheduling it orders a batch of tasks by
their age and shuffles that by its own generator, which is seeded here. Neither has a public name, so both are asserted
to be there. The module `random`, from which backoff and jitter draw, is seeded as well; the clock jumps, and no thread,
socket or process may take part, since none of them is held by that clock: the system is never asked what has happened.
The names that workers give themselves hold the machine's and the process's: the length of these decides how a message
is cut into pieces.

The hashes of texts differ from process to process and with them the order of sets, so a process that simulates needs
PYTHONHASHSEED=0 (`with_fixed_hashes`).
"""

from __future__ import annotations

import gc
import itertools
import os
import random
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from heapq import heappop, heappush
from typing import Any, TypeVar
from unittest.mock import patch

import trio

__all__ = ["at", "run", "sleep", "with_fixed_hashes"]

T = TypeVar("T")

_trio: Any = trio._core._run  # type: ignore[attr-defined]


def with_fixed_hashes() -> None:
    """Start this program again, in place, unless its hashes are fixed."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONHASHSEED": "0"})


def run(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run `main` on a clock that jumps; with the same seed, every time the same steps in the same order."""
    assert hasattr(_trio, "_ALLOW_DETERMINISTIC_SCHEDULING"), "this trio has another switch for its scheduler"
    assert isinstance(getattr(_trio, "_r", None), random.Random), "this trio draws its order from somewhere else"
    assert os.environ.get("PYTHONHASHSEED") == "0", "the order of sets would differ from process to process"
    _trio._ALLOW_DETERMINISTIC_SCHEDULING = True
    _trio._r.seed(seed)
    random.seed(seed)
    time = _Time()

    async def timeless() -> T:
        runner = _trio.GLOBAL_RUN_CONTEXT.runner
        watched = runner.io_manager
        runner.io_manager = _Descriptors(watched, runner.entry_queue, time)
        try:
            return await main()
        finally:
            runner.io_manager = watched  # trio ends by a word to itself through a descriptor

    _freeze()
    gc.disable()  # nothing may depend on when garbage is found
    try:
        with patch("os.getpid", return_value=1), patch("socket.gethostname", return_value="simulated"):
            return trio.run(timeless, clock=time)
    finally:
        gc.enable()
        gc.collect()


def at(moment: float, act: Callable[[], object]) -> None:
    """Have something done at a moment of the clock, as the outside does: by no task."""
    _trio.GLOBAL_RUN_CONTEXT.runner.io_manager.at(moment, act)


async def sleep(seconds: float) -> None:
    """As trio's, which makes a scope and cancels it: that costs several times as much."""
    task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

    def wake() -> None:
        if task is not None:
            trio.lowlevel.reschedule(task)

    def give_up(_: object) -> trio.lowlevel.Abort:
        nonlocal task
        task = None
        return trio.lowlevel.Abort.SUCCEEDED

    at(trio.current_time() + seconds, wake)
    await trio.lowlevel.wait_task_rescheduled(give_up)


@cache
def _freeze() -> None:
    """What is there before the first run need not be looked at after each."""
    gc.collect()
    gc.freeze()


class _Time(trio.abc.Clock):
    """A clock that stands still while anybody has something to do, and jumps to the next deadline then.

    As trio's MockClock does, but in the pass of the scheduler that finds nothing to do instead of the one after it.
    """

    def __init__(self) -> None:
        self.now = 0.0

    def start_clock(self) -> None: ...

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.now


class _Descriptors:
    """What trio waits for while nobody has anything to do: descriptors, and what the outside does at its time (`at`).

    None is ever ready here but trio's own, by which it tells itself of calls that `run_sync_soon` was given.
    """

    def __init__(self, watched: Any, calls: Any, time: _Time) -> None:
        self._watched = watched
        self._calls = calls
        self._time = time
        self._coming: list[tuple[float, int, Callable[[], object]]] = []  # a heap
        self._numbers = itertools.count()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watched, name)

    def at(self, moment: float, act: Callable[[], object]) -> None:
        heappush(self._coming, (moment, next(self._numbers), act))

    def get_events(self, timeout: float) -> Any:
        if self._calls.size():
            return self._watched.get_events(0.0)
        until = self._time.now + timeout
        if self._coming and self._coming[0][0] <= until:
            until = max(self._coming[0][0], self._time.now)
            while self._coming and self._coming[0][0] <= until:
                heappop(self._coming)[2]()
        self._time.now = until
        return ()
