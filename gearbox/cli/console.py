"""What a worker tells the person who started it: progress on standard output, faults on standard error.

Nobody need be reading: a closed terminal or pipe silences the worker and never ends it.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import attrs

from gearbox.cli.debug import printable

__all__ = ["Console"]


@attrs.frozen
class Console:
    """`is_quiet` drops the progress, not the faults. Each call writes one line."""

    is_quiet: bool = False

    def say(self, line: str) -> None:
        """Progress."""
        if not self.is_quiet:
            with suppress(OSError, ValueError):  # closed by the other side, or by us
                print(printable(line), flush=True)

    def complain(self, line: str) -> None:
        """A fault that the operator can mend."""
        with suppress(OSError, ValueError):
            print(f"??? {printable(line)}", file=sys.stderr, flush=True)

    def announce(self, line: str) -> None:
        """Something that an operator wants to know also when quiet was asked for, on standard error."""
        with suppress(OSError, ValueError):
            print(f"=== {printable(line)}", file=sys.stderr, flush=True)
