"""Where the soak, and the processes that it needs, are found."""

from __future__ import annotations

import sys
from pathlib import Path

# Tests are imported by path, not as a package, so what they share must be found like this.
TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / folder) for folder in ("soak", "e2e")]
