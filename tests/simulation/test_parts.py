"""The parts of the simulation that would hide faults if they were wrong themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.simulation.minimise import least, minimise
from tests.simulation.mutants.catalogue import CATALOGUE, Mutant
from tests.simulation.plan import FAULTS, Step, plan_of

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant.name)
def test_each_planted_fault_has_its_place(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new
    if mutant.file.endswith(".py"):  # what cannot be read is found by whoever reads it
        ast.parse((ROOT / mutant.file).read_text().replace(mutant.old, mutant.new))
    for name in mutant.tests.split():
        path, _, test = name.partition("::")
        assert f"def {test}" in (ROOT / path).read_text() if test else (ROOT / path).exists(), name


def test_the_least_that_fails_is_found() -> None:
    steps = tuple(Step(float(n), "queue", {"n": n}) for n in range(100))

    def fails(some: tuple[Step, ...]) -> bool:
        return {7, 42, 93} <= {step.args["n"] for step in some}

    assert [step.args["n"] for step in least(steps, fails)] == [7, 42, 93]


def test_a_plan_is_cut_down_to_what_its_violation_needs() -> None:
    plan = plan_of(3)
    wanted = plan.steps[5]
    assert minimise(plan, lambda smaller: wanted in smaller.steps).steps == (wanted,)


def test_a_seed_is_always_the_same_plan_and_another_seed_another_one() -> None:
    assert plan_of(5) == plan_of(5)
    assert plan_of(5) != plan_of(6)


def test_every_kind_of_fault_is_in_at_least_one_of_twenty_plans() -> None:
    plans = [plan_of(seed) for seed in range(1, 401)]
    for kind in FAULTS:
        assert sum(kind in plan.faults for plan in plans) >= 20, kind
