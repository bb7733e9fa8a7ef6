"""A job's arguments as they are typed on a command line; pure.

| typed                    | sent                    |
|--------------------------|-------------------------|
| (nothing)                | `[]`                    |
| `a b c`                  | `["a", "b", "c"]`       |
| `1 2 3`                  | `["1", "2", "3"]`       |
| `a=b c=d`                | `{"a": "b", "c": "d"}`  |
| `a=b c`                  | `{"a": "b", "c": null}` |
| `a=`                     | `{"a": null}`           |
| `'{"a":1}'`, `'[1]'`     | the text itself         |
| `-J 1 2 3`               | `[1, 2, 3]`             |
| `-J a=true c`            | `{"a": true, "c": null}`|
| `-J` and one JSON value  | that value              |

The seed gives the forms; that `a=` is null is the original's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gearbox import rpc

__all__ = ["BadArguments", "method_name", "parse_arguments"]


class BadArguments(ValueError):
    """What was typed is not in any of the forms. The text says which word and why."""


def method_name(typed: str) -> str:
    r"""The method meant: slashes may stand for backslashes.

    >>> print(method_name("a/b/c::x"))
    a\b\c::x
    """
    return typed.replace("/", "\\")


def parse_arguments(words: Sequence[str], *, is_json: bool = False) -> Any:
    """The value that the words stand for. Raises BadArguments.

    >>> parse_arguments(["a=b", "c"])
    {'a': 'b', 'c': None}
    >>> parse_arguments(["a=true", "c"], is_json=True)
    {'a': True, 'c': None}
    """
    for number, word in enumerate(words, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise BadArguments(f"argument {number} is not UTF-8: {word!a}") from None
    return _parse_json(words) if is_json else _parse_text(words)


def _parse_text(words: Sequence[str]) -> Any:
    if len(words) == 1 and _is_json_collection(words[0]):
        return words[0]
    if any(_is_pair(word) for word in words):
        return _object(words, lambda value: value)
    return list(words)


def _parse_json(words: Sequence[str]) -> Any:
    values = []
    for word in words:
        try:
            values.append(rpc.load(word))
        except ValueError as problem:
            if any(_is_pair(word) for word in words):
                return _object(words, _json_value)
            raise BadArguments(f"not JSON: {word} ({problem})") from None
    return values[0] if len(values) == 1 else values


def _is_pair(word: str) -> bool:
    """`key=value`. JSON that holds a `=` somewhere is not: a key never begins as JSON's collections and strings do."""
    return word.find("=") > 0 and word[0] not in '{["'


def _is_json_collection(word: str) -> bool:
    try:
        return word[:1] in ("{", "[") and isinstance(rpc.load(word), dict | list)
    except ValueError:
        return False


def _json_value(text: str) -> Any:
    try:
        return rpc.load(text)
    except ValueError as problem:
        raise BadArguments(f"not JSON: {text} ({problem}); text needs quotes of its own: '\"{text}\"'") from None


def _object(words: Sequence[str], read: Any) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=") if _is_pair(word) else (word, "", "")
        if key in pairs:
            raise BadArguments(f"argument {key} is given twice")
        pairs[key] = read(value) if value else None
    return pairs
