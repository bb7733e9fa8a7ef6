"""Two cores on one database, whose transactions really happen at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import attrs
from store_stage import NOW, WORKERS

from gearbox.errors import RpcError, StoreBusy
from gearbox.job import Fire, Recheck, Release, Start, Status
from gearbox.steps import controls, life, recurring
from gearbox.store import Attempt, Audit, Job, Moment, Result, Step, Store, open_store
from gearbox.store.address import MysqlAddress

__all__ = ["Racer", "Track", "track"]

TRIES = 50  # of a batch that met the other one; a core tries five times, and then again with a pause


@attrs.define
class Racer:
    """A core's store, and what the core would send to Gearman."""

    name: str
    store: Store
    sent: list[tuple[int, int]] = attrs.field(factory=list)  # (job, epoch)

    def do(self, step: Step, now: float = NOW) -> Any:
        """Run a step as a core does, and what follows from it. The value, or the RpcError."""
        outcome = self._run(step, now)
        if isinstance(outcome, RpcError):
            return outcome
        todo = list(outcome.actions)
        while todo:
            match todo.pop(0):
                case Start(job):
                    self.sent.append((job.id, job.epoch))
                case Recheck(ids):
                    for id in ids:
                        todo += self._actions(_look(id), now)
                case Release(method, above):
                    todo += self._actions(_release(method, above), now)
                case Fire(name):
                    todo += self._actions(_fire(name), now)
                case _:
                    pass
        return outcome.value

    def _actions(self, step: Step, now: float) -> list[Any]:
        outcome = self._run(step, now)
        assert isinstance(outcome, Result)
        return list(outcome.actions)

    def _run(self, step: Step, now: float) -> Result | RpcError:
        moment = Moment(now, self.name, since=0.0, workers=WORKERS)
        for _ in range(TRIES):
            try:
                batch = self.store.run_batch([step], moment)
            except StoreBusy:
                continue
            (outcome,) = batch.outcomes
            if isinstance(outcome, Result):
                return Result(outcome.value, [*outcome.actions, *batch.actions])
            if isinstance(outcome, RpcError):
                return outcome
            raise outcome
        raise AssertionError("never got through")


def _look(id: int) -> Step:
    return lambda tx, moment: life.look(id, tx, moment)


def _release(method: str, above: tuple[int, int]) -> Step:
    return lambda tx, moment: controls.release(method, above, tx, moment)


def _fire(name: str) -> Step:
    return lambda tx, moment: recurring.fire(name, tx, moment)


@attrs.define
class Track:
    """`one` and `other` run at the same time; in between, `one` looks at what became of it."""

    one: Racer
    other: Racer
    _pool: ThreadPoolExecutor

    def race(self, step: Step, against: Step, now: float = NOW) -> tuple[Any, Any]:
        """Both steps, at the same moment as far as threads can; their values."""
        start = threading.Barrier(2)

        def run(racer: Racer, step: Step) -> Any:
            start.wait()
            return racer.do(step, now)

        first = self._pool.submit(run, self.one, step)
        second = self._pool.submit(run, self.other, against)
        return first.result(60), second.result(60)

    @property
    def sent(self) -> list[tuple[int, int]]:
        """All attempts that went to Gearman."""
        return self.one.sent + self.other.sent

    def job(self, id: int) -> Job:
        job = self.one.do(lambda tx, moment: Result(tx.job(id)))
        assert isinstance(job, Job)
        return job

    def status(self, id: int) -> Status:
        return self.job(id).status

    def attempts(self, id: int) -> list[Attempt]:
        attempts: list[Attempt] = self.one.do(lambda tx, moment: Result(tx.attempts(id)))
        return attempts

    def audit(self, id: int) -> list[Audit]:
        """Its events, which have no gap."""
        events: list[Audit] = self.one.do(lambda tx, moment: Result(tx.audit(id)))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return events


@contextmanager
def track(address: MysqlAddress, of_one: MysqlAddress | None = None) -> Iterator[Track]:
    """Two open stores on the same database; one of them may reach it by another way."""
    one, other = open_store(of_one or address), open_store(address)
    with ThreadPoolExecutor(2) as pool:
        yield Track(Racer("one", one), Racer("other", other), pool)
    one.close()
    other.close()
