"""The pytest fixture `abraxas_stage`; enable it with `pytest_plugins = ["abraxas_py.pytest_plugin"]` in a conftest.py.

def test_my_handler(abraxas_stage):
    async def main(stage):
        stage.worker.add("upper", my_handler)
        assert await stage.client.submit("upper", b"abc") == b"ABC"

    abraxas_stage(main)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from abraxas_py import testing

__all__ = ["abraxas_stage"]


@pytest.fixture
def abraxas_stage() -> Callable[[Callable[[testing.Stage], Awaitable[Any]]], Any]:
    """`abraxas_py.testing.run`: a Gearman server, a client and a worker in memory, on a clock that jumps."""
    return testing.run
