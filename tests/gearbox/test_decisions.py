"""What the rules decide, to the letter: whole transitions, with every field, number and word of the audit."""

from __future__ import annotations

from math import inf
from typing import Any

import attrs
import pytest

from gearbox import rules
from gearbox.errors import RpcError
from gearbox.job import (
    ACTIVE,
    CURRENT,
    Attempt,
    Backoff,
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
    Seen,
    Status,
    Transition,
    Unsent,
    Vanished,
    Waiting,
)
from gearbox.rules import answers, attempts

NOW = 1_000_000.0
RUNNING = Job(
    7, "a::b", "[1]", Priority.NORMAL, NOW - 10, NOW - 5, Status.RUNNING, "d", has_dedupe=False, epoch=2, owner="core"
)
RETRIED = attrs.evolve(RUNNING, max_retries=3, retries=1, retry_delay=4.0, lease_at=NOW, stops_at=NOW, timeout=1.5)
READY = attrs.evolve(RUNNING, status=Status.READY, epoch=0, owner=None)
ONE, NOT_STARTED = frozenset({Status.RUNNING}), frozenset({Status.READY, Status.WAITING})
JUST_READY = frozenset({Status.READY})


def as_status(status: Status, job: Job = RUNNING, **fields: Any) -> Job:
    return attrs.evolve(job, status=status, **fields)


def text(code: int, message: str) -> str:
    return f'{{"code":{code},"message":"{message}"}}'


def again(outcome: Outcome, error: str, why: str, opens_at: float) -> Transition:
    """`RETRIED` has its second retry."""
    set = {"result_data": error, "lease_at": None, "stops_at": None, "retries": 2, "opens_at": opens_at}
    return Transition(ACTIVE, Status.WAITING, f"{why}: retry", set, outcome, error)


def over(outcome: Outcome, error: str | None, why: str, **set: Any) -> Transition:
    """`RUNNING` has no retry."""
    return Transition(ACTIVE, Status.ERRORED, why, {"result_data": error, "completed": NOW} | set, outcome, error)


GONE = text(-28504, "went missing")
LATE = text(-28408, "ran longer than 1.5 s")
DEADLY = text(-28504, "went missing 3 times in a row, which its workers may not survive: not tried again")
NONSENSE = text(-28000, "the worker reported a status that is none")

SETTLED = [
    (RETRIED, Lapsed(), again(Outcome.TIMED_OUT, LATE, "timed out", NOW + 55)),
    (
        attrs.evolve(RETRIED, max_retries=1),
        Lapsed(),
        over(Outcome.TIMED_OUT, LATE, "timed out", lease_at=None, stops_at=None),
    ),
    # its time is not over, but the lease is
    (
        attrs.evolve(RETRIED, stops_at=NOW + 1),
        Lapsed(),
        Transition(ACTIVE, Status.MISSING, "no sign of life", {"lease_at": NOW + 5}),
    ),
    (
        attrs.evolve(RUNNING, stops_at=NOW - 1),  # without a timeout
        Lapsed(),
        Transition(ACTIVE, Status.MISSING, "no sign of life", {"lease_at": NOW + 5}),
    ),
    (
        as_status(Status.ALMOST_DONE, RETRIED),
        Lapsed(),
        Transition(ACTIVE, Status.MISSING, "no data came", {"lease_at": NOW + 5}),
    ),
    (as_status(Status.MISSING, RETRIED), Lapsed(), again(Outcome.MISSING, GONE, "went missing", NOW + 4)),
    (
        as_status(Status.MISSING, RETRIED),
        Lapsed(was_started=True, losses=1),
        again(Outcome.MISSING, GONE, "went missing", NOW + 50),
    ),
    (
        as_status(Status.MISSING, RETRIED, updated=NOW - 60),
        Lapsed(was_started=True),
        again(Outcome.MISSING, GONE, "went missing", NOW + 4),
    ),
    (
        as_status(Status.MISSING),
        Lapsed(was_started=True, losses=9),
        over(Outcome.MISSING, GONE, "went missing"),
    ),  # no retry anyway
    (
        as_status(Status.MISSING, RETRIED),
        Lapsed(losses=2),  # none of them was started: no worker can have died of it
        again(Outcome.MISSING, GONE, "went missing", NOW + 4),
    ),
    (
        as_status(Status.MISSING, RETRIED),
        Lapsed(was_started=True, losses=2),
        over(Outcome.MISSING, DEADLY, "went missing again", lease_at=None, stops_at=None),
    ),
    (
        RUNNING,
        Ended(),
        Transition(ACTIVE, Status.ALMOST_DONE, "ended, data to come", {"lease_at": NOW + 30}),
    ),
    (RUNNING, Ended({"code": 1}), over(Outcome.WORKER_FAILED, '{"code":1}', "worker_failed")),
    (RETRIED, Ended({"code": 1}, Outcome.REFUSED), again(Outcome.REFUSED, '{"code":1}', "refused", NOW + 4)),
    (RUNNING, Vanished(True, 60), Transition(ACTIVE, Status.MISSING, "connection lost", {"lease_at": NOW + 60})),
    (
        as_status(Status.MISSING),
        Vanished(False, 15),
        Transition(ACTIVE, Status.MISSING, "connection lost", {"lease_at": NOW + 15}),
    ),
    (
        RETRIED,
        Vanished(False, 60),
        Transition(
            ONE,
            Status.READY,
            "released: connection lost before it started",
            {"lease_at": None, "stops_at": None},
            Outcome.RELEASED,
        ),
    ),
    (RUNNING, Unsent(), Transition(ONE, Status.READY, "released: never sent", {}, Outcome.RELEASED)),
    (as_status(Status.MISSING), Unsent(), None),
    (RUNNING, NoWorker(), Transition(ACTIVE, Status.MISSING, "no worker left", {"lease_at": NOW + 5})),
    (as_status(Status.ALMOST_DONE), NoWorker(), None),
    (
        as_status(Status.MISSING),
        Seen(),
        Transition(ACTIVE, Status.RUNNING, "Gearman knows its worker", {"lease_at": NOW + 30}),
    ),
    (RUNNING, Seen(), None),  # watched anyway
    (as_status(Status.ALMOST_DONE, lease_at=NOW + 1), Seen(), None),
    (attrs.evolve(RUNNING, lease_at=NOW + 20), Seen(), None),  # fresh enough
    (
        attrs.evolve(RUNNING, lease_at=NOW + 19.9),
        Seen(),
        Transition(ACTIVE, Status.RUNNING, "alive", {"lease_at": NOW + 30}),
    ),
    (
        RETRIED,
        Reported(Status.COMPLETE, "5", progress=9.0),
        Transition(
            ACTIVE,
            Status.COMPLETE,
            "worker's data",
            {
                "progress": 9.0,
                "progress_at": NOW,
                "result_data": "5",
                "completed": NOW,
                "lease_at": None,
                "stops_at": None,
            },
            Outcome.COMPLETE,
        ),
    ),
    (
        RUNNING,
        Reported(Status.COMPLETE),
        Transition(ACTIVE, Status.COMPLETE, "worker's data", {"completed": NOW}, Outcome.COMPLETE),
    ),
    (
        RETRIED,
        Reported(Status.INVALID, "5", progress=9.0),
        Transition(
            ACTIVE,
            Status.INVALID,
            "unknown status",
            {
                "progress": 9.0,
                "progress_at": NOW,
                "result_data": NONSENSE,
                "completed": NOW,
                "lease_at": None,
                "stops_at": None,
            },
            Outcome.ERRORED,
            NONSENSE,
        ),
    ),
    (
        RUNNING,
        Reported(Status.ERRORED, '"no"', progress=9.0),
        over(Outcome.ERRORED, '"no"', "worker's error", progress=9.0, progress_at=NOW),
    ),
    (
        as_status(Status.MISSING, RETRIED, retry_delay=0.5, updated=NOW - 54.8),
        Lapsed(was_started=True),
        again(Outcome.MISSING, GONE, "went missing", NOW + 0.5),
    ),
    (
        as_status(Status.MISSING, RETRIED, retry_delay=0.5),
        Lapsed(),
        again(Outcome.MISSING, GONE, "went missing", NOW + 0.5),
    ),
    (RETRIED, Reported(Status.ERRORED, '"no"'), again(Outcome.ERRORED, '"no"', "worker's error", NOW + 4)),
    (
        attrs.evolve(RUNNING, result_data='"so far"'),
        Reported(Status.ERRORED),
        over(Outcome.ERRORED, '"so far"', "worker's error"),
    ),
    (
        RUNNING,
        Reported(progress=1.0),
        Transition(ACTIVE, Status.RUNNING, "news from its worker", {"progress": 1.0, "progress_at": NOW}),
    ),
    (
        as_status(Status.ALMOST_DONE, lease_at=NOW + 1),
        Reported(data="1"),
        Transition(ACTIVE, Status.ALMOST_DONE, "news from its worker", {"result_data": "1"}),
    ),
    (
        as_status(Status.MISSING),
        Reported(data="1"),
        Transition(ACTIVE, Status.RUNNING, "news from its worker", {"result_data": "1", "lease_at": NOW + 30}),
    ),
]


@pytest.mark.parametrize(("was", "event", "decided"), SETTLED)
def test_settle_to_the_letter(was: Job, event: Event, decided: Transition | None) -> None:
    assert attempts.settle(was, event, NOW) == decided


@pytest.mark.parametrize(
    ("news", "instead"),
    [
        (Ended({"code": 1}, Outcome.REFUSED), Ended({"code": 413, "message": "too much"}, Outcome.REFUSED)),
        (Reported(Status.COMPLETE, "1"), Reported(Status.ERRORED, '{"code":413,"message":"too much"}')),
        (
            Reported(data="1", separator=""),
            Reported(Status.ERRORED, '{"code":413,"message":"too much"}', goes_on=True),
        ),
    ],
)
def test_news_with_more_data_than_can_be_kept_is_an_error(news: Event, instead: Event) -> None:
    assert attempts.unkept(news, "too much") == instead


def test_chance_spreads_what_failed_together() -> None:
    flaky = attrs.evolve(RETRIED, backoff=Backoff.EXPONENTIAL, retry_delay=100.0, retry_delay_max=1000.0)
    for event in (Ended({"code": 1}), Lapsed(), Reported(Status.ERRORED)):
        pauses = [attempts.settle(flaky, event, NOW, chance) for chance in (0.0, 1.0)]
        assert [pause and pause.set["opens_at"] for pause in pauses] == [NOW + 100, NOW + 200], event
    missing = as_status(Status.MISSING, flaky)
    pauses = [attempts.settle(missing, Lapsed(), NOW, chance) for chance in (0.0, 1.0)]
    assert [pause and pause.set["opens_at"] for pause in pauses] == [NOW + 100, NOW + 200]
    usual = attempts.settle(flaky, Ended({"code": 1}), NOW)
    assert usual is not None
    assert usual.set["opens_at"] == NOW + 150
    worn = attrs.evolve(flaky, retries=2, retry_delay_max=1e30, retry_delay=1e-18)
    assert attempts.delay_of(attrs.evolve(worn, retries=1000), 1.0) == attempts.delay_of(
        attrs.evolve(worn, retries=64), 1.0
    )


BEGUN = [
    (RUNNING, None),  # watched, and without a timeout: nothing to write
    (attrs.evolve(RUNNING, timeout=9.0), Transition(ACTIVE, Status.RUNNING, "started", {"stops_at": NOW + 9})),
    (attrs.evolve(RUNNING, timeout=9.0, stops_at=NOW + 2), None),  # asked again
    (as_status(Status.MISSING), Transition(ACTIVE, Status.RUNNING, "found again", {"lease_at": NOW + 30})),
    (
        as_status(Status.MISSING, timeout=9.0),
        Transition(ACTIVE, Status.RUNNING, "found again", {"stops_at": NOW + 9, "lease_at": NOW + 30}),
    ),
]


@pytest.mark.parametrize(("was", "decided"), BEGUN)
def test_begin_to_the_letter(was: Job, decided: Transition | None) -> None:
    assert attempts.begin(was, NOW) == decided


ALIVE = [
    (RUNNING, 2, (True, None)),
    (RUNNING, 1, (False, None)),
    (as_status(Status.COMPLETE), 2, (False, None)),
    (attrs.evolve(RUNNING, stops_at=NOW), 2, (False, None)),
    (attrs.evolve(RUNNING, stops_at=NOW + 1), 2, (True, None)),
    (
        as_status(Status.MISSING),
        2,
        (True, Transition(ACTIVE, Status.RUNNING, "found again", {"lease_at": NOW + 30})),
    ),
]


@pytest.mark.parametrize(("was", "epoch", "answer"), ALIVE)
def test_alive_to_the_letter(was: Job, epoch: int, answer: tuple[bool, Transition | None]) -> None:
    assert attempts.alive(was, epoch, NOW) == answer


ADOPTED = [
    (RUNNING, {"owner": "other", "lease_at": NOW + 30}),
    (attrs.evolve(RUNNING, method=rules.NOOPWAIT), {"owner": "other"}),
    (as_status(Status.MISSING), {"owner": "other"}),
    (as_status(Status.ALMOST_DONE), {"owner": "other"}),
]


@pytest.mark.parametrize(("was", "set"), ADOPTED)
def test_adopt_to_the_letter(was: Job, set: dict[str, Any]) -> None:
    assert attempts.adopt(was, "other", NOW) == Transition(ACTIVE, was.status, "adopted", set)


# --- what has not started ---


def failing(code: int, message: str, why: str) -> Transition:
    return Transition(NOT_STARTED, Status.ERRORED, why, {"result_data": text(code, message), "completed": NOW})


def at_once(why: str, data: str | None = None, epoch: int = 1) -> Transition:
    set = {"epoch": epoch, "completed": NOW, "result_data": data}
    return Transition(JUST_READY, Status.COMPLETE, why, set, Outcome.COMPLETE)


NOBODY = text(-28404, "No worker available")
WAITING = as_status(Status.WAITING, READY, after_id=3)

CHECKED: list[tuple[Facts, Transition | Waiting]] = [
    (Facts(WAITING, after=Status.ERRORED), failing(-28523, "Dependency (after) errored", "after 3 errored")),
    (Facts(READY, pool=Pool(has_failed=True)), failing(-28524, "Dependency (before) errored", "pool errored")),
    (
        Facts(READY, pool=Pool(True, True)),
        Transition(NOT_STARTED, Status.WAITING, "its pool is not done"),
    ),
    (
        Facts(attrs.evolve(READY, expires=NOW)),
        failing(-28410, "expired before it could start", "expired"),
    ),
    (
        Facts(attrs.evolve(READY, after_id=3), after=Status.RUNNING, pool=Pool(True)),
        Transition(NOT_STARTED, Status.WAITING, "its parent is not done, its pool is not done"),
    ),
    (
        Facts(attrs.evolve(WAITING, opens_at=NOW + 9), after=Status.RUNNING),
        Waiting((Reason.AFTER, Reason.DATE), NOW + 9),
    ),
    (
        Facts(as_status(Status.WAITING, READY, opens_at=NOW + 9, retries=1)),
        Waiting((Reason.RETRY,), NOW + 9),
    ),
    (Facts(WAITING, after=Status.RUNNING), Waiting((Reason.AFTER,), inf)),
    (
        Facts(WAITING, after=Status.COMPLETE),
        Transition(frozenset({Status.WAITING}), Status.READY, "gates open", {"opens_at": None}),
    ),
    (
        Facts(READY, twin=5, workers=1),
        Transition(JUST_READY, Status.DUPLICATE, "dedupe: 5 runs", {"see_other": 5, "completed": NOW}),
    ),
    (Facts(attrs.evolve(READY, method=rules.NOOP)), at_once("noop")),
    (Facts(attrs.evolve(READY, method=rules.NOOPWAIT, released=True, epoch=4)), at_once("noop", epoch=5)),
    (Facts(attrs.evolve(READY, method=rules.NOOPGO), releases=True), at_once("noopgo", "true")),
    (Facts(attrs.evolve(READY, method=rules.NOOPGO)), at_once("noopgo", "false")),
    (
        Facts(attrs.evolve(READY, method=rules.NOOPWAIT)),
        Transition(JUST_READY, Status.RUNNING, "noopwait", {"epoch": 1, "stops_at": None}),
    ),
    (
        Facts(attrs.evolve(READY, method=rules.NOOPWAIT, timeout=5.0)),
        Transition(JUST_READY, Status.RUNNING, "noopwait", {"epoch": 1, "stops_at": NOW + 5}),
    ),
    (
        Facts(READY, workers=0),
        Transition(
            JUST_READY,
            Status.ERRORED,
            "no worker",
            {"epoch": 1, "result_data": NOBODY, "completed": NOW},
            Outcome.NO_WORKER,
            NOBODY,
        ),
    ),
    (Facts(READY, workers=1), Transition(JUST_READY, Status.RUNNING, "claimed", {"epoch": 1}, starts=True)),
    (Facts(RUNNING), Waiting((Reason.STARTED,))),
]


@pytest.mark.parametrize(("facts", "decided"), CHECKED)
def test_check_to_the_letter(facts: Facts, decided: Transition | Waiting) -> None:
    assert rules.check(facts, NOW) == decided


def test_a_try_without_a_worker_waits_as_chance_has_it() -> None:
    flaky = attrs.evolve(READY, max_retries=1, backoff=Backoff.EXPONENTIAL, retry_delay=100.0)
    pauses = [rules.check(Facts(flaky, workers=0), NOW, *chance) for chance in ((0.0,), (1.0,), ())]
    assert [pause.set["opens_at"] for pause in pauses if isinstance(pause, Transition)] == [
        NOW + 50,
        NOW + 100,
        NOW + 75,
    ]


GONE_ON = [
    (RUNNING, None),  # no noopwait
    (as_status(Status.COMPLETE, method=rules.NOOPWAIT), None),
    (attrs.evolve(READY, method=rules.NOOPWAIT, released=True), None),
    (
        attrs.evolve(RUNNING, method=rules.NOOPWAIT),
        Transition(ONE, Status.COMPLETE, "noopgo", {"released": True, "completed": NOW}, Outcome.COMPLETE),
    ),
    (
        attrs.evolve(READY, method=rules.NOOPWAIT),
        Transition(CURRENT, Status.READY, "noopgo", {"released": True}),
    ),
]


@pytest.mark.parametrize(("was", "decided"), GONE_ON)
def test_go_to_the_letter(was: Job, decided: Transition | None) -> None:
    assert rules.go(was, NOW) == decided


PAUSED = as_status(Status.WAITING, RETRIED, updated=NOW - 5, opens_at=NOW + 600)
LOST = Attempt(7, 2, "core", NOW - 90, started_at=NOW - 80, ended_at=NOW - 5, outcome=Outcome.MISSING)
HURRIED = [
    (READY, None, "not at all"),
    (attrs.evolve(PAUSED, opens_at=None), None, "not at all"),  # it waits for other jobs
    (as_status(Status.WAITING, READY, opens_at=NOW + 9), None, None),
    (PAUSED, attrs.evolve(LOST, outcome=Outcome.ERRORED), None),
    (PAUSED, attrs.evolve(LOST, started_at=None), None),
    (PAUSED, LOST, NOW + 50),
    (PAUSED, attrs.evolve(LOST, outcome=Outcome.TIMED_OUT), NOW + 50),
    (PAUSED, attrs.evolve(LOST, outcome=Outcome.TIMED_OUT, started_at=None), NOW + 50),  # its worker asked no leave
    (PAUSED, attrs.evolve(LOST, outcome=Outcome.CANCELLED), NOW + 50),  # it said too much
    (attrs.evolve(PAUSED, updated=NOW - 55), LOST, None),
    (attrs.evolve(PAUSED, opens_at=NOW + 50), LOST, "not at all"),
    (attrs.evolve(PAUSED, opens_at=NOW + 45), LOST, "not at all"),  # it was lost before it was given up
]


@pytest.mark.parametrize(("was", "last", "opens_at"), HURRIED)
def test_hurry_to_the_letter(was: Job, last: Attempt | None, opens_at: float | str | None) -> None:
    decided = Transition(frozenset({Status.WAITING}), Status.WAITING, "run now", {"opens_at": opens_at})
    assert rules.hurry(was, last, NOW) == (None if opens_at == "not at all" else decided)


def test_cancel_to_the_letter() -> None:
    set = {"result_data": text(-28499, "cancelled"), "completed": NOW, "lease_at": None, "stops_at": None}
    assert rules.cancel(READY, None, NOW) == Transition(NOT_STARTED, Status.INVALID, "cancelled", set)
    error = text(-28499, "cancelled: no need")
    assert rules.cancel(RUNNING, "no need", NOW) == Transition(
        ACTIVE, Status.INVALID, "cancelled: no need", set | {"result_data": error}, Outcome.CANCELLED, error
    )
    assert rules.cancel(as_status(Status.COMPLETE), None, NOW) is None


REFUSED = [
    (NewJob("a::b", after_id=3), None, None, False, 404, "no such job: 3 (after_id)"),
    (NewJob("a::b", before_id=4), None, None, False, 404, "no such job: 4 (before_id)"),
    (NewJob("a::b", before_id=7), None, RUNNING, False, 409, "job 7 is running: no job can be put before it any more"),
    (
        NewJob("a::b", after_id=7, before_id=8),
        READY,
        READY,
        True,
        400,
        "job 7 waits for job 8: they would wait for ever",
    ),
]


@pytest.mark.parametrize(("new", "parent", "target", "is_cycle", "code", "message"), REFUSED)
def test_admit_says_what_is_wrong(
    new: NewJob, parent: Job | None, target: Job | None, is_cycle: bool, code: int, message: str
) -> None:
    with pytest.raises(RpcError) as caught:
        rules.admit(new, parent, target, is_cycle)
    assert (caught.value.code, caught.value.message) == (code, message)


# --- what watchers get ---

ERRORS = [
    (as_status(Status.INVALID), (-28000, "the job is invalid", None)),
    (as_status(Status.INVALID, result_data='{"code":5,"message":6,"data":[7]}'), (5, "6", [7])),
    (as_status(Status.ERRORED), (-28500, "the job errored", None)),
    (as_status(Status.ERRORED, result_data='"no"'), (-28500, "no", "no")),
    (as_status(Status.ERRORED, result_data="no JSON"), (-28500, "no JSON", "no JSON")),
    (as_status(Status.ERRORED, result_data='{"code":5}'), (-28500, "the job errored", {"code": 5})),
    (as_status(Status.ERRORED, result_data='{"message":5}'), (-28500, "the job errored", {"message": 5})),
    (as_status(Status.ERRORED, result_data='["code","message"]'), (-28500, "the job errored", ["code", "message"])),
]


@pytest.mark.parametrize(("job", "error"), ERRORS)
def test_an_error_to_the_letter(job: Job, error: tuple[Any, ...]) -> None:
    found = answers.error_of(job)
    assert (found.code, found.message, found.data) == error


@pytest.mark.parametrize("status", [*sorted(CURRENT, key=str), Status.DUPLICATE])
def test_who_has_no_answer_of_its_own_is_not_asked(status: Status) -> None:
    with pytest.raises(AssertionError):
        answers.answer(as_status(status))
