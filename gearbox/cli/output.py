"""Values as text for people and programs, the `-O` modes of g-client; pure.

`inspect` writes as Node's `util.inspect` does, which the original used: what is nested more than two levels deep is
`[Object]` or `[Array]`, a collection stands on one line if it fits into `WIDTH` columns, and arrays are cut after a
hundred items, texts in a collection after ten thousand characters. It is for reading; the other modes lose nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from math import copysign
from typing import Any

from gearbox import rpc

__all__ = ["Mode", "inspect", "render"]


class Mode(Enum):
    """How a result is printed."""

    INSPECT = "inspect"
    JSON = "json"
    NL_JSON = "nl-json"
    PLAIN = "plain"


WIDTH = 69  # columns of indentation and items on one line; 80, less what Node sets aside for brackets
DEPTH = 2  # levels below the outermost that are shown
MAX_ITEMS = 100  # of an array
MAX_CHARACTERS = 10_000  # of a text

IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z_0-9]*", re.ASCII)
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")
ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "\\": "\\\\"}
SGR = re.compile(r"\x1b\[\d+m")

STRING, NUMBER, NULL, SPECIAL = (32, 39), (33, 39), (1, 22), (36, 39)  # the colours of util.inspect.styles


def render(value: Any, mode: Mode, *, is_coloured: bool = False) -> str:
    r"""What to print for a result.

    >>> render([1, {"a": None}], Mode.NL_JSON)
    '1\n{"a":null}\n'
    """
    return RENDERERS[mode](value, is_coloured)


def _render_inspect(value: Any, is_coloured: bool) -> str:
    return (value if isinstance(value, str) else inspect(value, is_coloured=is_coloured)) + "\n"


def _render_json(value: Any, is_coloured: bool) -> str:
    return rpc.dump(value) + "\n"


def _render_nl_json(value: Any, is_coloured: bool) -> str:
    return "".join(rpc.dump(item) + "\n" for item in (value if isinstance(value, list) else [value]))


def _render_plain(value: Any, is_coloured: bool) -> str:
    return (value if isinstance(value, str) else rpc.dump(value)) + "\n"


RENDERERS: Mapping[Mode, Callable[[Any, bool], str]] = {
    Mode.INSPECT: _render_inspect,
    Mode.JSON: _render_json,
    Mode.NL_JSON: _render_nl_json,
    Mode.PLAIN: _render_plain,
}


def inspect(value: Any, *, is_coloured: bool = False) -> str:
    """A JSON value in the style of `util.inspect`.

    >>> print(inspect({"a": [1, {"b": {}, "c": [0]}], "it's": "x"}))
    { a: [ 1, { b: {}, c: [Array] } ], "it's": 'x' }
    """
    text = _inspect(value, 0)
    return text if is_coloured else SGR.sub("", text)


def _inspect(value: Any, level: int) -> str:
    if not isinstance(value, list | dict):
        return _scalar(value)
    opening, closing = "[]" if isinstance(value, list) else "{}"
    if not value:
        return opening + closing
    if level > DEPTH:
        return _styled("[Array]" if isinstance(value, list) else "[Object]", SPECIAL)
    items = [key + _inspect(inner, level + 1) for key, inner in _entries(value)]
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        more = len(value) - MAX_ITEMS
        items.append(_more(more, "item"))
    indentation = "  " * level
    if _fits(items, indentation):
        return f"{opening} {', '.join(items)} {closing}"
    newline = "\n" + indentation
    return f"{opening}{newline}  {f',{newline}  '.join(items)}{newline}{closing}"


def _entries(value: list[Any] | dict[str, Any]) -> list[tuple[str, Any]]:
    if isinstance(value, list):
        return [("", item) for item in value[:MAX_ITEMS]]
    return [(f"{_key(key)}: ", item) for key, item in value.items()]


def _fits(items: list[str], indentation: str) -> bool:
    if any("\n" in item for item in items):
        return False
    return sum(len(SGR.sub("", item)) for item in items) + 2 * len(items) + len(indentation) <= WIDTH


def _key(key: str) -> str:
    return key if IDENTIFIER.fullmatch(key) else _styled(_quoted(key), STRING)


def _scalar(value: Any) -> str:
    match value:
        case None:
            return _styled("null", NULL)
        case bool():
            return _styled("true" if value else "false", NUMBER)
        case int():
            return _styled(str(value), NUMBER)
        case float():
            return _styled(_number(value), NUMBER)
        case _:
            text = _styled(_quoted(value[:MAX_CHARACTERS]), STRING)
            more = len(value) - MAX_CHARACTERS
            return text + _more(more, "character") if more > 0 else text


def _more(count: int, what: str) -> str:
    return f"... {count} more {what}{'s' if count > 1 else ''}"


def _number(value: float) -> str:
    """As JavaScript writes it: no `.0`, no zeros in the exponent."""
    if value.is_integer() and abs(value) < 1e21:
        return "-0" if value == 0 and copysign(1, value) < 0 else str(int(value))
    return re.sub(r"e([+-])0*(\d)", r"e\1\2", repr(value))


def _quoted(text: str) -> str:
    quote = "'" if "'" not in text else next((mark for mark in '"`' if mark not in text), "'")
    escaped = UNPRINTABLE.sub(_escape, text)
    if quote == "'":
        escaped = escaped.replace("'", "\\'")
    return f"{quote}{escaped}{quote}"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    number = ord(character)
    return ESCAPES.get(character) or (f"\\x{number:02X}" if number < 256 else f"\\u{number:04X}")


def _styled(text: str, style: tuple[int, int]) -> str:
    return f"\x1b[{style[0]}m{text}\x1b[{style[1]}m"
