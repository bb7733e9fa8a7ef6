"""The stage on which the broker is tested."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Tests are imported by path, not as a package, so what they share must be found like this.
sys.path.insert(0, str(Path(__file__).parent))

from broker_stage import Stage


@pytest.fixture
def stage() -> Stage:
    """A broker with gearmand's defaults."""
    return Stage()


@pytest.fixture
def make_stage() -> type[Stage]:
    """A broker with options."""
    return Stage
