"""Dates as people type them: an instant in UTC, or BadDate."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

from fuzz_campaign import Case

from gearbox.cli.dates import BadDate, iso, parse_date

__all__ = ["Dates"]

ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"]
NOWS = [
    "2026-03-29T00:59:59+00:00",
    "2026-10-25T00:30:00+00:00",
    "2024-02-29T12:00:00+00:00",
    "9999-12-31T23:00:00+00:00",
]
WORDS = [
    "in", "5", "minutes", "tomorrow", "yesterday", "9:00", "24:00", "23:59:60", "noon", "midnight", "next", "friday",
    "ago", "-3", "days", "1e9", "99999999999", "years", "february", "30", "2026-13-01", "2026-02-30", "2026-W01-1",
    "T", "Z", "+99:99", "UTC", "CEST", "am", "13pm", "00:00", "0000-01-01", "10000-01-01", "é", "\0", "١٢:٠٠", "",
]  # fmt: skip
ISO = [
    "2026-11-21",
    "2026-11-21T09:00",
    "20261121T090000Z",
    "2026-11-21T09:00:00.123456+05:30",
    "0001-01-01T00:00+14:00",
]


class Dates:
    """A case is a zone, a moment, and the words."""

    name = "dates"
    cases = 300

    def make(self, chance: Random) -> Case:
        if chance.random() < 0.3:
            words = ["".join(letter for letter in chance.choice(ISO) if chance.random() > 0.05)]
        else:
            words = chance.choices(WORDS, k=chance.randint(1, 5))
        return [chance.choice(ZONES), chance.choice(NOWS), *words]

    def check(self, case: Case) -> None:
        zone, now, *words = case
        try:
            date = parse_date(" ".join(words), datetime.fromisoformat(now), ZoneInfo(zone))
        except BadDate:
            return
        assert date.tzinfo is UTC
        assert iso(date).endswith("Z")

    def close(self) -> None:
        pass
