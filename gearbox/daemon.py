"""The whole of `g-core`, put together: store, core, and the broker in this process or a link to others."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

import attrs
import structlog
import trio

from abraxas_py import Endpoint, ListenError, Options, Server
from abraxas_py.journal import Journal
from abraxas_py.journal.sqlite import SqliteJournal
from abraxas_py.nursery import open_nursery
from abraxas_py.transport import Dialer
from gearbox import client, cores, methods
from gearbox.core import Core
from gearbox.errors import StoreAway, StoreBusy, StoreFull
from gearbox.gearman import Link
from gearbox.settings import Settings
from gearbox.steps.pruning import Retention
from gearbox.store import Store
from gearbox.store.address import MysqlAddress
from gearbox.store.apart import open_apart

__all__ = ["Census", "Running", "census_of", "link_of", "serve"]

if TYPE_CHECKING:
    from gearbox.web.server import Dashboard

log = structlog.get_logger("gearbox:core")

Census = Callable[[], Mapping[str, int]]  # how many workers offer each function

FAREWELL = 5.0  # s to store what has come in before the end
STORE_PATIENCE = 10.0  # s at the start until it is told that the database does not answer
STORE_PAUSE = 2.0  # s between tries to reach the database at the start
PATIENCE = 2.0  # s at the start until it is told that Gearman cannot be reached


@attrs.define
class Running:
    """A daemon that has started. `servers` is how tools on this machine reach it."""

    servers: tuple[str, ...]
    core: Core  # another one after this one was declared dead
    dashboard: str = ""  # the address to visit; "" where there is none


async def serve(settings: Settings, stop: trio.Event, on_start: Callable[[Running], object]) -> None:
    """Serve until `stop` is set, which ends it in peace; `on_start` is called once a client can queue a job.

    Servers that are not there yet, of the database or of Gearman, are waited for, and so is room on the disk. Raises
    `StoreError` or `ListenError`, with what to do, before anything is served.
    """
    store = await _open(settings.place, stop)
    if store is None:
        return
    try:
        async with open_nursery() as nursery:
            servers: dict[str | None, str | Endpoint | Dialer] = {address: address for address in settings.servers}
            addresses = settings.servers
            census: Census | None = None
            if settings.is_embedded:
                options = Options(pid=os.getpid(), reserved=(client.NAMESPACE.encode(),))
                server = Server(options, journal=_journal(settings))
                addresses = tuple(await nursery.start(server.serve, settings.listen))
                servers = {None: server.dial}
                census = partial(census_of, server)
            running = Running(addresses, _new_core(store, settings))
            dashboard = _dashboard(running, settings)

            @cache  # in the first life alone
            def begun() -> None:
                if dashboard is not None:
                    nursery.start_soon(dashboard.run)

            @cache
            def started() -> None:
                on_start(running)

            while not stop.is_set():
                await _live(running, store, servers, census, stop, begun, started)
                running.core = _new_core(store, settings)
            nursery.cancel_scope.cancel()
    finally:
        store.close()


async def _open(place: str | MysqlAddress, stop: trio.Event) -> Store | None:
    """The store, as soon as it can be had; None if nobody wants it any more."""
    is_told = False
    while not stop.is_set():
        try:
            async with open_nursery() as waiting:
                waiting.start_soon(_tell_of_database)
                store: Store = await trio.to_thread.run_sync(open_apart, place)
                waiting.cancel_scope.cancel()
            return store
        except (StoreAway, StoreBusy, StoreFull) as error:
            if not is_told:
                log.warning("waiting for the database", error=str(error))
            is_told = True
            with trio.move_on_after(STORE_PAUSE):
                await stop.wait()
    return None


def _journal(settings: Settings) -> Journal | None:
    """Where the broker keeps background jobs that are not the scheduler's: beside those."""
    place = settings.place
    if isinstance(place, str):
        return SqliteJournal(f"{place}-queue")
    from gearbox.store.mysql.journal import journal_beside  # only who uses MySQL needs it

    return journal_beside(place)


def census_of(server: Server) -> dict[str, int]:
    """How many workers offer each function. Asking for it as others do would cost a round trip for each batch."""
    functions = server.broker.functions.values()
    return {function.name.decode(errors="replace"): function.workers for function in functions if function.workers}


def _new_core(store: Store, settings: Settings) -> Core:
    return Core(
        store,
        instance=str(uuid.uuid4()),
        retention=Retention(settings.keep_days),
        name=cores.name(),
    )


def link_of(
    core: Core, store: Store, servers: Mapping[str | None, str | Endpoint | Dialer], census: Census | None
) -> Link:
    """Gearman for a core: calls go to its methods, news of attempts to itself."""
    return Link(
        servers,
        instance=core.instance,
        database=store.database,
        functions=methods.METHODS,
        on_call=partial(methods.dispatch, core),
        on_news=core.news,
        on_connect=core.gearman_is_back,
        census=census,
    )


async def _live(
    running: Running,
    store: Store,
    servers: Mapping[str | None, str | Endpoint | Dialer],
    census: Census | None,
    stop: trio.Event,
    begun: Callable[[], None],
    started: Callable[[], None],
) -> None:
    """One life of a core: until it is told to stop, or the other cores have declared it dead.

    `begun` is called when it can be asked, `started` when it can be reached by Gearman.
    """
    core = running.core
    link = link_of(core, store, servers, census)
    runs = trio.Event()
    async with open_nursery() as nursery:

        async def run() -> None:
            await nursery.start(core.run, link)
            runs.set()

        nursery.start_soon(_end_with, core.fenced, nursery.cancel_scope)
        nursery.start_soon(run)
        if store.is_shared:
            nursery.start_soon(cores.keep, core)  # before it has adopted what others left, which may take long
        try:
            async with _unless(stop):
                await runs.wait()
            if not stop.is_set():
                nursery.start_soon(core.vitals.watch_loop)
                begun()
                async with _unless(stop) as waiting:
                    waiting.start_soon(_tell_of_gearman, running.servers)
                    await nursery.start(link.run)
            if not stop.is_set():
                started()
            await stop.wait()
        finally:
            if not core.fenced.is_set():
                with trio.CancelScope(shield=True), trio.move_on_after(FAREWELL) as farewell:
                    await core.drain()
                if farewell.cancelled_caught:
                    log.error("ending before the database took what came in last: workers will bring it again")
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _unless(stop: trio.Event) -> AsyncIterator[trio.Nursery]:
    """A block that is left when `stop` is set, or it has ended, and a nursery for that time."""
    async with open_nursery() as waiting:
        waiting.start_soon(_end_with, stop, waiting.cancel_scope)
        yield waiting
        waiting.cancel_scope.cancel()


async def _end_with(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _tell_of_database() -> None:
    await trio.sleep(STORE_PATIENCE)
    log.warning("waiting for the database: its disk or server hangs, or its tables are brought up to date")


async def _tell_of_gearman(servers: Sequence[str]) -> None:
    await trio.sleep(PATIENCE)
    log.warning("waiting for Gearman: start it there, or set GEARMAN_SERVER", servers=", ".join(servers))


def _dashboard(running: Running, settings: Settings) -> Dashboard | None:
    """The dashboard, bound to its address, if it is wanted and installed."""
    http = settings.http
    if http is None:
        return None
    try:
        from gearbox.web.server import Dashboard
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "gearbox":
            raise
        log.warning("no dashboard: pip install 'abraxas-gearbox[web]', or set GEARBOX_HTTP=off", missing=error.name)
        return None
    days = ", ".join(f"{status.value} {days:g} d" for status, days in settings.keep_days.items())
    tokens = ", ".join(f"{token.name} ({token.role.name.lower()})" for token in http.tokens)
    facts = {
        "Gearman": ("its own, on " if settings.is_embedded else "") + ", ".join(running.servers),
        "Database": str(settings.database),
        "Dashboard": str(http.address),
        "Tokens": tokens or "none",
        "Kept after the end": days or "for ever",
        "Process": str(os.getpid()),
    }
    try:
        dashboard = Dashboard(lambda: running.core, http, facts)
    except ListenError as error:
        if not http.is_default:
            raise
        log.warning("no dashboard: set GEARBOX_HTTP to another address, or to off", error=str(error))
        return None
    running.dashboard = dashboard.url
    return dashboard
