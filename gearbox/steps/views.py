"""Questions about jobs: read, change nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from gearbox import rules
from gearbox.errors import Code, RpcError
from gearbox.job import Attempt, Job
from gearbox.rules import why
from gearbox.steps.life import facts_of
from gearbox.store import Audit, Moment, Node, Result, Tx

__all__ = ["Graph", "History", "explain", "graph", "history", "stats", "status"]

STATUS_LIMIT = 10_000  # current jobs that `status` lists
GRAPH_LIMIT = 2_000  # jobs of a graph; more nobody can look at


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


def _job(id: int, tx: Tx) -> Job:
    job = tx.job(id)
    if job is None:
        raise RpcError(Code.NOT_FOUND, "no such job")
    return job
