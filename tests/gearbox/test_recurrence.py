"""When recurring jobs run: time zones whose clocks are put forward and back, absences, overlaps."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import product

import attrs
import pytest
from cronsim import CronSimError
from hypothesis import given
from hypothesis import strategies as st

from gearbox.rules.recurrence import Missed, Overlap, Schedule, due_runs, forecast, next_after, problem_of, take


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def entry(**fields: object) -> Schedule:
    start = Schedule("s", "0 * * * *", "UTC", Overlap.SKIP, Missed.ONCE, "{}", 0.0, "me", at("2026-01-01T01:00"))
    return attrs.evolve(start, **fields)


RUNS = [
    # cron, zone, from, the next runs in UTC
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T02:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),  # 2:30 is skipped
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T02:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),  # 2:30 comes twice
    ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:10", ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"]),
    ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:40", ["2026-03-29T01:00", "2026-03-29T01:30"]),
    ("0 12 29 2 *", "UTC", "2026-03-01T00:00", ["2028-02-29T12:00", "2032-02-29T12:00"]),
    ("0 9 * * MON-FRI", "America/New_York", "2026-11-20T15:00", ["2026-11-23T14:00", "2026-11-24T14:00"]),
    ("*/20 * * * * *", "UTC", "2026-01-01T00:00", ["2026-01-01T00:00:20", "2026-01-01T00:00:40"]),
    ("0 0 L * *", "Asia/Kathmandu", "2026-02-01T00:00", ["2026-02-27T18:15"]),
]


@pytest.mark.parametrize(("cron", "zone", "start", "runs"), RUNS)
def test_next_after(cron: str, zone: str, start: str, runs: list[str]) -> None:
    moment = at(start)
    for run in runs:
        moment = next_after(cron, zone, moment)
        assert moment == at(run)


PROBLEMS = [
    ("* * * * *", "UTC", None),
    ("* * * * *", "Europe/Berlin", None),
    ("* * * *", "UTC", "cron: "),
    ("61 * * * *", "UTC", "cron: Bad minute"),
    ("", "UTC", "cron: "),
    ("0 0 */29 2 MON#5", "UTC", "cron: no such date comes within 50 years"),  # the 1st or 30th, and the 29th
    ("* * * * *", "Mars/Base", "timezone: no time zone is called Mars/Base"),
    ("* * * * *", "../../etc/passwd", "timezone: "),
    ("* * * * *", "", "timezone: "),
]


@pytest.mark.parametrize(("cron", "zone", "problem"), PROBLEMS)
def test_problems_are_named(cron: str, zone: str, problem: str | None) -> None:
    found = problem_of(cron, zone, 0.0)
    assert found is None if problem is None else found is not None and found.startswith(problem)


ABSENCES = [
    # now, missed policy, jobs to make, next run
    ("01:00:00", Missed.ONCE, 1, "02:00"),
    ("01:00:59", Missed.SKIP, 1, "02:00"),
    ("01:01:00", Missed.SKIP, 1, "02:00"),
    ("01:01:01", Missed.SKIP, 0, "02:00"),
    ("01:01:01", Missed.ONCE, 1, "02:00"),
    ("06:30:00", Missed.SKIP, 0, "07:00"),
    ("06:30:00", Missed.ONCE, 1, "07:00"),
    ("06:30:00", Missed.ALL, 6, "07:00"),
    ("07:00:10", Missed.SKIP, 1, "08:00"),
    ("07:00:10", Missed.ONCE, 2, "08:00"),
    ("07:00:10", Missed.ALL, 7, "08:00"),
    ("00:30:00", Missed.ALL, 0, "01:00"),
]


@pytest.mark.parametrize(("now", "missed", "made", "next_run"), ABSENCES)
def test_due_runs(now: str, missed: Missed, made: int, next_run: str) -> None:
    assert due_runs(entry(missed=missed), at(f"2026-01-01T{now}")) == (made, at(f"2026-01-01T{next_run}"))


def test_a_year_of_absence_is_bounded() -> None:
    runs, next_at = due_runs(entry(cron="* * * * *", missed=Missed.ALL), at("2027-01-01T00:00:30"))
    assert (runs, next_at) == (100, at("2027-01-01T00:01"))
    on_the_minute = due_runs(entry(cron="* * * * *", missed=Missed.ALL), at("2027-01-01T00:01:00"))
    assert on_the_minute == (100, at("2027-01-01T00:02"))


def test_several_runs_within_a_minute_are_all_on_time() -> None:
    every_second = entry(cron="* * * * * *", next_at=at("2026-01-01T01:00:00"))
    assert due_runs(every_second, at("2026-01-01T01:00:04.5")) == (5, at("2026-01-01T01:00:05"))


def test_a_forecast_begins_with_the_next_run_and_has_as_many_as_asked_for() -> None:
    hours = [at(f"2026-01-01T0{hour}:00") for hour in (1, 2, 3)]
    assert [forecast(entry(), count) for count in (1, 2, 3)] == [hours[:1], hours[:2], hours]


@pytest.mark.parametrize(("until", "runs"), [("00:59:59", 0), ("01:00", 1), ("02:59:59", 2), ("03:00", 3)])
def test_a_forecast_ends_with_the_last_run_until_then(until: str, runs: int) -> None:
    assert len(forecast(entry(), 300, at(f"2026-01-01T{until}"))) == runs


def test_a_forecast_costs_what_it_has() -> None:
    yearly = entry(cron="0 0 1 1 *", next_at=at("2027-01-01T00:00"))

    def cost(until: float) -> float:
        begin = time.process_time()
        for _ in range(10):
            forecast(yearly, 300, until)
        return time.process_time() - begin

    assert cost(at("2028-06-01T00:00")) * 5 < cost(at("2326-06-01T00:00"))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Apia"])
def test_runs_end_with_the_calendar(zone: str) -> None:
    leap_sundays = entry(cron="0 0 29 2 */7", timezone=zone, next_at=at("9912-01-01T00:00"))
    assert 1 < len(forecast(leap_sundays, 300)) < 9
    daily = entry(cron="0 0 * * *", timezone=zone, next_at=at("9999-12-30T00:00"))
    assert len(forecast(daily, 300)) in (2, 3)


TAKES = [
    (Overlap.SKIP, 0, 0, False, (0, 0)),
    (Overlap.SKIP, 3, 0, False, (1, 0)),
    (Overlap.SKIP, 3, 0, True, (0, 0)),
    (Overlap.QUEUE, 3, 0, False, (1, 2)),
    (Overlap.QUEUE, 1, 2, True, (0, 3)),
    (Overlap.QUEUE, 0, 2, False, (1, 1)),
    (Overlap.QUEUE, 90, 90, True, (0, 100)),
    (Overlap.ALLOW, 3, 0, True, (3, 0)),
]


@pytest.mark.parametrize(("overlap", "runs", "waiting", "is_busy", "expected"), TAKES)
def test_take(overlap: Overlap, runs: int, waiting: int, is_busy: bool, expected: tuple[int, int]) -> None:
    assert take(entry(overlap=overlap, waiting=waiting), runs, is_busy) == expected


@given(
    st.sampled_from(["* * * * *", "*/7 3 * * *", "30 2 * * *", "0 0 1 * *", "5 4 * * SUN"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.floats(1.7e9, 2.5e9),
)
def test_runs_only_go_forward(cron: str, zone: str, start: float) -> None:
    first = next_after(cron, zone, start)
    assert first > start
    runs = forecast(entry(cron=cron, timezone=zone, next_at=first), 4)
    assert runs == sorted(set(runs))
    assert all(run % 60 == 0 for run in runs)


def test_a_broken_entry_is_an_error_not_a_loop() -> None:
    for cron, now in product(["never", "99 * * * *"], [0.0]):
        with pytest.raises(CronSimError):
            next_after(cron, "UTC", now)
