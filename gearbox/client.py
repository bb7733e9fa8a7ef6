"""The Python API to a Gearbox core: the same calls that the tools make.

    async with open_gearbox(["127.0.0.1:4730"]) as gearbox:
        id = await gearbox.queue("text::upper", ["hello"])
        print(await gearbox.watch(id))

Every call is one foreground Gearman job for a function `gearbox\\core::...` with a JSON-RPC payload; the core is found
by Gearman, not by an address of its own.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any

from abraxas_py import Client, Endpoint, Priority, open_client
from abraxas_py.transport import Dialer
from gearbox import rpc
from gearbox.errors import Code, RpcError

__all__ = ["NAMESPACE", "Gearbox", "open_gearbox"]

NAMESPACE = "gearbox\\core::"

UNSET: Any = object()


@asynccontextmanager
async def open_gearbox(
    servers: Sequence[str | Endpoint | Dialer], *, client_id: str = "", connect_timeout: float = inf
) -> AsyncIterator[Gearbox]:
    """A `Gearbox` on any of the Gearman `servers`.

    `connect_timeout` is how long a call waits for a server, in seconds; then it raises `Unavailable` and was
    certainly not made.
    """
    async with open_client(*servers, client_id=client_id, submit_timeout=connect_timeout) as client:
        yield Gearbox(client)


class Gearbox:
    """Calls to the core. Each raises `RpcError` for the core's answer, `AbraxasError` when Gearman fails."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._instance = str(uuid.uuid4())
        self._calls = itertools.count(1)

    async def call(self, method: str, params: Any = None, *, priority: Priority = Priority.NORMAL) -> Any:
        """The result of any RPC method, by its full name (`gearbox\\core::status`, or a worker's own method)."""
        id = f"{self._instance}-{next(self._calls)}"
        payload = rpc.request(method, params, id)
        return rpc.parse_response(await self._client.submit(method, payload, priority=priority), id)

    async def queue(
        self,
        name: str,
        args: Any = None,
        *,
        priority: str = "normal",
        dedupe: str | None = None,
        after_date: str | float | None = None,
        after_id: int | None = None,
        before_id: int | None = None,
        max_retries: int = 0,
        retry_delay: float = 1,
    ) -> int:
        """Queue a job and return its id; it is stored durably by then.

        `after_date` is ISO 8601 text or milliseconds since 1970; `retry_delay` is in seconds. A call whose answer is
        lost may be repeated without harm, since its token is stored with the job.
        """
        params = {
            "name": name,
            "args": args,
            "priority": priority,
            "dedupe": dedupe,
            "after_date": after_date,
            "after_id": after_id,
            "before_id": before_id,
            "max_retries": max_retries,
            "retry_delay": retry_delay,
            "submit_token": str(uuid.uuid4()),
        }
        id = await self.call(f"{NAMESPACE}queue", {key: value for key, value in params.items() if value is not None})
        if not isinstance(id, int):
            raise RpcError(Code.INTERNAL_ERROR, "the core's answer is no job id", id)
        return id

    async def watch(self, id: int, *, wait_for_id: bool = False) -> Any:
        """Wait for the job's end and return its result, any number of times, also long after it ended."""
        params: dict[str, Any] = {"id": id}
        if wait_for_id:
            params["wait_for_id"] = True
        return await self.call(f"{NAMESPACE}watch", params)

    async def status(self, ids: Sequence[int] = ()) -> list[dict[str, Any]]:
        """Status objects of `ids`, in that order of id; of all current jobs, newest first, without them."""
        rows = await self.call(f"{NAMESPACE}status", list(ids))
        assert isinstance(rows, list)
        return rows

    async def stats(self, method: str) -> dict[str, Any]:
        """Counts, averages and states of one method's jobs."""
        stats = await self.call(f"{NAMESPACE}stats", {"method": method})
        assert isinstance(stats, dict)
        return stats

    async def job_start(self, id: int, attempt: int) -> bool:
        """Ask for leave to run this attempt: False when it was started elsewhere or is not the job's last any more."""
        return bool(await self.call(f"{NAMESPACE}job_start", {"id": id, "attempt": attempt}))

    async def job_data(
        self,
        id: int,
        *,
        data: Any = UNSET,
        status: str | None = None,
        progress: float | None = None,
        append: bool | str | None = None,
        attempt: int | None = None,
    ) -> None:
        """Update a running job, as its worker. Returns when the update is stored, or was refused as too late."""
        params = {"id": id, "status": status, "progress": progress, "append": append, "attempt": attempt}
        params = {key: value for key, value in params.items() if value is not None}
        if data is not UNSET:
            params["data"] = data
        await self.call(f"{NAMESPACE}job_data", params)
