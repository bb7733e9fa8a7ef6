"""The dashboard on a real core, store and broker, without a socket: requests are calls of its ASGI application."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import trio
from core_stage import System, system

from gearbox import rpc
from gearbox.gearman import ServerView
from gearbox.web.access import Address, Http
from gearbox.web.app import Application, application

HOST = "127.0.0.1:4780"
FORM = "application/x-www-form-urlencoded"


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return rpc.load(self.body)


@attrs.define
class Site:
    """The dashboard of a system, and a browser without scripts: it keeps cookies and finds the token of forms."""

    system: System
    app: Application
    cookies: dict[str, str] = attrs.field(factory=dict)
    headers: dict[str, str] = attrs.field(factory=dict)

    def lose_gearman(self) -> None:
        """From now on no Gearman server answers."""
        gearman: Any = self.system.core._gearman

        async def workers() -> None:
            await trio.lowlevel.checkpoint()

        async def view() -> list[ServerView]:
            await trio.lowlevel.checkpoint()
            return [ServerView("there", error="refused")]

        gearman.workers, gearman.view = workers, view

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        given = {"host": HOST, **self.headers, **(headers or {})}
        if self.cookies:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": target,
            "raw_path": target.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 4780),
        }
        sent: list[dict[str, Any]] = []
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if parts:
                return parts.pop()
            await trio.sleep_forever()
            raise AssertionError("unreachable")

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app.asgi(scope, receive, send)  # type: ignore[arg-type]
        start = sent[0]
        cookies = tuple(value.decode() for name, value in start["headers"] if name == b"set-cookie")
        for cookie in cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            if "Max-Age=0" in cookie:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        fields = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], fields, cookies, b"".join(part.get("body", b"") for part in sent[1:]))

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, headers={name.replace("_", "-"): one for name, one in headers.items()})

    async def post(self, path: str, fields: Mapping[str, Any], page: str = "/jobs", **headers: str) -> Answer:
        """Send a form of ours, with the token that stands on `page`."""
        found = re.search(r'name="form_token" value="(\w+)"', (await self.get(page)).text)
        assert found is not None
        body = urlencode({"form_token": found[1], "next": page} | fields).encode()
        return await self.request("POST", path, body, {"content-type": FORM, **headers})

    async def api(self, name: str, params: Any = None, **headers: str) -> Answer:
        body = b"" if params is None else rpc.dump(params).encode()
        return await self.request("POST", f"/api/{name}", body, {"content-type": "application/json", **headers})


@asynccontextmanager
async def site(path: Path, http: Http | None = None) -> AsyncIterator[Site]:
    async with system(path) as it:
        app = application(lambda: it.core, http or Http(Address("127.0.0.1", 4780)), {"Database": str(path)})
        it.nursery.start_soon(app.live.run)
        yield Site(it, app)
