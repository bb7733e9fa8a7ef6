"""Recurring entries: made, dropped, and run when they are due."""

from __future__ import annotations

from typing import Any

import attrs

from gearbox import rpc
from gearbox.errors import Code, RpcError
from gearbox.job import TERMINAL, Action, Backoff, NewJob, Priority
from gearbox.rules.recurrence import Schedule, due_runs, next_after, problem_of, take
from gearbox.steps.life import queue
from gearbox.store import Lock, Moment, Result, Tx

__all__ = ["fire", "new_job", "run_now", "schedule", "schedules", "unschedule"]


def schedule(wanted: Schedule, tx: Tx, moment: Moment, who: str | None = None) -> Result:
    """Make an entry, or change the one of that name, whose last job stays its last. The value is the entry."""
    problem = problem_of(wanted.cron, wanted.timezone, moment.now)
    if problem is not None:
        raise RpcError(Code.BAD_REQUEST, problem)
    known = tx.schedule(wanted.name, Lock.EXCLUSIVE)
    entry = attrs.evolve(
        wanted,
        created=moment.now if known is None else known.created,
        who=who or moment.owner,
        next_at=next_after(wanted.cron, wanted.timezone, moment.now),
        last_at=None if known is None else known.last_at,
        last_job=None if known is None else known.last_job,
    )
    tx.put_schedule(entry)
    return Result(entry)


def schedules(tx: Tx, moment: Moment) -> Result:
    return Result(tx.schedules())


def unschedule(name: str, tx: Tx, moment: Moment) -> Result:
    """Drop an entry; what it has queued stays. The value tells whether there was one."""
    return Result(tx.drop_schedule(name))


def run_now(name: str, tx: Tx, moment: Moment, who: str | None = None) -> Result:
    """Make the entry's job at once, whatever else it does. The value is the job's id."""
    entry = tx.schedule(name, Lock.EXCLUSIVE)
    if entry is None:
        raise RpcError(Code.NOT_FOUND, f"no such schedule: {name}")
    made = _make(entry, f"queued by schedule {name}, run now", tx, moment, who)
    tx.put_schedule(attrs.evolve(entry, last_at=moment.now, last_job=made.value))
    return made


def fire(name: str, tx: Tx, moment: Moment) -> Result:
    """Make the jobs of an entry that is due, or whose earlier job has ended."""
    entry = tx.schedule(name, Lock.EXCLUSIVE)
    if entry is None:
        return Result()
    runs, next_at = due_runs(entry, moment.now)
    last = None if entry.last_job is None else tx.resolve(entry.last_job)
    made, waiting = take(entry, runs, last is not None and last.status not in TERMINAL)
    actions: list[Action] = []
    for _ in range(made):
        one = _make(entry, f"queued by schedule {name}", tx, moment, f"schedule {name}")
        actions += one.actions
        entry = attrs.evolve(entry, last_at=moment.now, last_job=one.value)
    changed = attrs.evolve(entry, next_at=next_at, waiting=waiting)
    if made or runs or changed != entry:
        tx.put_schedule(changed)
    return Result(actions=actions)


def _make(entry: Schedule, why: str, tx: Tx, moment: Moment, who: str | None) -> Result:
    new = attrs.evolve(new_job(rpc.load(entry.template)), schedule=entry.name)
    return queue(new, tx, moment, who=who, why=why)


def new_job(template: dict[str, Any]) -> NewJob:
    """The job that a template, params of `queue` that were checked, describes."""
    return NewJob(
        method=template["name"],
        arguments=None if template.get("args") is None else rpc.dump(template["args"]),
        priority=Priority(template["priority"]),
        dedupe=template.get("dedupe"),
        max_retries=template["max_retries"],
        retry_delay=template["retry_delay"],
        backoff=Backoff(template["backoff"]),
        retry_delay_max=template["retry_delay_max"],
        timeout=template.get("timeout"),
    )
