"""SUBMIT_JOB_SCHED: when a recurring job is due next. Pure, but for the machine's time zone, in which its fields are
meant.

Five fields say when: minute (0-59), hour (0-23), day of month (1-31), month (1-12), day of week (0-6, 0 = Monday, as
PROTOCOL has it and cron has not). Each is `*` or empty for any, or a list of numbers, ranges and steps as in cron
(`0,30`, `9-17`, `*/15`, `10-50/20`). A job is due in the minutes in which all five agree.

Where the clocks go forward, a time that does not exist is meant an hour later; where they go back, the first of two
equal times is meant, but both by a schedule for every hour.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf

from abraxas_py.errors import RemoteProtocolError

__all__ = ["Schedule", "next_due", "parse", "text"]

# After how many years every combination of a date and a day of the week has come: 29 February is a Monday each 28
# years, or 40 around a century without a leap year.
HORIZON_YEARS = 41

MAX_FIELD_BYTES = 256  # all minutes in a list are 179; whoever sent megabytes would hold everybody up

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
_PART = re.compile(rb"(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values that each field may have, ascending."""

    minutes: Sequence[int]
    hours: Sequence[int]
    days: Sequence[int]
    months: Sequence[int]
    weekdays: Sequence[int]


def parse(fields: Sequence[bytes]) -> Schedule:
    """Understand the five fields, in PROTOCOL's order. Raises RemoteProtocolError for what could never be due."""
    schedule = Schedule(
        *(_values(field, name, low, high) for field, (name, low, high) in zip(fields, _FIELDS, strict=True))
    )
    if not any(day <= _longest(month) for month in schedule.months for day in schedule.days):
        raise RemoteProtocolError("INVALID_ARGUMENT", "The schedule's date never comes")
    return schedule


def text(schedule: Schedule) -> bytes:
    """The schedule in words that `parse(text.split())` understands.

    >>> text(parse([b"*/20", b"4", b"1-3", b"12", b"0"]))
    b'0,20,40 4 1,2,3 12 0'
    """
    fields = (schedule.minutes, schedule.hours, schedule.days, schedule.months, schedule.weekdays)
    return b" ".join(b",".join(b"%d" % value for value in field) for field in fields)


def _values(field: bytes, name: str, low: int, high: int) -> list[int]:
    if len(field) > MAX_FIELD_BYTES:
        raise RemoteProtocolError("ARGUMENT_TOO_LARGE", f"The schedule's {name} is too long")
    values: set[int] = set()
    for part in field.split(b",") if field else [b"*"]:
        found = _PART.fullmatch(part)
        if found is None:
            raise RemoteProtocolError("INVALID_ARGUMENT", f"The schedule's {name} cannot be understood")
        star, first, last, step = found.groups()
        start = low if star else int(first)
        # As in cron, `5/15` is `5-59/15`.
        stop = int(last) if last else high if star or step else start
        if not low <= start <= stop <= high or (step and int(step) == 0):
            raise RemoteProtocolError("INVALID_ARGUMENT", f"The schedule's {name} must be from {low} to {high}")
        values.update(range(start, stop + 1, int(step or 1)))
    return sorted(values)


def _longest(month: int) -> int:
    return 29 if month == 2 else calendar.monthrange(2001, month)[1]


def next_due(schedule: Schedule, now: float) -> float:
    """The first instant after `now` at which the schedule is due; inf if it is not within 40 years.

    >>> from datetime import datetime
    >>> daily = parse([b"30", b"4", b"", b"", b""])
    >>> datetime.fromtimestamp(next_due(daily, datetime(2024, 2, 28, 4, 30).timestamp())).isoformat()
    '2024-02-29T04:30:00'
    """
    today = datetime.fromtimestamp(now)
    for year in range(today.year, min(today.year + HORIZON_YEARS, 10_000)):
        for month in schedule.months:
            if (year, month) < (today.year, today.month):
                continue
            for day in _days(schedule, year, month):
                if (year, month, day) < (today.year, today.month, today.day):
                    continue
                due_at = _first_after(schedule, datetime(year, month, day), now)
                if due_at < inf:
                    return due_at
    return inf


def _days(schedule: Schedule, year: int, month: int) -> list[int]:
    """The days of a month on which the schedule is due."""
    first_weekday, length = calendar.monthrange(year, month)
    return [day for day in schedule.days if day <= length and (first_weekday + day - 1) % 7 in schedule.weekdays]


def _first_after(schedule: Schedule, day: datetime, now: float) -> float:
    """The first time of a day that is after `now`."""
    folds = (0, 1) if len(schedule.hours) == 24 else (0,)
    for hour in schedule.hours:
        for fold in folds:
            for minute in schedule.minutes:
                due_at = day.replace(hour=hour, minute=minute, fold=fold).timestamp()
                if due_at > now:
                    return due_at
    return inf
