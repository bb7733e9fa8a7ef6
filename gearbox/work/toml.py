"""TOML texts whose faults and keys have their lines, which tomlkit tells for syntax errors alone; pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import attrs
import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError

__all__ = ["Source", "load"]


@attrs.frozen
class Source:
    """One file's text, which knows where its keys stand."""

    path: str
    text: str

    def where(self, *keys: str) -> str:
        """File, line and name of a key; of an inline table's key, the table's line."""
        lines = _lines_of(self.text)
        known = next(keys[:end] for end in range(len(keys), -1, -1) if keys[:end] in lines)  # () is always there
        return f"{self.path} line {lines[known]}, {'.'.join(keys)}"


def load(text: str) -> dict[str, Any]:
    """The document. Raises ValueError, with the line, if the text is none."""
    try:
        return dict(tomlkit.parse(text).unwrap())
    except TOMLKitError as problem:
        raise ValueError(_fault(text, problem)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _fault(text: str, problem: TOMLKitError) -> str:
    """What makes the text no TOML, with its line, which tomlkit does not tell of a key that is there twice."""
    if isinstance(problem, ParseError):
        return str(problem).replace(repr("\0"), "the end of the file")
    lines = text.split("\n")
    for end in range(1, len(lines) + 1):
        try:
            tomlkit.parse("\n".join(lines[:end]))
        except ParseError:
            continue  # in the midst of a value of several lines
        except TOMLKitError:
            return f"{problem} (at line {end})"
    return str(problem)


@lru_cache(maxsize=8)
def _lines_of(text: str) -> Mapping[tuple[str, ...], int]:
    """The line at which each key of a text that is TOML begins, which tomlkit does not keep.

    A TOML document is a row of statements, each of which can be read by itself: a header or `key = value`, which ends
    at the end of a line. (Reading ever longer beginnings of the whole document took minutes for hundreds of methods.)
    """
    found: dict[tuple[str, ...], int] = {(): 1}
    table: tuple[str, ...] = ()
    statement, begin = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        statement, begin = (f"{statement}\n{line}", begin) if statement else (line, number)
        try:
            value: Any = tomlkit.parse(statement).unwrap()
        except TOMLKitError:
            continue  # in the midst of a value of several lines
        is_header = statement.lstrip().startswith("[")
        path = () if is_header else table
        while isinstance(value, dict) and value:
            key, value = next(iter(value.items()))
            path = (*path, key)
            found.setdefault(path, begin)
        table = path if is_header else table
        statement = ""
    return found
