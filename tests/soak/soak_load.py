"""Jobs of all kinds at a steady rate, as many users together make them."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable

import attrs
import trio

from abraxas_py import AbraxasError
from gearbox.client import Gearbox
from gearbox.errors import RpcError

__all__ = ["Load"]

MOST_AT_ONCE = 500  # calls under way; beyond it the machine does not keep up, and the rate falls
TICK = 0.05  # s


@attrs.define
class Load:
    """`acknowledged` are the ids of all jobs that were queued."""

    gearbox: Gearbox
    rate: float  # kinds of work a second; a kind is one to five jobs
    chance: random.Random
    acknowledged: list[int] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    _running: int = 0
    _number: int = 0

    async def run(self, seconds: float) -> None:
        ends_at = trio.current_time() + seconds
        due = 0.0
        async with trio.open_nursery() as nursery:
            while trio.current_time() < ends_at:
                due = min(due + self.rate * TICK, MOST_AT_ONCE - self._running)
                for _ in range(int(due)):
                    (kind,) = self.chance.choices(list(KINDS), KINDS.values())
                    nursery.start_soon(self._do, kind)
                due -= int(due)
                await trio.sleep(TICK)

    async def _do(self, kind: Callable[[Load], Awaitable[None]]) -> None:
        self._running += 1
        try:
            await kind(self)
        except (RpcError, AbraxasError) as error:
            self.refused.append(str(error))
        finally:
            self._running -= 1

    async def queue(self, method: str, **how: object) -> int:
        self._number += 1
        retries = {"max_retries": 30, "retry_delay": 0.5}  # for what may happen to a worker
        id = await self.gearbox.queue(f"soak::{method}", [self._number], **retries | how)  # type: ignore[arg-type]
        self.acknowledged.append(id)
        return id


async def one(load: Load) -> None:
    await load.queue("noop")


async def chain(load: Load) -> None:
    first = await load.queue("noop")
    second = await load.queue("slow", after_id=first)
    await load.queue("noop", after_id=second)


async def pool(load: Load) -> None:
    members = [{"name": "soak::slow", "before_ref": "target"} for _ in range(4)]
    load.acknowledged += await load.gearbox.queue_many([*members, {"name": "soak::noop", "ref": "target"}])  # type: ignore[list-item]


async def twin(load: Load) -> None:
    await load.queue("slow", dedupe=f"twin {load.chance.randrange(5)}")


async def later(load: Load) -> None:
    await load.queue("noop", after_date=(time.time() + load.chance.uniform(0.5, 3)) * 1000)


async def failing(load: Load) -> None:
    await load.queue("failing", max_retries=2, retry_delay=0.2)


async def command(load: Load) -> None:
    await load.queue("command")


async def large(load: Load) -> None:
    await load.queue("large")


async def watched(load: Load) -> None:
    await load.gearbox.watch(await load.queue("slow"))


async def left(load: Load) -> None:
    """A watcher that does not wait for the end."""
    id = await load.queue("noop", after_date=(time.time() + 2) * 1000)
    with trio.move_on_after(0.5):
        await load.gearbox.watch(id)


async def cancelled(load: Load) -> None:
    id = await load.queue("noop", after_date=(time.time() + 60) * 1000)
    await load.gearbox.cancel(id, "soak")


async def looked_at(load: Load) -> None:
    if load.acknowledged:
        await load.gearbox.status([load.chance.choice(load.acknowledged)])
        await load.gearbox.history(load.chance.choice(load.acknowledged))


KINDS: dict[Callable[[Load], Awaitable[None]], int] = {
    one: 40, chain: 6, pool: 2, twin: 8, later: 10, failing: 2, command: 1, large: 4, watched: 12, left: 3,
    cancelled: 2, looked_at: 10,
}  # fmt: skip
