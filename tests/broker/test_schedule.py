"""Recurring jobs: SUBMIT_JOB_SCHED."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from broker_stage import Stage, to
from hypothesis import given
from hypothesis import strategies as st

from abraxas_py.broker import schedule
from abraxas_py.broker.schedule import next_due, parse
from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.packets import Type

CLIENT, OTHER, WORKER = 1, 2, 9
ONE = b"H:test:1"


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place where the clocks are changed: 2024-03-31 02:00 -> 03:00, 2024-10-27 03:00 -> 02:00."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_field_longer_than_any_list_of_its_numbers_is_not_looked_at() -> None:
    every = ",".join(f"{minute:02}" for minute in range(60))
    assert len(parse([every.encode(), b"", b"", b"", b""]).minutes) == 60
    with pytest.raises(RemoteProtocolError, match="minute is too long"):
        parse([every.encode() + b",0" * 100, b"", b"", b"", b""])


def after(fields: str, now: str) -> str:
    due_at = next_due(parse(fields.encode().split(b" ")), datetime.fromisoformat(now).timestamp())
    return datetime.fromtimestamp(due_at).isoformat(" ", "minutes")


@pytest.mark.parametrize(
    ("fields", "now", "due"),
    [
        ("* * * * *", "2024-01-01 00:00:59", "2024-01-01 00:01"),
        ("    ", "2024-01-01 00:00", "2024-01-01 00:01"),
        ("0 0 1 1 *", "2024-01-01 00:00", "2025-01-01 00:00"),
        ("*/15 9-17 * * *", "2024-01-01 17:45", "2024-01-02 09:00"),
        ("5,35 * * * *", "2024-01-01 00:05", "2024-01-01 00:35"),
        ("10-50/20 * * * *", "2024-01-01 00:10", "2024-01-01 00:30"),
        ("50/5 * * * *", "2024-01-01 00:50", "2024-01-01 00:55"),
        ("0 0 * * 0", "2024-01-02 00:00", "2024-01-08 00:00"),  # 0 = Monday
        ("0 0 29 2 *", "2024-03-01 00:00", "2028-02-29 00:00"),
        ("0 0 29 2 0", "2024-03-01 00:00", "2044-02-29 00:00"),
        ("0 0 31 * *", "2024-03-31 00:00", "2024-05-31 00:00"),
        ("30 2 * * *", "2024-03-30 02:30", "2024-03-31 03:30"),  # it does not exist: an hour later
        ("30 2 * * *", "2024-10-26 02:30", "2024-10-27 02:30"),
        ("30 2 * * *", "2024-10-27 02:30", "2024-10-28 02:30"),  # the second one is not meant
    ],
)
def test_when_it_is_due_next(fields: str, now: str, due: str) -> None:
    assert after(fields, now) == due


def test_a_schedule_for_every_hour_goes_on_while_the_clocks_go_back() -> None:
    plan = parse([b"0,30", b"", b"", b"", b""])
    now = datetime(2024, 10, 27, 1, 30).timestamp()
    due = []
    for _ in range(5):
        now = next_due(plan, now)
        due.append(now)
    assert [later - earlier for earlier, later in pairwise(due)] == [1800] * 4


@pytest.mark.parametrize(
    "fields",
    [
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 7",
        "x * * * *",
        "1- * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "1,,2 * * * *",
        "-1 * * * *",
        "* * 31 2,4 *",
        "1" * 99 + " * * * *",
    ],
)
def test_wrong_fields_are_refused(fields: str) -> None:
    with pytest.raises(RemoteProtocolError, match="schedule's"):
        parse(fields.encode().split(b" "))


field = st.sets(st.integers(0, 6), min_size=1).map(lambda values: b",".join(b"%d" % value for value in values))


@given(field, field, st.integers(1_600_000_000, 1_900_000_000))
def test_it_is_due_in_the_first_minute_that_agrees(minutes: bytes, weekdays: bytes, now: int) -> None:
    plan = parse([minutes, b"", b"", b"", weekdays])
    minute = datetime.fromtimestamp(now - now % 60) + timedelta(minutes=1)
    while minute.minute not in plan.minutes or minute.weekday() not in plan.weekdays:
        minute += timedelta(minutes=1) if minute.minute < 6 else timedelta(minutes=60 - minute.minute)
    due = datetime.fromtimestamp(schedule.next_due(plan, now))
    assert abs(due - minute) <= timedelta(hours=1)  # but for the hour that comes twice or not at all
    assert due.minute in plan.minutes


def test_a_recurring_job_keeps_its_handle_from_run_to_run_until_it_is_cancelled(stage: Stage) -> None:
    stage.now = datetime(2024, 1, 1).timestamp()
    arguments = (b"f", b"u", b"0", b"", b"", b"", b"", b"x")
    assert stage.say(CLIENT, Type.SUBMIT_JOB_SCHED, *arguments) == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert stage.say(OTHER, Type.SUBMIT_JOB_SCHED, *arguments) == [to(OTHER, Type.JOB_CREATED, ONE)]
    assert stage.say(CLIENT, Type.GET_STATUS, ONE) == [to(CLIENT, Type.STATUS_RES, ONE, b"1", b"0", b"0", b"0")]
    assert stage.ask(CLIENT, b"status") == b"f\t1\t0\t0\n."
    stage.sleeper(WORKER, b"f")
    for end in (Type.WORK_COMPLETE, Type.WORK_EXCEPTION, Type.WORK_FAIL):
        assert stage.wait(3599) == []
        assert stage.wait(1) == [to(WORKER, Type.NOOP)]
        assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, ONE, b"f", b"x")]
        stage.say(WORKER, end, *([ONE] if end is Type.WORK_FAIL else [ONE, b""]))
        assert stage.say(WORKER, Type.PRE_SLEEP) == []
    assert stage.ask(CLIENT, b"status") == b"f\t1\t0\t1\n."
    assert stage.ask(CLIENT, b"cancel job " + ONE) == b"OK\r"
    assert stage.ask(CLIENT, b"status") == b"f\t0\t0\t1\n."
    assert stage.broker.deadline == float("inf")


def test_a_run_that_takes_long_is_not_run_twice_at_once(stage: Stage) -> None:
    stage.now = datetime(2024, 1, 1).timestamp()
    stage.say(CLIENT, Type.SUBMIT_JOB_SCHED, b"f", b"", b"", b"", b"", b"", b"", b"x")
    stage.worker(WORKER, b"f")
    stage.wait(60)
    stage.say(WORKER, Type.GRAB_JOB)
    assert stage.wait(600) == []
    stage.say(WORKER, Type.WORK_COMPLETE, ONE, b"")
    assert stage.broker.deadline == stage.now + 60


def test_who_joins_a_recurring_job_hears_one_run(stage: Stage) -> None:
    stage.now = datetime(2024, 1, 1).timestamp()
    stage.say(CLIENT, Type.SUBMIT_JOB_SCHED, b"f", b"u", b"", b"", b"", b"", b"", b"x")
    stage.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.worker(WORKER, b"f")
    for told in ([to(OTHER, Type.WORK_COMPLETE, ONE, b"")], []):
        stage.wait(60)
        stage.say(WORKER, Type.GRAB_JOB)
        assert stage.say(WORKER, Type.WORK_COMPLETE, ONE, b"") == told
    assert stage.broker.peers[OTHER].waiting == {}


def test_a_wrong_schedule_is_an_error_without_a_job(stage: Stage) -> None:
    (effect,) = stage.say(CLIENT, Type.SUBMIT_JOB_SCHED, b"f", b"", b"60", b"", b"", b"", b"", b"x")
    assert effect.message.body.startswith(b"INVALID_ARGUMENT\0")
    assert stage.broker.jobs == {}
