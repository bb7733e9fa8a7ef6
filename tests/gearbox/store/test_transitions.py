"""Every legal change of a status, T1 to T20, on a real store; and that no other one can be made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_stage import NOW, complete, fail, looked_at, queue, read, run, status

from gearbox import rules
from gearbox.errors import RpcError
from gearbox.job import (
    ACTIVE,
    TERMINAL,
    Control,
    Ended,
    Facts,
    Job,
    Lapsed,
    NewJob,
    NoWorker,
    Outcome,
    Pool,
    Priority,
    Reported,
    Status,
    Transition,
    Unsent,
    Vanished,
)
from gearbox.rules import attempts
from gearbox.rules.bundle import Item
from gearbox.steps import bundles, life
from gearbox.store import Result, Store

READY, WAITING, RUNNING, ALMOST_DONE = Status.READY, Status.WAITING, Status.RUNNING, Status.ALMOST_DONE
MISSING, COMPLETE, ERRORED = Status.MISSING, Status.COMPLETE, Status.ERRORED
INVALID, DUPLICATE = Status.INVALID, Status.DUPLICATE

ERROR = {"code": -28502, "message": "the worker failed"}
FAR = NOW + 1e6


def moves(store: Store, id: int) -> list[tuple[Status | None, Status]]:
    return [(event.was, event.status) for event in read(store, lambda tx: tx.audit(id))]


def outcomes(store: Store, id: int) -> list[Outcome | None]:
    return [attempt.outcome for attempt in read(store, lambda tx: tx.attempts(id))]


def news(store: Store, id: int, event: Any, now: float = NOW) -> None:
    epoch = read(store, lambda tx: tx.job(id)).epoch
    looked_at(store, run(store, partial(life.settle, id, epoch, event), now), now)


def look(store: Store, id: int, now: float = NOW, **options: Any) -> None:
    looked_at(store, run(store, partial(life.look, id), now, **options), now)


def t1(store: Store) -> int:
    return int(queue(store, workers=None).value)


def t2(store: Store) -> int:
    return int(queue(store, after_date=FAR).value)


def t4(store: Store) -> int:
    id = t2(store)
    look(store, id, FAR, workers=None)
    return id


def t5(store: Store) -> int:
    id = t1(store)
    queue(store, before_id=id, after_date=FAR)
    return id


def t6_after(store: Store) -> int:
    id = int(queue(store, after_id=queue(store).value, max_retries=5).value)
    looked_at(store, fail(store, id - 1))
    return id


def t6_pool(store: Store) -> int:
    id = t1(store)
    member = queue(store, before_id=id).value
    looked_at(store, fail(store, member))
    return id


def t7(store: Store) -> int:
    queue(store, dedupe="D")
    return int(queue(store, dedupe="D").value)


def t8(store: Store) -> int:
    return int(queue(store).value)


def t8_noopwait(store: Store) -> int:
    return int(queue(store, method=rules.NOOPWAIT).value)


def t9_noop(store: Store) -> int:
    return int(queue(store, method=rules.NOOP).value)


def t9_noopgo(store: Store) -> int:
    return int(queue(store, method=rules.NOOPGO, arguments="[99]").value)


def t10(store: Store) -> int:
    id = t8(store)
    news(store, id, Ended())
    return id


def t11(store: Store) -> int:
    id = t10(store)
    complete(store, id)
    return id


def t11_noopgo(store: Store) -> int:
    id = t8_noopwait(store)
    assert run(store, partial(life.go, id)).value is True
    return id


def t12(store: Store) -> int:
    id = int(queue(store, max_retries=1).value)
    fail(store, id)
    return id


def t13(store: Store) -> int:
    id = t8(store)
    news(store, id, Ended(ERROR))
    return id


def t14(store: Store) -> int:
    id = t8(store)
    news(store, id, Vanished(was_started=True, grace=5))
    return id


def t15(store: Store) -> int:
    id = t10(store)
    look(store, id, NOW + attempts.DATA_GRACE)
    return id


def t16(store: Store) -> int:
    id = t14(store)
    run(store, partial(life.alive, id, 1), NOW + 1)
    return id


def t17_errored(store: Store) -> int:
    id = t14(store)
    look(store, id, NOW + 5)
    return id


def t17_retry(store: Store) -> int:
    id = int(queue(store, max_retries=1).value)
    news(store, id, Vanished(was_started=True, grace=5))
    look(store, id, NOW + 5)
    return id


def t18(store: Store) -> int:
    id = t8(store)
    run(store, partial(life.settle, id, 1, Unsent()))
    return id


def t19_cancel(store: Store) -> int:
    id = t8(store)
    run(store, partial(life.cancel, id, None))
    return id


def t19_waiting(store: Store) -> int:
    id = t2(store)
    run(store, partial(life.cancel, id, None))
    return id


def t19_word(store: Store) -> int:
    id = t8(store)
    run(store, partial(life.report, id, 1, Reported(INVALID)))
    return id


def t20_errored(store: Store) -> int:
    return int(queue(store, workers={}).value)


def t20_retry(store: Store) -> int:
    return int(queue(store, workers={}, max_retries=1).value)


RAN = [(None, READY), (READY, RUNNING)]
TRANSITIONS: list[tuple[Callable[[Store], int], list[tuple[Status | None, Status]], list[Outcome | None]]] = [
    (t1, [(None, READY)], []),
    (t2, [(None, WAITING)], []),
    (t4, [(None, WAITING), (WAITING, READY)], []),
    (t5, [(None, READY), (READY, WAITING)], []),
    (t6_after, [(None, WAITING), (WAITING, ERRORED)], []),
    (t6_pool, [(None, READY), (READY, WAITING), (WAITING, ERRORED)], []),
    (t7, [(None, READY), (READY, DUPLICATE)], []),
    (t8, RAN, [None]),
    (t8_noopwait, RAN, [None]),
    (t9_noop, [(None, READY), (READY, COMPLETE)], [Outcome.COMPLETE]),
    (t9_noopgo, [(None, READY), (READY, COMPLETE)], [Outcome.COMPLETE]),
    (t10, [*RAN, (RUNNING, ALMOST_DONE)], [None]),
    (t11, [*RAN, (RUNNING, ALMOST_DONE), (ALMOST_DONE, COMPLETE)], [Outcome.COMPLETE]),
    (t11_noopgo, [*RAN, (RUNNING, COMPLETE)], [Outcome.COMPLETE]),
    (t12, [*RAN, (RUNNING, WAITING)], [Outcome.ERRORED]),
    (t13, [*RAN, (RUNNING, ERRORED)], [Outcome.WORKER_FAILED]),
    (t14, [*RAN, (RUNNING, MISSING)], [None]),
    (t15, [*RAN, (RUNNING, ALMOST_DONE), (ALMOST_DONE, MISSING)], [None]),
    (t16, [*RAN, (RUNNING, MISSING), (MISSING, RUNNING)], [None]),
    (t17_errored, [*RAN, (RUNNING, MISSING), (MISSING, ERRORED)], [Outcome.MISSING]),
    (t17_retry, [*RAN, (RUNNING, MISSING), (MISSING, WAITING)], [Outcome.MISSING]),
    (t18, [*RAN, (RUNNING, READY)], [Outcome.RELEASED]),
    (t19_cancel, [*RAN, (RUNNING, INVALID)], [Outcome.CANCELLED]),
    (t19_waiting, [(None, WAITING), (WAITING, INVALID)], []),
    (t19_word, [*RAN, (RUNNING, INVALID)], [Outcome.ERRORED]),
    (t20_errored, [(None, READY), (READY, ERRORED)], [Outcome.NO_WORKER]),
    (t20_retry, [(None, READY), (READY, WAITING)], [Outcome.NO_WORKER]),
]


@pytest.mark.parametrize(("make", "steps", "ended"), TRANSITIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_transition(
    store: Store,
    make: Callable[[Store], int],
    steps: list[tuple[Status | None, Status]],
    ended: list[Outcome | None],
) -> None:
    id = make(store)
    assert moves(store, id) == steps
    assert outcomes(store, id) == ended
    job = read(store, lambda tx: tx.job(id))
    assert (job.completed is not None) == (job.status in TERMINAL)
    assert job.next_at == job.look_at()


LEGAL = {step for _, steps, _ in TRANSITIONS for step in steps} | {
    (READY, RUNNING),
    (RUNNING, COMPLETE),
    (MISSING, COMPLETE),
    (MISSING, INVALID),
    (ALMOST_DONE, WAITING),
    (ALMOST_DONE, ERRORED),
    (ALMOST_DONE, INVALID),
    (READY, INVALID),
    (READY, ERRORED),
}


def t3_self(store: Store) -> Any:
    return partial(bundles.queue_many, [Item(NewJob("a::b"), after=0)], None)


def t3_parent(store: Store) -> Any:
    return partial(life.queue, NewJob("a::b", after_id=99))


def t3_active(store: Store) -> Any:
    return partial(life.queue, NewJob("a::b", before_id=t8(store)))


def t3_terminal(store: Store) -> Any:
    return partial(life.queue, NewJob("a::b", before_id=t13(store)))


@pytest.mark.parametrize(("is_started", "end"), [(True, ERRORED), (False, WAITING)])
def test_a_job_is_given_up_when_its_workers_vanish_not_when_there_is_none(
    store: Store, is_started: bool, end: Status
) -> None:
    id = queue(store, max_retries=9).value
    now = NOW
    for epoch in range(1, 4):
        now += 100
        looked_at(store, run(store, partial(life.look, id), now), now)
        if is_started:
            assert run(store, partial(life.job_start, id, epoch, "w"), now).value
        news(store, id, NoWorker(), now)
        assert status(store, id) is MISSING
        now += attempts.MISSING_GRACE
        looked_at(store, run(store, partial(life.look, id), now), now)
    assert outcomes(store, id) == [Outcome.MISSING] * 3
    assert status(store, id) is end


@pytest.mark.parametrize(("make", "code"), [(t3_self, 400), (t3_parent, 404), (t3_active, 409), (t3_terminal, 409)])
def test_t3_what_is_refused_leaves_no_row(store: Store, make: Callable[[Store], Any], code: int) -> None:
    step = make(store)
    before = read(store, lambda tx: [job.id for job in tx.jobs(range(1, 99))])
    with pytest.raises(RpcError) as caught:
        run(store, step)
    assert caught.value.code == code
    assert read(store, lambda tx: [job.id for job in tx.jobs(range(1, 99))]) == before


@pytest.mark.parametrize(("was", "to"), [(a, b) for a, b in product(Status, Status) if a is not b])
def test_an_illegal_transition_cannot_be_stored(store: Store, was: Status, to: Status) -> None:
    """The store believes the transition's `expect`; the rules give no other than the legal ones (see below)."""
    id = t8(store)
    job = attrs.evolve(read(store, lambda tx: tx.job(id)), status=was)
    change = Transition(frozenset(set(Status) - {was}), to, "test", {"completed": NOW})
    with pytest.raises(AssertionError):
        run(store, lambda tx, moment: Result(tx.apply(job, change, NOW, "core")))
    assert status(store, id) is RUNNING


jobs = st.builds(
    Job,
    id=st.just(7),
    method=st.sampled_from(["a::b", rules.NOOP, rules.NOOPGO, rules.NOOPWAIT]),
    arguments=st.none(),
    priority=st.just(Priority.NORMAL),
    created=st.just(NOW),
    updated=st.just(NOW),
    status=st.sampled_from(Status),
    dedupe=st.just("d"),
    has_dedupe=st.booleans(),
    retries=st.integers(0, 2),
    max_retries=st.integers(0, 2),
    epoch=st.integers(1, 3),
    timeout=st.sampled_from([None, 5.0]),
    expires=st.sampled_from([None, NOW - 1, NOW + 1]),
    opens_at=st.sampled_from([None, NOW - 1, NOW + 1]),
    lease_at=st.sampled_from([None, NOW - 1, NOW + 1]),
    stops_at=st.sampled_from([None, NOW - 1, NOW + 1]),
    released=st.booleans(),
)
facts = st.builds(
    Facts,
    job=jobs,
    after=st.sampled_from([None, *(status for status in Status if status is not DUPLICATE)]),
    pool=st.builds(Pool, st.booleans(), st.booleans()),
    twin=st.sampled_from([None, 5]),
    workers=st.sampled_from([None, 0, 1]),
    control=st.builds(Control, st.booleans(), st.sampled_from([None, 0, 1])),
    active=st.integers(0, 1),
)
events = st.sampled_from(
    [
        Ended(),
        Ended(ERROR),
        Ended(ERROR, Outcome.REFUSED),
        Reported(),
        Reported(COMPLETE),
        Reported(ERRORED),
        Reported(INVALID),
        Lapsed(),
        Vanished(True, 5.0),
        Vanished(False, 5.0),
        NoWorker(),
        Unsent(),
    ]
)


@given(facts, events)
@settings(max_examples=1000)
def test_the_rules_make_no_other_transition(facts: Facts, event: Any) -> None:
    job = facts.job
    answers = [
        rules.check(facts, NOW),
        attempts.settle(job, event, NOW),
        attempts.begin(job, NOW) if job.status in ACTIVE else None,
        attempts.alive(job, job.epoch, NOW)[1],
        rules.go(job, NOW),
        rules.cancel(job, None, NOW),
    ]
    for answer in answers:
        if isinstance(answer, Transition):
            assert job.status in answer.expect
            assert job.status not in TERMINAL
            if answer.status is not job.status:
                assert (job.status, answer.status) in LEGAL
