"""A real Gearman server, and on it a worker that answers the core's functions by the test's own table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from abraxas_py import Assigned, Worker, serve
from gearbox import rpc
from gearbox.client import NAMESPACE
from gearbox.errors import RpcError

Answers = Mapping[str, Callable[[Any], Any]]


@attrs.define
class Gearman:
    """Where the server listens, and the calls that the core's functions got."""

    address: str
    calls: list[tuple[str, Any]] = attrs.Factory(list)

    def params_of(self, method: str) -> list[Any]:
        return [params for name, params in self.calls if name == method]


OpenGearman = Callable[..., AbstractAsyncContextManager[Gearman]]


@pytest.fixture
def open_gearman() -> OpenGearman:
    """`async with open_gearman({"queue": lambda params: 7})`; an answer may be an RpcError, or an event to wait for."""
    return _open_gearman


@asynccontextmanager
async def _open_gearman(answers: Answers, address: str = "127.0.0.1:0") -> AsyncIterator[Gearman]:
    async with serve(address) as server, trio.open_nursery() as nursery:
        gearman = Gearman(server.endpoints[0])
        if answers:
            worker = Worker(gearman.address, max_jobs=100)
            for method, answer in answers.items():
                worker.add(f"{NAMESPACE}{method}", _answering(gearman, method, answer))
            await nursery.start(worker.run)
        yield gearman
        nursery.cancel_scope.cancel()


def _answering(gearman: Gearman, method: str, answer: Callable[[Any], Any]) -> Callable[[Assigned], Any]:
    async def handle(job: Assigned) -> bytes:
        request = rpc.parse_call(job.data, f"{NAMESPACE}{method}")
        if isinstance(request, Sequence):
            return rpc.batch([await reply(one) for one in request])
        return await reply(request)

    async def reply(request: rpc.Request | rpc.Refused) -> bytes:
        assert isinstance(request, rpc.Request)
        gearman.calls.append((method, request.params))
        value = answer(request.params)
        if isinstance(value, trio.Event):
            await value.wait()
            value = None
        return rpc.error(request.id, value) if isinstance(value, RpcError) else rpc.result(request.id, value)

    return handle
