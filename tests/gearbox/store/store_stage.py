"""One-line calls of steps, each in a transaction of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import pymysql
import pymysql.err

from gearbox.job import Fire, NewJob, Recheck, Release, Reported, Status
from gearbox.steps import controls, life, recurring
from gearbox.store import Moment, Result, Store
from gearbox.store.address import MysqlAddress

NOW = 1_800_000_000.0
WORKERS = {"a::b": 1, "c::d": 1}


REFUSALS = (sqlite3.IntegrityError, pymysql.err.MySQLError)  # of a statement that the tables do not allow


@contextmanager
def raw(place: str | MysqlAddress) -> Iterator[Any]:
    """Run SQL beside the store, as another program would; gives a function from a statement to its rows."""
    if isinstance(place, MysqlAddress):
        connection: Any = pymysql.connect(
            unix_socket=place.unix_socket,
            user=place.user,
            database=place.database,
            autocommit=True,
            ssl_disabled=True,
        )
    else:
        connection = sqlite3.connect(place, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")  # SQLite wants to be told by every connection

    def sql(statement: str) -> list[Any]:
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    with closing(connection):
        yield sql


def moment(now: float = NOW, workers: dict[str, int] | None = WORKERS) -> Moment:
    return Moment(now, "core", since=0.0, workers=workers)


def run(store: Store, step: Any, now: float = NOW, workers: dict[str, int] | None = WORKERS) -> Result:
    batch = store.run_batch([step], moment(now, workers))
    (outcome,) = batch.outcomes
    if isinstance(outcome, Exception):
        raise outcome
    return Result(outcome.value, [*outcome.actions, *batch.actions]) if batch.actions else outcome


def queue(store: Store, now: float = NOW, workers: dict[str, int] | None = WORKERS, **fields: Any) -> Result:
    return run(store, partial(life.queue, NewJob(**({"method": "a::b"} | fields))), now, workers)


def read(store: Store, question: Any) -> Any:
    return run(store, lambda tx, moment: Result(question(tx))).value


def complete(store: Store, id: int, now: float = NOW, data: str = "1") -> Result:
    return run(store, partial(life.report, id, None, Reported(Status.COMPLETE, data)), now)


def fail(store: Store, id: int, now: float = NOW) -> Result:
    return run(store, partial(life.report, id, None, Reported(Status.ERRORED, '"no"')), now)


def status(store: Store, id: int) -> Status:
    job = read(store, lambda tx: tx.job(id))
    assert job is not None
    return job.status


def looked_at(store: Store, result: Result, now: float = NOW) -> list[Any]:
    """Perform what a result asks of the store until there is nothing; the actions for others on the way."""
    others = []
    todo = list(result.actions)
    for _ in range(1000):
        if not todo:
            return others
        action = todo.pop(0)
        match action:
            case Recheck(ids):
                for id in ids:
                    todo += run(store, partial(life.look, id), now).actions
            case Release(method, above):
                todo += run(store, partial(controls.release, method, above), now).actions
            case Fire(name):
                todo += run(store, partial(recurring.fire, name), now).actions
            case _:
                others.append(action)
    raise AssertionError("rechecks without end")
