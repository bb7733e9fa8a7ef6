"""The clients of a storm: they queue jobs that hang together, and watch some, whatever happens to the system.

A call whose outcome is not known is made again with the same token until there is an answer: only then is the job in
the ledger, and only what is there has been promised.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from math import inf
from typing import Any

import trio
from ledger_stage import Acknowledged

from abraxas_py import AbraxasError
from gearbox.client import Gearbox, open_gearbox
from gearbox.errors import RpcError

__all__ = ["Load"]

METHODS = ("storm::job", "storm::other")
CLIENTS = 8
DEDUPES = 5  # different ones: few, so that jobs meet
POOL = 4  # members
RETRIES = 100  # a storm may end many attempts of a job
GATES = 12  # noopwait jobs that are held at all times: each core has some, so that its death is an adoption
GATE_HELD = 45.0  # s for each, longer than an adoption takes
AHEAD = 400  # jobs that are queued and not done, beyond which the clients wait: a backlog would hide what is slow


class Load:
    """`jobs` jobs by several clients, or as many as `seconds` allow; `ledger` has those that were acknowledged."""

    def __init__(
        self, servers: Sequence[str], jobs: int, ledger: Acknowledged, chance: random.Random, seconds: float = inf
    ) -> None:
        self.servers = servers
        self.ledger = ledger
        self.wanted = jobs
        self.watched: dict[int, Any] = {}  # results, as far as they came
        self.done = 0  # as the table said last
        self._chance = chance
        self._until = trio.current_time() + seconds
        self._numbers = count(1)

    @property
    def is_queued(self) -> bool:
        return len(self.ledger.jobs) >= self.wanted or trio.current_time() >= self._until

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(self._queue)
            for _ in range(GATES):
                nursery.start_soon(self._hold)

    async def _queue(self) -> None:
        async with open_gearbox(self.servers, connect_timeout=5) as gearbox, trio.open_nursery() as watchers:
            while not self.is_queued:
                if len(self.ledger.jobs) - self.done > AHEAD:
                    await trio.sleep(0.1)
                    continue
                jobs = self._graph()
                ids = await self._insist(gearbox, jobs)
                for id, job in zip(ids, jobs, strict=True):
                    self.ledger.note(id, job["args"][0])
                if self._chance.random() < 0.1:
                    watchers.start_soon(self._watch, gearbox, self._chance.choice(ids))
            watchers.cancel_scope.deadline = trio.current_time() + 60  # for what still runs

    async def _hold(self) -> None:
        """Queue a job that waits for a word, and say it, again and again."""
        async with open_gearbox(self.servers, connect_timeout=5) as gearbox:
            while not self.is_queued:
                (id,) = await self._insist(gearbox, [{"name": "gearbox\\core::noopwait"}])
                self.ledger.note(id, None)
                with trio.move_on_after(GATE_HELD):
                    while not self.is_queued:  # noqa: ASYNC110
                        await trio.sleep(0.5)
                await self._until_answered(partial(gearbox.noopgo, id))

    def _graph(self) -> list[dict[str, Any]]:
        """One job, or a pool with its target, each perhaps after an earlier job or with a dedupe."""
        kind = self._chance.random()
        if kind < 0.05:
            members = [self._job() | {"before_ref": "target"} for _ in range(POOL)]
            return [self._job() | {"ref": "target"}, *members]
        job = self._job()
        if kind < 0.30 and self.ledger.jobs:
            job["after_id"] = self._chance.choice(list(self.ledger.jobs)[-50:])
        elif kind < 0.40:
            job["dedupe"] = f"D{self._chance.randrange(DEDUPES)}"
        return [job]

    def _job(self) -> dict[str, Any]:
        name = f"n{next(self._numbers)}"
        seconds = f"{self._chance.uniform(0.0, 0.2):.3f}"
        method = self._chance.choice(METHODS)
        return {"name": method, "args": [name, seconds], "max_retries": RETRIES, "retry_delay": 0.1}

    async def _insist(self, gearbox: Gearbox, jobs: list[dict[str, Any]]) -> list[int]:
        token = str(uuid.uuid4())
        queue = partial(gearbox.queue_many, jobs, submit_token=token)  # type: ignore[arg-type]
        ids: list[int] = await self._until_answered(queue)
        return ids

    async def _until_answered(self, call: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                with trio.fail_after(30):
                    return await call()
            except (AbraxasError, RpcError, trio.TooSlowError):
                await trio.sleep(0.2)

    async def _watch(self, gearbox: Gearbox, id: int) -> None:
        while True:
            try:
                self.watched[id] = await gearbox.watch(id)
                return
            except RpcError as error:
                if error.code not in (503, 507):
                    self.watched[id] = error
                    return
            except AbraxasError:
                pass
            await trio.sleep(0.2)
