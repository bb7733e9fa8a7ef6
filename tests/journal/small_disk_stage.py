"""A small disk of its own (tmpfs) that a test can fill, mounted where this user may: in a namespace of a process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PAGE = 4096


class SmallDisk:
    """Seen from outside at `outside`; programs started with `within` see it at `inside`."""

    def __init__(self, holder: int, inside: Path) -> None:
        self.inside = inside
        self.outside = Path(f"/proc/{holder}/root{inside}")
        self.within = ["nsenter", f"--target={holder}", "--user", "--mount", "--preserve-credentials"]
        self._filler = self.outside / "filler"

    def fill(self, free_pages: int) -> None:
        """Leave only so many pages."""
        with open(self._filler, "ab", buffering=0) as filler:
            with suppress(OSError):
                while True:
                    filler.write(bytes(16 * PAGE))
            with suppress(OSError):
                while True:
                    filler.write(bytes(PAGE))
            size = os.fstat(filler.fileno()).st_size // PAGE * PAGE
            filler.truncate(max(0, size - free_pages * PAGE))

    def free(self) -> None:
        """Leave all of it."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """A disk of a size such as `4m`, for the time of a block."""
    script = f"mount -t tmpfs -o size={size} tmpfs {folder} && echo mounted && exec sleep 3600"
    holder = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        if holder.stdout.readline() != "mounted\n":
            message = f"nothing can be mounted here: {holder.stderr.read().strip()}"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        yield SmallDisk(holder.pid, folder)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
        holder.stderr.close()
