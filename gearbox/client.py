"""The Python API to a Gearbox core: the same calls that the tools make.

    async with open_gearbox(["127.0.0.1:4730"]) as gearbox:
        id = await gearbox.queue("text::upper", ["hello"])
        print(await gearbox.watch(id))

Every call is one foreground Gearman job for a function `gearbox\\core::...` with a JSON-RPC payload; the core is found
by Gearman, not by an address of its own. Scripts without trio have `gearbox.blocking`.

When the connection is lost after a call was sent, nobody knows what became of it. Calls that may be made twice are then
made again, for up to a minute, which is what the restart of a server takes: those that only look, and `queue` and
`queue_many`, whose token makes the core give the same ids again. The others raise `ConnectionLost`.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any, TypeVar

import trio

from abraxas_py import AbraxasError, Client, ConnectionLost, Endpoint, Priority, Unavailable, open_client
from abraxas_py.payload import MAX_WHOLE_BYTES
from abraxas_py.transport import Dialer
from gearbox import rpc
from gearbox.batches import Batches
from gearbox.errors import Code, RpcError
from gearbox.shapes import (
    Acted,
    DeedRow,
    Found,
    Graph,
    History,
    JobSpec,
    MethodRow,
    Retried,
    ScheduleRow,
    StatusRow,
)
from gearbox.trace import META

__all__ = ["NAMESPACE", "Gearbox", "open_gearbox"]

NAMESPACE = "gearbox\\core::"

T = TypeVar("T")

UNSET: Any = object()
REPEAT_TIMEOUT = 60.0  # seconds after a lost connection in which a call is made again
SOUND_AFTER = 10.0  # seconds a call was under way, after which its loss is a new one: watching may take days
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds before it is made again


@asynccontextmanager
async def open_gearbox(
    servers: Sequence[str | Endpoint | Dialer],
    *,
    client_id: str = "",
    connect_timeout: float = inf,
    who: str = "",
    traceparent: str | None = None,
) -> AsyncIterator[Gearbox]:
    """A `Gearbox` on any of the Gearman `servers`.

    `connect_timeout` is how long a call waits for a server, in seconds; then it raises `Unavailable` and was
    certainly not made. `who` is the name under which the audit notes what is done here. `traceparent` is the trace to
    which all belongs that is queued here (W3C Trace Context), unless a call names another.
    """
    async with open_client(*servers, client_id=client_id, submit_timeout=connect_timeout) as client:
        yield Gearbox(client, who, traceparent)


class Gearbox:
    """Calls to the core. Each raises `RpcError` for the core's answer, `AbraxasError` when Gearman fails.

    What is too much for a packet (64 MiB of JSON) is not sent, and refused as the core would, with 413.

    `on_repeat` is called with the error when a call is made again.
    """

    def __init__(self, client: Client, who: str = "", traceparent: str | None = None) -> None:
        self.on_repeat: Callable[[AbraxasError], object] = lambda error: None
        self._client = client
        self._meta = _given({"who": who or None, META: traceparent})
        self._instance = str(uuid.uuid4())
        self._calls = itertools.count(1)
        self._batches = Batches(client)

    async def call(
        self,
        method: str,
        params: Any = None,
        *,
        priority: Priority = Priority.NORMAL,
        traceparent: str | None = None,
    ) -> Any:
        """The result of any RPC method, by its full name (`gearbox\\core::status`, or a worker's own method).

        It is made once: `ConnectionLost` says that its outcome is not known.
        """
        id, request = self._request(method, params, traceparent)
        return rpc.parse_response(await self._client.submit(method, request, priority=priority), id)

    def _request(self, method: str, params: Any, traceparent: str | None = None) -> tuple[str, bytes]:
        id = f"{self._instance}-{next(self._calls)}"
        meta = self._meta if traceparent is None else {**self._meta, META: traceparent}
        request = rpc.request(method, params, id, meta)
        if len(request) > MAX_WHOLE_BYTES:  # the server would hang up on all that is under way
            raise RpcError(Code.TOO_LARGE, f"more than {MAX_WHOLE_BYTES} bytes")
        return id, request

    async def _call_along(self, method: str, params: Any, traceparent: str | None = None) -> Any:
        """`call` for what many tasks ask at once, and the core answers at once: it travels with others."""
        function = f"{NAMESPACE}{method}"
        id, request = self._request(function, params, traceparent)
        return await self._batches.call(function, request, id)

    async def _do(self, method: str, **params: Any) -> Any:
        """A call of the core that must not be made twice. Params that are None are left out."""
        return await self.call(f"{NAMESPACE}{method}", _given(params))

    async def _ask(self, method: str, params: Any, traceparent: str | None = None) -> Any:
        """A call of the core that may be made twice: once more, when the connection is lost before the answer."""
        until, pause = inf, FIRST_PAUSE
        while True:
            asked_at = trio.current_time()
            try:
                if method == "queue":
                    return await self._call_along(method, params, traceparent)
                return await self.call(f"{NAMESPACE}{method}", params, traceparent=traceparent)
            except ConnectionLost as error:
                lost_at = trio.current_time()
                if lost_at - asked_at > SOUND_AFTER:
                    until, pause = inf, FIRST_PAUSE
                until = min(until, lost_at + REPEAT_TIMEOUT)
                if lost_at >= until:
                    raise
                self.on_repeat(error)
            except Unavailable:
                if until == inf or trio.current_time() >= until:
                    raise
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    # --- jobs ---

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
        retry_delay_max: float | None = None,
        backoff: str | None = None,
        timeout: float | None = None,
        expires: str | float | None = None,
        submit_token: str | None = None,
        traceparent: str | None = None,
    ) -> int:
        """Queue a job and return its id; it is stored durably by then.

        Dates are ISO 8601 text or milliseconds since 1970, spans are seconds. `backoff` is "fixed" or "exponential",
        `timeout` how long one try may run, `expires` when the job is given up unless a try has begun.

        A call whose answer is lost is repeated without harm, since its token is stored with the job. Give a
        `submit_token` of your own to be able to repeat it after a restart of your program, too. `traceparent` is the
        trace that the job belongs to (W3C Trace Context): its worker gets it.
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
            "retry_delay_max": retry_delay_max,
            "backoff": backoff,
            "timeout": timeout,
            "expires": expires,
            "submit_token": submit_token or str(uuid.uuid4()),
        }
        return _checked(int, await self._ask("queue", _given(params), traceparent))

    async def queue_many(
        self, jobs: Sequence[JobSpec], *, submit_token: str | None = None, traceparent: str | None = None
    ) -> list[int]:
        """Queue all the jobs or none, and return their ids in the same order.

        They name each other by `ref`, `after_ref` and `before_ref`, so that a whole graph is stored at once.
        """
        params = {"jobs": list(jobs), "submit_token": submit_token or str(uuid.uuid4())}
        return _checked(list, await self._ask("queue_many", params, traceparent))

    async def watch(self, id: int, *, wait_for_id: bool = False) -> Any:
        """Wait for the job's end and return its result, any number of times, also long after it ended."""
        return await self._ask("watch", {"id": id, "wait_for_id": True} if wait_for_id else {"id": id})

    async def cancel(self, id: int, reason: str | None = None) -> bool:
        """End a job that nobody wants any more, waiting or running; False if it had ended already."""
        return bool(await self._do("cancel", id=id, reason=reason))

    async def retry(self, id: int, *, downstream: bool = True, reason: str | None = None) -> Retried:
        """Queue a failed job anew, with what made it fail and, if `downstream`, what failed because of it."""
        retried: Retried = await self._do("retry", id=id, downstream=downstream, reason=reason)
        return retried

    async def hurry(self, id: int, reason: str | None = None) -> bool:
        """Have a job not wait for its date or its next try any more; False if no such wait could be cut short.

        After a try that ran too long or went missing, the next one waits until its worker has surely stopped.
        """
        return bool(await self._do("run_now", id=id, reason=reason))

    async def reprioritise(self, id: int, priority: str, reason: str | None = None) -> bool:
        """Give a job that has not started another priority; False if it has, or had that one."""
        return bool(await self._do("reprioritise", id=id, priority=priority, reason=reason))

    async def act(
        self,
        action: str,
        query: str,
        *,
        priority: str | None = None,
        reason: str | None = None,
        up_to: int | None = None,
        preview: bool = False,
    ) -> Acted:
        """Do the same to all jobs that a search finds: "cancel", "retry", "run_now" or "reprioritise".

        Or, as a `preview`, only tell to which: the first of its `ids` is the `up_to` by which the deed is done to these
        and no newer ones.
        """
        params = {"action": action, "query": query, "priority": priority, "reason": reason, "up_to": up_to}
        acted: Acted = await self._do("act", preview=preview, **params)
        return acted

    async def noopgo(self, id: int) -> bool:
        """Let a `gearbox\\core::noopwait` go on; True for the one call that did it."""
        return bool(await self._do("noopgo", id=id))

    # --- looking ---

    async def status(self, ids: Sequence[int] = ()) -> list[StatusRow]:
        """Status objects of `ids`, in that order of id; of all current jobs, newest first, without them."""
        rows: list[StatusRow] = await self._ask("status", list(ids))
        return rows

    async def search(self, query: str = "", *, below: int | None = None, limit: int = 50) -> Found:
        """The newest jobs that a search finds; give its `next` as `below` for those after them."""
        found: Found = await self._ask("search", _given({"query": query, "below": below, "limit": limit}))
        return found

    async def audit(self, *, below: int | None = None, limit: int = 50) -> list[DeedRow]:
        """What operators did, the last first; give the last one's id as `below` for those before."""
        rows: list[DeedRow] = await self._ask("audit", _given({"below": below, "limit": limit}))
        return rows

    async def history(self, id: int) -> History:
        """The job, its attempts, and the audit: every change, when, why and by whom."""
        history: History = await self._ask("history", {"id": id})
        return history

    async def why(self, id: int) -> str:
        """Why the job is where it is, in one sentence."""
        return str(await self._ask("why", {"id": id}))

    async def graph(self, id: int) -> Graph:
        """The jobs that hang together with this one, and how."""
        graph: Graph = await self._ask("graph", {"id": id})
        return graph

    async def stats(self, method: str) -> dict[str, Any]:
        """Counts, times and states of one method's jobs."""
        return _checked(dict, await self._ask("stats", {"method": method}))

    # --- methods ---

    async def methods(self) -> list[MethodRow]:
        """All methods that jobs, operators or workers have named."""
        rows: list[MethodRow] = await self._ask("methods", {})
        return rows

    async def pause(self, method: str, reason: str | None = None) -> None:
        """Start no more jobs of the method; what runs goes on."""
        await self._ask("pause", _given({"method": method, "reason": reason}))

    async def resume(self, method: str, reason: str | None = None) -> None:
        """Start its jobs again."""
        await self._ask("resume", _given({"method": method, "reason": reason}))

    async def limit(self, method: str, concurrency: int | None, reason: str | None = None) -> None:
        """Have at most so many jobs of the method run at once; None lifts the limit."""
        await self._ask("limit", {"method": method, "concurrency": concurrency, **_given({"reason": reason})})

    # --- recurring jobs ---

    async def schedule(
        self,
        name: str,
        cron: str,
        method: str,
        args: Any = None,
        *,
        timezone: str = "UTC",
        overlap: str | None = None,
        missed: str | None = None,
        priority: str | None = None,
        dedupe: str | None = None,
        max_retries: int | None = None,
        retry_delay: float | None = None,
        retry_delay_max: float | None = None,
        backoff: str | None = None,
        timeout: float | None = None,
        reason: str | None = None,
    ) -> ScheduleRow:
        """Queue a job whenever the cron fields say so, from now on; an entry of the same name is replaced.

        `overlap` is what becomes of a run while the last one has not ended: "skip", "queue" or "allow". `missed`, what
        becomes of runs whose time passed while no core was there: "skip", "once" or "all". `reason` is for the audit,
        the rest for its jobs.
        """
        params = {
            "name": name,
            "cron": cron,
            "timezone": timezone,
            "method": method,
            "args": args,
            "overlap": overlap,
            "missed": missed,
            "priority": priority,
            "dedupe": dedupe,
            "max_retries": max_retries,
            "retry_delay": retry_delay,
            "retry_delay_max": retry_delay_max,
            "backoff": backoff,
            "timeout": timeout,
            "reason": reason,
        }
        row: ScheduleRow = await self._ask("schedule", _given(params))
        return row

    async def schedules(self) -> list[ScheduleRow]:
        """All recurring entries, with their next runs."""
        rows: list[ScheduleRow] = await self._ask("schedules", {})
        return rows

    async def unschedule(self, name: str, reason: str | None = None) -> bool:
        """Forget a recurring entry; its jobs stay."""
        return bool(await self._do("unschedule", name=name, reason=reason))

    async def run_now(self, name: str, reason: str | None = None) -> int:
        """Queue a job of a recurring entry now, and return its id."""
        return int(await self._do("run_now", name=name, reason=reason))

    # --- being a worker ---

    async def job_start(self, id: int, attempt: int, worker: str = "") -> bool:
        """Ask for leave to run this attempt: False when it was started elsewhere or is not the job's last any more."""
        params = {"id": id, "attempt": attempt, "worker": worker} if worker else {"id": id, "attempt": attempt}
        return bool(await self._call_along("job_start", params))

    async def alive(self, id: int, attempt: int) -> bool:
        """Whether to go on with this attempt: False once it was cancelled, timed out, or given to somebody else."""
        return bool(await self._call_along("alive", {"id": id, "attempt": attempt}))

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
        params = _given({"id": id, "status": status, "progress": progress, "append": append, "attempt": attempt})
        if data is not UNSET:
            params["data"] = data
        await self._call_along("job_data", params)


def _checked(kind: type[T], answer: Any) -> T:
    """An answer of that kind. Raises RpcError for any other: who gave it is no core that we know."""
    if not isinstance(answer, kind):
        raise RpcError(Code.INTERNAL_ERROR, f"the core's answer is no {kind.__name__}", answer)
    return answer


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    """The params without those that are None, which means the same to the core."""
    return {key: value for key, value in params.items() if value is not None}
