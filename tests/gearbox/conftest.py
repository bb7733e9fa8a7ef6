"""The stage on which the core is tested."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from gearbox import core as core_module

# Tests are imported by path, not as a package, so what they share must be found like this.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def store_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that commits is the one thing that a jumping clock cannot wait for, so the store runs in the loop."""

    async def run_sync(function: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(core_module.trio.to_thread, "run_sync", run_sync)
