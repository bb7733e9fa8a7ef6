"""Taking over the table of the original Gearbox."""

from __future__ import annotations

from typing import Any

__all__ = ["adopt", "set_aside"]


def set_aside(cursor: Any, table: str) -> None:
    """Give an original's table of jobs another name, from which `adopt` copies its rows."""


def adopt(cursor: Any, table: str) -> None:
    """Copy the rows of the table that was set aside, if there is one."""
