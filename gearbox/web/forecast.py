"""What can be told from numbers: when a queue will be empty, what is stuck, what an error says; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

__all__ = ["Forecast", "message_of", "of", "stuck"]

MESSAGE = re.compile(r'"message":("(?:[^"\\]|\\.)*")')
MESSAGE_SHOWN = 160  # characters


@attrs.frozen
class Forecast:
    """When the jobs of a method that could run now will have run; `seconds` is None where nobody can tell, and
    `reason` says why not."""

    jobs: int
    seconds: float | None
    reason: str = ""


def of(row: Mapping[str, Any]) -> Forecast:
    """From a row of `overview`: jobs left times their average time, shared by those who work.

    >>> of({"states": {"ready": 3, "running": 1}, "workers": 2, "is_paused": False, "concurrency": None,
    ...     "run": {"jobs": 10, "total": 20.0}}).seconds
    4.0
    """
    states = row["states"]
    active = sum(states.get(status, 0) for status in ("running", "almost-done", "missing"))
    jobs = states.get("ready", 0) + active
    if not jobs:
        return Forecast(0, 0.0)
    if row["is_paused"]:
        return Forecast(jobs, None, "paused")
    if not row["workers"]:
        return Forecast(jobs, None, "no worker" if row["workers"] == 0 else "Gearman cannot be reached")
    if not row["run"]["jobs"]:
        return Forecast(jobs, None, "not known yet")
    # A worker that takes several jobs at once counts as one connection: what runs shows how many there can be.
    places = max(row["workers"], active)
    if row["concurrency"] is not None:
        places = min(places, row["concurrency"])
    if not places:
        return Forecast(jobs, None, "limited to 0")
    return Forecast(jobs, jobs * row["run"]["total"] / row["run"]["jobs"] / places)


def stuck(functions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with Gearman's queues.

    >>> stuck([{"function": "a", "total": 2, "running": 0, "workers": 0}])
    ['2 jobs wait for a, which no worker offers']
    """
    found = []
    for row in functions:
        waiting = row["total"] - row["running"]
        if waiting <= 0 or row["function"].startswith("gearbox\\core::"):
            continue
        jobs = "1 job waits" if waiting == 1 else f"{waiting} jobs wait"
        if not row["workers"]:
            found.append(f"{jobs} for {row['function']}, which no worker offers")
        elif not row["running"]:
            found.append(f"{jobs} for {row['function']}, whose {row['workers']} workers take none: are they stuck?")
    return found


def message_of(data: str | None) -> str:
    """What a failed job's data, or the beginning of it, says first.

    >>> message_of('{"code":7,"message":"no \\\\"disk\\\\""}'), message_of('"plain"'), message_of(None)
    ('no "disk"', 'plain', '')
    """
    if not data:
        return ""
    found = MESSAGE.search(data)
    text = found[1] if found else data
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return (value if isinstance(value, str) else text)[:MESSAGE_SHOWN]
