"""The JSON objects that the core's methods take and answer with, as types; docs/protocol.md tells what they mean.

They are dictionaries as they travel: a newer core may add keys, which nothing here refuses.
"""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = [
    "Acted",
    "AttemptRow",
    "DeedRow",
    "Edge",
    "EventRow",
    "Found",
    "FoundRow",
    "Graph",
    "History",
    "JobSpec",
    "MethodRow",
    "Node",
    "Retried",
    "ScheduleRow",
    "StatusRow",
]


class JobSpec(TypedDict, total=False):
    """A job for `Gearbox.queue_many`: what `queue` takes, and references between the jobs of one call."""

    name: str  # required
    args: Any
    priority: str
    dedupe: str
    after_date: str | float
    after_id: int
    before_id: int
    max_retries: int
    retry_delay: float
    retry_delay_max: float
    backoff: str
    timeout: float
    expires: str | float
    ref: str
    after_ref: str
    before_ref: str


class StatusRow(TypedDict, total=False):
    """A job, as `status` shows it."""

    id: int
    method_name: str
    arguments: Any
    priority: str
    created: str
    updated: str
    status: str
    after_date: str | None
    after_id: int | None
    before_id: int | None
    completed: str | None
    retries: Any  # False, or {"n", "max", "delay"}
    dedupe: str
    progress: Any  # False, or {"n", "updated"}
    data: Any
    see_other: int
    timeout: float
    expires: str
    retry_of: int
    schedule: str
    traceparent: str


class AttemptRow(TypedDict):
    """One try of a job."""

    attempt: int
    owner: str
    worker: str | None
    claimed: str
    started: str | None
    ended: str | None
    outcome: str | None
    error: Any


# "from" is a word of Python's
EventRow = TypedDict(
    "EventRow",
    {"seq": int, "at": str, "from": str | None, "to": str, "attempt": int | None, "why": str, "who": str},
)
Edge = TypedDict("Edge", {"from": int, "to": int, "kind": str})


class History(TypedDict):
    """All that is kept of a job."""

    job: StatusRow
    attempts: list[AttemptRow]
    events: list[EventRow]


class Node(TypedDict):
    """A job in a graph."""

    id: int
    method_name: str
    status: str


class Graph(TypedDict):
    """Jobs that hang together; an edge goes from what comes first. `is_cut`: there are more of them."""

    nodes: list[Node]
    edges: list[Edge]
    is_cut: bool


class FoundRow(TypedDict):
    """A job in a list: `arguments` and `data` are the beginnings of their JSON texts, `took` is in seconds."""

    id: int
    method_name: str
    status: str
    priority: str
    arguments: str | None
    data: str | None
    created: str
    completed: str | None
    claimed: str | None
    took: float | None
    due: str | None
    retries: int
    max_retries: int
    progress: float | None
    dedupe: str | None
    after_id: int | None
    before_id: int | None
    see_other: int | None


class Found(TypedDict):
    """A page of a search; `is_cut`: it stopped there for the work it was, and there may be more below `next`."""

    jobs: list[FoundRow]
    next: int | None
    is_cut: bool


class Acted(TypedDict):
    """How many jobs a search found, how many of them were changed, and whether there are more."""

    jobs: int
    changed: int
    is_cut: bool
    ids: list[int]


class DeedRow(TypedDict):
    """What an operator did; `jobs`: how many it changed, where it was about several."""

    id: int
    at: str
    who: str
    action: str
    target: str
    reason: str
    jobs: int | None


class Retried(TypedDict):
    """The job's new id, and for all jobs that were queued again: old id (as text) to new id."""

    id: int
    jobs: dict[str, int]


class MethodRow(TypedDict):
    """A method: who offers it (None: Gearman cannot tell), what an operator has set, and its jobs by status."""

    method: str
    workers: int | None
    is_paused: bool
    concurrency: int | None
    states: dict[str, int]


class ScheduleRow(TypedDict, total=False):
    """A recurring entry, with its next runs and the params of its jobs."""

    name: str
    cron: str
    timezone: str
    overlap: str
    missed: str
    method: str
    args: Any
    created: str
    who: str
    next: list[str]
    last: str | None
    last_job: int | None
    waiting: int
