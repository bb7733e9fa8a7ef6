"""`why` says what is so: a job in every situation that the rules know, on a real store, and its sentence.

The last test holds the situations against the rules: a new reason or status needs a sentence here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
from store_stage import NOW, WORKERS, complete, fail, queue, read, run

from gearbox import rules
from gearbox.job import Ended, Reason, Status, Vanished, Waiting
from gearbox.steps import controls, life, operators, views
from gearbox.store import Moment, Result, Store, Tx

AT = "2027-01-15T08:00:00.000Z"  # NOW
MINUTE_LATER = "2027-01-15T08:01:00.000Z"


@attrs.frozen
class Situation:
    """A job, the moment at which somebody asks, and the whole sentence, in which `{id}` is the job's own."""

    id: int
    sentence: str
    now: float = NOW
    workers: dict[str, int] | None = attrs.field(default=WORKERS)
    since: float = 0.0


def after(store: Store) -> Situation:
    parent = queue(store).value
    child = queue(store, after_id=parent).value
    return Situation(child, f"job {{id}} is waiting: it waits for job {parent} (after_id), which is running")


def after_a_duplicate(store: Store) -> Situation:
    original = queue(store, dedupe="D").value
    double = queue(store, dedupe="D").value
    child = queue(store, after_id=double).value
    words = f"it waits for job {double} (after_id), a duplicate of job {original}, which is running"
    return Situation(child, f"job {{id}} is waiting: {words}")


def pool_of_one(store: Store) -> Situation:
    target = queue(store, after_date=NOW + 1).value
    member = queue(store, before_id=target).value
    return Situation(
        target, f"job {{id}} is waiting: it waits for its pool (before_id): {member} has not ended", NOW + 9
    )


def pool_of_many(store: Store) -> Situation:
    target = queue(store, after_date=NOW + 1).value
    ids = [queue(store, before_id=target).value for _ in range(5)]
    complete(store, ids[0])
    words = f"{ids[1]}, {ids[2]}, {ids[3]} and others have not ended"
    return Situation(target, f"job {{id}} is waiting: it waits for its pool (before_id): {words}", NOW + 9)


def pool_with_a_duplicate(store: Store) -> Situation:
    queue(store, dedupe="D")
    target = queue(store, after_date=NOW + 1).value
    queue(store, before_id=target, dedupe="D")
    words = "a member of its pool is a duplicate of a job that has not ended"
    return Situation(target, f"job {{id}} is waiting: {words}", NOW + 9)


def date(store: Store) -> Situation:
    return Situation(queue(store, after_date=NOW + 60).value, f"job {{id}} is waiting: its date is {MINUTE_LATER}")


def several(store: Store) -> Situation:
    parent = queue(store).value
    id = queue(store, after_id=parent, after_date=NOW + 60).value
    words = f"it waits for job {parent} (after_id), which is running; its date is {MINUTE_LATER}"
    return Situation(id, f"job {{id}} is waiting: {words}")


def retry(store: Store) -> Situation:
    id = queue(store, max_retries=2, retry_delay=60).value
    fail(store, id)
    return Situation(id, f"job {{id}} is waiting: its retry 1 of 2 is due at {MINUTE_LATER}")


def retry_of_a_try_that_ran_too_long(store: Store) -> Situation:
    id = queue(store, max_retries=2, timeout=5.0).value
    run(store, partial(life.job_start, id, 1, "ada:7"))
    run(store, partial(life.look, id), now=NOW + 5)
    words = f"its retry 1 of 2 is due at {MINUTE_LATER}, when the worker of its last try has surely stopped"
    return Situation(id, f"job {{id}} is waiting: {words}", NOW + 6)


def paused(store: Store) -> Situation:
    run(store, partial(controls.control, "a::b", {"is_paused": True}))
    return Situation(queue(store).value, "job {id} is ready: its method a::b is paused")


def limited(store: Store) -> Situation:
    run(store, partial(controls.control, "a::b", {"concurrency": 1}))
    queue(store)
    return Situation(queue(store).value, "job {id} is ready: its method a::b has 1 active jobs of 1")


def without_gearman(store: Store) -> Situation:
    id = queue(store, workers=None).value
    return Situation(id, "job {id} is ready: no Gearman server can be reached", workers=None)


def after_a_restart(store: Store) -> Situation:
    complete(store, queue(store).value)
    id = queue(store, workers=None).value
    words = "no worker offers a::b yet after the restart; they are given time to come back"
    return Situation(id, f"job {{id}} is ready: {words}", workers={}, since=NOW)


def about_to_start(store: Store) -> Situation:
    id = queue(store, workers=None).value
    return Situation(id, "job {id} is ready, and nothing holds it back: the core is about to take it up")


def hurried(store: Store) -> Situation:
    parent = queue(store).value
    id = queue(store, after_id=parent, after_date=NOW + 60).value
    run(store, partial(operators.hurry, id, None))
    return Situation(id, f"job {{id}} is waiting: it waits for job {parent} (after_id), which is running")


def hurried_while_its_worker_may_run(store: Store) -> Situation:
    id = queue(store, max_retries=2, timeout=5.0, retry_delay=600.0).value
    run(store, partial(life.job_start, id, 1, "ada:7"))
    run(store, partial(life.look, id), now=NOW + 5)
    run(store, partial(operators.hurry, id, None), now=NOW + 6)
    words = f"its retry 1 of 2 is due at {MINUTE_LATER}, when the worker of its last try has surely stopped"
    return Situation(id, f"job {{id}} is waiting: {words}", NOW + 6)


def handed_on(store: Store) -> Situation:
    words = f"was handed to Gearman at {AT} as attempt 1; no worker has asked leave to start it"
    return Situation(queue(store).value, f"job {{id}} {words}")


def started(store: Store) -> Situation:
    id = queue(store, timeout=60.0).value
    run(store, partial(life.job_start, id, 1, "ada:7"))
    words = f"attempt 1 was started at {AT} by ada:7; it may run until {MINUTE_LATER}"
    return Situation(id, f"job {{id}} is running: {words}")


def noopwait(store: Store) -> Situation:
    id = queue(store, method=rules.NOOPWAIT).value
    return Situation(id, f"job {{id}} is running: it waits for gearbox\\core::noopgo with the id {id}")


def almost_done(store: Store) -> Situation:
    id = queue(store).value
    run(store, partial(life.settle, id, 1, Ended()))
    return Situation(id, "job {id} has ended on its worker, whose data is awaited until 2027-01-15T08:00:30.000Z")


def missing(store: Store) -> Situation:
    id = queue(store).value
    run(store, partial(life.settle, id, 1, Vanished(was_started=True, grace=60.0)))
    words = f"is missing: nobody knows whether attempt 1 runs; it is given up at {MINUTE_LATER}"
    return Situation(id, f"job {{id}} {words}")


def done(store: Store) -> Situation:
    id = queue(store).value
    complete(store, id)
    return Situation(id, f"job {{id}} was completed at {AT}")


def errored(store: Store) -> Situation:
    return Situation(queue(store, workers={}).value, f"job {{id}} errored at {AT}: No worker available (-28404)")


def cancelled(store: Store) -> Situation:
    id = queue(store).value
    run(store, partial(life.cancel, id, "not needed"))
    return Situation(id, f"job {{id}} became invalid at {AT}: cancelled: not needed (-28499)")


def duplicate(store: Store) -> Situation:
    original = queue(store, dedupe="D").value
    return Situation(queue(store, dedupe="D").value, f"job {{id}} is a duplicate of job {original}, which is running")


SITUATIONS: list[Callable[[Store], Situation]] = [
    after, after_a_duplicate, pool_of_one, pool_of_many, pool_with_a_duplicate, date, several, retry,
    retry_of_a_try_that_ran_too_long, paused, limited, without_gearman, after_a_restart, about_to_start, hurried,
    hurried_while_its_worker_may_run, handed_on,
    started, noopwait, almost_done, missing, done, errored, cancelled, duplicate,
]  # fmt: skip


def ask(store: Store, seen: Situation, step: Any) -> Any:
    moment = Moment(seen.now, "core", seen.since, seen.workers)
    (outcome,) = store.run_batch([step], moment).outcomes
    assert isinstance(outcome, Result)
    return outcome.value


@pytest.mark.parametrize("make", SITUATIONS, ids=lambda make: make.__name__)
def test_why_says_what_is_so(store: Store, make: Callable[[Store], Situation]) -> None:
    seen = make(store)
    assert ask(store, seen, partial(views.explain, seen.id)) == seen.sentence.format(id=seen.id)


def test_no_reason_and_no_status_is_left_out(store: Store) -> None:
    reasons: set[Reason] = set()
    statuses: set[Status] = set()

    def look(id: int, tx: Tx, moment: Moment) -> Result:
        facts = tx.facts(id)
        assert facts is not None
        statuses.add(facts.job.status)
        decision = rules.check(life.facts_of(tx, moment, facts), moment.now)
        if isinstance(decision, Waiting):
            reasons.update(decision.reasons)
        return Result()

    for make in SITUATIONS:
        seen = make(store)
        ask(store, seen, partial(look, seen.id))
        run(store, partial(controls.control, "a::b", {"is_paused": False, "concurrency": None}))
        for id in read(store, lambda tx: [job.id for job in tx.current(100)]):
            run(store, partial(life.cancel, id, None))
    assert reasons == set(Reason)
    assert statuses == set(Status)
