"""S5: whatever becomes of a worker that had leave, nobody else gets leave for the job before it has surely stopped.

The worker here is cut off at once after it got leave: it hears nothing any more, and runs on as long as its lease
(`gearbox.work.lease`) bears silence. The store is driven second by second, as the core's timers would.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gearbox.job import NewJob, NoWorker, Recheck, Reported, Status
from gearbox.steps import life, operators, orphans
from gearbox.store import Moment, Result, Step, Store
from gearbox.work.lease import PATIENCE

NOW = 1_800_000_000.0

LOSSES: dict[str, Callable[[int], Step]] = {
    "its connection is lost": lambda id: partial(orphans.vanish, id, 1, 15.0),
    "no worker is left": lambda id: partial(life.settle, id, 1, NoWorker()),
    "the core is restarted": lambda id: partial(orphans.recover, 60.0, 0),
    "it runs too long": lambda id: life.due,  # by its timeout of 4 s
}


def run(store: Store, step: Step, now: float) -> Any:
    """A step, and the looks that follow from it."""
    batch = store.run_batch([step], Moment(now, "core", since=0.0, workers={"a::b": 1}))
    (outcome,) = batch.outcomes
    assert isinstance(outcome, Result), outcome
    for action in (*outcome.actions, *batch.actions):
        if isinstance(action, Recheck):
            for id in action.ids:
                run(store, partial(life.look, id), now)
    return outcome.value


@pytest.mark.parametrize("lost", LOSSES)
@pytest.mark.parametrize("lost_after", [0, 9, 30])
@pytest.mark.parametrize("is_hurried", [False, True], ids=["", "hurried"])
def test_no_second_execution_while_the_first_may_go_on(
    store: Store, lost: str, lost_after: int, is_hurried: bool
) -> None:
    timeout = 4.0 if lost == "it runs too long" else None
    retry_delay = 3600 if is_hurried else 0  # operators who wait for no such pause ask for the next try every second
    id = run(store, partial(life.queue, NewJob("a::b", max_retries=1, retry_delay=retry_delay, timeout=timeout)), NOW)
    assert run(store, partial(life.job_start, id, 1, "cut off"), NOW)
    # a worker that is heard of has leave until then, and one of a running timeout is not heard of before its end
    last_leave = NOW if timeout else NOW + lost_after
    for second in range(200):
        now = NOW + second
        if now == NOW + max(lost_after, timeout or 0):
            run(store, LOSSES[lost](id), now)
        run(store, life.due, now)
        if is_hurried:
            run(store, partial(operators.hurry, id, None), now)
        if run(store, partial(life.job_start, id, 2, "another"), now):
            break
    else:
        raise AssertionError("never tried again")
    assert now >= last_leave + PATIENCE
    run(store, partial(life.report, id, 1, Reported(Status.COMPLETE, '"late"')), now)
    run(store, partial(life.report, id, 2, Reported(Status.COMPLETE, '"right"')), now)
    job = run(store, lambda tx, moment: Result(tx.job(id)), now)
    assert job.result_data == '"right"'
