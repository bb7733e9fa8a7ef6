"""`python -m bench NAME [NUMBER...]`: run one of the measurements of this folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"usage: python -m bench {{{'|'.join(NAMES)}}} [NUMBER...]")
    importlib.import_module(f"bench.{sys.argv[1]}").main(*map(int, sys.argv[2:]))


main()
