"""What every test may use: asynchronous tests run on trio, each in a run of its own."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
import trio
import trio.testing


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def test_...`` with ``trio.run`` (with the test's `autojump_clock`, where it takes one)."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    clock = pyfuncitem.funcargs.get("autojump_clock")
    timeout = 60 if clock is None else 3600
    trio.run(functools.partial(bounded, pyfuncitem.obj, arguments, timeout), clock=clock)
    return True


async def bounded(test: Any, arguments: dict[str, Any], timeout: float) -> None:
    """No test of ours may hang: a minute of real time, or an hour of a clock that jumps, then it fails."""
    with trio.fail_after(timeout):
        await test(**arguments)


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """A clock that jumps to the next deadline whenever every task waits: nothing sleeps for real."""
    return trio.testing.MockClock(autojump_threshold=0)
