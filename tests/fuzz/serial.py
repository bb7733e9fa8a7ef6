"""The oracle of what happened at the same time: the store itself, on one connection, one transaction after the other.

What calls were answered and left in the tables has to be what some order of them, each a transaction of its own, would
have answered and left. Ids are compared too: the oracle gives those that were given.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import attrs

from gearbox.errors import RpcError
from gearbox.job import Action, Start, Tell
from gearbox.store import Moment, Result, Step, Tx
from gearbox.store.rows import COLUMNS
from gearbox.store.sqlite import SqliteStore

__all__ = ["Call", "Done", "Oracle", "Rows", "difference", "done", "rows"]

OTHERS = ", ".join(column for name, column in COLUMNS.items() if name not in ("id", "epoch", "dedupe"))
TABLES = {
    "jobs": f"SELECT id, epoch, CASE WHEN has_dedupe = 1 THEN dedupe END, submit_token, {OTHERS} FROM gearbox_jobs",
    "attempts": "SELECT job_id, epoch, owner, claimed_at, started_at, ended_at, outcome, worker, error, server "
    "FROM gearbox_attempts",
    "events": "SELECT job_id, seq, at, from_status, to_status, epoch, why, who FROM gearbox_events",
    "counts": "SELECT method_name, status, jobs FROM gearbox_counts WHERE jobs <> 0",
    "measures": "SELECT method_name, measure, bucket, jobs, ROUND(total, 3), ROUND(squares, 3) FROM gearbox_measures",
    "methods": "SELECT method_name, earliest, latest FROM gearbox_methods",
    "controls": "SELECT method_name, is_paused, concurrency, who FROM gearbox_controls",
}

Rows = dict[str, list[tuple[Any, ...]]]


def rows(sql: Callable[[str], Sequence[tuple[Any, ...]]]) -> Rows:
    """All that is in the tables, whatever the database."""
    return {name: sorted(map(tuple, sql(statement)), key=_key) for name, statement in TABLES.items()}


def _key(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[:2] if isinstance(row[0], int) else tuple(map(str, row))


@attrs.frozen
class Call:
    """What one connection wants of the store."""

    who: str
    step: Step


@attrs.frozen
class Done:
    """What a call was answered, and what Gearman and watchers were told because of it.

    What is to be looked at stands in `follow`: to look at more than there is need to harms nobody.
    """

    value: Any
    told: Counter[str]
    follow: list[Action] = attrs.field(eq=False)


def done(outcome: Result | Exception) -> Done:
    """Raises what the step raised, unless it is an answer."""
    if isinstance(outcome, RpcError):
        return Done((outcome.code, outcome.message, outcome.data), Counter(), [])
    if isinstance(outcome, Exception):
        raise outcome
    told = Counter(filter(None, map(_told, outcome.actions)))
    return Done(outcome.value, told, [action for action in outcome.actions if _told(action) is None])


def _told(action: Action) -> str | None:
    match action:
        case Start(job, inputs):
            return f"start {job.id} {job.epoch} {inputs}"
        case Tell(job):
            return f"tell {job.id} {job.status.value} {job.result_data}"
    return None


class Oracle(SqliteStore):
    """A store in memory that can be put back to where it was, and gives the ids that it is told to give."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder / "oracle.db"))
        self._connection.close()
        self._connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        self._prepare()
        self._ids: Iterator[int] = count(1)

    @property
    def image(self) -> bytes:
        """All that it holds."""
        return bytes(self._connection.serialize())

    def put_back(self, image: bytes) -> None:
        self._connection.deserialize(image)
        self._load()

    @property
    def rows(self) -> Rows:
        return rows(lambda statement: self._connection.execute(statement).fetchall())

    def new_id(self) -> int:
        return next(self._ids)

    def run(self, call: Call, value: Any, moment: Moment) -> Done:
        """Run a call as a transaction of its own, giving the ids that this value speaks of."""
        ids = _ids(value)

        def given(tx: Tx, moment: Moment) -> Result:
            self._ids = chain(ids, count(1 << 40))
            return call.step(tx, moment)

        (outcome,) = self.run_batch([given], attrs.evolve(moment, owner=call.who)).outcomes
        return done(outcome)

    def follows(self, calls: Sequence[Call], seen: Sequence[Done], after: Rows, moment: Moment) -> str | None:
        """Run the calls in this order: None if that is what was seen and is there after, or the difference."""
        for call, what in zip(calls, seen, strict=True):
            serial = self.run(call, what.value, moment)
            if serial != what:
                return f"{call} would have got {serial}, got {what}"
        return difference(self.rows, after)

    def explains(self, calls: Sequence[Call], seen: Sequence[Done], after: Rows, moment: Moment) -> str | None:
        """Whether the calls do so in any order in which those of each connection come one after the other. This one is
        tried first; what is told is how it differs."""
        image = self.image
        fault = self.follows(calls, seen, after, moment)
        if fault is None:
            return None
        queues: dict[str, list[int]] = {}
        for number, call in enumerate(calls):
            queues.setdefault(call.who, []).append(number)
        been: set[str] = set()

        def leads_there(image: bytes, left: dict[str, list[int]]) -> bool:
            if not any(left.values()):
                return difference(self.rows, after) is None
            place = f"{left} {self.rows}"
            if place in been:  # what does not meet may come in any order, and leads to the same
                return False
            been.add(place)
            for who, numbers in left.items():
                if numbers:
                    self.put_back(image)
                    first, *rest = numbers
                    is_so = self.run(calls[first], seen[first].value, moment) == seen[first]
                    if is_so and leads_there(self.image, left | {who: rest}):
                        return True
            return False

        self.put_back(image)
        return None if leads_there(image, queues) else fault


def _ids(value: Any) -> list[int]:
    """Of the jobs that a step stored, in the order in which it did."""
    match value:
        case bool():
            return []
        case int():
            return [value]
        case list():
            return sorted(value)
        case dict():
            return sorted(value.values())
    return []


def difference(serial: Rows, seen: Rows) -> str | None:
    lines = []
    for name in TABLES:
        missing = [row for row in serial[name] if row not in seen[name]]
        more = [row for row in seen[name] if row not in serial[name]]
        if missing or more:
            lines.append(f"{name}: instead of {missing} there is {more}")
    return "\n".join(lines) or None
