"""The truth tables of dependencies: what each state of a parent or a pool means for the job that waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pytest
from store_stage import NOW, complete, fail, looked_at, queue, read, run, status

from gearbox.job import Ended, Reported, Status, Vanished
from gearbox.steps import bundles, life
from gearbox.store import Store

FAR = NOW + 1e6


def ready(store: Store) -> int:
    return int(queue(store, workers=None).value)


def waiting(store: Store) -> int:
    return int(queue(store, after_date=FAR).value)


def running(store: Store) -> int:
    return int(queue(store).value)


def almost_done(store: Store) -> int:
    id = running(store)
    run(store, partial(life.settle, id, 1, Ended()))
    return id


def missing(store: Store) -> int:
    id = running(store)
    run(store, partial(life.settle, id, 1, Vanished(was_started=True, grace=60)))
    return id


def in_retry(store: Store) -> int:
    id = int(queue(store, max_retries=1).value)
    fail(store, id)
    return id


def done(store: Store) -> int:
    id = running(store)
    complete(store, id)
    return id


def errored(store: Store) -> int:
    id = running(store)
    fail(store, id)
    return id


def errored_after_retries(store: Store) -> int:
    id = in_retry(store)
    run(store, partial(life.look, id), NOW + 10)
    fail(store, id)
    return id


def invalid(store: Store) -> int:
    id = running(store)
    run(store, partial(life.report, id, 1, Reported(Status.INVALID)))
    return id


def cancelled(store: Store) -> int:
    id = running(store)
    run(store, partial(life.cancel, id, None))
    return id


def duplicate_of(make_end: Callable[[Store, int], object]) -> Callable[[Store], int]:
    def make(store: Store) -> int:
        original = int(queue(store, dedupe="D").value)
        double = int(queue(store, dedupe="D").value)
        make_end(store, original)
        return double

    return make


LIVE = [ready, waiting, running, almost_done, missing, in_retry, duplicate_of(lambda store, id: None)]
GOOD = [done, duplicate_of(complete)]
BAD = [errored, errored_after_retries, invalid, cancelled, duplicate_of(fail)]
PARENTS = (
    [(make, Status.WAITING) for make in LIVE]
    + [(make, Status.RUNNING) for make in GOOD]
    + [(make, Status.ERRORED) for make in BAD]
)


@pytest.mark.parametrize(("make", "expected"), PARENTS)
def test_after(store: Store, make: Callable[[Store], int], expected: Status) -> None:
    child = queue(store, after_id=make(store), max_retries=3).value
    assert status(store, child) is expected
    if expected is Status.ERRORED:
        job = read(store, lambda tx: tx.job(child))
        assert '"code":-28523' in job.result_data
        assert (job.retries, job.epoch) == (0, 0)


def pool_of(store: Store, makers: Iterable[Callable[[Store], int]]) -> int:
    """A target whose pool was brought into these states. (Members are made first, and given to it behind its back.)"""
    members = [make(store) for make in makers]
    target = int(queue(store, after_date=NOW + 100).value)
    for id in members:
        run(store, partial(_join, id, target))
    looked_at(store, run(store, partial(life.look, target), NOW + 100), NOW + 100)
    return target


def _join(id, target, tx, moment):  # type: ignore[no-untyped-def]
    tx.join_pool(id, target)
    return life.Result()


POOLS = (
    [((), Status.RUNNING)]
    + [((make,), Status.WAITING) for make in LIVE]
    + [((make,), Status.RUNNING) for make in GOOD]
    + [((make,), Status.ERRORED) for make in BAD]
    + [((done, done, done), Status.RUNNING)]
    + [((done, make), Status.ERRORED) for make in BAD]
    + [((bad, live), Status.WAITING) for bad in BAD[:2] for live in (running, waiting, in_retry)]
)


@pytest.mark.parametrize(("makers", "expected"), POOLS)
def test_before(store: Store, makers: Iterable[Callable[[Store], int]], expected: Status) -> None:
    target = pool_of(store, makers)
    assert status(store, target) is expected
    if expected is Status.ERRORED:
        assert '"code":-28524' in read(store, lambda tx: tx.job(target)).result_data


def test_two_duplicates_of_one_job_in_a_pool_count_as_that_job(store: Store) -> None:
    original = queue(store, dedupe="D").value
    target = queue(store, workers=None).value
    for _ in range(2):
        assert status(store, queue(store, dedupe="D", before_id=target).value) is Status.DUPLICATE
    assert status(store, target) is Status.WAITING
    looked_at(store, complete(store, original))
    assert status(store, target) is Status.RUNNING


def test_after_and_pool_must_both_open_and_a_failed_after_wins_at_once(store: Store) -> None:
    for end, expected in ((complete, Status.WAITING), (fail, Status.ERRORED)):
        parent = queue(store).value
        target = queue(store, after_id=parent).value
        member = queue(store, before_id=target).value
        looked_at(store, end(store, parent))
        assert status(store, target) is expected
        looked_at(store, complete(store, member))
        assert status(store, target) is (Status.RUNNING if expected is Status.WAITING else Status.ERRORED)


@pytest.mark.parametrize("is_duplicate", [False, True])
def test_a_failed_member_that_was_retried_counts_as_its_retry(store: Store, is_duplicate: bool) -> None:
    original = queue(store, dedupe="D").value if is_duplicate else None
    target = queue(store, after_date=NOW + 100).value
    member = queue(store, dedupe="D", before_id=target).value
    other = queue(store, before_id=target).value
    looked_at(store, fail(store, original or member))
    again = run(store, partial(bundles.retry, member, True)).value[member]
    looked_at(store, complete(store, other))
    looked_at(store, run(store, partial(life.look, target), NOW + 100), NOW + 100)
    assert status(store, target) is Status.WAITING
    looked_at(store, complete(store, again))
    assert status(store, target) is Status.RUNNING
    assert [job.id for job in read(store, lambda tx: tx.pool_results(target, 10))] == [other, again]
