"""The JSON-RPC 2.0 envelope that Gearbox puts into Gearman payloads; pure.

Three deviations from the JSON-RPC text, all from the original program and relied upon by its workers: `_meta` travels
beside `params`; a request whose id is false in JavaScript's eyes (absent, null, 0, "", false) is a notification; and a
notification is answered with an empty payload, also when it failed. Anything that is not JSON gets a parse error with
id null, as JSON-RPC says.

JSON here is strict: NaN, Infinity, numbers beyond a float or of thousands of digits and nesting of hundreds of levels
are refused, since no other language could read them back. What was read can be written, in an envelope too. Text that
UTF-8 cannot hold (a lone surrogate) is written escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import isinf
from typing import Any

import attrs

from gearbox.errors import Code, RpcError

__all__ = [
    "BATCH_LIMIT",
    "CALL_DEEPEST",
    "OUTPUT_DEEPEST",
    "Refused",
    "Request",
    "batch",
    "dump",
    "error",
    "load",
    "parse_call",
    "parse_request",
    "parse_response",
    "parse_responses",
    "request",
    "request_text",
    "result",
    "result_in",
    "result_text",
]

HOST = "gearbox"  # what the original puts into `_meta.host`
# Levels of arrays and objects. Python's own limit, about 990, moves with the depth of the stack, so that what was read
# could not be written. A command's output goes into a call, and what a call brought into answers and other calls.
OUTPUT_DEEPEST, CALL_DEEPEST, DEEPEST = 480, 500, 540
BATCH_LIMIT = 1_000  # calls in one batch: some ten milliseconds of a core's time, in which it does nothing else


@attrs.frozen
class Request:
    """A call as it arrived. `id` is None for a notification, which must not be answered."""

    method: str
    params: Any
    id: Any
    meta: dict[str, Any]


@attrs.frozen
class Refused:
    """A payload that is no call to us, and what to answer: `error(refused.id, refused.error)`."""

    id: Any
    error: RpcError
    is_notification: bool = False


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):  # it could not be written back
        raise ValueError(f"{text[:40]} is too large a number")
    return number


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_ascii_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def load(text: str | bytes, deepest: int = DEEPEST) -> Any:
    """Any JSON value. Raises ValueError for everything that is not one, too deep or not UTF-8.

    >>> load('{"a": [1, null]}')
    {'a': [1, None]}
    """
    text = text if isinstance(text, str) else text.decode()
    try:
        value = _decoder.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("[") + text.count("{") > deepest and _is_deeper(value, deepest):
        raise ValueError("nested too deeply")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether there are more arrays and objects within each other than `levels`."""
    inner = [value]
    for _ in range(levels):
        inner = [
            item
            for outer in inner
            if isinstance(outer, list | dict)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not inner:
            return False
    return any(isinstance(item, list | dict) for item in inner)


def dump(value: Any) -> str:
    """Compact JSON text that UTF-8 can hold. Raises ValueError for NaN, TypeError for what is no JSON value.

    >>> dump({"a": "é"})
    '{"a":"é"}'
    """
    # Most results are ids, true or null, and the encoder takes eight times as long.
    if type(value) is int:
        return repr(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    try:
        text = _encoder.encode(value)
        text.encode()
    except UnicodeEncodeError:
        return _ascii_encoder.encode(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return text


def request(method: str, params: Any, id: str | None = None, meta: dict[str, Any] | None = None) -> bytes:
    """A call; without `id`, a notification. `meta` goes beside the host into `_meta`."""
    envelope = {"jsonrpc": "2.0", "method": method, "params": params, "_meta": {"host": HOST, **(meta or {})}}
    if id is not None:
        envelope["id"] = id
    return dump(envelope).encode()


def request_text(method: str, params: str | None, id: str, meta: dict[str, Any]) -> bytes:
    """`request` for params that are JSON text already (None: null): a large argument is not parsed again."""
    return (
        f'{{"jsonrpc":"2.0","method":{dump(method)},"params":{params or "null"},'
        f'"_meta":{dump({"host": HOST, **meta})},"id":{dump(id)}}}'
    ).encode()


def batch(messages: Iterable[bytes]) -> bytes:
    """Several requests, or several answers, as one payload."""
    return b"[%b]" % b",".join(messages)


def result(id: Any, value: Any) -> bytes:
    """The answer to a call that succeeded."""
    return result_text(id, dump(value))


def result_text(id: Any, text: str) -> bytes:
    """`result` for a value that is JSON text already, as it stands in the store: it is not parsed again."""
    return f'{{"jsonrpc":"2.0","id":{dump(id)},"result":{text}}}'.encode()


def error(id: Any, failure: RpcError) -> bytes:
    """The answer to a call that failed."""
    return dump({"jsonrpc": "2.0", "id": id, "error": failure.as_json()}).encode()


def parse_request(payload: bytes, function: str, deepest: int = DEEPEST) -> Request | Refused:
    """What a Gearman job's payload asks of the Gearman function `function`."""
    try:
        envelope = load(payload, deepest)
    except ValueError as problem:
        return _no_json(problem)
    return _request_in(envelope, function)


def parse_call(
    payload: bytes, function: str, deepest: int = DEEPEST
) -> Request | Refused | Sequence[Request | Refused]:
    """`parse_request` where a batch is taken as well: an array of requests, all of the same function."""
    try:
        envelope = load(payload, deepest)
    except ValueError as problem:
        return _no_json(problem)
    if not isinstance(envelope, list):
        return _request_in(envelope, function)
    if not envelope:
        return Refused(None, RpcError(Code.INVALID_REQUEST, "an empty batch"))
    if len(envelope) > BATCH_LIMIT:
        return Refused(None, RpcError(Code.TOO_LARGE, f"more than {BATCH_LIMIT} calls"))
    return [
        _request_in(one, function)
        if isinstance(one, dict)
        else Refused(None, RpcError(Code.INVALID_REQUEST, "invalid request"))
        for one in envelope
    ]


def _no_json(problem: ValueError) -> Refused:
    return Refused(None, RpcError(Code.PARSE_ERROR, "parse error", str(problem)))


def _request_in(envelope: Any, function: str) -> Request | Refused:
    if envelope is None:
        return Refused(None, RpcError(Code.PARSE_ERROR, "parse error", "null is no request"))
    if not isinstance(envelope, dict):
        return Refused(None, RpcError(Code.INVALID_REQUEST, "invalid request"), is_notification=True)

    id = envelope.get("id")
    is_notification = id is None or id is False or id == "" or (id == 0 and not isinstance(id, bool))

    def refused(failure: RpcError) -> Refused:
        return Refused(id, failure, is_notification)

    if envelope.get("jsonrpc") != "2.0":
        return refused(RpcError(Code.INVALID_REQUEST, "not jsonrpc response", envelope))
    if "result" in envelope:
        return refused(RpcError(Code.INTERNAL_ERROR, "result sent as request"))
    if "error" in envelope:
        return refused(_failure(envelope["error"]))
    method = envelope.get("method")
    if not isinstance(method, str) or not method:
        return refused(RpcError(Code.INVALID_REQUEST, "invalid request"))
    if method != function:
        return refused(RpcError(Code.METHOD_NOT_FOUND, "method not found"))
    meta = envelope.get("_meta")
    return Request(
        method, envelope.get("params"), None if is_notification else id, meta if isinstance(meta, dict) else {}
    )


def parse_response(payload: bytes, id: Any) -> Any:
    """The result in an answer to the request `id`.

    Raises RpcError: the one that the answer carries, or -32603 if the payload is no answer to this request.
    """
    return result_in(_answer_in(payload), id)


def parse_responses(payload: bytes) -> dict[str, Any]:
    """The answers to a batch by the ids of its requests, each for `result_in`.

    Raises RpcError: the one with which the whole batch was refused, or -32603 if the payload is no answer to a batch.
    """
    answers = _answer_in(payload)
    if not isinstance(answers, list):
        answers = [answers]
    found = {one["id"]: one for one in answers if isinstance(one, dict) and isinstance(one.get("id"), str)}
    if not found:
        result_in(answers[0] if answers else None, "")
    return found


def _answer_in(payload: bytes) -> Any:
    try:
        return load(payload)
    except ValueError as problem:
        raise RpcError(Code.INTERNAL_ERROR, "the answer is not JSON", str(problem)) from None


def result_in(envelope: Any, id: Any) -> Any:
    """`parse_response` for an answer that is no text any more."""
    if not isinstance(envelope, dict) or envelope.get("jsonrpc") != "2.0":
        raise RpcError(Code.INTERNAL_ERROR, "the answer is not JSON-RPC 2.0", envelope)
    if "error" in envelope:
        raise _failure(envelope["error"])
    if envelope.get("id") != id:
        raise RpcError(Code.INTERNAL_ERROR, "the answer belongs to another request", envelope)
    if "result" not in envelope:
        raise RpcError(Code.INTERNAL_ERROR, "the answer has no result", envelope)
    return envelope["result"]


def _failure(value: Any) -> RpcError:
    """The error object of somebody else, who may not have kept to the form."""
    if not isinstance(value, dict):
        return RpcError(Code.INTERNAL, "error of unknown form", value)
    code = value.get("code")
    return RpcError(
        code if isinstance(code, int | str) else Code.INTERNAL, str(value.get("message")), value.get("data")
    )
