"""A short soak with wide limits: a leak of a descriptor or a task a job, or of a kilobyte, shows all the same.

Hours of it: `python -m tests.soak --minutes=240`.
"""

from __future__ import annotations

import doctest
import os

import probe
import trio
from soak import Limits, soak

MINUTES = float(os.environ.get("GEARBOX_TEST_SOAK_MINUTES", "0.75"))
RATE = 60.0  # pieces of work a second, which a busy machine can bear
LIMITS = Limits(mib_per_hour=1500, stall_ms=10_000)  # a loaded machine stalls by itself; a cache is still being filled


def test_a_core_under_load_stays_as_it_is() -> None:
    outcome = trio.run(soak, MINUTES, RATE, LIMITS)
    assert not outcome.faults, str(outcome)
    assert outcome.jobs > 500
    assert max(sample.descriptors for sample in outcome.samples) < 100


def test_the_examples_of_the_probe() -> None:
    failed, tried = doctest.testmod(probe)
    assert tried
    assert not failed
