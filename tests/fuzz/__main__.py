"""Fuzz targets from the command line. The text below is manual and parser at once."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

from docopt import docopt

# Tests are imported by path, not as a package, so what they share must be found like this.
TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / folder) for folder in ("fuzz", "broker", "gearbox", "gearbox/store", "e2e", "servers")]

from fuzz_campaign import Broken, run  # noqa: E402
from targets import TARGETS  # noqa: E402

MANUAL = """Give targets inputs that nobody would send (`fuzz` is `python -m tests.fuzz`).

Usage:
  fuzz [--target=NAME]... [--cases=N] [--seed=N]
  fuzz --list

Options:
  --target=NAME  one of them, or several times this [default: all]
  --cases=N      how many for each; without it, what is enough for a quick look
  --seed=N       where they come from [default: 1]
  --list         name the targets

Exit codes: 0 all stood, 1 one did not.
"""


def main() -> int:
    flags = docopt(MANUAL)
    if flags["--list"]:
        print("\n".join(TARGETS))
        return 0
    began = time.monotonic()
    names = list(TARGETS) if flags["--target"] == ["all"] else flags["--target"]
    for name in names:
        target = TARGETS[name]()
        try:
            run(target, int(flags["--seed"]), int(flags["--cases"] or target.cases), partial(print, flush=True))
        except Broken as broken:
            traceback.print_exception(broken.__cause__)
            path = Path(tempfile.mkdtemp()) / f"{name}.txt"
            path.write_text(f"{broken.case!r}\n")
            print(f"{broken}\nThe smallest case that shows it is in {path}")
            return 1
        finally:
            target.close()
    print(f"{len(names)} targets stood it, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
