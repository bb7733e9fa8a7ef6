"""Every request passes here: `access` decides, and what is answered carries the headers that keep it safe."""

from __future__ import annotations

from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gearbox.web.access import Access, Identity, Role

__all__ = ["COOKIE", "Guard"]

COOKIE = "gearbox"
SAFE = {"GET", "HEAD"}
OPEN = ("/healthz", "/readyz", "/login", "/static/")  # for everybody
FORM = "application/x-www-form-urlencoded"
HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """ASGI before the app. It leaves who calls in `scope["state"]["identity"]`."""

    def __init__(self, app: ASGIApp, access: Access, base: str) -> None:
        self._app = app
        self._access = access
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # a WebSocket that nobody answers is refused

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._access.is_host_known(host):
            return PlainTextResponse("This host is not served here: name it in GEARBOX_HTTP_HOSTS.\n", 421)
        if not scope["query_string"].isascii():  # HTTP/2 lets it through, and what reads addresses here cannot
            return PlainTextResponse("This is no address: what is beyond ASCII is written with %.\n", 400)
        path = scope["path"].removeprefix(self._base)
        cookie = HTTPConnection(scope).cookies.get(COOKIE)  # SimpleCookie stops at another program's odd one
        identity = self._access.identify(headers.get("authorization"), cookie)
        scope.setdefault("state", {})["identity"] = identity
        if scope["method"] not in SAFE:
            if not self._access.is_origin_ours(headers.get("origin"), headers.get("sec-fetch-site"), host):
                return _refused(path, 403, "This request comes from a page of another site.")
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != ("application/json" if path.startswith("/api/") else FORM):
                return _refused(path, 415, "Send JSON to the API (content-type: application/json).")
        if path.startswith(OPEN):
            return None
        return self._unless_allowed(scope, path, identity)

    def _unless_allowed(self, scope: Scope, path: str, identity: Identity) -> Response | None:
        if identity.role is Role.NOBODY:
            if path.startswith(("/api", "/metrics", "/live")) or scope["method"] not in SAFE:
                refusal = _refused(path, 401, "Give the token: Authorization: Bearer ...")
                refusal.headers["www-authenticate"] = "Bearer"
                return refusal
            query = scope["query_string"].decode("latin-1")
            wanted = quote(path + (f"?{query}" if query else ""), safe="")
            return RedirectResponse(f"{self._base}/login?next={wanted}", 303)
        return None


def _refused(path: str, status: int, text: str) -> Response:
    if path.startswith("/api"):
        return JSONResponse({"error": {"code": status, "message": text}}, status)
    return PlainTextResponse(f"{text}\n", status)
