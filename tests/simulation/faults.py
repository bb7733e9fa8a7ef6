"""What goes wrong in a run: the steps of a plan that are faults, each with its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.simulation.database import Fault

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Faults"]


class Faults:
    """Does the faults of a plan to a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._network = world.network
        self._database = world.database

    def perform(self, kind: str, args: dict[str, Any]) -> None:
        """Begin a fault, now or when what it aims at happens; it ends by itself."""
        aim = args.get("aim")
        if aim is None:
            self._begin(kind, args)
        else:
            self._world.aim(aim["event"], aim["after"], lambda: self._begin(kind, args))

    def _begin(self, kind: str, args: dict[str, Any]) -> None:
        self._world.note("fault", kind)
        self._world.faults[kind] += 1
        name, _, how = kind.partition("_")
        if how in ("kill", "term", "stop"):
            self._world.spawn(getattr(self, f"_{how}"), args)
        elif name == "store" and how in ("busy", "error", "broken", "full", "down"):
            until = self._world.time() + args.get("seconds", 0.0)
            self._database.faults.append(Fault("error" if how == "down" else how, args["after"], until))
        else:
            self._world.spawn(getattr(self, f"_{kind}"), args)

    async def _kill(self, args: dict[str, Any]) -> None:
        node = self._world.nodes[args["node"]]
        await node.kill()
        await trio.sleep(args["seconds"])
        node.start()

    async def _term(self, args: dict[str, Any]) -> None:
        await self._world.terminate(args["node"])
        await trio.sleep(args["seconds"])
        self._world.nodes[args["node"]].start()

    async def _stop(self, args: dict[str, Any]) -> None:
        node = self._world.nodes[args["node"]]
        node.stop()
        await trio.sleep(args["seconds"])
        node.go_on()

    async def _cut(self, args: dict[str, Any]) -> None:
        one, other = args["ends"]
        for way in ((one, other), (other, one)):
            self._network.cut(*way)
        await trio.sleep(args["seconds"])
        for way in ((one, other), (other, one)):
            self._network.heal(*way)

    async def _cut_one_way(self, args: dict[str, Any]) -> None:
        self._network.cut(*args["ends"])
        await trio.sleep(args["seconds"])
        self._network.heal(*args["ends"])

    async def _reset(self, args: dict[str, Any]) -> None:
        for connection in self._network.between(*args["ends"]):
            connection.reset()

    async def _sever(self, args: dict[str, Any]) -> None:
        """As by a firewall: what stood is broken, and nothing comes through until it is healed."""
        await self._reset(args)
        await self._cut(args)

    async def _half_close(self, args: dict[str, Any]) -> None:
        one, other = args["ends"]
        for connection in self._network.between(one, other):
            connection.ends[0 if connection.nodes[0].name == one else 1].end_sending()

    async def _slow_network(self, args: dict[str, Any]) -> None:
        self._network.lag = args["lag"]
        await trio.sleep(args["seconds"])
        self._network.lag = 0.0

    async def _store_unheard(self, args: dict[str, Any]) -> None:
        self._database.unheard.append(args["is_stored"])

    async def _store_slow(self, args: dict[str, Any]) -> None:
        usual, self._database.latency = self._database.latency, args["latency"]
        await trio.sleep(args["seconds"])
        self._database.latency = usual

    async def _clock_jump(self, args: dict[str, Any]) -> None:
        """Of the machine with the database, whose clock all cores go by."""
        self._world.database.skew += args["seconds"]
