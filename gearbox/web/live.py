"""Telling those who look at a page what changes, by server-sent events.

One loop looks for all of them: the states of all the jobs that anybody has on a page in one question, four times a
second; the overview each two seconds, drawn once for all. It asks nothing while nobody looks. A reader that does not
keep up gets the last state of each job, not every one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import attrs
import trio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from gearbox import rpc
from gearbox.errors import RpcError
from gearbox.job import TERMINAL

__all__ = ["Listener", "Live", "listen"]

EVERY = 0.25  # s between looks at jobs
SHARE = 0.04  # of the time, at most, goes into looks: 50 pages shall not slow the scheduler by more than a twentieth
LOOKS = 4  # of which the shortest tells what a look costs: the others had to wait for what was not theirs
OVERVIEW_EVERY = 2.0  # its sums cost some 30 ms with thousands of buckets
BEAT_EVERY = 15.0  # s of silence after which a comment is sent, so that a dead connection is noticed
ENDS = {status.value for status in TERMINAL}  # a job that has ended does not change any more, and is not looked at
IDS_LIMIT = 2_000  # jobs of one page
LISTENERS_LIMIT = 500
RETRY_MS = 2000  # after which a browser connects again

Ask = Callable[[str, Any], Awaitable[Any]]


@attrs.define(eq=False)
class Listener:
    """One page that somebody looks at, and what it has not been told yet."""

    ids: frozenset[int]
    wants_overview: bool
    states: dict[int, Mapping[str, Any]] = attrs.field(factory=dict)
    overview: str | None = None
    wake: trio.Event = attrs.field(factory=trio.Event)

    def tell(self, row: Mapping[str, Any]) -> None:
        self.states[row["id"]] = row
        self.wake.set()

    def tell_overview(self, text: str) -> None:
        self.overview = text
        self.wake.set()

    async def next(self) -> str:
        """The next events, as text; a comment if nothing has happened for a while."""
        with trio.move_on_after(BEAT_EVERY):
            await self.wake.wait()
        self.wake = trio.Event()
        text = ""
        if self.states:
            text += _event("states", rpc.dump(list(self.states.values())))
            self.states = {}
        if self.overview is not None:
            text += _event("overview", rpc.dump(self.overview))
            self.overview = None
        return text or ":\n\n"


def _event(kind: str, data: str) -> str:
    return f"event: {kind}\ndata: {data}\n\n"


class Live:
    """`ask` calls a method of the core; `draw` makes the overview's changing part."""

    def __init__(self, ask: Ask, draw: Callable[[], Awaitable[str]]) -> None:
        self._ask = ask
        self._draw = draw
        self._listeners: dict[Listener, None] = {}
        self._wake = trio.Event()
        self._known: dict[int, Mapping[str, Any]] = {}
        self._overview = ""

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    @contextmanager
    def listener(self, ids: Sequence[int], wants_overview: bool) -> Iterator[Listener]:
        """Listen within the block. What has happened since the page was made is told first."""
        one = Listener(frozenset(ids), wants_overview)
        self._listeners[one] = None
        for id in one.ids & self._known.keys():
            one.tell(self._known[id])
        self._wake.set()
        try:
            yield one
        finally:
            del self._listeners[one]

    async def run(self) -> None:
        """Look for changes, for ever."""
        overview_at = 0.0
        costs = deque([0.0] * LOOKS, LOOKS)
        while True:
            if not self._listeners:
                self._known, self._overview = {}, ""
                self._wake = trio.Event()
                await self._wake.wait()
            began = trio.current_time()
            try:
                await self._look_at_jobs()
                if began >= overview_at:
                    overview_at = began + OVERVIEW_EVERY
                    await self._look_at_all()
            except RpcError:  # the database fails: the pages stay as they are
                await trio.sleep(OVERVIEW_EVERY)
            costs.append(trio.current_time() - began)
            await trio.sleep(max(EVERY, min(costs) / SHARE))

    async def _look_at_jobs(self) -> None:
        wanted = {id for listener in self._listeners for id in listener.ids}
        known = {id: row for id, row in self._known.items() if id in wanted}
        ids = sorted(id for id in wanted if id not in known or known[id]["status"] not in ENDS)
        rows = await self._ask("states", {"ids": ids}) if ids else []
        changed = [row for row in rows if known.get(row["id"]) != row]
        self._known = known | {row["id"]: row for row in changed}
        for row in changed:
            for listener in self._listeners:
                if row["id"] in listener.ids:
                    listener.tell(row)

    async def _look_at_all(self) -> None:
        if not any(listener.wants_overview for listener in self._listeners):
            return
        text = await self._draw()
        if text != self._overview:
            self._overview = text
            for listener in self._listeners:
                if listener.wants_overview:
                    listener.tell_overview(text)


class EventStream:
    """A response that goes on until the browser leaves."""

    def __init__(self, live: Live, ids: Sequence[int], wants_overview: bool) -> None:
        self._live = live
        self._ids = ids
        self._wants_overview = wants_overview

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(leave)
            with self._live.listener(self._ids, self._wants_overview) as listener:
                text = f"retry: {RETRY_MS}\n\n"
                while True:
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
                    text = await listener.next()


async def listen(request: Request) -> Response:
    """`?jobs=1,2,3` and `?overview=1`."""
    live: Live = request.app.state.live
    words = request.query_params.get("jobs", "").split(",")
    ids = [int(word) for word in islice(words, IDS_LIMIT) if word.isascii() and word.isdigit() and len(word) < 19]
    wants_overview = request.query_params.get("overview") == "1"
    if live.listeners >= LISTENERS_LIMIT:
        return PlainTextResponse("Too many pages are open.\n", 503)
    return EventStream(live, ids, wants_overview)  # type: ignore[return-value]
