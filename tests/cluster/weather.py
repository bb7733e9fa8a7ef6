"""What happens to the processes: every few seconds one of them is killed, or stopped for a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import trio

__all__ = ["Fault", "Victim", "Weather"]

DOWN_LONGEST = 2  # processes that are down at a time: beyond that, little works that could go wrong
KILLED_FOR = (0.2, 3.0)  # s until it is started again
STOPPED_FOR = (0.5, 12.0)  # s
STOPPED_LONG = (32.0, 40.0)  # s, longer than a core's lease: one in so many stops of a core
LONG_SHARE = 0.25
STOP_SHARE = 0.4


class Victim(Protocol):
    """A process to which something may happen. `name` begins with its kind: core-1."""

    name: str

    def spawn(self) -> None: ...

    def kill(self) -> None: ...

    def stop(self) -> None: ...

    def cont(self) -> None: ...

    @property
    def pid(self) -> int: ...

    @property
    def is_running(self) -> bool: ...


@attrs.frozen
class Fault:
    """What was done to which process, when, and for how long."""

    name: str
    pid: int
    at: float  # Unix seconds
    is_stop: bool
    seconds: float


class Weather:
    """Faults until it is told to be fair. All chance is from `chance`."""

    def __init__(self, victims: Sequence[Victim], every: float, chance: random.Random) -> None:
        self.faults: list[Fault] = []
        self.down: dict[str, Victim] = {}
        self.victims = victims
        self._every = every
        self._chance = chance

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Until it is over, and everything is up again."""
        async with trio.open_nursery() as nursery:
            while not is_over():
                await trio.sleep(self._chance.uniform(0.5, 1.5) * self._every)
                victim = self._chance.choice([one for one in self.victims if one.name not in self.down])
                if len(self.down) < DOWN_LONGEST and not is_over():
                    nursery.start_soon(self._strike, victim)

    async def _strike(self, victim: Victim) -> None:
        chance = self._chance
        self.down[victim.name] = victim
        is_stop = chance.random() < STOP_SHARE
        if not is_stop:
            seconds = chance.uniform(*KILLED_FOR)
        elif victim.name.startswith("core") and chance.random() < LONG_SHARE:
            seconds = chance.uniform(*STOPPED_LONG)
        else:
            seconds = chance.uniform(*STOPPED_FOR)
        self.faults.append(Fault(victim.name, victim.pid, time.time(), is_stop, seconds))
        if is_stop:
            victim.stop()
            await trio.sleep(seconds)
            victim.cont()
        else:
            await trio.to_thread.run_sync(victim.kill)
            await trio.sleep(seconds)
            await trio.to_thread.run_sync(victim.spawn)
        del self.down[victim.name]
