"""Questions about jobs: read, change nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import attrs

from gearbox import rules
from gearbox.errors import Code, RpcError
from gearbox.job import Attempt, Control, Job, Status
from gearbox.rules import why
from gearbox.rules.query import Query
from gearbox.rules.recurrence import Schedule, forecast
from gearbox.steps.life import facts_of
from gearbox.store import Audit, Moment, Node, Result, Tx
from gearbox.store.rollups import Bucket

__all__ = [
    "Graph",
    "History",
    "Latency",
    "Overview",
    "calendar",
    "durations",
    "explain",
    "graph",
    "history",
    "latency",
    "overview",
    "pools",
    "running",
    "search",
    "states",
    "stats",
    "status",
    "upcoming",
]

STATUS_LIMIT = 10_000  # current jobs that `status` lists
GRAPH_LIMIT = 2_000  # jobs of a graph; more nobody can look at
SEARCH_BUDGET = 30_000  # rows that one page of a search looks at: 10 to 60 ms of the one thread that writes
SLOWEST_AMONG = 500  # latest jobs of a method among which its slowest are found
STATES_LIMIT = 5_000
CALENDAR_LIMIT = 300  # runs of an entry in a calendar


@attrs.frozen
class History:
    """All that is kept of one job."""

    job: Job
    attempts: Sequence[Attempt]
    events: Sequence[Audit]


@attrs.frozen
class Graph:
    """Jobs that hang together, and whether some were left out."""

    nodes: Sequence[Node]
    is_cut: bool


@attrs.frozen
class Overview:
    """How things stand, from the counts that are kept: no row of a job is read but the oldest of two statuses."""

    now: float
    counts: Mapping[str, Mapping[Status, int]]
    controls: Mapping[str, Control]
    workers: Mapping[str, int] | None
    durations: Mapping[str, Mapping[str, Mapping[int, Bucket]]]
    oldest: Mapping[Status, tuple[int, float]]
    schedules: Sequence[Schedule]


@attrs.frozen
class Latency:
    """How long the jobs of a method waited and ran; `slowest` among the latest."""

    durations: Mapping[str, Mapping[int, Bucket]]
    slowest: Sequence[Job]


def status(ids: Sequence[int], tx: Tx, moment: Moment) -> Result:
    """These jobs in order of id; without ids the current ones, newest first."""
    return Result(tx.jobs(ids) if ids else tx.current(STATUS_LIMIT))


def stats(method: str, tx: Tx, moment: Moment) -> Result:
    return Result(tx.stats(method))


def history(id: int, tx: Tx, moment: Moment) -> Result:
    job = _job(id, tx)
    return Result(History(job, tx.attempts(id), tx.audit(id)))


def explain(id: int, tx: Tx, moment: Moment) -> Result:
    """Why a job is where it is: a sentence, from the reasons that the rules would give now."""
    facts = tx.facts(id)
    if facts is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    facts = facts_of(tx, moment, facts)
    job = facts.job
    parent = job.see_other if job.see_other is not None else job.after_id
    around = why.Surroundings(
        None if parent is None else tx.resolve(parent),
        tx.unfinished(id, why.SHOWN + 1) if facts.pool.is_unfinished else (),
        tx.attempt(id, job.epoch) if job.epoch else None,
    )
    return Result(why.sentence(facts, rules.check(facts, moment.now), around))


def graph(id: int, tx: Tx, moment: Moment) -> Result:
    """The jobs that are connected with this one, the nearest first."""
    _job(id, tx)
    nodes: dict[int, Node] = {}
    seen = {id: None}
    todo = deque([id])
    is_cut = False
    while todo:
        here = todo.popleft()
        found = tx.neighbours(here, GRAPH_LIMIT + 1)
        is_cut |= len(found) > GRAPH_LIMIT
        for node in found:
            ids = [node.id]
            if node.id == here:
                nodes[here] = node
                ids = [i for i in (node.after_id, node.before_id, node.see_other, node.retry_of) if i is not None]
            for near in ids:
                if near in seen:
                    continue
                if len(seen) >= GRAPH_LIMIT:
                    is_cut = True
                else:
                    seen[near] = None
                    todo.append(near)
    return Result(Graph([nodes[id] for id in sorted(nodes)], is_cut))


def search(query: Query, below: int | None, limit: int, tx: Tx, moment: Moment) -> Result:
    """A page of the jobs that a query wants."""
    return Result(tx.search(query, tx.counts(), below, limit, SEARCH_BUDGET))


def states(ids: Sequence[int], tx: Tx, moment: Moment) -> Result:
    return Result(tx.states(ids[:STATES_LIMIT]))


def running(limit: int, tx: Tx, moment: Moment) -> Result:
    """The newest running jobs, each with its attempt."""
    found = tx.search(Query(statuses=frozenset({Status.RUNNING})), tx.counts(), None, limit, SEARCH_BUDGET)
    return Result([(job, tx.attempt(job.id, job.epoch)) for job in found.jobs])


def upcoming(above: float, above_id: int | None, limit: int, tx: Tx, moment: Moment) -> Result:
    return Result(tx.upcoming(above, above_id, limit))


def pools(below: int | None, limit: int, tx: Tx, moment: Moment) -> Result:
    return Result(tx.pools(below, limit))


def calendar(until: float, tx: Tx, moment: Moment) -> Result:
    """(name, runs until then, whether there are more than are told) of each recurring entry."""
    found = []
    for entry in tx.schedules():
        runs = forecast(entry, CALENDAR_LIMIT, until)
        found.append((entry.name, runs, len(runs) == CALENDAR_LIMIT))
    return Result(found)


def overview(tx: Tx, moment: Moment) -> Result:
    oldest = {status: tx.oldest(status) for status in (Status.READY, Status.WAITING, Status.RUNNING)}
    there = {status: found for status, found in oldest.items() if found is not None}
    parts = (tx.counts(), tx.controls(), moment.workers, tx.durations(), there, tx.schedules())
    return Result(Overview(moment.now, *parts))


def durations(tx: Tx, moment: Moment) -> Result:
    return Result(tx.durations())


def latency(method: str, limit: int, tx: Tx, moment: Moment) -> Result:
    """The histograms of a method, and its slowest jobs among the latest."""
    found = tx.search(Query(methods=(method,)), {method: tx.counts().get(method, {})}, None, SLOWEST_AMONG, 0)
    jobs = [job for job in found.jobs if job.completed is not None and job.claimed_at is not None]
    jobs.sort(key=lambda job: (job.claimed_at or 0) - (job.completed or 0))
    return Result(Latency(tx.durations().get(method, {}), jobs[:limit]))


def _job(id: int, tx: Tx) -> Job:
    job = tx.job(id)
    if job is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    return job
