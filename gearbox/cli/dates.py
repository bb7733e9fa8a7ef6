"""Dates as they are typed after `--after`; pure.

ISO 8601 first: without an offset it is UTC. All else is read as English, in the reader's own time zone, and as the
future: "9:00" is tomorrow's when today's has passed. In the hour that is skipped in spring the later time is meant, in
the hour that comes twice in autumn the first. Spans of hours, minutes and seconds pass on the clock that knows no
summer time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

__all__ = ["BadDate", "iso", "parse_date"]

SPAN = re.compile(r"\b(hours?|hrs?|minutes?|mins?|seconds?|secs?)\b", re.IGNORECASE)
TIME = re.compile(r"(\d+):(\d+)(?::(\d+))?")
BARE_NUMBER = re.compile(r"(in\s+)?[+-]?\d+", re.IGNORECASE)
ALMOST_ISO = re.compile(r"\d{4}-\d")


class BadDate(ValueError):
    """No date can be read from the text."""


def iso(date: datetime) -> str:
    """The date in UTC as the original writes it.

    >>> iso(datetime(2026, 11, 21, 9, tzinfo=UTC))
    '2026-11-21T09:00:00.000Z'
    """
    return date.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_date(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The date meant, in UTC. `zone` is the reader's; None is the machine's. Raises BadDate."""
    try:
        date = datetime.fromisoformat(text.strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    try:
        english = _parse_english(text, now, zone)
    except (ValueError, OverflowError, OSError):  # a year that no calendar has, or no clock
        english = None
    if english is None:
        forms = "ISO 8601 (2026-11-21T09:00Z) or English (in 5 minutes, tomorrow 9:00)"
        raise BadDate(f"cannot read a date in {text!r}; write {forms}")
    return english


def _parse_english(text: str, now: datetime, zone: tzinfo | None) -> datetime | None:
    # dateparser would take a number for a day of some month, month 13 for a day, and pass over a time that is none
    if BARE_NUMBER.fullmatch(text.strip()) or ALMOST_ISO.match(text.strip()):
        return None
    if not all(_is_time(match) for match in TIME.finditer(text)):
        return None
    import dateparser  # half a second, which only this form of date need cost

    base_zone = UTC if SPAN.search(text) else zone
    date: datetime | None = dateparser.parse(
        text,
        languages=["en"],  # each further language is tried in turn on what is no date: 2 seconds for all
        settings={"PREFER_DATES_FROM": "future", "RELATIVE_BASE": now.astimezone(base_zone).replace(tzinfo=None)},
    )
    if date is None:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=base_zone)).astimezone(UTC)


def _is_time(match: re.Match[str]) -> bool:
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours < 24 and minutes < 60 and seconds < 60
