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
    Backoff,
    Control,
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
    Reason,
    Reported,
    Status,
    Transition,
    Unsent,
    Vanished,
    Waiting,
)
from gearbox.rules import answers, attempts
from gearbox.work import lease

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
    (Facts(waiting(opens_at=NOW), **WORKER), Status.READY, "gates open"),
    (Facts(waiting(after_id=3), after=Status.COMPLETE, **WORKER), Status.READY, "gates open"),
    (Facts(waiting(after_id=3), after=Status.ERRORED, **WORKER), Status.ERRORED, "after 3 errored"),
    (Facts(waiting(after_id=3), after=Status.INVALID, **WORKER), Status.ERRORED, "after 3 errored"),
    (Facts(waiting(after_id=3, opens_at=NOW + 9), after=Status.ERRORED), Status.ERRORED, "after 3 errored"),
    (Facts(waiting(), pool=Pool(has_failed=True), **WORKER), Status.ERRORED, "pool errored"),
    (Facts(ready(), pool=Pool(has_failed=True), **WORKER), Status.ERRORED, "pool errored"),
    (Facts(ready(), pool=Pool(is_unfinished=True), **WORKER), Status.WAITING, "its pool is not done"),
    (Facts(ready(has_dedupe=True), twin=5, **WORKER), Status.DUPLICATE, "dedupe: 5 runs"),
    (Facts(ready(method=rules.NOOP)), Status.COMPLETE, "noop"),
    (Facts(ready(method=rules.NOOPWAIT)), Status.RUNNING, "noopwait"),
    (Facts(ready(method=rules.NOOPWAIT, released=True)), Status.COMPLETE, "noop"),
    (Facts(ready(method=rules.NOOPGO), releases=True), Status.COMPLETE, "noopgo"),
    (Facts(ready(), workers=0), Status.ERRORED, "no worker"),
    (Facts(ready(max_retries=1), workers=0), Status.WAITING, "no worker: retry"),
    (Facts(ready(), control=Control(concurrency=2), active=1, **WORKER), Status.RUNNING, "claimed"),
    (Facts(ready(has_dedupe=True), twin=5, control=Control(concurrency=0)), Status.DUPLICATE, "dedupe: 5 runs"),
    (Facts(waiting(expires=NOW, opens_at=NOW + 9)), Status.ERRORED, "expired"),
    (Facts(ready(expires=NOW), workers=None), Status.ERRORED, "expired"),
    (Facts(ready(expires=NOW, retries=1), **WORKER), Status.RUNNING, "claimed"),  # a try has begun: it never expires
    (Facts(ready(expires=NOW + 1), **WORKER), Status.RUNNING, "claimed"),
]


@pytest.mark.parametrize(("facts", "status", "why"), GATES)
def test_check_moves(facts: Facts, status: Status, why: str) -> None:
    transition = moved(rules.check(facts, NOW))
    assert (transition.status, transition.why) == (status, why)
    assert facts.job.status in transition.expect


WAITS = [
    (Facts(waiting(opens_at=NOW + 1), **WORKER), (Reason.DATE,), NOW + 1),
    (Facts(waiting(opens_at=NOW + 1, retries=1), **WORKER), (Reason.RETRY,), NOW + 1),
    (Facts(waiting(after_id=3), after=Status.RUNNING, **WORKER), (Reason.AFTER,), inf),
    (Facts(waiting(after_id=3), after=Status.WAITING, **WORKER), (Reason.AFTER,), inf),
    (Facts(waiting(after_id=3), after=Status.MISSING, **WORKER), (Reason.AFTER,), inf),
    (Facts(waiting(after_id=3, opens_at=NOW + 2), after=Status.READY), (Reason.AFTER, Reason.DATE), NOW + 2),
    # a date that has passed wants no timer while another gate is closed
    (Facts(waiting(after_id=3, opens_at=NOW - 2), after=Status.READY), (Reason.AFTER,), inf),
    (Facts(waiting(), pool=Pool(is_unfinished=True, has_failed=True)), (Reason.POOL,), inf),
    (Facts(ready(), workers=None), (Reason.GEARMAN,), inf),
    (Facts(ready(), workers=None, is_returning=True), (Reason.WORKERS,), inf),
    (Facts(ready(), control=Control(is_paused=True), twin=5, **WORKER), (Reason.PAUSED,), inf),
    (Facts(ready(), control=Control(concurrency=2), active=2, **WORKER), (Reason.LIMIT,), inf),
    (Facts(ready(), control=Control(concurrency=2), active=1, ahead=1, **WORKER), (Reason.LIMIT,), inf),
    (Facts(ready(), control=Control(concurrency=0), **WORKER), (Reason.LIMIT,), inf),
    (Facts(running(), **WORKER), (Reason.STARTED,), inf),
]


@pytest.mark.parametrize(("facts", "reasons", "until"), WAITS)
def test_check_waits_and_says_why(facts: Facts, reasons: tuple[str, ...], until: float) -> None:
    assert rules.check(facts, NOW) == Waiting(reasons, until)


def test_claim_opens_the_next_attempt_and_starts_it() -> None:
    transition = moved(rules.check(Facts(ready(epoch=4), workers=2), NOW))
    assert transition.set == {"epoch": 5}
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
    (running(lease_at=NOW), Lapsed(), Status.MISSING, None),
    (running(stops_at=NOW, timeout=5.0), Lapsed(), Status.ERRORED, Outcome.TIMED_OUT),
    (running(stops_at=NOW, timeout=5.0, max_retries=1), Lapsed(), Status.WAITING, Outcome.TIMED_OUT),
    (almost_done(), Reported(Status.COMPLETE, "1"), Status.COMPLETE, Outcome.COMPLETE),
    (almost_done(), Lapsed(), Status.MISSING, None),
    (missing(), Reported(Status.COMPLETE, "1"), Status.COMPLETE, Outcome.COMPLETE),
    (missing(), Reported(progress=1.0), Status.RUNNING, None),
    (missing(), Lapsed(), Status.ERRORED, Outcome.MISSING),
    (missing(max_retries=1), Lapsed(), Status.WAITING, Outcome.MISSING),
    (missing(max_retries=9, retries=1), Lapsed(True, losses=1), Status.WAITING, Outcome.MISSING),
    (missing(max_retries=9, retries=2), Lapsed(True, losses=2), Status.ERRORED, Outcome.MISSING),
    (missing(max_retries=9, retries=2), Lapsed(False, losses=2), Status.WAITING, Outcome.MISSING),
]  # fmt: skip


@pytest.mark.parametrize(("was", "event", "status", "outcome"), NEWS)
def test_settle_moves(was: Job, event: Event, status: Status, outcome: Outcome | None) -> None:
    transition = moved(attempts.settle(was, event, NOW))
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
    assert attempts.settle(was, event, NOW) is None


def test_retry_waits_at_least_the_floor() -> None:
    transition = moved(attempts.settle(running(max_retries=9, retry_delay=0.0), Ended(ERROR), NOW))
    assert transition.set["opens_at"] == NOW + 0.1
    assert transition.set["retries"] == 1


def test_after_a_lost_worker_the_next_try_waits_until_that_one_has_surely_stopped() -> None:
    assert attempts.STOPPED >= lease.PATIENCE + lease.LATE
    lost = missing(max_retries=1, updated=NOW - 10)
    assert moved(attempts.settle(lost, Lapsed(was_started=True), NOW)).set["opens_at"] == NOW - 10 + attempts.STOPPED
    assert moved(attempts.settle(lost, Lapsed(was_started=False), NOW)).set["opens_at"] == NOW + 1


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
    assert moved(attempts.settle(running(result_data=old), news, NOW)).set["result_data"] == data


def test_progress_of_an_unwatched_attempt_renews_its_lease() -> None:
    transition = moved(attempts.settle(running(lease_at=NOW + 1), Reported(progress=3.0), NOW))
    assert transition.set == {"progress": 3.0, "progress_at": NOW, "lease_at": NOW + attempts.LEASE}


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
    opens_at=times,
    lease_at=times,
    stops_at=times,
    timeout=st.just(5.0),
    expires=times,
    backoff=st.sampled_from(list(Backoff)),
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
    control=st.builds(Control, st.booleans(), st.one_of(st.none(), st.integers(0, 3))),
    active=st.integers(0, 3),
    ahead=st.integers(0, 3),
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
    transition = attempts.settle(was, event, NOW)
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
        look_at = attrs.evolve(was, status=transition.status, **transition.set).look_at()
        assert look_at is not None
        assert look_at > NOW or isinstance(event, Vanished)


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
    answer = answers.answer(job(status, result_data=data))
    assert (answer if isinstance(answer, str) else (answer.code, answer.message, answer.data)) == expected
