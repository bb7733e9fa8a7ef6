"""The two outputs of g-client: results, and all that is said around them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import attrs
import trio

from gearbox.cli.debug import printable
from gearbox.cli.output import Mode, inspect, render
from gearbox.cli.wanted import Complaint, Wanted
from gearbox.errors import RpcError

__all__ = ["Terminal", "is_terminal"]


def is_terminal(stream: Any) -> bool:
    """Whether somebody watches it who can see more than plain lines."""
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def _is_coloured(stream: Any) -> bool:
    return is_terminal(stream) and "NO_COLOR" not in os.environ


@attrs.frozen
class Terminal:
    """Results go to standard output, all else to standard error. Nothing of the first is lost by -q."""

    wanted: Wanted
    started_at: float

    def say(self, line: str) -> None:
        """What goes on; not with -q."""
        if not self.wanted.is_quiet:
            self.tell(line)

    def tell(self, line: str, end: str = "\n") -> None:
        """What must be known."""
        print(printable(line), end=end, file=sys.stderr, flush=True)

    def took(self) -> None:
        self.say(f"=== Took {round(1000 * (trio.current_time() - self.started_at))}ms")

    def show(self, value: Any, people: Callable[[Any], str] | None = None) -> None:
        """A result; `people` makes the text that is printed unless a form was asked for."""
        if people is not None and self.wanted.mode is Mode.INSPECT:
            text = people(value)
        else:
            text = render(value, self.wanted.mode, is_coloured=_is_coloured(sys.stdout))
        print(text, end="", flush=True)

    async def agrees(self, question: str) -> bool:
        """Whether whoever types says yes. Raises Complaint where nobody types."""
        if not sys.stdin.isatty():
            raise Complaint("nobody can be asked here, so nothing was done; --yes does it without asking")
        self.tell(question, end="")
        answer = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        return answer.strip().lower() in ("y", "yes")

    def show_arguments(self) -> None:
        if not self.wanted.is_quiet:
            text = inspect(self.wanted.arguments, is_coloured=_is_coloured(sys.stderr))
            print(f"==> Arguments: {text}", file=sys.stderr, flush=True)

    def show_error(self, error: RpcError) -> None:
        self.say("<== Received an error")
        self.tell(f"code: {error.code}")
        self.tell(f"message: {error.message}")
        if error.data is not None:
            print(f"data: {inspect(error.data, is_coloured=_is_coloured(sys.stderr))}", file=sys.stderr, flush=True)
