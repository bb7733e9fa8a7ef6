"""Faults around whole processes: where their stages, and those of others that they use, are found."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

# Tests are imported by path, not as a package, so what they share must be found like this.
TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / folder) for folder in ("faults", "e2e", "gearbox/store", "gearbox", "journal")]

from disk_stage import compile_disk  # noqa: E402


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a disk fail."""
    if shutil.which("cc") is None:
        if os.environ.get("CI"):
            pytest.fail("cc is missing (Debian: gcc)")
        pytest.skip("cc is missing (Debian: gcc)")
    return compile_disk(tmp_path_factory.mktemp("disk"))
