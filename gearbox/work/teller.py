"""Whom a worker tells what it does: the person who started a tool (`cli.console`), or the log of a program."""

from __future__ import annotations

import logging
from typing import Protocol

__all__ = ["LogTeller", "Teller"]


class Teller(Protocol):
    """Each call is one line for people."""

    def say(self, line: str) -> None:
        """Progress."""

    def complain(self, line: str) -> None:
        """A fault that somebody can mend."""

    def announce(self, line: str) -> None:
        """Something that everybody wants to know."""


class LogTeller:
    """Tells the logger `gearbox.worker`."""

    def __init__(self) -> None:
        self._log = logging.getLogger("gearbox.worker")

    def say(self, line: str) -> None:
        self._log.debug("%s", line)

    def complain(self, line: str) -> None:
        self._log.warning("%s", line)

    def announce(self, line: str) -> None:
        self._log.info("%s", line)
