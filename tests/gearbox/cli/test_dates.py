"""Dates as typed: ISO 8601, then English in the reader's time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gearbox.cli.dates import BadDate, iso, parse_date

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 17, 30, tzinfo=UTC)  # a Saturday; 18:30 in Berlin


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01T10:00:00Z", "2026-12-01T10:00:00.000Z"),
        ("2026-12-01T10:00:00.123456+02:00", "2026-12-01T08:00:00.123Z"),
        ("2026-12-01T10:00", "2026-12-01T10:00:00.000Z"),
        ("2026-12-01 10:00", "2026-12-01T10:00:00.000Z"),
        (" 2026-12-01 ", "2026-12-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
        ("2020-01-01", "2020-01-01T00:00:00.000Z"),
        ("in 5 minutes", "2026-11-21T17:35:00.000Z"),
        ("in an hour", "2026-11-21T18:30:00.000Z"),
        ("in 1 week", "2026-11-28T17:30:00.000Z"),
        ("tomorrow 9:00", "2026-11-22T08:00:00.000Z"),
        ("tomorrow at 9am", "2026-11-22T08:00:00.000Z"),
        ("monday 10:00", "2026-11-23T09:00:00.000Z"),
        ("9:00", "2026-11-22T08:00:00.000Z"),
        ("23:00", "2026-11-21T22:00:00.000Z"),
        ("tomorrow 9:00 UTC", "2026-11-22T09:00:00.000Z"),
        ("now", "2026-11-21T17:30:00.000Z"),
    ],
)
def test_dates_that_can_be_read(text: str, expected: str) -> None:
    assert iso(parse_date(text, NOW, BERLIN)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "5",
        "1800000000",
        "in 5",
        "-3",
        "tomorrow 25:99",
        "25:00",
        "2026-13-01",
        "2026-11-21T24:61:00Z",
        "\0",
        "é" * 1000,
    ],
)
def test_what_is_no_date_is_refused_and_says_how_to_write_one(text: str) -> None:
    with pytest.raises(BadDate, match=r"cannot read a date in .*; write ISO 8601"):
        parse_date(text, NOW, BERLIN)


def test_a_skipped_hour_is_read_as_later_and_a_double_one_as_the_first() -> None:
    spring = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert iso(parse_date("tomorrow 2:30", spring, BERLIN)) == "2026-03-29T01:30:00.000Z"  # 3:30 of summer
    autumn = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert iso(parse_date("tomorrow 2:30", autumn, BERLIN)) == "2026-10-25T00:30:00.000Z"  # the first, of summer


def test_spans_do_not_change_with_summer_time() -> None:
    before = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert iso(parse_date("in 2 hours", before, BERLIN)) == "2026-03-29T02:30:00.000Z"


def test_without_a_zone_the_machines_is_taken() -> None:
    assert parse_date("in 2 hours", NOW) == datetime(2026, 11, 21, 19, 30, tzinfo=UTC)
