"""Crowds from the command line. The text below is manual and parser at once."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import trio
from docopt import docopt

# Tests are imported by path, not as a package, so what they share must be found like this.
TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / folder) for folder in ("crowds", "soak", "e2e")]
sys.path.append(str(TESTS.parent))

from crowds import callers, due, idle, reader, watchers  # noqa: E402

MANUAL = """What a server takes when there is very much of one thing (`crowds` is `python -m tests.crowds`).

Usage:
  crowds watchers [--count=N]
  crowds idle [--count=N]
  crowds callers [--count=N] [--seconds=N]
  crowds reader [--mib=N]
  crowds due [--waiting=N] [--count=N]

Commands:
  watchers  so many jobs, each watched by a client that waits for its end
  idle      so many connections that say nothing
  callers   so many clients that queue jobs for a later date, each one after the other
  reader    a client that does not read the so many MiB of its result, beside others
  due       so many jobs that are due in one second, beside others that wait for a later date

Options:
  --count=N    10,000 jobs that are watched, 10,000 connections, 64 callers, 100,000 jobs that are due
  --seconds=N  of calls [default: 20]
  --mib=N      of the result [default: 200]
  --waiting=N  jobs that wait for a later date [default: 1000000]
"""


def main() -> int:
    flags = docopt(MANUAL)
    with tempfile.TemporaryDirectory() as folder:
        if flags["watchers"]:
            trio.run(watchers, Path(folder), int(flags["--count"] or 10_000))
        elif flags["idle"]:
            idle(Path(folder), int(flags["--count"] or 10_000))
        elif flags["callers"]:
            callers(Path(folder), int(flags["--count"] or 64), float(flags["--seconds"]))
        elif flags["reader"]:
            reader(Path(folder), int(flags["--mib"]))
        else:
            due(Path(folder), int(flags["--waiting"]), int(flags["--count"] or 100_000))
    return 0


if __name__ == "__main__":
    sys.exit(main())
