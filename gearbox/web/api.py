"""The methods as JSON over HTTP: `POST /api/NAME` with the params as body, or `GET` for what only looks.

The answer is the result alone; an error is `{"error": {"code", "message", "data"}}` with the HTTP status of its code.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gearbox import rpc
from gearbox.errors import Code, RpcError
from gearbox.methods.surface import SURFACE
from gearbox.trace import META, trace_of
from gearbox.web.access import Role
from gearbox.web.actions import body_of
from gearbox.web.desk import desk_of, identity_of, json_of
from gearbox.web.openapi import document

__all__ = ["call", "describe", "failure", "status_of"]

TRUTH = {"true": True, "false": False}


async def describe(request: Request) -> Response:
    """The OpenAPI document."""
    return json_of(document(SURFACE, desk_of(request).base))


async def call(request: Request) -> Response:
    """Call a method."""
    name = request.path_params["name"]
    surface = SURFACE.get(name)
    if surface is None:
        return failure(RpcError(Code.NOT_FOUND, f"there is no method {name}: see /api"))
    identity = identity_of(request)
    is_post = request.method == "POST"  # otherwise GET or HEAD, which no wall stands before
    if not is_post and not surface.is_reading:
        response = failure(RpcError(405, f"{name} changes something: use POST"))
        response.headers["allow"] = "POST"
        return response
    if not surface.is_reading and identity.role < Role.OPERATOR:
        return failure(RpcError(403, "this token only allows to look"))
    try:
        params = await _from_body(request) if is_post else _from_query(request)
        trace = trace_of(request.headers.get(META))
        value = await desk_of(request).call(name, params, identity.name, trace)
    except RpcError as error:
        return failure(error)
    return json_of(value)


def _from_query(request: Request) -> Any:
    """`?id=7&ids=1&ids=2`: words as text, which the methods take for numbers too."""
    params: dict[str, Any] = {}
    for key, value in request.query_params.multi_items():
        if key == "ids":
            params.setdefault(key, []).extend(filter(None, value.split(",")))
        else:
            params[key] = TRUTH.get(value, value)
    return params


async def _from_body(request: Request) -> Any:
    body = await body_of(request)
    try:
        return rpc.load(body) if body.strip() else None
    except ValueError as problem:
        raise RpcError(Code.BAD_REQUEST, f"the body is not JSON: {problem}") from None


def failure(error: RpcError) -> Response:
    return json_of({"error": error.as_json()}, status_of(error))


def status_of(error: RpcError) -> int:
    """The HTTP status of an error; what a job failed of is an answer like any other, but none that succeeded."""
    if isinstance(error.code, int) and 400 <= error.code < 600:
        return int(error.code)
    return 404 if error.code == Code.METHOD_NOT_FOUND else 422
