"""The dashboard, given any request: one answer that can be written and read; no fault of ours; nothing done by a look.

Requests go straight to the application at two doors, one open, one with tokens under a base path; the bytes of whole
connections go to the server, over a connection in memory.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

import anyio.to_thread
import attrs
import h11
import structlog
import trio
import trio.testing
import visits
from core_stage import System, system
from fuzz_campaign import Case
from wires import Wires, faults_of_ours

from gearbox import rpc
from gearbox.web.access import Address, Http, Role, Token
from gearbox.web.app import Application, application
from gearbox.web.server import Dashboard

__all__ = ["Requests"]

BASE = "/gear"
TOKENS = (Token(visits.OPERATOR.decode(), "ada", Role.OPERATOR), Token(visits.READER.decode(), "guest", Role.READER))
CONTROL = "gearbox\\core::noopwait"
REFUSED = {401, 403, 405, 413, 415, 421}
OPEN = ("/healthz", "/readyz", "/login", "/static/")
TABLES = ("jobs", "attempts", "events", "controls", "schedules")
LATER = "2099-01-01"
HOSTILE = [
    "a::b", f"{visits.MARKS[0]}::'\"&%3F/?#..", *(mark.replace(" ", "_") for mark in visits.MARKS),
    "{{7*7}}é\U0001f600", "x" * 255,
]  # fmt: skip
ARGUMENTS: list[Any] = [
    None, [*visits.MARKS], "\0\x1b</pre>\ud83d" + visits.MARKS[0], {"\ud800": "cut \udc80"}, 2**70, -0.0, [[[]]] * 50,
    dict.fromkeys(visits.MARKS, visits.MARKS[1]),
]  # fmt: skip


class Requests:
    """A case is requests, (door, method, target, headers, body, how it comes), and connections: lists of bytes."""

    name = "http"
    cases = 3

    def __init__(self) -> None:
        self._templates: list[Any] = []  # compiled once

    def make(self, chance: Random) -> Case:
        return [visits.request(chance) if chance.random() < 0.8 else visits.conversation(chance) for _ in range(30)]

    def check(self, case: Case) -> None:
        with tempfile.TemporaryDirectory() as folder, _in_the_loop(), structlog.testing.capture_logs() as said:
            clock = trio.testing.MockClock(autojump_threshold=0)
            trio.run(partial(_check, case, Path(folder) / "jobs.db", said, self._templates), clock=clock)

    def close(self) -> None:
        pass


@contextmanager
def _in_the_loop() -> Iterator[None]:
    """No threads, which a jumping clock cannot wait for."""
    modules: tuple[Any, ...] = (trio.to_thread, anyio.to_thread)
    usual = [module.run_sync for module in modules]

    async def run_sync(function: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    for module in modules:
        module.run_sync = run_sync
    try:
        yield
    finally:
        for module, its in zip(modules, usual, strict=True):
            module.run_sync = its


async def _check(case: Case, path: Path, said: list[Any], templates: list[Any]) -> None:
    async with system(path) as it:
        await _fill(it)
        with faults_of_ours() as faults:
            wires, dashboard = Wires(), Dashboard(lambda: it.core, Http(Address("127.0.0.1", 0)), {})
            await wires.take_the_place(dashboard)
            guarded = application(lambda: it.core, Http(Address("127.0.0.1", 4780, BASE), TOKENS), {})
            for app in (dashboard._app, guarded):
                templates.append(app.desk.templates)
                app.desk.templates = templates[0]
            del templates[1:]
            it.nursery.start_soon(dashboard.run)
            it.nursery.start_soon(guarded.live.run)
            doors = {"open": _Door(dashboard._app, "", path), "guarded": _Door(guarded, BASE, path)}
            for event in case:
                if isinstance(event, list):
                    await wires.hold(event)
                else:
                    await doors[event[0]].visit(*event[1:])
                faults += [entry["exc_info"] for entry in said if entry["event"] == "a request failed"]
                for error in faults:
                    raise AssertionError("a fault of ours") from error
                ends = [entry["error"] for entry in said if entry["event"] == "a request ended by an error"]
                assert not ends, ends


async def _fill(it: System) -> None:
    """Jobs of every status, whose names, arguments and results nobody would give."""
    jobs = [
        {"name": name, "args": ARGUMENTS[n % len(ARGUMENTS)], "dedupe": visits.MARKS[n % 2], "after_date": LATER}
        for n, name in enumerate(HOSTILE * 2)
    ]
    ids = await it.gearbox.queue_many(jobs)  # type: ignore[arg-type]
    await it.call("cancel", {"id": ids[0], "reason": visits.MARKS[0]})
    await it.call("pause", {"method": HOSTILE[1], "reason": visits.MARKS[1]})
    await it.call(
        "schedule", {"name": visits.MARKS[0], "cron": "0 3 1 1 *", "method": HOSTILE[2], "args": ARGUMENTS[2]}
    )
    running = await it.gearbox.queue_many([{"name": CONTROL} for _ in range(len(ARGUMENTS) + 2)])
    for id, data in zip(running[1:], [*ARGUMENTS, visits.MARKS[0]], strict=True):
        await it.gearbox.job_start(id, 1, visits.MARKS[id % 3])
        status = "complete" if id % 2 else "errored"
        error = {"code": data, "message": data, "data": data} if id % 4 else data
        await it.gearbox.job_data(id, data=data if id % 2 else error, status=status, attempt=1)
    await it.gearbox.job_data(running[0], progress=data, append=visits.MARKS[0])
    await it.gearbox.queue(HOSTILE[1], ARGUMENTS[2])  # which is paused
    for n in range(2):
        await it.gearbox.queue("p::q", [visits.MARKS[n]], before_id=ids[-1], after_id=running[0])


# --- requests ---


@attrs.frozen
class _Door:
    """An application, and what its requests must have come to."""

    app: Application
    base: str
    path: Path

    async def visit(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes, how: str
    ) -> None:
        access = self.app.desk.access
        identity = access.identify(f"Bearer {visits.OPERATOR.decode()}", None)
        true = {b"FORM_TOKEN": access.form_token(identity).encode(), b"COOKIE": access.cookie(TOKENS[0]).encode()}
        headers = [(name, _filled(value, true)) for name, value in headers]
        body = _filled(body, true)
        middle = len(body) // 2 if how != "whole" else 0
        parts = [body[:middle], body[middle:] if how != "left" else None]
        if self.base and target.startswith(b"/"):
            target = self.base.encode() + target
        await trio.testing.wait_all_tasks_blocked()
        before = self._stored()
        sent = await self._exchange(method, target, headers, parts)
        await trio.testing.wait_all_tasks_blocked()
        status, answer, kind = _answer(method, sent, is_left=how == "left", is_watch=b"/watch" in target)
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        if len(hosts) != 1 or hosts[0] in visits.STRANGERS:
            assert status == 421, "a host that is not ours"
        elif method not in ("GET", "HEAD") and b"http://evil.test" in origins[:1]:
            assert status in (400, 403), "a page of another site"
        who = _who(headers) if self.base else Role.OPERATOR
        if who is Role.NOBODY:
            there = unquote(target.partition(b"?")[0].decode()).removeprefix(self.base)
            assert there.startswith(OPEN) or status in (*REFUSED, 303, 400, 408), "no token"
            assert visits.MARKS[0].encode() not in answer, "somebody's data without a token"
        if method in ("GET", "HEAD") or status in REFUSED or who < Role.OPERATOR:
            assert self._stored() == before, "a look, or what was refused, did something"
        if kind in ("text/html", "text/event-stream"):
            text = answer.decode()
            assert not any(mark in text for mark in visits.MARKS), "markup of others on a page"

    def _stored(self) -> list[Any]:
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as store:
            rows = [store.execute(f"SELECT * FROM gearbox_{table}").fetchall() for table in TABLES]
        store.close()
        return rows

    async def _exchange(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], parts: list[bytes | None]
    ) -> list[dict[str, Any]]:
        path, _, query = target.partition(b"?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(path.decode("ascii")), "raw_path": path, "root_path": "", "query_string": query,
            "headers": headers, "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 4780), "state": {},
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            await trio.lowlevel.checkpoint()
            part = parts.pop(0) if parts else None
            if part is None:
                await trio.sleep(1)
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Any) -> None:
            await trio.lowlevel.checkpoint()
            sent.append(message)

        with trio.move_on_after(3) if b"/watch" in target else trio.fail_after(60):
            await self.app.asgi(scope, receive, send)  # type: ignore[arg-type]
        return sent


def _who(headers: list[tuple[bytes, bytes]]) -> Role:
    """Who somebody may be at most: a second token may stand behind a first one that is wrong."""
    given = b" ".join(value for name, value in headers if name in (b"authorization", b"cookie"))
    if visits.OPERATOR in given or b"gearbox=" in given:
        return Role.OPERATOR
    return Role.READER if visits.READER in given else Role.NOBODY


def _filled(data: bytes, true: dict[bytes, bytes]) -> bytes:
    for word, value in true.items():
        data = data.replace(word, value)
    return data


def _answer(method: str, sent: list[dict[str, Any]], *, is_left: bool, is_watch: bool) -> tuple[int, bytes, str]:
    """The one answer, whose form is right."""
    if is_watch and not sent:
        return 200, b"", ""
    assert sent, "no answer"
    start, *rest = sent
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * len(rest)]
    h11.Response(status_code=start["status"], headers=start["headers"])
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    kind = headers.get("content-type", "").partition(";")[0]
    body = b"".join(message.get("body", b"") for message in rest)
    is_cut = is_left or kind == "text/event-stream"
    assert is_cut or [bool(message.get("more_body")) for message in rest][-1:] == [False], "no end"
    assert start["status"] < 500 or start["status"] == 503 or is_watch, start["status"]
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["cache-control"]
    if not is_cut and method != "HEAD" and "content-length" in headers and start["status"] != 304:
        assert int(headers["content-length"]) == len(body)
    if body:
        assert kind, "a body of no type"
        body.decode()
    if kind == "application/json" and body:
        assert rpc.dump(rpc.load(body)), "JSON"
    return start["status"], body, kind
