"""HTTP as browsers and programs send it to the dashboard, well and badly.

`FORM_TOKEN` and `COOKIE` in it stand for the true ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any
from urllib.parse import quote

import attrs
import h2.config
import h2.connection
import octets
from starlette.routing import Mount

from gearbox.methods.surface import SURFACE
from gearbox.web.access import Address, Http
from gearbox.web.app import application

__all__ = ["MARKS", "OPERATOR", "OURS", "READER", "STRANGERS", "conversation", "request"]

MARKS = ("<x-mark>", '" x-mark="', "' x-mark='")  # which no page may hold as they are
OPERATOR, READER = b"correct-horse-battery", b"only-looking-is-allowed"
OURS = [b"127.0.0.1:4780", b"localhost", b"LOCALHOST:9", b"[::1]:4780", b"localhost."]
STRANGERS = [
    b"evil.test", b"", b"127.0.0.1.evil.test", b"127.0.0.1@evil.test", b"[::ffff:10.0.0.1]", b"\xff",
    b"evil.test:" + b"9" * 5000,
]  # fmt: skip
JSON, FORM = b"application/json", b"application/x-www-form-urlencoded"
METHODS = ["GET", "POST", *["HEAD"] * 6, "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "A" * 100]
ODD = [
    "", "0", "1", "2", "3", "5", "8", "13", "-1", "+1", " 1", "1.5", "1e400", "9007199254740993",
    "9223372036854775807", "9223372036854775808", "18446744073709551616", "9" * 19, "9" * 5000, "NaN", "Infinity",
    "true", "null", "\0", "a\0b", "\r\nx: y", "\x1b[2J", "é", "\u202e", "\U0001f600", "٣", "²", "½", "x" * 255,
    "x" * 256, "x" * 1001, "x" * 70_000, "2026-11-21T09:00Z", "0001-01-01", "9999-12-31T23:59:59.999999-23:59",
    "10000-01-01", "2026-02-30", "-1e18", "1e18", "status:failed", "status:nothing", "method:a*", 'arg:"',
    "after:2026-02-30", "id:" + "9" * 30, "-" * 50, "(" * 500, "before:9999-12-31T23:59:59-23:59", "ran:>1e400",
    "a::b", "gearbox\\core::noop", "//evil.test", "/\\evil.test", "/jobs?q=%zz", "javascript:x", "{{7*7}}",
    "../../etc/passwd", "json", "yes", "high", "cancel", "retry", "run_now", "reprioritise", "* * * * *", "UTC",
    "Mars/Base", *MARKS, MARKS[0] * 40,
]  # fmt: skip
RAW = [
    b"%", b"%f", b"%ff", b"%zz", b"%00", b"%ed%a0%80", b"%0d%0a", b"\xff", b"\xc3", b"+", b"&&", b"==", b";", b"?",
    b"#", b"[", b"%25%32%35",
]  # fmt: skip
JSONS = [
    *ODD, None, True, False, 0, 1, 2, -1, 1.5, 2**53 + 1, 2**64, [], {}, [1], [[1]], {"a": 1}, {"": None}, "\ud800",
    float("inf"), 10**400,
]  # fmt: skip
TEXTS = [
    b"", b" ", b"{", b"[" * 100_000, b"\xff", b"\xef\xbb\xbf{}", b"null", b"9" * 5000, b'{"id":1,"id":2}',
    b'{"id":1e400}', b"\0", b'"\\ud800"',
]  # fmt: skip
PAGES = ["q", "below", "after", "above_id", "name", "format", "jobs", "overview", "next"]
FORMS = [
    "form_token", "next", "reason", "downstream", "priority", "method", "concurrency", "name", "action", "query",
    "up_to", "confirmed", "theme", "token",
]  # fmt: skip
HEADERS = [
    b"origin", b"cookie", b"authorization", b"accept", b"content-type", b"content-length", b"sec-fetch-site",
    b"traceparent", b"range", b"if-none-match", b"if-modified-since", b"accept-encoding", b"x-forwarded-host",
    b"expect", b"x",
]  # fmt: skip
VALUES = [
    b"", b"null", b"http://127.0.0.1:4780", b"http://evil.test", b"://127.0.0.1:4780", b"notice=%3Cx-mark%3E%00%ff",
    b"theme=dark; notice=<x-mark>", b"gearbox=\xff; gearbox=", b"notice=" + b"%ed%a0%80", b"a[0]=1; =; ;;", b"Bearer",
    b"Bearer " + OPERATOR, b"bearer  " + READER, b"Basic " + OPERATOR, b"Bearer \xff\xfe", b"Bearer " + b"x" * 9000,
    b"*/*", b"text/html;q=\xff", JSON, FORM, JSON + b"; charset=utf-7", b"APPLICATION/JSON", b"multipart/form-data",
    b"0", b"-1", b"9" * 30, b"same-origin", b"cross-site", b"bytes=0-1,5-,-9", b"bytes=99999999999999999999-", b'"x"',
    b"Thu, 01 Jan 1970 00:00:00 GMT", b"Thu, 99 Foo 99999 99:99:99 GMT",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"00-\xff", b"gzip", b"100-continue", b"\x01\x7f\x80",
]  # fmt: skip


UPGRADES = [
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85\0\0\0\0hello",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
]
VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1\r\nconnection: close"]
ENDS = [b"/", b"/..", b"//", b"%2f", b"%00", b"%ff", b"%0a", b"x" * 9000, b"%E2%84%80"]
ELSEWHERE = [
    b"*", b"http://127.0.0.1/jobs", b"//evil.test/", b"/%5b", b"[", b"/../..", b"/static/%2e%2e/app.py", b"/a" * 2000,
]  # fmt: skip
ENTRIES = [
    *[(b"authorization", b"Bearer " + OPERATOR)] * 3, (b"authorization", b"Bearer " + READER),
    (b"cookie", b"a=1; gearbox=COOKIE"), (b"x", b"x"),
]  # fmt: skip
FILLED = {
    "form_token": "FORM_TOKEN", "next": "/jobs", "query": "status:failed", "action": "cancel", "method": "a::b",
    "name": "n", "token": OPERATOR.decode(),
}  # fmt: skip


@cache
def _routes() -> Sequence[tuple[str, bool]]:
    """Each path of the application itself, and whether it takes POST."""
    made: Any = application(lambda: None, Http(Address("127.0.0.1", 4780)), {})  # type: ignore[arg-type, return-value]
    found = [("/static/live.js", False), ("/static/style.css", False), ("/static/icon.svg", False)]
    for route in made.asgi._app._app.routes:
        path = f"{route.path}/" if isinstance(route, Mount) else route.path
        found.append((path, "POST" in (getattr(route, "methods", None) or ())))
    return found


def _odd(chance: Random) -> str:
    return chance.choice(MARKS) + chance.choice(ODD) if chance.random() < 0.1 else chance.choice(ODD)


def _query(chance: Random, keys: Sequence[str]) -> bytes:
    pairs = []
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        value = quote(_odd(chance), safe=chance.choice(["", "/:", "[]"])).encode()
        pairs.append(chance.choice(keys).encode() + b"=" + (value if chance.random() < 0.8 else chance.choice(RAW)))
    return b"&".join(pairs)[:80_000] * chance.choice([1] * 30 + [80])


def _target(chance: Random, path: str, name: str) -> bytes:
    id = str(chance.randint(0, 20)) if chance.random() < 0.7 else quote(_odd(chance), safe="")
    target = path.replace("{id:job}", id).replace("{name}", name).encode()
    match chance.random():
        case roll if roll < 0.03:
            target += chance.choice(ENDS)
        case roll if roll < 0.05:
            target = chance.choice(ELSEWHERE)
        case roll if roll < 0.08:
            target += quote(_odd(chance)).encode()
    keys = _params(name) or PAGES if path == "/api/{name}" else PAGES
    query = _query(chance, keys if chance.random() < 0.9 else [*PAGES, *FORMS])
    return target + b"?" + query if query else target


def _params(name: str) -> list[str]:
    return [param.name for param in attrs.fields(SURFACE[name].params)]


def _form(chance: Random) -> bytes:
    kept = dict(chance.sample(sorted(FILLED.items()), chance.randint(4, len(FILLED))))
    odd = {chance.choice(FORMS): _odd(chance) for _ in range(chance.choice([0, 1, 2, 3]))}
    body = "&".join(f"{key}={quote(value)}" for key, value in (kept | odd).items()).encode()
    return body + chance.choice([b"", b"", b"", b"&x=" + chance.choice(RAW), b"&a=1" * 60])


def _json(chance: Random, name: str) -> bytes:
    if chance.random() < 0.15:
        return chance.choice(TEXTS)
    usual = {"name": "a::b", "method": "a::b", "id": chance.randint(1, 20), "cron": "* * * * *", "attempt": 1}
    keys = _params(name)
    params: Any = {key: value for key, value in (usual | {"action": "cancel", "query": ""}).items() if key in keys}
    params |= {key: chance.choice(JSONS) for key in chance.sample(keys, min(len(keys), chance.choice([0, 0, 1, 2])))}
    if SURFACE[name].takes_list and chance.random() < 0.5:
        params = [chance.choice(JSONS), params][: chance.randint(0, 2)]
    return json.dumps(params).encode()


def request(chance: Random) -> tuple[str, str, bytes, list[tuple[bytes, bytes]], bytes, str]:
    """At which door, the method, the target, the headers, the body, and how that comes."""
    path, is_post = chance.choice(chance.choice([_routes(), [one for one in _routes() if "{" in one[0]]]))
    if chance.random() < 0.2:
        path, is_post = "/api/{name}", True
    name = chance.choice(list(SURFACE))
    is_post = is_post and not (path == "/api/{name}" and chance.random() < 0.5)
    is_api = path.startswith("/api")
    method = chance.choice(METHODS) if chance.random() < 0.2 else "POST" if is_post else "GET"
    headers = [(b"host", chance.choice(STRANGERS if chance.random() < 0.05 else OURS)), chance.choice(ENTRIES)]
    if is_post:
        headers.append((b"content-type", JSON if is_api else FORM))
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2, 4])):
        headers.insert(chance.randint(0, len(headers)), (chance.choice(HEADERS), chance.choice(VALUES)))
    if chance.random() < 0.02:
        headers = [chance.choice(headers) for _ in headers]
    body = b"" if not is_post and chance.random() < 0.9 else _json(chance, name) if is_api else _form(chance)
    if chance.random() < 0.02:
        body = octets.damaged(chance, body)
    if chance.random() < 0.002:
        body = body.ljust((1 << 20) + chance.randint(0, 1))  # the most that is read
    how = chance.choice(["whole"] * 20 + ["halves"] * 10 + ["left"])
    return chance.choice(["open", "guarded"]), method, _target(chance, path, name), headers, body, how


def _http1(chance: Random) -> bytes:
    _, method, target, headers, body, _ = request(chance)
    lines = [b" ".join([method.encode(), target, chance.choice(VERSIONS)]), *(b": ".join(pair) for pair in headers)]
    text = b"".join(line + b"\r\n" for line in lines)
    match chance.randrange(8):
        case 0:
            return text + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        case 1:
            return text + chance.choice(UPGRADES)
    return text + b"content-length: %d\r\n\r\n" % len(body) + body


def _http2(chance: Random) -> bytes:
    config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    for stream in (1, 3, 5)[: chance.choice([1, 1, 2, 3])]:
        _, method, target, headers, body, _ = request(chance)
        fields = [(b":method", method.encode()), (b":path", target[:20_000]), (b":scheme", b"http")]
        fields += [(b":authority", value) for name, value in headers if name == b"host"]
        fields += [pair for pair in headers if pair[0] != b"host"]
        connection.send_headers(stream, fields, end_stream=not body)
        if body:
            connection.send_data(stream, body[:16_000], end_stream=chance.random() < 0.9)
        if chance.random() < 0.1:
            connection.reset_stream(stream)
    return bytes(connection.data_to_send())


def conversation(chance: Random) -> list[bytes]:
    """What one connection carries, in pieces; half of them are damaged."""
    requests = [_http1(chance) for _ in range(chance.choice([1, 1, 2, 3]))]
    data = _http2(chance) if chance.random() < 0.4 else b"".join(requests)
    for _ in range(chance.choice([0, 0, 1, 1, 3])):
        data = octets.damaged(chance, data)
    return [*octets.cut(chance, data[:1000]), *([data[1000:]] if data[1000:] else [])]
