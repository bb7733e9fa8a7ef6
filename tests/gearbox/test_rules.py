"""The rules, a table for each status: facts or news in, transition out."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearbox import rules
from gearbox.errors import RpcError
from gearbox.job import (
    ACTIVE,
    CURRENT,
    TERMINAL,
    Ended,
    Event,
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
    Waiting,
)

NOW = 1_000_000.0


def job(status: Status, **fields: Any) -> Job:
    start = {
        "id": 7,
        "method": "a::b",
        "arguments": "[1]",
        "priority": Priority.NORMAL,
        "created": NOW - 10,
        "updated": NOW - 5,
        "dedupe": "d",
        "has_dedupe": False,
    }
    return Job(status=status, **(start | fields))


def ready(**fields: Any) -> Job:
    return job(Status.READY, **fields)


def waiting(**fields: Any) -> Job:
    return job(Status.WAITING, **fields)


def running(**fields: Any) -> Job:
    return job(Status.RUNNING, **({"epoch": 1, "owner": "core"} | fields))


def almost_done(**fields: Any) -> Job:
    return attrs.evolve(running(**fields), status=Status.ALMOST_DONE)


def missing(**fields: Any) -> Job:
    return attrs.evolve(running(**fields), status=Status.MISSING)


def moved(decision: Transition | Waiting | None) -> Transition:
    assert isinstance(decision, Transition), decision
    return decision


# --- check: a job that has not started ---

WORKER = {"workers": 1}

GATES = [
    # facts, status, why
    (Facts(ready(), **WORKER), Status.RUNNING, "claimed"),
    (Facts(waiting(), **WORKER), Status.READY, "gates open"),
    (Facts(waiting(next_at=NOW), **WORKER), Status.READY, "gates open"),
    (Facts(waiting(after_id=3), after=Status.COMPLETE, **WORKER), Status.READY, "gates open"),
    (Facts(waiting(after_id=3), after=Status.ERRORED, **WORKER), Status.ERRORED, "after 3 errored"),
    (Facts(waiting(after_id=3), after=Status.INVALID, **WORKER), Status.ERRORED, "after 3 errored"),
    (Facts(waiting(after_id=3, next_at=NOW + 9), after=Status.ERRORED), Status.ERRORED, "after 3 errored"),
    (Facts(waiting(), pool=Pool(has_failed=True), **WORKER), Status.ERRORED, "pool errored"),
    (Facts(ready(), pool=Pool(has_failed=True), **WORKER), Status.ERRORED, "pool errored"),
    (Facts(ready(), pool=Pool(is_unfinished=True), **WORKER), Status.WAITING, "before: the pool is not done"),
    (Facts(ready(has_dedupe=True), twin=5, **WORKER), Status.DUPLICATE, "dedupe: 5 runs"),
    (Facts(ready(method=rules.NOOP)), Status.COMPLETE, "noop"),
    (Facts(ready(method=rules.NOOPWAIT)), Status.RUNNING, "noopwait"),
    (Facts(ready(method=rules.NOOPWAIT, released=True)), Status.COMPLETE, "noop"),
    (Facts(ready(method=rules.NOOPGO), releases=True), Status.COMPLETE, "noopgo"),
    (Facts(ready(), workers=0), Status.ERRORED, "no worker"),
    (Facts(ready(max_retries=1), workers=0), Status.WAITING, "no worker: retry"),
]


@pytest.mark.parametrize(("facts", "status", "why"), GATES)
def test_check_moves(facts: Facts, status: Status, why: str) -> None:
    transition = moved(rules.check(facts, NOW))
    assert (transition.status, transition.why) == (status, why)
    assert facts.job.status in transition.expect


WAITS = [
    (Facts(waiting(next_at=NOW + 1), **WORKER), ("date",), NOW + 1),
    (Facts(waiting(after_id=3), after=Status.RUNNING, **WORKER), ("after 3",), inf),
    (Facts(waiting(after_id=3), after=Status.WAITING, **WORKER), ("after 3",), inf),
    (Facts(waiting(after_id=3), after=Status.MISSING, **WORKER), ("after 3",), inf),
    (Facts(waiting(after_id=3, next_at=NOW + 2), after=Status.READY), ("after 3", "date"), NOW + 2),
    # a date that has passed wants no timer while another gate is closed
    (Facts(waiting(after_id=3, next_at=NOW - 2), after=Status.READY), ("after 3",), inf),
    (Facts(waiting(), pool=Pool(is_unfinished=True, has_failed=True)), ("before: the pool is not done",), inf),
    (Facts(ready(), workers=None), ("Gearman cannot be reached",), inf),
    (Facts(running(), **WORKER), ("is running",), inf),
]


@pytest.mark.parametrize(("facts", "reasons", "until"), WAITS)
def test_check_waits_and_says_why(facts: Facts, reasons: tuple[str, ...], until: float) -> None:
    assert rules.check(facts, NOW) == Waiting(reasons, until)


def test_claim_opens_the_next_attempt_and_starts_it() -> None:
    transition = moved(rules.check(Facts(ready(epoch=4), workers=2), NOW))
    assert transition.set == {"epoch": 5, "next_at": None}
    assert transition.starts
    assert transition.outcome is None


def test_no_worker_is_an_attempt_that_ends_at_once() -> None:
    transition = moved(rules.check(Facts(ready(), workers=0), NOW))
    assert (transition.set["epoch"], transition.outcome, transition.starts) == (1, Outcome.NO_WORKER, False)
    assert json.loads(transition.set["result_data"]) == {"code": -28404, "message": "No worker available"}
    assert transition.set["completed"] == NOW


@pytest.mark.parametrize(("releases", "data"), [(True, "true"), (False, "false")])
def test_noopgo_tells_whether_it_released(releases: bool, data: str) -> None:
    transition = moved(rules.check(Facts(ready(method=rules.NOOPGO), releases=releases), NOW))
    assert transition.set["result_data"] == data


def test_dependency_failures_burn_no_retry() -> None:
    transition = moved(rules.check(Facts(waiting(after_id=3, max_retries=5), after=Status.ERRORED), NOW))
    assert transition.status is Status.ERRORED
    assert "retries" not in transition.set
    assert json.loads(transition.set["result_data"])["code"] == -28523


# --- settle: a job that was started ---

ERROR = {"code": -28502, "message": "the worker failed"}

NEWS = [
    # job, event, status, outcome
    (running(), Ended(), Status.ALMOST_DONE, None),
    (running(), Ended(ERROR), Status.ERRORED, Outcome.WORKER_FAILED),
    (running(max_retries=1), Ended(ERROR), Status.WAITING, Outcome.WORKER_FAILED),
    (running(max_retries=1, retries=1), Ended(ERROR), Status.ERRORED, Outcome.WORKER_FAILED),
    (running(), Ended(ERROR, Outcome.REFUSED), Status.ERRORED, Outcome.REFUSED),
    (running(), Reported(Status.COMPLETE, "1"), Status.COMPLETE, Outcome.COMPLETE),
    (running(), Reported(Status.ERRORED, '"no"'), Status.ERRORED, Outcome.ERRORED),
    (running(), Reported(Status.INVALID), Status.INVALID, Outcome.ERRORED),
    (running(), Reported(progress=5.0), Status.RUNNING, None),
    (running(), Vanished(was_started=True, grace=60), Status.MISSING, None),
    (running(), Vanished(was_started=False, grace=60), Status.READY, Outcome.RELEASED),
    (running(), NoWorker(), Status.MISSING, None),
    (running(), Unsent(), Status.READY, Outcome.RELEASED),
    (running(next_at=NOW), Lapsed(), Status.MISSING, None),
    (almost_done(), Reported(Status.COMPLETE, "1"), Status.COMPLETE, Outcome.COMPLETE),
    (almost_done(), Lapsed(), Status.MISSING, None),
    (missing(), Reported(Status.COMPLETE, "1"), Status.COMPLETE, Outcome.COMPLETE),
    (missing(), Reported(progress=1.0), Status.RUNNING, None),
    (missing(), Lapsed(), Status.ERRORED, Outcome.MISSING),
    (missing(max_retries=1), Lapsed(), Status.WAITING, Outcome.MISSING),
]  # fmt: skip


@pytest.mark.parametrize(("was", "event", "status", "outcome"), NEWS)
def test_settle_moves(was: Job, event: Event, status: Status, outcome: Outcome | None) -> None:
    transition = moved(rules.settle(was, event, NOW))
    assert (transition.status, transition.outcome) == (status, outcome)
    assert was.status in transition.expect


IGNORED = [
    (almost_done(), Ended()),
    (almost_done(), Vanished(was_started=True, grace=60)),
    (running(method=rules.NOOPWAIT), Vanished(was_started=False, grace=60)),
    (running(method=rules.NOOPWAIT), NoWorker()),
]


@pytest.mark.parametrize(("was", "event"), IGNORED)
def test_settle_ignores(was: Job, event: Event) -> None:
    assert rules.settle(was, event, NOW) is None


def test_retry_waits_at_least_the_floor() -> None:
    transition = moved(rules.settle(running(max_retries=9, retry_delay=0.0), Ended(ERROR), NOW))
    assert transition.set["next_at"] == NOW + 0.1
    assert transition.set["retries"] == 1


APPENDS = [
    (None, "1", None, "1"),
    ("0", "1", None, "1"),
    ("0", "1", "\n", "0\n1"),
    ('"a"', '"b"', "|", '"a"|"b"'),
    ('"a"', '"b"', "", '"a""b"'),
    (None, '"b"', "|", '"b"'),  # nothing to append to
]


@pytest.mark.parametrize(("old", "new", "separator", "data"), APPENDS)
def test_data_replaces_or_appends(old: str | None, new: str, separator: str | None, data: str) -> None:
    news = Reported(data=new, separator=separator)
    assert moved(rules.settle(running(result_data=old), news, NOW)).set["result_data"] == data


def test_progress_of_an_unwatched_attempt_renews_its_lease() -> None:
    transition = moved(rules.settle(running(next_at=NOW + 1), Reported(progress=3.0), NOW))
    assert transition.set == {"progress": 3.0, "progress_at": NOW, "next_at": NOW + rules.LEASE}


# --- properties ---

statuses = st.sampled_from(list(Status))
times = st.one_of(st.none(), st.floats(NOW - 100, NOW + 100))
methods = st.sampled_from(["a::b", rules.NOOP, rules.NOOPGO, rules.NOOPWAIT])
jobs = st.builds(
    job,
    statuses,
    method=methods,
    epoch=st.integers(0, 3),
    retries=st.integers(0, 3),
    max_retries=st.integers(0, 3),
    next_at=times,
    released=st.booleans(),
    after_id=st.one_of(st.none(), st.integers(1, 5)),
    result_data=st.one_of(st.none(), st.just('"x"'), st.just("not json")),
)
facts = st.builds(
    Facts,
    job=jobs,
    after=st.one_of(st.none(), statuses.filter(lambda s: s is not Status.DUPLICATE)),
    pool=st.builds(Pool, st.booleans(), st.booleans()),
    twin=st.one_of(st.none(), st.integers(1, 5)),
    workers=st.one_of(st.none(), st.integers(0, 3)),
    releases=st.booleans(),
)
events = st.one_of(
    st.just(Ended()),
    st.just(Ended(ERROR)),
    st.builds(
        Reported,
        status=st.sampled_from([None, Status.COMPLETE, Status.ERRORED, Status.INVALID]),
        data=st.one_of(st.none(), st.just("1")),
        separator=st.one_of(st.none(), st.just("\n")),
        progress=st.one_of(st.none(), st.floats(0, 100)),
    ),
    st.just(Lapsed()),
    st.builds(Vanished, st.booleans(), st.floats(0, 100)),
    st.just(NoWorker()),
    st.just(Unsent()),
)


@given(facts)
def test_check_only_starts_what_may_start(facts: Facts) -> None:
    decision = rules.check(facts, NOW)
    if isinstance(decision, Waiting):
        assert decision.reasons
        return
    assert facts.job.status in decision.expect
    assert facts.job.status in (Status.READY, Status.WAITING)
    if decision.status in (Status.RUNNING, Status.COMPLETE):
        assert facts.after in (None, Status.COMPLETE)
        assert facts.pool == Pool()
        assert facts.job.status is Status.READY
        assert facts.twin is None
        assert decision.set["epoch"] == facts.job.epoch + 1
    if decision.starts:
        assert decision.status is Status.RUNNING
        assert facts.workers


@given(jobs, events)
def test_settle_keeps_terminal_jobs_and_the_retry_bound(was: Job, event: Event) -> None:
    transition = rules.settle(was, event, NOW)
    if was.status not in ACTIVE:
        assert transition is None
    if transition is None:
        return
    assert "epoch" not in transition.set
    retries = transition.set.get("retries", was.retries)
    assert retries <= max(was.max_retries, was.retries)
    if transition.status in TERMINAL:
        assert transition.set["completed"] == NOW
        assert transition.outcome is not None
    # whatever still lives has a cause to move: a timer, Gearman's word, or somebody's noopgo
    timed = (Status.WAITING, Status.ALMOST_DONE, Status.MISSING)
    if transition.status in timed and transition.status is not was.status:
        assert transition.set["next_at"] > NOW or isinstance(event, Vanished)


@given(jobs)
def test_go_releases_exactly_once(was: Job) -> None:
    transition = rules.go(was, NOW)
    if transition is not None:
        assert was.method == rules.NOOPWAIT
        assert was.status in CURRENT
        assert not was.released
        assert transition.set["released"]


# --- admit and answer ---


def test_admit() -> None:
    new = NewJob("a::b", after_id=1, before_id=2)
    assert rules.admit(NewJob("a::b"), None, None, False) is Status.READY
    assert rules.admit(NewJob("a::b", after_date=1.0), None, None, False) is Status.WAITING
    assert rules.admit(new, ready(), waiting(), False) is Status.WAITING


@pytest.mark.parametrize(
    ("parent", "target", "is_cycle", "code"),
    [
        (None, ready(), False, 404),
        (ready(), None, False, 404),
        (ready(), running(), False, 409),
        (ready(), job(Status.COMPLETE), False, 409),
        (ready(), waiting(), True, 400),
    ],
)
def test_admit_refuses(parent: Job | None, target: Job | None, is_cycle: bool, code: int) -> None:
    with pytest.raises(RpcError) as caught:
        rules.admit(NewJob("a::b", after_id=1, before_id=2), parent, target, is_cycle)
    assert caught.value.code == code


ANSWERS = [
    (Status.COMPLETE, None, "null"),
    (Status.COMPLETE, '{"a":[1,"é"]}', '{"a":[1,"é"]}'),
    (Status.COMPLETE, '"a"\n"b"', '"\\"a\\"\\n\\"b\\""'),  # appended data is one text
    (Status.ERRORED, '{"code":42,"message":"m","data":{"k":1}}', (42, "m", {"k": 1})),
    (Status.ERRORED, '"no"', (-28500, "no", "no")),
    (Status.ERRORED, None, (-28500, "the job errored", None)),
    (Status.ERRORED, '{"stderr":"x"}', (-28500, "the job errored", {"stderr": "x"})),
    (Status.INVALID, None, (-28000, "the job is invalid", None)),
    (Status.INVALID, '{"code":-28499,"message":"cancelled"}', (-28499, "cancelled", None)),
]


@pytest.mark.parametrize(("status", "data", "expected"), ANSWERS)
def test_answer(status: Status, data: str | None, expected: Any) -> None:
    answer = rules.answer(job(status, result_data=data))
    assert (answer if isinstance(answer, str) else (answer.code, answer.message, answer.data)) == expected
