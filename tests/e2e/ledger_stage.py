"""Ledgers outside the system under test: what a client was promised, and what workers did.

The client's is written through to the disk before the next call. The workers' are lines that the jobs' commands append,
each whole; a lock that the kernel holds for each job, as long as its command lives, shows two executions at once
whatever becomes of the processes around them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Acknowledged", "Runs", "command"]

# $1 is the job's name, $2 how long it takes in seconds. The sleeper must not hold the lock when its shell is killed.
SCRIPT = """\
exec 9>>"{locks}/$1"
flock -n 9 || echo "overlap $GEARBOX_JOB_ID $GEARBOX_ATTEMPT $1" >>"{lines}"
echo "start $GEARBOX_JOB_ID $GEARBOX_ATTEMPT $1" >>"{lines}"
sleep "$2" 9>&-
echo "end $GEARBOX_JOB_ID $GEARBOX_ATTEMPT $1" >>"{lines}"
echo "$1"
"""


class Acknowledged:
    """The client's ledger: ids that were returned, with what they stand for."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 -- held as long as the ledger
        self.jobs: dict[int, Any] = {}

    def note(self, id: int, value: Any) -> None:
        """The id was returned for a job: from now on it may not be lost."""
        assert id not in self.jobs, f"job {id} was acknowledged twice"
        self.jobs[id] = value
        self._file.write(json.dumps([id, value]) + "\n")
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


@attrs.frozen
class Runs:
    """What the workers' ledger says, by the job's name."""

    started: Counter[str]
    ended: Counter[str]
    overlapped: Counter[str]

    @classmethod
    def read(cls, folder: Path) -> Runs:
        lines = (folder / "lines").read_text().splitlines()
        words = [line.split(" ", 3) for line in lines]
        return cls(*(Counter(word[3] for word in words if word[0] == what) for what in ("start", "end", "overlap")))

    def of(self, names: Iterable[str]) -> Runs:
        """The same, of these jobs alone."""
        wanted = set(names)
        each = (self.started, self.ended, self.overlapped)
        return Runs(*(Counter({name: n for name, n in counts.items() if name in wanted}) for counts in each))


def command(folder: Path) -> list[str]:
    """A worker's command (input: append) that keeps the ledger in `folder`: of jobs with a name and a duration."""
    locks = folder / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    (folder / "lines").touch()
    return ["bash", "-c", SCRIPT.format(locks=locks, lines=folder / "lines"), "job"]
