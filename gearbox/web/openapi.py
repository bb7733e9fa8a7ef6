"""The description of the API, made from the types by which the params are checked; pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, get_args

import attrs

import abraxas_py
from gearbox.methods import params
from gearbox.methods.surface import Surface

__all__ = ["document"]

TYPES: dict[Any, dict[str, Any]] = {
    params.JobId: {"type": "integer", "minimum": 1},
    params.Name: {"type": "string", "minLength": 1, "maxLength": params.NAME_LONGEST},
    params.Text: {"type": "string", "maxLength": params.NAME_LONGEST},
    params.Reason: {"type": "string", "maxLength": params.REASON_LONGEST},
    params.Count: {"type": "integer", "minimum": 0, "maximum": params.NUMBER_HIGHEST},
    params.PageSize: {
        "type": "integer",
        "minimum": 0,
        "maximum": params.NUMBER_HIGHEST,
        "description": f"rows of one answer; there are at least 1 and at most {params.PAGE_LARGEST}",
    },
    params.Seconds: {"type": "number", "minimum": 0},
    params.Positive: {"type": "number", "exclusiveMinimum": 0},
    params.Date: {
        "oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
        "description": "ISO 8601, or milliseconds since 1970",
    },
    params.Json: {"description": "any value"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    Any: {},
}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
                "message": {"type": "string"},
                "data": {},
            },
        }
    },
}
STATUSES = {
    "400": "a parameter is wrong",
    "401": "the token is missing or unknown",
    "403": "the token only allows to look",
    "404": "there is no such job",
    "405": "the method changes something: use POST",
    "408": "the request took too long",
    "409": "the job is past what was asked of it",
    "413": "the request is too large",
    "415": "the content-type is not application/json",
    "421": "the host is not one of this server's names",
    "422": "the job itself failed; the code is its own",
    "500": "a fault of the server; its log says what",
    "503": "the database cannot be reached",
    "507": "there is no room on the disk: nothing was stored",
}


def document(surface: Mapping[str, Surface], base: str = "") -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gearbox",
            "version": abraxas_py.__version__,
            "description": "The functions gearbox\\core::..., by HTTP: the same handlers, params and results. "
            "A traceparent header (W3C Trace Context) goes with the jobs that a call queues.",
        },
        "servers": [{"url": f"{base}/api"}],
        "security": [{"token": []}, {}],
        "paths": {f"/{name}": _path(name, one) for name, one in surface.items()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": ERROR},
        },
    }


def _path(name: str, surface: Surface) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "the result", "content": {"application/json": {"schema": {}}}}}
    for status, text in STATUSES.items():
        content: dict[str, Any] = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        answers[status] = {"description": text, "content": content}
    schema = _schema(surface.params)
    if surface.takes_list:
        schema = {"oneOf": [schema, {"type": "array", "items": {}}]}
    about: dict[str, Any] = {"summary": surface.summary, "responses": answers}
    body = {"content": {"application/json": {"schema": schema}}}
    path: dict[str, Any] = {"post": about | {"operationId": name, "requestBody": body}}
    if surface.is_reading:
        parameters = [
            {"name": field, "in": "query", "required": field in schema.get("required", ()), "schema": kind}
            for field, kind in _schema(surface.params)["properties"].items()
        ]
        path["get"] = about | {"operationId": f"get_{name}", "parameters": parameters}
    return path


def _schema(kind: type) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    for field in attrs.fields(attrs.resolve_types(kind)):
        one = dict(_type(field.type))
        if field.default is attrs.NOTHING:
            required.append(field.name)
        elif field.default is not None:
            default = field.default
            one["default"] = default.value if isinstance(default, Enum) else default
        properties[field.name] = one
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return schema | ({"required": required} if required else {})


def _type(kind: Any) -> dict[str, Any]:
    known = [one for one in get_args(kind) if one is not type(None)] or [kind]
    if isinstance(known[0], type) and issubclass(known[0], Enum):
        return {"type": "string", "enum": [member.value for member in known[0]]}
    return TYPES[known[0]]
