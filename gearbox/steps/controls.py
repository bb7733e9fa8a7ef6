"""What operators set for methods, and who may go on because of it."""

from __future__ import annotations

from typing import Any

import attrs

from gearbox import rules
from gearbox.errors import Code, RpcError
from gearbox.job import Action, Control, Recheck, Release
from gearbox.steps.life import DUE_LIMIT
from gearbox.store import Moment, Result, Tx

__all__ = ["control", "methods", "release"]


def control(method: str, changes: dict[str, Any], tx: Tx, moment: Moment, who: str | None = None) -> Result:
    """Pause or resume a method, or limit it. The value is its `Control`."""
    if method in rules.ALWAYS_AVAILABLE:
        raise RpcError(Code.BAD_REQUEST, f"{method} is always available")
    changed = attrs.evolve(tx.control(method) or Control(), **changes)
    tx.set_control(method, changed, moment.now, who or moment.owner)
    return Result(changed, [] if changed.is_paused else [Release(method)])


def release(method: str, above: tuple[int, int], tx: Tx, moment: Moment) -> Result:
    """Look at the jobs that were held back, by priority and then id: as many as there are places."""
    control = tx.control(method) or Control()
    if control.is_paused:
        return Result()
    if control.concurrency is not None:
        free = control.concurrency - tx.active(method)
        limit = min(free, DUE_LIMIT)
    else:
        limit = DUE_LIMIT
    held = tx.held(method, limit, above) if limit > 0 else []
    actions: list[Action] = [Recheck(tuple(id for _, id in held))] if held else []
    if control.concurrency is None and len(held) == DUE_LIMIT:
        actions.append(Release(method, held[-1]))
    return Result(actions=actions)


def methods(tx: Tx, moment: Moment) -> Result:
    """(counts by method and status, controls, workers)."""
    return Result((tx.counts(), tx.controls(), moment.workers))
