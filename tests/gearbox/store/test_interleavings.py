"""Two things at once, in every order in which one writer can take them. Numbers: the interleavings of the design."""

from __future__ import annotations

from functools import partial
from itertools import permutations
from typing import Any

import pytest
from store_stage import NOW, complete, fail, looked_at, moment, queue, read, run, status

from gearbox.errors import RpcError
from gearbox.job import TERMINAL, Ended, Event, Lapsed, NewJob, NoWorker, Outcome, Reported, Status, Unsent, Vanished
from gearbox.rules import attempts
from gearbox.steps import life, orphans, pruning
from gearbox.store import Result, Step, Store

DONE = Reported(Status.COMPLETE, '"done"')
FAILED = Reported(Status.ERRORED, '"no"')


def at_once(store: Store, *steps: Step) -> list[Any]:
    """Steps of one transaction, and all that follows from them."""
    batch = store.run_batch(list(steps), moment())
    for outcome in batch.outcomes:
        if isinstance(outcome, Result):
            looked_at(store, outcome)
    looked_at(store, Result(actions=batch.actions))
    return list(batch.outcomes)


def events(store: Store, id: int, to: Status) -> int:
    return sum(event.status is to and event.was is not to for event in read(store, lambda tx: tx.audit(id)))


def test_i2_an_attempt_whose_submit_was_cut_off_runs_once(store: Store) -> None:
    id = queue(store).value
    looked_at(store, run(store, partial(orphans.recover, 60.0, 0), NOW + 1), NOW + 1)
    job = read(store, lambda tx: tx.job(id))
    assert (job.status, job.epoch) == (Status.RUNNING, 2)
    assert run(store, partial(life.job_start, id, 1, "zombie")).value is False
    assert run(store, partial(life.job_start, id, 2, "worker")).value is True


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_i3_the_end_is_told_in_any_order_and_twice(store: Store, order: tuple[int, ...]) -> None:
    id = queue(store).value
    steps: list[Step] = [
        partial(life.report, id, 1, DONE),
        partial(life.report, id, None, DONE),
        partial(life.settle, id, 1, Ended()),
        partial(life.settle, id, 1, Vanished(was_started=True, grace=5)),
    ]
    for place in order:
        run(store, steps[place])
    assert status(store, id) is Status.COMPLETE
    assert events(store, id, Status.COMPLETE) == 1
    (attempt,) = read(store, lambda tx: tx.attempts(id))
    assert attempt.outcome is Outcome.COMPLETE


@pytest.mark.parametrize("is_first", [True, False])
def test_i4_a_result_of_the_first_attempt_does_not_complete_the_second(store: Store, is_first: bool) -> None:
    id = queue(store, max_retries=1).value
    fail(store, id)
    if not is_first:
        looked_at(store, run(store, partial(life.look, id), NOW + 2), NOW + 2)
    late = partial(life.report, id, 1, DONE)
    run(store, late)
    assert status(store, id) is (Status.WAITING if is_first else Status.RUNNING)
    assert read(store, lambda tx: tx.audit(id))[-1].why == "late result of attempt 1 refused: complete"


def test_i5_a_failure_and_then_a_lost_connection_use_up_one_retry(store: Store) -> None:
    id = queue(store, max_retries=3).value
    run(store, partial(life.report, id, 1, FAILED))
    run(store, partial(orphans.vanish, id, 1, 5.0))
    job = read(store, lambda tx: tx.job(id))
    assert (job.status, job.retries) == (Status.WAITING, 1)


@pytest.mark.parametrize("is_parent_first", [True, False])
def test_i6_a_parent_completes_while_its_child_is_queued(store: Store, is_parent_first: bool) -> None:
    parent = queue(store).value
    steps: list[Step] = [
        partial(life.report, parent, 1, DONE),
        partial(life.queue, NewJob("a::b", after_id=parent)),
    ]
    at_once(store, *(steps if is_parent_first else reversed(steps)))
    job = read(store, lambda tx: tx.job(parent + 1))
    assert (job.status, job.epoch) == (Status.RUNNING, 1)


@pytest.mark.parametrize("is_member_first", [True, False])
def test_i7_a_member_joins_while_the_target_is_claimed(store: Store, is_member_first: bool) -> None:
    target = queue(store, workers=None).value
    steps: list[Step] = [partial(life.queue, NewJob("a::b", before_id=target)), partial(life.look, target)]
    outcomes = at_once(store, *(steps if is_member_first else reversed(steps)))
    if is_member_first:
        assert status(store, target) is Status.WAITING
        looked_at(store, complete(store, target + 1))
        assert status(store, target) is Status.RUNNING
    else:
        assert isinstance(outcomes[1], RpcError)
        assert outcomes[1].code == 409
        assert status(store, target) is Status.RUNNING


@pytest.mark.parametrize("ends", [(DONE, DONE), (DONE, FAILED), (FAILED, FAILED)])
def test_i8_the_last_two_of_a_pool_end_at_once(store: Store, ends: tuple[Reported, Reported]) -> None:
    target = queue(store, workers=None).value
    pool = [queue(store, before_id=target).value for _ in range(2)]
    at_once(store, *(partial(life.report, id, 1, end) for id, end in zip(pool, ends, strict=True)))
    is_good = FAILED not in ends
    assert status(store, target) is (Status.RUNNING if is_good else Status.ERRORED)
    assert events(store, target, Status.RUNNING) + events(store, target, Status.ERRORED) == 1


def test_i9_two_jobs_of_one_dedupe_become_ready_at_once(store: Store) -> None:
    ids = [queue(store, dedupe="D", workers=None).value for _ in range(2)]
    at_once(store, *(partial(life.look, id) for id in ids))
    assert [status(store, id) for id in ids] == [Status.RUNNING, Status.DUPLICATE]
    assert read(store, lambda tx: tx.resolve(ids[1])).id == ids[0]


def test_i10_a_retried_original_becomes_a_duplicate_itself(store: Store) -> None:
    first = queue(store, dedupe="D", max_retries=1).value
    double = queue(store, dedupe="D").value
    fail(store, first)
    second = queue(store, dedupe="D").value
    assert status(store, second) is Status.RUNNING
    looked_at(store, run(store, partial(life.look, first), NOW + 2), NOW + 2)
    assert status(store, first) is Status.DUPLICATE
    assert read(store, lambda tx: tx.resolve(double)).id == second
    child = queue(store, after_id=double).value
    looked_at(store, complete(store, second))
    assert status(store, child) is Status.RUNNING


@pytest.mark.parametrize("is_cancel_first", [True, False])
def test_i14_a_cancel_meets_the_end(store: Store, is_cancel_first: bool) -> None:
    id = queue(store).value
    steps: list[Step] = [partial(life.cancel, id, "no"), partial(life.report, id, 1, DONE)]
    at_once(store, *(steps if is_cancel_first else reversed(steps)))
    assert status(store, id) is (Status.INVALID if is_cancel_first else Status.COMPLETE)
    (attempt,) = read(store, lambda tx: tx.attempts(id))
    assert attempt.outcome is (Outcome.CANCELLED if is_cancel_first else Outcome.COMPLETE)
    loser = read(store, lambda tx: tx.audit(id))[-1].why
    assert loser == ("late result of attempt 1 refused: complete" if is_cancel_first else "cancel came too late")


@pytest.mark.parametrize("is_timer_first", [True, False])
def test_a_result_meets_the_timeout(store: Store, is_timer_first: bool) -> None:
    id = queue(store, timeout=5.0).value
    assert run(store, partial(life.job_start, id, 1, "w")).value is True
    assert run(store, partial(life.alive, id, 1), NOW + 4).value is True
    assert run(store, partial(life.alive, id, 1), NOW + 5).value is False
    steps: list[Step] = [partial(life.settle, id, 1, Lapsed()), partial(life.report, id, 1, DONE)]
    for step in steps if is_timer_first else reversed(steps):
        run(store, step, NOW + 5)
    assert status(store, id) is (Status.ERRORED if is_timer_first else Status.COMPLETE)


def test_a_lease_is_written_down_only_when_a_third_is_used_up(store: Store) -> None:
    id = queue(store).value
    run(store, partial(orphans.vanish, id, 1, 60.0))  # never started: released
    looked_at(store, run(store, partial(life.look, id)))
    run(store, partial(life.job_start, id, 2, "w"))
    run(store, partial(orphans.recover, 60.0, 0))
    assert status(store, id) is Status.MISSING
    for now, lease_at in ((1, 1), (5, 1), (12, 12), (40, 40)):
        assert run(store, partial(life.alive, id, 2), NOW + now).value is True
        assert read(store, lambda tx: tx.job(id)).lease_at == NOW + lease_at + attempts.LEASE
    looked_at(store, run(store, partial(life.look, id), NOW + 71), NOW + 71)
    assert status(store, id) is Status.MISSING


@pytest.mark.parametrize(
    "event", [Ended(), Ended({"code": 1, "message": "m"}), Vanished(True, 5.0), Unsent(), NoWorker()]
)
def test_news_of_an_earlier_attempt_changes_nothing(store: Store, event: Event) -> None:
    id = queue(store, max_retries=1).value
    fail(store, id)
    looked_at(store, run(store, partial(life.look, id), NOW + 2), NOW + 2)
    before = read(store, lambda tx: tx.job(id))
    assert (before.status, before.epoch) == (Status.RUNNING, 2)
    assert run(store, partial(life.settle, id, 1, event), NOW + 3).actions == ()
    assert read(store, lambda tx: tx.job(id)) == before


def test_an_original_stays_while_an_older_job_is_its_duplicate(store: Store) -> None:
    first = queue(store, dedupe="D", max_retries=1).value
    fail(store, first)
    second = queue(store, dedupe="D").value
    looked_at(store, run(store, partial(life.look, first), NOW + 2), NOW + 2)
    looked_at(store, complete(store, second, NOW + 3))
    keep_nothing = pruning.Retention(dict.fromkeys(TERMINAL, 0.0))
    for left in ([second], []):  # the duplicate goes in the first pass, what it refers to in the next
        below = run(store, partial(pruning.newest, keep_nothing), NOW + 9).value
        run(store, partial(pruning.prune, keep_nothing, below), NOW + 9)
        assert [job.id for job in read(store, lambda tx: tx.jobs([first, second]))] == left
