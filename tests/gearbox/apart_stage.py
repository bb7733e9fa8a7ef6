"""Another interpreter for Pythons that have but one: what crosses is made into bytes and back, and this one runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Here"]


class Here:
    """In the place of a `concurrent.interpreters.Interpreter`."""

    def __init__(self) -> None:
        self.is_closed = False

    def exec(self, code: str, /) -> None:
        compile(code, "<apart>", "exec")

    def call(self, callable: Callable[..., Any], /, *args: Any) -> Any:
        return callable(*args)

    def close(self) -> None:
        self.is_closed = True
