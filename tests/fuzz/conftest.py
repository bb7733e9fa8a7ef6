"""Where the fuzz targets, and the stages that they play on, are found."""

from __future__ import annotations

import sys
from pathlib import Path

# Tests are imported by path, not as a package, so what they share must be found like this.
TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / folder) for folder in ("fuzz", "broker", "gearbox", "gearbox/store", "e2e", "servers")]
