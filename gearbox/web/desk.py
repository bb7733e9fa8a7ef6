"""What the handlers of requests share: the core, the templates, the last hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any
from urllib.parse import unquote

import attrs
import jinja2
import trio
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import abraxas_py
from gearbox import methods, rpc
from gearbox.core import Core
from gearbox.errors import Code, RpcError
from gearbox.web import words
from gearbox.web.access import Access, Http, Identity, Role
from gearbox.web.series import Series

__all__ = ["PROBE_PATIENCE", "Desk", "desk_of", "identity_of", "json_of", "utf8"]

HIDDEN = Markup('<input type="hidden" name="form_token" value="{}"><input type="hidden" name="next" value="{}">')
ANSWER_TIMEOUT = 30.0  # s
PROBE_PATIENCE = 4.0  # s for the database, where a program asks how things are; Prometheus waits for 10 in all
THEMES = ("auto", "light", "dark")


@attrs.define
class Desk:
    """One for the server; in `app.state.desk`."""

    core: Callable[[], Core]  # the one that lives now
    http: Http
    access: Access
    series: Series
    facts: Mapping[str, str]  # of the settings, for the page that shows them
    templates: jinja2.Environment = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.templates = jinja2.Environment(
            loader=jinja2.PackageLoader("gearbox.web"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters.update(words.FILTERS)

    @property
    def base(self) -> str:
        return self.http.address.base

    async def call(self, name: str, params: Any = None, who: str | None = None, traceparent: str | None = None) -> Any:
        """A method of the core, by its short name. Raises RpcError; also if the core ends meanwhile."""
        with trio.move_on_after(inf if name == "watch" else ANSWER_TIMEOUT):
            return await methods.call(self.core(), name, params, who, traceparent)
        raise RpcError(Code.UNAVAILABLE, f"no answer within {ANSWER_TIMEOUT:.0f} s")

    def render(self, template: str, **values: Any) -> str:
        """A template that is no whole page."""
        return self.templates.get_template(template).render(base=self.base, **values)

    def page(
        self, request: Request, template: str, status: int = 200, there: str | None = None, **values: Any
    ) -> HTMLResponse:
        """A page, with what the frame around it needs. Its forms lead back `there`, or to itself."""
        identity = identity_of(request)
        theme = request.cookies.get("theme", "auto")
        here = request.url.path.removeprefix(self.base) or "/"
        there = there or here + (f"?{request.url.query}" if request.url.query else "")
        text = self.render(
            template,
            identity=identity,
            may_act=identity.role >= Role.OPERATOR,
            has_login=self.access.needs_token,
            form_token=self.access.form_token(identity),
            hidden_fields=HIDDEN.format(self.access.form_token(identity), there),
            theme=theme if theme in THEMES else "auto",
            here=here,
            there=there,
            notice=unquote(request.cookies.get("notice", "")),
            version=abraxas_py.__version__,
            is_failing=self.core().is_failing,
            **values,
        )
        response = HTMLResponse(utf8(text), status)
        if "notice" in request.cookies:
            response.delete_cookie("notice", self.base or "/")
        return response


def utf8(text: str) -> bytes:
    r"""Text for people; what UTF-8 cannot hold (half a surrogate, which JSON of a job may have) is shown escaped.

    >>> utf8("caf\u00e9 \ud83d")
    b'caf\xc3\xa9 \\ud83d'
    """
    return text.encode(errors="backslashreplace")


def json_of(value: Any, status: int = 200) -> Response:
    """An answer for programs."""
    return Response(rpc.dump(value), status, media_type="application/json")


def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def identity_of(request: Request) -> Identity:
    identity: Identity = request.state.identity
    return identity
