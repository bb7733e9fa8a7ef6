"""The simulation is a package, since it is a program as well: `python -m tests.simulation`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent.parent))
