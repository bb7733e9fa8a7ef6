"""A process of the simulated system: started, killed like by SIGKILL, stopped like by SIGSTOP, started anew.

All tasks of a node carry it in their context. What a task schedules while its node is stopped is taken out of trio's
queue and put back when the node goes on: its steps stop, while time, and the others, run. A killed node loses its
connections first and is cancelled then, so that nothing that its code does on the way out reaches anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import trio

from gearbox.errors import StoreBroken

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["NODE", "Node"]

SUPERVISOR_PAUSE = 1.0  # s until a program that ended by itself is started again
LOOKS_MOST = 150_000  # at a clock in one run; more is a loop that turns for nothing

NODE: ContextVar[Node | None] = ContextVar("node", default=None)

Main = Callable[["Node", trio.Nursery], Awaitable[None]]


class Node:
    """A process named `name` that runs `main`; `boot` counts its starts."""

    def __init__(self, world: World, name: str, main: Main) -> None:
        self.world = world
        self.name = name
        self.boot = 0
        self.looks = 0  # at its clock
        self.is_up = False
        self.is_stopped = False
        self.on_kill: list[Callable[[], object]] = []  # what else ends with the process
        self.stop_gently: Callable[[], Awaitable[Any]] | None = None  # what it does on SIGTERM
        self._main = main
        self._scope = trio.CancelScope()
        self._down = trio.Event()
        self.held: list[Any] = []  # tasks that would run if it were not stopped

    def __repr__(self) -> str:
        return f"{self.name}.{self.boot}"

    def wall(self) -> float:
        """Unix seconds, as the machine with the database has them."""
        self.looks += 1
        if self.looks == LOOKS_MOST:
            self.world.give_up(f"{self!r} has looked at the clock {LOOKS_MOST} times")
        return self.world.now() + self.world.database.skew

    def start(self) -> None:
        """Run it, unless it runs."""
        if self.is_up:
            return
        self.boot += 1
        self.is_up = True
        self._scope = trio.CancelScope()
        self._down = trio.Event()
        self.world.note("start", self.name, self.boot)
        context = copy_context()
        context.run(NODE.set, self)
        context.run(self.world.nursery.start_soon, self._run)

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await self._main(self, nursery)
                    nursery.cancel_scope.cancel()
        except Exception as problem:
            if not is_meant(problem):  # a crash of ours is what we look for
                self.world.violate("crash", f"{self!r}: {describe(problem)}")
            self.world.spawn(self._supervise)
        finally:
            self._leave()
            self._down.set()

    async def _supervise(self) -> None:
        await trio.sleep(SUPERVISOR_PAUSE)
        self.start()

    def _leave(self) -> None:
        if self.is_up:
            self.is_up = False
            self.world.network.drop_node(self)
            for end in self.on_kill:
                end()
            self.on_kill.clear()
            self.stop_gently = None

    async def kill(self) -> None:
        """SIGKILL; returns once nothing of it is left."""
        if not self.is_up:
            return
        self.world.note("kill", self.name)
        self._leave()
        self.go_on()
        self._scope.cancel()
        await self._down.wait()

    def stop(self) -> None:
        """SIGSTOP."""
        if self.is_up and not self.is_stopped:
            self.world.note("stop", self.name)
            self.is_stopped = True
            self.world.freezer.add(self)

    def go_on(self) -> None:
        """SIGCONT."""
        if self.is_stopped:
            self.world.note("cont", self.name)
            self.is_stopped = False
            self.world.freezer.remove(self)


class Freezer(trio.abc.Instrument):
    """Keeps the tasks of stopped nodes out of trio's queue."""

    def __init__(self) -> None:
        self._stopped: dict[Node, None] = {}
        self._queue: Any = trio._core._run.GLOBAL_RUN_CONTEXT.runner.runq  # type: ignore[attr-defined]

    def add(self, node: Node) -> None:
        if not self._stopped:
            trio.lowlevel.add_instrument(self)
        self._stopped[node] = None

    def remove(self, node: Node) -> None:
        del self._stopped[node]
        if not self._stopped:
            trio.lowlevel.remove_instrument(self)
        self._queue.extend(node.held)
        node.held.clear()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        node = task.context.get(NODE)
        if node in self._stopped:
            assert node is not None
            last = self._queue.pop()
            assert last is task, "trio queues what it schedules in another way"
            node.held.append(task)


def is_meant(problem: BaseException) -> bool:
    """Whether a program ends with this on purpose."""
    if isinstance(problem, BaseExceptionGroup):
        return all(is_meant(one) for one in problem.exceptions)
    return isinstance(problem, StoreBroken)


def describe(problem: BaseException) -> str:
    """An error in one line, a group by what is in it."""
    if isinstance(problem, BaseExceptionGroup):
        return "; ".join(describe(one) for one in problem.exceptions)
    return f"{type(problem).__name__}: {problem}"
