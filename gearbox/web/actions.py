"""What can be done from the pages: each form's POST calls a method of the core, and leads back to the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl, quote

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from gearbox.errors import Code, RpcError
from gearbox.web.access import Role
from gearbox.web.desk import THEMES, Desk, desk_of, identity_of
from gearbox.web.guard import COOKIE

__all__ = ["ACTIONS", "BodyRefused", "body_of"]

BODY_LARGEST = 1 << 20  # bytes; the API's arguments may be larger over Gearman, not here
BODY_TIMEOUT = 10.0  # s
LOGIN_PAUSE = 1.0  # s after a wrong token
NOTICE_SECONDS = 20  # a notice that was not shown by then is not shown
YEAR = 365 * 24 * 3600
PREVIEWED = 20  # jobs that a preview names

Form = Mapping[str, str]
Action = Callable[[Request, Form], Awaitable[Response]]


class BodyRefused(Exception):
    """A request whose body is too large, too slow or no form; the HTTP status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


async def body_of(request: Request) -> bytes:
    """The body, bounded in size and time."""
    body = bytearray()
    try:
        with trio.fail_after(BODY_TIMEOUT):
            async with aclosing(request.stream()) as parts:
                async for part in parts:
                    body += part
                    if len(body) > BODY_LARGEST:
                        raise BodyRefused(413, f"more than {BODY_LARGEST} bytes")
    except trio.TooSlowError:
        raise BodyRefused(408, "the request took too long") from None
    except ClientDisconnect:
        raise BodyRefused(400, "the request ended too early") from None
    return bytes(body)


def form_handler(action: Action, role: Role = Role.OPERATOR) -> Callable[[Request], Awaitable[Response]]:
    """The action, for a form of ours from somebody who may do it."""

    async def handle(request: Request) -> Response:
        text = (await body_of(request)).decode(errors="replace")
        try:
            form = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=50))
        except ValueError:
            raise BodyRefused(400, "too many fields") from None
        identity = identity_of(request)
        if identity.role < role:
            return PlainTextResponse("This token only allows to look.\n", 403)
        if not desk_of(request).access.is_form_ours(form.get("form_token", ""), identity):
            return PlainTextResponse("This form is too old: go back, load the page again and repeat.\n", 403)
        return await action(request, form)

    return handle


def _back(request: Request, form: Form, notice: str = "") -> Response:
    """To the page that the form was on, with a line about what was done."""
    desk = desk_of(request)
    response = RedirectResponse(desk.base + _own_path(form), 303)
    if notice:
        path = desk.base or "/"
        response.set_cookie("notice", quote(notice), NOTICE_SECONDS, path=path, httponly=True, samesite="strict")
    return response


def _own_path(form: Form) -> str:
    """The page that a form was on; never one of another site."""
    there = form.get("next", "")
    is_ours = there.startswith("/") and not there.startswith("//") and "\\" not in there and there.isprintable()
    return there if is_ours else "/"


async def _do(
    request: Request, form: Form, name: str, params: Mapping[str, Any], said: Callable[[Any], str]
) -> Response:
    desk = desk_of(request)
    try:
        value = await desk.call(name, dict(params), identity_of(request).name)
    except RpcError as error:
        if error.code in (Code.BAD_REQUEST, Code.NOT_FOUND, Code.CONFLICT, Code.TOO_LARGE):
            return _back(request, form, f"Nothing was done: {error.message}.")
        raise
    return _back(request, form, said(value))


async def cancel(request: Request, form: Form) -> Response:
    id = request.path_params["id"]

    def said(value: Any) -> str:
        return f"Job {id} is cancelled." if value else f"Job {id} had ended already."

    return await _do(request, form, "cancel", {"id": id, "reason": form.get("reason")}, said)


async def retry(request: Request, form: Form) -> Response:
    id = request.path_params["id"]
    downstream = form.get("downstream") == "yes"

    def said(value: Any) -> str:
        jobs = len(value["jobs"])
        return f"Job {id} is queued again as job {value['id']}" + (f", with {jobs - 1} more." if jobs > 1 else ".")

    params = {"id": id, "downstream": downstream, "reason": form.get("reason")}
    return await _do(request, form, "retry", params, said)


async def run_now(request: Request, form: Form) -> Response:
    id = request.path_params["id"]

    def said(value: Any) -> str:
        return f"Job {id} runs as early as it may." if value else f"Job {id} cannot run any earlier."

    return await _do(request, form, "run_now", {"id": id, "reason": form.get("reason")}, said)


async def reprioritise(request: Request, form: Form) -> Response:
    id, priority = request.path_params["id"], form.get("priority", "")

    def said(value: Any) -> str:
        return f"Job {id} has {priority} priority." if value else f"Job {id} has started, or has that priority."

    params = {"id": id, "priority": priority, "reason": form.get("reason")}
    return await _do(request, form, "reprioritise", params, said)


async def release(request: Request, form: Form) -> Response:
    id = request.path_params["id"]

    def said(value: Any) -> str:
        return f"Job {id} goes on." if value else f"Job {id} did not wait for noopgo."

    return await _do(request, form, "noopgo", {"id": id}, said)


async def pause(request: Request, form: Form) -> Response:
    name = form.get("method", "")
    return await _do(request, form, "pause", _method(form), lambda value: f"{name} is paused.")


async def resume(request: Request, form: Form) -> Response:
    name = form.get("method", "")
    return await _do(request, form, "resume", _method(form), lambda value: f"{name} goes on.")


async def limit(request: Request, form: Form) -> Response:
    def said(value: Any) -> str:
        places = value["concurrency"]
        return f"{value['method']} has no limit." if places is None else f"{value['method']} is limited to {places}."

    params = _method(form) | {"concurrency": form.get("concurrency") or None}
    return await _do(request, form, "limit", params, said)


def _method(form: Form) -> dict[str, Any]:
    return {"method": form.get("method"), "reason": form.get("reason")}


async def run_entry(request: Request, form: Form) -> Response:
    name = form.get("name")
    return await _do(request, form, "run_now", {"name": name}, lambda value: f"{name} runs now, as job {value}.")


async def unschedule(request: Request, form: Form) -> Response:
    name = form.get("name")
    params = {"name": name, "reason": form.get("reason")}
    return await _do(request, form, "unschedule", params, lambda value: f"The entry {name} is gone; its jobs stay.")


async def act(request: Request, form: Form) -> Response:
    """The same for all jobs that a search finds: first a page that says to which, then the deed."""
    desk = desk_of(request)
    params: dict[str, Any] = {
        "action": form.get("action"),
        "query": form.get("query", ""),
        "priority": form.get("priority") or None,
        "reason": form.get("reason"),
        "up_to": form.get("up_to") or None,
    }
    if form.get("confirmed") == "yes":

        def said(value: Any) -> str:
            more = "; there are more: do it again" if value["is_cut"] else ""
            return f"{form.get('action', '').replace('_', ' ')}: {value['changed']} of {value['jobs']} jobs{more}."

        return await _do(request, form, "act", params, said)
    return await _preview(desk, request, form, params)


async def _preview(desk: Desk, request: Request, form: Form, params: dict[str, Any]) -> Response:
    try:
        seen = await desk.call("act", params | {"preview": True})
    except RpcError as error:
        if error.code != Code.BAD_REQUEST:
            raise
        return _back(request, form, f"Nothing was done: {error.message}.")
    shown = []
    if seen["ids"]:
        line = " ".join(str(id) for id in seen["ids"][:PREVIEWED])
        shown = (await desk.call("search", {"query": line, "limit": PREVIEWED}))["jobs"]
    up_to = seen["ids"][0] if seen["ids"] else None
    values = {"seen": seen, "shown": shown, "params": params | {"up_to": up_to}}
    return desk.page(request, "act.html", there=_own_path(form), title="Are you sure?", **values)


async def theme(request: Request, form: Form) -> Response:
    response = _back(request, form)
    wanted = form.get("theme", "auto")
    if wanted in THEMES:
        path = desk_of(request).base or "/"
        response.set_cookie("theme", wanted, YEAR, path=path, httponly=True, samesite="strict")
    return response


async def login_page(request: Request) -> Response:
    return desk_of(request).page(
        request, "login.html", there=_own_path(request.query_params), title="Log in", is_wrong=False
    )


async def login(request: Request, form: Form) -> Response:
    desk = desk_of(request)
    token = desk.access.holder(form.get("token", ""))
    if token is None:
        await trio.sleep(LOGIN_PAUSE)
        return desk.page(request, "login.html", 401, there=_own_path(form), title="Log in", is_wrong=True)
    response = _back(request, form)
    response.set_cookie(
        COOKIE,
        desk.access.cookie(token),
        path=desk.base or "/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


async def logout(request: Request, form: Form) -> Response:
    response = _back(request, {"next": "/login"})
    response.delete_cookie(COOKIE, desk_of(request).base or "/")
    return response


ACTIONS: Sequence[tuple[str, Callable[[Request], Awaitable[Response]]]] = (
    ("/jobs/{id:job}/cancel", form_handler(cancel)),
    ("/jobs/{id:job}/retry", form_handler(retry)),
    ("/jobs/{id:job}/run_now", form_handler(run_now)),
    ("/jobs/{id:job}/reprioritise", form_handler(reprioritise)),
    ("/jobs/{id:job}/release", form_handler(release)),
    ("/act", form_handler(act)),
    ("/methods/pause", form_handler(pause)),
    ("/methods/resume", form_handler(resume)),
    ("/methods/limit", form_handler(limit)),
    ("/scheduled/run_now", form_handler(run_entry)),
    ("/scheduled/unschedule", form_handler(unschedule)),
    ("/theme", form_handler(theme, Role.READER)),
    ("/login", form_handler(login, Role.NOBODY)),
    ("/logout", form_handler(logout, Role.NOBODY)),
)
