"""The least of a plan that still breaks the same promise: delta debugging over its steps, then a plainer world."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from tests.simulation.plan import Plan, Step
from tests.simulation.world import simulate

__all__ = ["least", "minimise"]


def minimise(plan: Plan, fails: Callable[[Plan], bool] | None = None) -> Plan:
    """A plan with as few steps as can be found. What it breaks is what the whole plan broke, by name."""
    if fails is None:
        names = kinds(plan)
        assert names, "this plan breaks nothing"

        def fails(smaller: Plan) -> bool:
            return bool(kinds(smaller) & names)

    plan = attrs.evolve(plan, steps=tuple(least(plan.steps, lambda steps: fails(attrs.evolve(plan, steps=steps)))))
    for change in _plainer(plan):
        plainer = attrs.evolve(plan, **change)
        if fails(plainer):
            plan = plainer
    return plan


def _plainer(plan: Plan) -> Iterator[dict[str, Any]]:
    """What may be left out of the world around the steps; all that they name stays there."""
    named = {name for step in plan.steps for name in (step.args.get("node"), *step.args.get("ends", ()))}
    cores = max([n for n in range(1, plan.cores + 1) if f"core{n}" in named], default=1)
    yield {"quiet": 0.0}
    yield {"cores": cores}
    if cores == 1 and "broker" not in named:
        yield {"cores": 1, "is_embedded": True}
    last_at = max((step.at for step in plan.steps), default=0.0)
    yield from ({"until": last_at + more} for more in (10.0, 1.0) if last_at + more < plan.until)


def kinds(plan: Plan) -> set[str]:
    """The names of the promises that a plan breaks."""
    return {violation.partition(":")[0] for violation in simulate(plan).violations}


def least(steps: Sequence[Step], fails: Callable[[tuple[Step, ...]], bool]) -> Sequence[Step]:
    """Zeller's ddmin: leave out ever smaller parts, as long as it still fails.

    >>> least([1, 2, 3, 4, 5, 6, 7, 8], lambda steps: 3 in steps and 7 in steps)
    (3, 7)
    """
    steps = tuple(steps)
    parts = 2
    while len(steps) >= 2:
        size = max(1, len(steps) // parts)
        for begin in range(0, len(steps), size):
            rest = steps[:begin] + steps[begin + size :]
            if fails(rest):
                steps, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(steps))
    return steps
