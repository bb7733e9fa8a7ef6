"""Every fuzz target stands its corpus and a few new cases; a campaign is `python -m tests.fuzz --cases=1000000`."""

from __future__ import annotations

import doctest
import os
from random import Random

import fuzz_campaign
import pytest
from both_servers import gearmand_path
from fuzz_campaign import Broken, Case
from targets import TARGETS

SEED = int(os.environ.get("GEARBOX_TEST_SEED", "1"))


NEEDS = {"gearmand": pytest.mark.gearmand, "store-mariadb": pytest.mark.mariadb}


@pytest.mark.parametrize("name", [pytest.param(name, marks=NEEDS.get(name, ())) for name in TARGETS])
def test_it_stands_what_nobody_would_send(name: str) -> None:
    if name == "gearmand" and gearmand_path() is None and not os.environ.get("CI"):
        pytest.skip("gearmand is missing (Debian: gearman-job-server)")
    try:
        target = TARGETS[name]()
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    try:
        fuzz_campaign.run(target, SEED, target.cases)
    finally:
        target.close()


class Fragile:
    """A target that does not stand a 7."""

    name = "fragile"
    cases = 100

    def make(self, chance: Random) -> Case:
        return [chance.randrange(10) for _ in range(20)]

    def check(self, case: Case) -> None:
        if 7 in case:
            raise ValueError("7")

    def close(self) -> None:
        pass


def test_a_case_that_breaks_something_is_told_in_its_smallest_form() -> None:
    with pytest.raises(Broken) as caught:
        fuzz_campaign.run(Fragile(), SEED, 100)
    assert caught.value.case == [7]


def test_the_example_of_the_campaign() -> None:
    assert doctest.testmod(fuzz_campaign).failed == 0
