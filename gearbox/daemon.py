"""The whole of `g-core`, put together: store, core, and the broker in this process or a link to others."""

from __future__ import annotations

import os
import uuid

import attrs
import trio

from abraxas_py import Endpoint, Options, Server
from abraxas_py.nursery import open_nursery
from abraxas_py.transport import Dialer
from gearbox import client, methods
from gearbox.core import Core
from gearbox.gearman import Call, Link
from gearbox.settings import Settings
from gearbox.steps.pruning import Retention
from gearbox.store import open_store

__all__ = ["Running", "serve"]

FAREWELL = 5.0  # s to store what has come in before the end


@attrs.frozen
class Running:
    """A daemon that has started. `servers` is how tools on this machine reach it."""

    servers: tuple[str, ...]
    core: Core
    stop: trio.Event  # set it for a graceful end


async def serve(settings: Settings, *, task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until `Running.stop` is set or cancelled; started once a client can queue a job.

    Raises `StoreError` or `ListenError`, with what to do, before anything is served.
    """
    store = await trio.to_thread.run_sync(open_store, str(settings.database))
    try:
        core = Core(store, instance=str(uuid.uuid4()), retention=Retention(settings.keep_days))
        async with open_nursery() as nursery:
            servers: dict[str | None, str | Endpoint | Dialer] = {address: address for address in settings.servers}
            addresses = settings.servers
            if settings.is_embedded:
                server = Server(Options(pid=os.getpid(), reserved=(client.NAMESPACE.encode(),)))
                addresses = tuple(await nursery.start(server.serve, settings.listen))
                servers = {None: server.dial}

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
            await nursery.start(core.run, link)
            await nursery.start(link.run)
            nursery.start_soon(core.vitals.watch_loop)
            running = Running(addresses, core, trio.Event())
            task_status.started(running)
            try:
                await running.stop.wait()
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(FAREWELL):
                    await core.drain()
            nursery.cancel_scope.cancel()
    finally:
        store.close()
