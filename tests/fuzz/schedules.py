"""Schedules: what several connections do to one database of jobs at the same time, as literals, and as steps.

A schedule is a list of rounds. A round is (seconds that pass before it, a seed for the order in which statements take
turns, calls). Calls are (connection, operation); those of one connection are one transaction. Jobs are named by how far
they are from the newest one that was there before the round, so that connections meet on few jobs.

What operators set for a method changes in rounds of its own: it holds for transactions that begin afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from fuzz_campaign import Case

from gearbox.errors import Code, RpcError
from gearbox.job import Ended, NewJob, NoWorker, Priority, Reported, Status, Unsent
from gearbox.rules import NOOP, NOOPWAIT
from gearbox.rules.bundle import Item
from gearbox.steps import bundles, controls, life, orphans
from gearbox.store import Moment, Result, Step, Tx

__all__ = ["CONNECTIONS", "WORKERS", "Operation", "schedule", "step"]

CONNECTIONS = 4
METHODS = ["a::b", "a::b", "c::d", NOOP, NOOPWAIT]
WORKERS = {"a::b": 1, "c::d": 1}
REACH = 6  # of the newest jobs
EVENTS = [Ended(), Ended({"code": -28502, "message": "the worker failed"}), NoWorker(), Unsent()]
KINDS = {
    "queue": 12, "queue_many": 3, "report": 9, "settle": 4, "job_start": 3, "alive": 1, "look": 3, "vanish": 1,
    "cancel": 3, "retry": 3, "go": 2, "regretted": 3,
}  # fmt: skip

Operation = tuple[Any, ...]


def schedule(chance: Random) -> Case:
    """Some rounds of two to four connections."""
    connections = range(chance.randint(2, CONNECTIONS))
    rounds: Case = []
    for _ in range(chance.randint(3, 7)):
        seconds = chance.choice([0.0, 0.0, 0.5, 2.0, 40.0])
        calls = [
            (connection, _operation(chance))
            for connection in connections
            if chance.random() < 0.9
            for _ in range(chance.choice([1, 1, 1, 2, 3]))
        ]
        for _, operation in list(calls):  # some callers do not know whether they were heard
            if operation[0] == "queue" and operation[1]["submit_token"] and chance.random() < 0.5:
                calls.append((chance.choice(connections), operation))
        if chance.random() < 0.2:
            calls = [(0, _control(chance))]
        rounds.append((seconds, chance.randrange(10**6), calls))
    return rounds


def _operation(chance: Random) -> Operation:
    (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
    pick = chance.randrange(REACH)
    is_late = chance.random() < 0.1
    match kind:
        case "queue":
            fields = {
                "method": chance.choice(METHODS),
                "dedupe": chance.choice([None, None, "D", "E"]),
                "max_retries": chance.choice([0, 0, 1, 2]),
                "priority": chance.choice(list(Priority)).value,
                "submit_token": chance.choice([None, f"{chance.getrandbits(64)}"]),
            }
            after, before = (chance.choice([None, None, chance.randrange(REACH)]) for _ in range(2))
            return kind, fields, after, before, chance.choice([None, None, None, 0.3, 1.0])
        case "queue_many":
            places = [None, *range(4)]
            items = [(chance.choice(METHODS), chance.choice(places), chance.choice(places)) for _ in range(4)]
            return kind, items[: chance.randint(1, 4)], chance.choice([None, pick])
        case "report":
            return kind, pick, chance.choice(["complete", "complete", "errored", None]), is_late
        case "settle":
            return kind, pick, chance.randrange(len(EVENTS)), is_late
        case "job_start":
            return kind, pick, chance.choice(["v", "w"]), is_late
        case "alive":
            return kind, pick, is_late
        case "retry":
            return kind, pick, chance.random() < 0.5
        case "regretted":
            return kind, _operation(chance)
        case _:
            return kind, pick


def _control(chance: Random) -> Operation:
    changes = {"is_paused": chance.random() < 0.3, "concurrency": chance.choice([None, 0, 1, 1, 2])}
    control = "control", chance.choice(METHODS[:3]), changes
    return control if chance.random() < 0.9 else ("regretted", control)


def step(operation: Operation, jobs: Sequence[tuple[int, int]], now: float) -> list[Step]:
    """What to do, to the jobs that are there with these (id, epoch); nothing if there are none to do it to."""
    kind, *rest = operation
    if kind == "queue":
        return [_queue(*rest, jobs, now)]
    if kind == "queue_many":
        return [_queue_many(*rest, jobs)]
    if kind == "control":
        return [partial(controls.control, *rest)]
    if kind == "regretted":
        return [partial(_regret, inner) for inner in step(rest[0], jobs, now)]
    if not jobs:
        return []
    id, epoch = _picked(jobs, rest[0])
    if rest[-1] is True:
        epoch -= 1
    steps: dict[str, Callable[[], Step]] = {
        "report": lambda: partial(life.report, id, epoch, Reported(rest[1] and Status(rest[1]), f'"{epoch}"')),
        "settle": lambda: partial(life.settle, id, epoch, EVENTS[rest[1]]),
        "job_start": lambda: partial(life.job_start, id, epoch, rest[1]),
        "alive": lambda: partial(life.alive, id, epoch),
        "look": lambda: partial(life.look, id),
        "vanish": lambda: partial(orphans.vanish, id, epoch, 5.0),
        "cancel": lambda: partial(life.cancel, id, None),
        "retry": lambda: partial(bundles.retry, id, rest[1]),
        "go": lambda: partial(life.go, id),
    }
    return [steps[kind]()]


def _regret(inner: Step, tx: Tx, moment: Moment) -> Result:
    """A call that is refused when it has done all its work already."""
    inner(tx, moment)
    raise RpcError(Code.BAD_REQUEST, "regretted")


def _picked(jobs: Sequence[tuple[int, int]], pick: int) -> tuple[int, int]:
    return jobs[-1 - pick % len(jobs)]


def _queue(
    fields: dict[str, Any],
    after: int | None,
    before: int | None,
    delay: float | None,
    jobs: Sequence[tuple[int, int]],
    now: float,
) -> Step:
    new = NewJob(
        **fields | {"priority": Priority(fields["priority"])},
        after_id=None if after is None or not jobs else _picked(jobs, after)[0],
        before_id=None if before is None or not jobs else _picked(jobs, before)[0],
        after_date=None if delay is None else now + delay,
        retry_delay=0.3,
    )
    return partial(life.queue, new)


def _queue_many(
    items: Sequence[tuple[str, int | None, int | None]], outside: int | None, jobs: Sequence[tuple[int, int]]
) -> Step:
    target = None if outside is None or not jobs else _picked(jobs, outside)[0]
    size = len(items)
    return partial(
        bundles.queue_many,
        [
            Item(
                NewJob(method, before_id=target if before is None else None),
                None if after is None else after % size,
                None if before is None else before % size,
            )
            for method, after, before in items
        ],
        None,
    )
