"""A core among others on one database: its heartbeat, its eye on the others, and what they did that concerns it.

No core leads. Each claims jobs for itself (the database gives every row to one), each takes calls from all Gearman
servers, and each sees when another one dies: its number in `gearbox_cores` stands still for as long as the lease, by
the observer's clock. Then one of them declares it dead, and all take over what it left (`steps.orphans`).

Every batch of a core begins by making sure that it was not declared dead itself (`steps.cores.stand`), within the
transaction. One that was, for it had been stopped or cut off, does nothing any more; `daemon` closes its connections,
with which its jobs that wait in Gearman's queues end, and starts anew under another id.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog
import trio

from abraxas_py.nursery import open_nursery
from gearbox.core import Core
from gearbox.errors import RpcError
from gearbox.rules.leases import HEARTBEAT, Observer
from gearbox.steps import cores
from gearbox.store import CoreRow
from gearbox.store.clock import steady

__all__ = ["keep", "name"]

log = structlog.get_logger("gearbox:cores")


def name() -> str:
    """This process, for people."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def keep(core: Core, clock: Callable[[], float] = steady) -> None:
    """Beat, watch the others, and take over from the dead, for as long as the core runs."""
    observer = Observer(core.instance)
    known_dead: set[str] | None = None
    wanted, looks = trio.open_memory_channel[None](1)  # however many die meanwhile, one more look does
    async with open_nursery() as nursery:
        nursery.start_soon(_look, core, looks)
        while True:
            try:
                rows: list[CoreRow]
                rows, at = await core.call(cores.beat)
                expired = observer.expired(rows, at, clock())
                if expired:
                    buried: list[CoreRow] = await core.call(partial(cores.bury, expired))
                    for row in buried:
                        log.warning("a core is dead; its jobs are taken over", core=row.id, name=row.name)
                        rows = [one for one in rows if one.id != row.id]
                dead = {row.id for row in rows if not row.is_alive} | {row.id for row in expired}
            except RpcError as error:
                log.debug("no heartbeat", error=str(error))
                await trio.sleep(HEARTBEAT)
            else:
                if not dead <= (known_dead or set()):
                    nursery.start_soon(core.adopt)
                    if known_dead is not None:  # otherwise the first look is on its way
                        with suppress(trio.WouldBlock):
                            wanted.send_nowait(None)
                known_dead = dead
                await trio.sleep(observer.pause(clock()))


async def _look(core: Core, looks: trio.MemoryReceiveChannel[None]) -> None:
    """At all jobs, at the start and after deaths; with many jobs it takes longer than a lease."""
    await core.look_at_all()
    async for _ in looks:
        await core.look_at_all()
