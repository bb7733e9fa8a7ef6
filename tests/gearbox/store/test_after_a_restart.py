"""What a kill -9 campaign found: workers need time to come back, and an answer that is lost must be asked for again."""

from __future__ import annotations

from functools import partial
from typing import Any

from gearbox.job import NewJob, Reported, Status
from gearbox.steps import life, orphans
from gearbox.store import Moment, Result, Store

NOW = 1_800_000_000.0


def run(store: Store, step: Any, now: float, workers: dict[str, int], since: float = 0.0) -> Any:
    (outcome,) = store.run_batch([step], Moment(now, "core", since=since, workers=workers)).outcomes
    assert isinstance(outcome, Result), outcome
    return outcome.value


def queue(store: Store, now: float, workers: dict[str, int], since: float = 0.0) -> Status:
    id = run(store, partial(life.queue, NewJob("a::b")), now, workers, since)
    job = run(store, lambda tx, moment: Result(tx.job(id)), now, workers, since)
    return Status(job.status)


def test_a_new_job_of_a_method_that_has_run_before_waits_for_its_workers(store: Store) -> None:
    restart = NOW + 100
    assert queue(store, restart + 1, {}, since=restart) is Status.ERRORED  # nobody ever offered it
    assert queue(store, NOW, {"a::b": 1}) is Status.RUNNING
    run(store, partial(life.report, 2, 1, Reported(Status.COMPLETE)), NOW, {})
    assert queue(store, restart + 1, {}, since=restart) is Status.READY
    assert queue(store, restart + life.RETURN_GRACE, {}, since=restart) is Status.ERRORED


def test_a_worker_whose_leave_was_lost_on_the_way_may_ask_again(store: Store) -> None:
    assert queue(store, NOW, {"a::b": 1}) is Status.RUNNING
    for worker, leave in [("w1", True), ("w2", False), ("w1", True), ("", False)]:
        assert run(store, partial(life.job_start, 1, 1, worker), NOW, {}) is leave
    run(store, partial(orphans.recover, 60.0, 0), NOW + 1, {})
    assert run(store, partial(life.job_start, 1, 1, "w1"), NOW + 2, {}) is True
    run(store, partial(life.report, 1, 1, Reported(Status.COMPLETE)), NOW + 3, {})
    assert run(store, partial(life.job_start, 1, 1, "w1"), NOW + 4, {}) is False
