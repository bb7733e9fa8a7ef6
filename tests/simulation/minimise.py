"""The least of a plan that still breaks the same promise, by delta debugging over its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

    return attrs.evolve(plan, steps=tuple(least(plan.steps, lambda steps: fails(attrs.evolve(plan, steps=steps)))))


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
