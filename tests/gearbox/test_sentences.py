"""The sentences of `why` in the cases that rows rarely come to; those that stores make are in `store/test_why.py`."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gearbox.job import Attempt, Control, Facts, Job, Priority, Reason, Status, Waiting
from gearbox.rules.why import Surroundings, sentence

AT = 1_800_000_000.0
INSTANT = "2027-01-15T08:00:00.000Z"
READY = Job(7, "a::b", None, Priority.NORMAL, AT, AT, Status.READY, "d", has_dedupe=False)
ATTEMPT = Attempt(7, 2, "core", AT, AT)


def held_by(reason: Reason, around: Surroundings | None = None, **facts: Any) -> str:
    return sentence(Facts(READY, **facts), Waiting((reason,)), around or Surroundings())


def told(status: Status, around: Surroundings | None = None, **fields: Any) -> str:
    job = attrs.evolve(READY, status=status, epoch=2, **fields)
    return sentence(Facts(job), Waiting((Reason.STARTED,)), around or Surroundings(attempt=ATTEMPT))


@pytest.mark.parametrize(
    ("unfinished", "words"),
    [((1,), "1 has"), ((1, 2), "1, 2 have"), ((1, 2, 3), "1, 2, 3 have"), ((1, 2, 3, 4), "1, 2, 3 and others have")],
)
def test_three_members_of_a_pool_are_named(unfinished: tuple[int, ...], words: str) -> None:
    around = Surroundings(unfinished=unfinished)
    said = held_by(Reason.POOL, around)
    assert said == f"job 7 is ready: it waits for its pool (before_id): {words} not ended"


def test_who_is_at_a_limit_hears_how_many_come_first() -> None:
    full = {"control": Control(concurrency=2), "active": 2}
    assert held_by(Reason.LIMIT, **full) == "job 7 is ready: its method a::b has 2 active jobs of 2"
    assert held_by(Reason.LIMIT, **full, ahead=3).endswith("has 2 active jobs of 2, with 3 before it")


def test_what_nobody_knows_is_not_told() -> None:
    assert told(Status.RUNNING) == f"job 7 is running: attempt 2 was started at {INSTANT}"
    assert told(Status.ALMOST_DONE) == "job 7 has ended on its worker, whose data is awaited"
    assert told(Status.MISSING) == "job 7 is missing: nobody knows whether attempt 2 runs; it is given up"
    assert told(Status.COMPLETE) == "job 7 was completed"
    assert told(Status.INVALID) == "job 7 became invalid: the job is invalid (-28000)"


def test_a_duplicate_of_a_duplicate_names_both() -> None:
    original = attrs.evolve(READY, id=3, status=Status.ALMOST_DONE)
    around = Surroundings(parent=original)
    assert told(Status.DUPLICATE, around, see_other=3) == "job 7 is a duplicate of job 3, which is almost-done"
    said = told(Status.DUPLICATE, around, see_other=5)
    assert said == "job 7 is a duplicate of job 5, at last of 3, which is almost-done"


def test_what_has_started_is_told_by_its_status_alone() -> None:
    with pytest.raises(AssertionError, match="told by its status"):
        held_by(Reason.STARTED)
