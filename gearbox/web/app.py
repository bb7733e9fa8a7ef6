"""The routes, and what is answered when something goes wrong."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from importlib import resources

import structlog
import trio
from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from gearbox.core import Core
from gearbox.errors import RpcError
from gearbox.web import api, metrics
from gearbox.web.access import Access, Http, Identity, Role
from gearbox.web.actions import ACTIONS, BodyRefused, login_page
from gearbox.web.desk import PROBE_PATIENCE, Desk, desk_of
from gearbox.web.guard import Guard
from gearbox.web.live import Live, listen
from gearbox.web.pages import PAGES, overview_fragment
from gearbox.web.series import Series

__all__ = ["Application", "application"]

log = structlog.get_logger("gearbox:http")


class JobIds(IntegerConvertor):
    """`{id:job}` in a path."""

    regex = "[0-9]{1,19}"  # int() refuses thousands of digits, and that is no fault of ours


register_url_convertor("job", JobIds())


class Application:
    """The ASGI application, and the tasks that it needs beside it."""

    def __init__(self, asgi: ASGIApp, desk: Desk, live: Live) -> None:
        self.asgi = asgi
        self.desk = desk
        self.live = live

    async def sample(self) -> None:
        """Gather what the charts show, for ever."""
        await self.desk.series.run(lambda: self.desk.call("methods"))


def application(core: Callable[[], Core], http: Http, facts: Mapping[str, str]) -> Application:
    access = Access(http, secrets.token_bytes(32), socket.gethostname())
    desk = Desk(core, http, access, Series(), facts)
    live = Live(desk.call, lambda: overview_fragment(desk))
    static = resources.files("gearbox.web").joinpath("static")
    routes: list[BaseRoute] = [
        Mount("/static", StaticFiles(directory=str(static))),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics.show),
        Route("/live", listen),
        Route("/api", api.describe),
        Route("/api/{name}", api.call, methods=["GET", "POST"]),
        Route("/login", login_page),
        *(Route(path, page) for path, page in PAGES),
        *(Route(path, action, methods=["POST"]) for path, action in ACTIONS),
    ]
    app = Starlette(
        routes=[Mount(http.address.base, routes=routes)] if http.address.base else routes,
        exception_handlers={
            HTTPException: _http_error,
            RpcError: _rpc_error,
            BodyRefused: _body_refused,
            Exception: _fault,
        },
    )
    app.state.desk = desk
    app.state.live = live
    return Application(Guard(_Quiet(app), access, http.address.base), desk, live)


async def healthz(request: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Jobs can be queued and handed on: the database takes transactions, and Gearman can be asked."""
    view = None
    try:
        with trio.move_on_after(PROBE_PATIENCE):
            view = await desk_of(request).call("overview")
    except RpcError as error:
        return PlainTextResponse(f"the database: {error.message}\n", 503)
    if view is None:
        return PlainTextResponse(f"the database: no answer within {PROBE_PATIENCE:.0f} s\n", 503)
    if not view["is_gearman_there"]:
        return PlainTextResponse("Gearman cannot be reached\n", 503)
    return PlainTextResponse("ready\n")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "There is no such page.", 405: "This cannot be done so."}
    return _said(request, error.status_code, words.get(error.status_code, error.detail))


async def _rpc_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RpcError)
    return _said(request, api.status_of(error), f"{error.message[:1].upper()}{error.message[1:]}.")


async def _body_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, BodyRefused)
    return _said(request, error.status, f"{error.text}.")


async def _fault(request: Request, error: Exception) -> Response:
    log.error("a request failed", path=request.url.path, exc_info=error)
    return _said(request, 500, "Something went wrong here; the log says what.")


def _said(request: Request, status: int, text: str) -> Response:
    desk = desk_of(request)
    identity = getattr(request.state, "identity", Identity("", Role.NOBODY))
    path = request.url.path.removeprefix(desk.base)
    if path.startswith("/api"):
        return JSONResponse({"error": {"code": status, "message": text}}, status)
    if identity.role is Role.NOBODY:
        return PlainTextResponse(f"{text}\n", status)
    return desk.page(request, "error.html", status, title=str(status), text=text)


class _Quiet:
    """Starlette raises an error again once it is answered; it is logged already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        try:
            await self._app(scope, receive, send)  # type: ignore[arg-type]
        except (OSError, Exception) as error:
            log.debug("a request ended by an error", error=repr(error))
