"""Calls that travel together: those of one function that are made in the same moment become one Gearman job.

Whoever queues from many tasks, or works on many jobs, calls the core thousands of times a second. As a Gearman job of
its own, a call costs the core more than what it asks for. So calls gather until trio's next pass and leave as what
JSON-RPC 2.0 calls a batch: an array of requests, answered by an array. The answer comes when all calls of the batch
are answered, so this is for calls that are answered at once. One that is alone travels as it always did.

A core that knows no batches takes one for a notification, does nothing and answers with an empty payload. Then, and
from then on, calls are made one by one.
"""

from __future__ import annotations

from typing import Any

import trio

from abraxas_py import AbraxasError, Client, Task
from gearbox import rpc
from gearbox.errors import RpcError

__all__ = ["Batches"]

CALL_LARGEST = 16 * 1024  # bytes; a larger one costs more than its travel, and the others need not wait for it
CALLS_MOST = 256  # in one batch; the core stores twice as many in one transaction


class Batches:
    """The calls of a client that gather, by their functions."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._open: dict[str, _Batch] = {}
        self._are_known = True  # to the core

    async def call(self, function: str, request: bytes, id: str) -> Any:
        """The result of a call, together with others. Raises RpcError and AbraxasError, as for a call alone."""
        if self._are_known and len(request) <= CALL_LARGEST:
            batch = self._open.get(function)
            if batch is None:
                batch = self._open[function] = _Batch()
                trio.lowlevel.current_trio_token().run_sync_soon(self._send, function, batch)
            batch.requests.append(request)
            if len(batch.requests) == CALLS_MOST:
                del self._open[function]
            await batch.ended.wait()
            if batch.error is not None:
                raise batch.error
            if batch.answers is not None:
                return rpc.result_in(batch.answers.get(id), id)
            self._are_known = False
        return rpc.parse_response(await self._client.submit(function, request), id)

    def _send(self, function: str, batch: _Batch) -> None:
        """The moment is over."""
        if self._open.get(function) is batch:
            del self._open[function]
        payload = rpc.batch(batch.requests) if len(batch.requests) > 1 else batch.requests[0]
        self._client.submit(function, payload, on_end=batch.end)


class _Batch:
    """Some calls, and what became of all of them."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.ended = trio.Event()
        self.answers: dict[str, Any] | None = None  # by the calls' ids; None from a core that knows no batches
        self.error: AbraxasError | RpcError | None = None

    def end(self, task: Task[bytes]) -> None:
        """Its Gearman job has ended."""
        self.error = task.error
        reply = task.result
        if reply or (reply is not None and len(self.requests) == 1):
            try:
                self.answers = rpc.parse_responses(reply)
            except RpcError as error:
                self.error = error
        self.ended.set()
