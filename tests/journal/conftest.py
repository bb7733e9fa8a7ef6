"""What the tests of the journal share."""

from __future__ import annotations

import sys
from pathlib import Path

import hypothesis  # noqa: F401 (which looks at all objects, and must do so before a writer freezes them)

# Tests are imported by path, not as a package, so what they share must be found like this.
sys.path.insert(0, str(Path(__file__).parent))
