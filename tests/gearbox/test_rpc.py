"""The envelope: what old clients and workers send, and what is no JSON-RPC at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearbox import rpc
from gearbox.errors import RpcError

FUNCTION = "gearbox\\core::status"
CALL = {"jsonrpc": "2.0", "method": FUNCTION, "params": [1], "id": "x-1"}


def parse(value: Any) -> rpc.Request | rpc.Refused:
    return rpc.parse_request(json.dumps(value).encode(), FUNCTION)


def test_a_call() -> None:
    assert parse(CALL | {"_meta": {"host": "h"}}) == rpc.Request(FUNCTION, [1], "x-1", {"host": "h"})
    assert parse(CALL | {"_meta": 5}) == rpc.Request(FUNCTION, [1], "x-1", {})
    assert parse(CALL | {"id": [1]}) == rpc.Request(FUNCTION, [1], [1], {})


@pytest.mark.parametrize("id", [0, None, "", False])
def test_an_id_that_javascript_calls_false_is_a_notification(id: Any) -> None:
    request = parse(CALL | {"id": id})
    assert isinstance(request, rpc.Request)
    assert request.id is None


REFUSED = [
    (CALL | {"jsonrpc": "1.0"}, -32600, "not jsonrpc response"),
    ({k: v for k, v in CALL.items() if k != "method"}, -32600, "invalid request"),
    (CALL | {"method": 5}, -32600, "invalid request"),
    (CALL | {"method": "other"}, -32601, "method not found"),
    (CALL | {"result": 1}, -32603, "result sent as request"),
    (CALL | {"error": {"code": 7, "message": "m"}}, 7, "m"),
]


@pytest.mark.parametrize(("envelope", "code", "message"), REFUSED)
def test_refused_with_the_originals_words(envelope: Any, code: int, message: str) -> None:
    refused = parse(envelope)
    assert isinstance(refused, rpc.Refused)
    assert not refused.is_notification
    assert (refused.id, refused.error.code, refused.error.message) == ("x-1", code, message)


@pytest.mark.parametrize("value", [[], {}, "str", {"jsonrpc": "2.0"}, [CALL]])
def test_what_has_no_id_is_not_answered(value: Any) -> None:
    refused = parse(value)
    assert isinstance(refused, rpc.Refused)
    assert refused.is_notification


HOSTILE = [
    b"",
    b"null",
    b"\xff\xfe",
    b'{"jsonrpc":',
    b"[" * 100_000,
    b'{"id":' + b"9" * 5000 + b"}",
    b'{"params":NaN}',
    b'{"params":[Infinity]}',
    b'{"params":1e400}',
]


@pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_not_json_gets_a_parse_error(payload: bytes) -> None:
    refused = rpc.parse_request(payload, FUNCTION)
    assert isinstance(refused, rpc.Refused)
    assert refused.error.code == -32700
    assert json.loads(rpc.error(refused.id, refused.error))["id"] is None


def test_a_call_that_can_be_read_can_be_answered_however_deep_it_is() -> None:
    deepest = []
    for levels in [10, *range(490, 510), *range(950, 1000), 100_000]:
        deep = b"[" * levels + b"]" * levels
        for payload in (b'{"jsonrpc":"1.0","id":1,"x":%b}' % deep, b'{"jsonrpc":"2.0","id":%b}' % deep):
            refused = rpc.parse_request(payload, FUNCTION, rpc.CALL_DEEPEST)
            assert isinstance(refused, rpc.Refused)
            assert rpc.load(rpc.error(refused.id, refused.error))["error"]["code"] == refused.error.code
            if refused.error.code != -32700:
                deepest.append(levels)
    assert max(deepest) == rpc.CALL_DEEPEST - 1


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
with_surrogates = st.text(st.characters(), max_size=5)


@given(values | with_surrogates, st.text(min_size=1))
def test_values_survive_both_ways(value: Any, id: str) -> None:
    request = rpc.parse_request(rpc.request("m", value, id, {"k": 1}), "m")
    assert request == rpc.Request("m", value, id, {"host": "gearbox", "k": 1})
    assert (
        rpc.request_text("m", rpc.dump(value), id, {"k": 1})
        == (
            f'{{"jsonrpc":"2.0","method":"m","params":{rpc.dump(value)},"_meta":{{"host":"gearbox","k":1}},'
            f'"id":{rpc.dump(id)}}}'
        ).encode()
    )
    assert rpc.parse_response(rpc.result(id, value), id) == value


@given(st.binary() | values.map(lambda value: json.dumps(value).encode()))
def test_no_payload_raises_anything_unexpected(payload: bytes) -> None:
    rpc.parse_request(payload, FUNCTION)
    with pytest.raises(RpcError):
        rpc.parse_response(payload, "no such id")


ANSWERS = [
    (b"oops", -32603, "the answer is not JSON"),
    (b"[]", -32603, "the answer is not JSON-RPC 2.0"),
    (b'{"jsonrpc":"2.0","id":"y","result":1}', -32603, "the answer belongs to another request"),
    (b'{"jsonrpc":"2.0","id":"x"}', -32603, "the answer has no result"),
    (b'{"jsonrpc":"2.0","id":"x","error":"no"}', 500, "error of unknown form"),
    (b'{"jsonrpc":"2.0","id":"x","error":{"code":"ER","message":"m","data":[1]}}', "ER", "m"),
]


@pytest.mark.parametrize(("payload", "code", "message"), ANSWERS)
def test_answers_of_others(payload: bytes, code: int | str, message: str) -> None:
    with pytest.raises(RpcError) as caught:
        rpc.parse_response(payload, "x")
    assert (caught.value.code, caught.value.message) == (code, message)
