"""A soak from the command line. The text below is manual and parser at once."""

from __future__ import annotations

import sys
from pathlib import Path

import trio
from docopt import docopt

# Tests are imported by path, not as a package, so what they share must be found like this.
TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / folder) for folder in ("soak", "e2e")]

from soak import Limits, soak  # noqa: E402

MANUAL = """A core under a steady load, and what it holds (`soak` is `python -m tests.soak`).

Usage:
  soak [--minutes=N] [--rate=N] [--growth=MIB] [--stall=MS] [--chaos=S]

Options:
  --minutes=N   how long [default: 10]
  --rate=N      pieces of work a second, of about 1.6 jobs each [default: 125]
  --growth=MIB  how much memory may grow in an hour, in MiB [default: 60]
  --chaos=S     seconds between what happens to workers: one is killed and started again, or stopped [default: inf]
  --stall=MS    how long 999 of 1,000 echoes may take, in milliseconds [default: 50]

Exit codes: 0 nothing was too much, 1 something was.
"""


def main() -> int:
    flags = docopt(MANUAL)
    limits = Limits(float(flags["--growth"]), float(flags["--stall"]))
    outcome = trio.run(soak, float(flags["--minutes"]), float(flags["--rate"]), limits, float(flags["--chaos"]))
    print(outcome)
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
