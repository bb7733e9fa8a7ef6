"""What the tests of the journal share."""

from __future__ import annotations

import sys
from pathlib import Path

# Tests are imported by path, not as a package, so what they share must be found like this.
sys.path.insert(0, str(Path(__file__).parent))
