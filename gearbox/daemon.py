"""The whole of `g-core`, put together: store, core, and the broker in this process or a link to others."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from functools import cache, partial

import attrs
import trio

from abraxas_py import Endpoint, Options, Server
from abraxas_py.nursery import open_nursery
from abraxas_py.transport import Dialer
from gearbox import client, cores, methods
from gearbox.core import Core
from gearbox.gearman import Call, Link
from gearbox.settings import Settings
from gearbox.steps.pruning import Retention
from gearbox.store import Store, open_store

__all__ = ["Running", "serve"]

FAREWELL = 5.0  # s to store what has come in before the end


@attrs.define
class Running:
    """A daemon that has started. `servers` is how tools on this machine reach it."""

    servers: tuple[str, ...]
    core: Core  # another one after this one was declared dead
    stop: trio.Event  # set it for a graceful end


async def serve(settings: Settings, *, task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until `Running.stop` is set or cancelled; started once a client can queue a job.

    Raises `StoreError` or `ListenError`, with what to do, before anything is served.
    """
    store = await trio.to_thread.run_sync(open_store, settings.place)
    try:
        async with open_nursery() as nursery:
            servers: dict[str | None, str | Endpoint | Dialer] = {address: address for address in settings.servers}
            addresses = settings.servers
            if settings.is_embedded:
                server = Server(Options(pid=os.getpid(), reserved=(client.NAMESPACE.encode(),)))
                addresses = tuple(await nursery.start(server.serve, settings.listen))
                servers = {None: server.dial}
            running = Running(addresses, _new_core(store, settings), trio.Event())
            started = cache(partial(task_status.started, running))  # what is told once
            while not running.stop.is_set():
                await _live(running, store, servers, started)
                running.core = _new_core(store, settings)
            nursery.cancel_scope.cancel()
    finally:
        store.close()


def _new_core(store: Store, settings: Settings) -> Core:
    return Core(
        store,
        instance=str(uuid.uuid4()),
        clock=store.now,
        retention=Retention(settings.keep_days),
        name=cores.name(),
    )


async def _live(
    running: Running,
    store: Store,
    servers: Mapping[str | None, str | Endpoint | Dialer],
    started: Callable[[], None],
) -> None:
    """One life of a core: until it is told to stop, or the other cores have declared it dead."""
    core = running.core

    def on_call(call: Call) -> None:
        methods.dispatch(core, call)

    link = Link(
        servers,
        instance=core.instance,
        database=store.database,
        functions=methods.METHODS,
        on_call=on_call,
        on_news=core.news,
        on_connect=core.gearman_is_back,
    )
    async with open_nursery() as nursery:

        async def end_with_fence() -> None:
            await core.fenced.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(end_with_fence)
        await nursery.start(core.run, link)
        if store.is_shared:
            nursery.start_soon(cores.keep, core)
        await nursery.start(link.run)
        nursery.start_soon(core.vitals.watch_loop)
        started()
        try:
            await running.stop.wait()
        finally:
            if not core.fenced.is_set():
                with trio.CancelScope(shield=True), trio.move_on_after(FAREWELL):
                    await core.drain()
        nursery.cancel_scope.cancel()
