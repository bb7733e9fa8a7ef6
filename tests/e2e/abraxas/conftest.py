"""Servers for the tests of client, worker and administrator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

# Tests are imported by path, not as a package, so what they share must be found like this.
sys.path.insert(0, str(Path(__file__).parent))

from gearman_servers import open_server

Open = Callable[[], AbstractAsyncContextManager[str]]


@pytest.fixture(params=["abraxas", pytest.param("gearmand", marks=pytest.mark.gearmand)])
def server(request: pytest.FixtureRequest, program: Callable[[str, str], str]) -> Open:
    """A server of ours, and gearmand: the test runs on each."""
    path = program("gearmand", "gearman-job-server") if request.param == "gearmand" else None
    return lambda: open_server(path)


@pytest.fixture
def ours() -> Open:
    """A server of ours, for what only ours has."""
    return lambda: open_server(None)
