"""A core on a real store and a real broker, in memory: no socket, no waiting for real."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Container, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from apart_stage import Here

from abraxas_py import Assigned, Server, Worker, open_admin
from abraxas_py.admin import JobRow
from gearbox import methods
from gearbox.client import Gearbox, open_gearbox
from gearbox.core import Core
from gearbox.errors import RpcError, StoreError, StoreFull, StoreUncertain
from gearbox.gearman import Link
from gearbox.job import Action
from gearbox.steps.pruning import Retention
from gearbox.store import Batch, Moment, Result, Step, Store, apart, clock
from gearbox.store.apart import StoreApart

START = 1_800_000_000.0


class Failing:
    """A store that fails while it is told to."""

    is_shared = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self.now: Callable[[], float] = lambda: START + trio.current_time()
        self.database = store.database
        self.error: StoreError | None = None
        self.full_for: Container[Any] = ()  # the functions of steps for which there is no room
        self.unheard: type[Action] | None = None  # the next commit that leads to this is not heard of
        self.can_be_asked = False  # whether `settle` tells of it then
        self.answer_is_lost: bool | None = None  # of the next commit, which was made (True) or not (False)
        self._uncertain: Batch | None = None

    def run_batch(self, steps: list[Step], moment: Moment) -> Batch:
        if self.answer_is_lost is not None:
            self._uncertain = self._store.run_batch(steps, moment) if self.answer_is_lost else None
            self.answer_is_lost = None
            raise StoreUncertain("nobody knows")
        if self.error is not None:
            raise self.error
        if any(getattr(step, "func", step) in self.full_for for step in steps):
            raise StoreFull("no room left")
        done = self._store.run_batch(steps, moment)
        results = [outcome for outcome in done.outcomes if isinstance(outcome, Result)]
        actions = [*done.actions, *(action for result in results for action in result.actions)]
        if self.unheard is not None and any(isinstance(action, self.unheard) for action in actions):
            self.unheard = None
            if self.can_be_asked:
                self._uncertain = done
                raise StoreUncertain("nobody knows yet")
            raise StoreError("the connection was lost after the commit")
        return done

    def settle(self) -> Batch | None:
        if self.error is not None:
            raise self.error
        return self._uncertain

    def close(self) -> None:
        self._store.close()


@attrs.define
class System:
    """A core, its broker and a client."""

    path: str
    server: Server
    store: Failing
    core: Core
    gearbox: Gearbox
    nursery: trio.Nursery

    async def work(self, function: str, handle: Callable[[dict[str, Any]], Any], max_jobs: int = 1) -> None:
        """A worker as the original made them: data by a background job without an id, after the end."""

        async def run(job: Assigned) -> bytes:
            request = json.loads(job.data)
            result = handle(request)
            if isinstance(result, trio.Event):
                await result.wait()
                result = "later"
            status = "complete"
            if isinstance(result, Exception):
                status, result = "errored", {"code": 42, "message": str(result)}
            self.nursery.start_soon(self.report, request, status, result)
            return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": None}).encode()

        worker = Worker(self.server.dial, max_jobs=max_jobs)
        worker.add(function, run)
        await self.nursery.start(worker.run)

    async def report(self, request: dict[str, Any], status: str, data: Any) -> None:
        envelope = {
            "jsonrpc": "2.0",
            "method": "gearbox\\core::job_data",
            "params": {"id": request["_meta"]["gearbox_id"], "data": data, "status": status},
        }
        await self.gearbox._client.submit_bg("gearbox\\core::job_data", json.dumps(envelope).encode())

    async def call(self, method: str, params: Any = None) -> Any:
        """A method of the core, by its short name."""
        return await self.gearbox.call(f"gearbox\\core::{method}", params)

    async def server_jobs(self) -> list[JobRow]:
        """All Gearman jobs that the broker has."""
        async with open_admin(self.server.dial) as admin:
            return await admin.jobs()

    def set_clock(self, seconds: float) -> None:
        """From now on it is ahead of the time by so much."""
        clock.JUMP = 1.0  # see `nobody_sets_the_clock`
        store = apart._stores[self.path]
        store._clock, store._steady = self.store.now, trio.current_time
        store._last_look = store._look()
        self.store.now = store._clock = lambda: START + trio.current_time() + seconds

    async def status_of(self, id: int) -> str:
        (row,) = await self.gearbox.status([id])
        return str(row["status"])


@asynccontextmanager
async def system(path: Path, retention: Retention | None = None) -> AsyncIterator[System]:
    """One life of a core; with the same path again, the next one. The machine's clock goes on in between."""
    server = Server(handle_prefix="H:test:0")
    store = Failing(StoreApart(str(path), Here()))  # as if in an interpreter of its own: all steps cross
    core = Core(store, instance="core", retention=retention)
    link = Link(
        {None: server.dial},
        instance="core",
        database=store.database,
        functions=methods.METHODS,
        on_call=lambda call: methods.dispatch(core, call),
        on_news=core.news,
        on_connect=core.gearman_is_back,
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            await nursery.start(core.run, link)
            await nursery.start(link.run)
            async with open_gearbox([server.dial]) as gearbox:
                yield System(str(path), server, store, core, gearbox, nursery)
            nursery.cancel_scope.cancel()
    finally:
        store.close()


@contextmanager
def hanging(it: System) -> Iterator[None]:
    """Nothing that the store is given ends within the block."""
    answers, usual = trio.Event(), it.core._hop

    async def hop(call: Callable[[], Any]) -> Any:
        await answers.wait()
        return await usual(call)

    it.core._hop = hop
    yield
    it.core._hop = usual
    answers.set()


Clock = trio.testing.MockClock


async def fails(code: int, awaitable: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await awaitable
    assert caught.value.code == code, caught.value
    return caught.value


async def statuses(it: System, *ids: int) -> list[str]:
    rows = {row["id"]: row["status"] for row in await it.gearbox.status(ids)}
    return [rows[id] for id in ids]
