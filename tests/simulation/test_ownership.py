"""What keeps attempts apart, one part after the other, until nothing can go wrong any more."""

from __future__ import annotations

import pytest

from tests.simulation.ownership import Design, explore

# unique, fence, gate, lease: what can happen. An overlap "if cut off" needs a worker that lost its connection.
TABLE = [
    (Design(True, False, False, False), "always", True, True),
    (Design(True, True, False, False), "always", False, True),
    (Design(False, True, False, False), "if cut off", False, True),
    (Design(True, True, True, False), "if cut off", False, False),
    (Design(True, True, True, True), "never", False, False),
]


@pytest.mark.parametrize(("design", "overlap", "stale", "late_run"), TABLE)
def test_what_can_happen(design: Design, overlap: str, stale: bool, late_run: bool) -> None:
    found = explore(design)
    whole = explore(Design(design.unique_per_attempt, design.fence, design.gate, design.lease, cuts=0))
    expected = {"always": (True, True), "if cut off": (True, False), "never": (False, False)}
    assert (found.overlap is not None, whole.overlap is not None) == expected[overlap], (found, whole)
    assert (found.stale is not None) == stale, found
    assert (found.late_run is not None) == late_run, found
    assert found.dead_end is None, found
    assert found.states > 1000  # the model has not become trivial


def test_without_a_gate_a_core_that_pauses_before_it_submits_is_enough_for_two_executions() -> None:
    found = explore(Design(unique_per_attempt=True, fence=True, gate=False, lease=False, cuts=0))
    assert found.overlap is not None
    assert "give up 1" in found.overlap
    assert found.overlap[-2:] == ("run 1", "run 2")
