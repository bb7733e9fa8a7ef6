"""Whether a path still leads to the file that was opened by it.

A program that holds a file open goes on writing to it when somebody removes it or puts another in its place, and all
that it wrote since is gone with its end. SQLite does not look, in the mode that is used here.
"""

from __future__ import annotations

import os

__all__ = ["GONE", "Inode"]

GONE = "was removed or replaced while it was in use: put it back, or start again without it"


class Inode:
    """The file to which `path` leads now. Something that is no file (":memory:") is always in its place."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._found = self._look()

    def is_in_place(self) -> bool:
        """One question to the system, of about a microsecond; True where it cannot be answered."""
        if self._found is None:
            return True
        try:
            return self._look() == self._found
        except OSError:
            return True

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino
