"""When a recurring entry makes its next job; pure.

Fields are those of cron (five, or six with seconds first), in a time zone by name. Where clocks are put forward, a
time that does not exist comes when they have been put; where they are put back, a time of the day comes once and only
wildcards go on through both hours: Debian's rules, by cronsim.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from enum import Enum
from itertools import islice, takewhile
from math import inf
from zoneinfo import ZoneInfo

import attrs
from cronsim import CronSim, CronSimError

__all__ = ["Missed", "Overlap", "Schedule", "due_runs", "forecast", "next_after", "problem_of", "take"]

LATE = 60.0  # s after which a run counts as missed: nobody was there at its time
MISSED_LIMIT = 100  # runs that are made up for; more would be a flood
FIRED_LIMIT = 10_000  # runs looked at after a long absence; a job every second for 3 hours
LATER = 3600.0  # s until an entry is looked at again whose dates cannot be told


class Overlap(Enum):
    """What becomes of a run while the one before it has not ended."""

    SKIP = "skip"
    QUEUE = "queue"  # it waits for that
    ALLOW = "allow"


class Missed(Enum):
    """What becomes of runs whose time passed while nobody was there."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


@attrs.frozen
class Schedule:
    """A recurring entry."""

    name: str
    cron: str
    timezone: str
    overlap: Overlap
    missed: Missed
    template: str  # params of `queue`, as JSON text
    created: float
    who: str
    next_at: float
    last_at: float | None = None
    last_job: int | None = None
    waiting: int = 0


def problem_of(cron: str, timezone: str, now: float) -> str | None:
    """What is wrong with an entry's fields; None if they will make a job one day.

    >>> problem_of("61 * * * *", "UTC", 0.0), problem_of("0 0 31 4 *", "UTC", 0.0), problem_of("* * * * *", "UTC", 0.0)
    ('cron: Bad minute', 'cron: Bad day-of-month', None)
    """
    if not _is_zone(timezone):
        return f"timezone: no time zone is called {timezone}"
    try:
        next_after(cron, timezone, now)
    except CronSimError as error:
        return f"cron: {error}"
    except StopIteration:
        return "cron: no such date comes within 50 years"
    return None


def next_after(cron: str, timezone: str, at: float) -> float:
    """The first run after an instant. Raises CronSimError, or StopIteration if there is none.

    >>> next_after("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC).timestamp()) # 2:30 did not exist
    1774746000.0
    """
    return next(_runs(cron, timezone, at)).timestamp()


def _runs(cron: str, timezone: str, at: float) -> CronSim:
    return CronSim(cron, datetime.fromtimestamp(at, UTC).astimezone(_zone(timezone)))


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)  # UTC also where no time zones are installed


def _is_zone(name: str) -> bool:
    try:
        _zone(name)
    except (KeyError, OSError, ValueError):
        return False
    return True


def due_runs(schedule: Schedule, now: float) -> tuple[int, float]:
    """How many jobs an entry that has come due makes now, and when its next run is.

    That of an entry whose dates cannot be told, for its time zone is not installed any more, is not: it is looked at
    again later.
    """
    if problem_of(schedule.cron, schedule.timezone, now) is not None:
        return 0, now + LATER
    missed = fresh = 0
    next_at = schedule.next_at
    for _ in range(FIRED_LIMIT):
        if next_at > now:
            break
        if next_at < now - LATE:
            missed += 1
        else:
            fresh += 1
        next_at = next_after(schedule.cron, schedule.timezone, next_at)
    if next_at <= now:
        next_at = next_after(schedule.cron, schedule.timezone, now)
    made_up = {Missed.SKIP: 0, Missed.ONCE: min(missed, 1), Missed.ALL: min(missed, MISSED_LIMIT)}[schedule.missed]
    return made_up + fresh, next_at


def take(schedule: Schedule, runs: int, is_busy: bool) -> tuple[int, int]:
    """How many of the runs that are due, and of those that waited, are made now, and how many wait on.

    `is_busy` says that the entry's last job has not ended.
    """
    if schedule.overlap is Overlap.ALLOW:
        return runs, 0
    wanted = runs + schedule.waiting
    made = 1 if wanted and not is_busy else 0
    return made, min(wanted - made, MISSED_LIMIT) if schedule.overlap is Overlap.QUEUE else 0


def forecast(schedule: Schedule, count: int, until: float = inf) -> list[float]:
    """The next runs: at most so many, and none after `until`, which nobody looks for then."""
    return list(islice(takewhile(lambda at: at <= until, _coming(schedule)), count))


def _coming(schedule: Schedule) -> Iterator[float]:
    """All runs to come, each looked for when it is asked for; none without the entry's time zone."""
    if not _is_zone(schedule.timezone):
        return
    yield schedule.next_at
    with suppress(OverflowError):  # the next would be after the year 9999
        for at in _runs(schedule.cron, schedule.timezone, schedule.next_at):
            yield at.timestamp()
