"""Random schedules of two to four connections on the store: what comes out is what some serial order would have given.

On SQLite, where there is one writer, what several callers want at once is one transaction: it has to be what one for
each call, in that order, would have been, and another connection that reads meanwhile sees the state before it, then
the one after it. On MariaDB the transactions really happen at the same time: threads, each with a connection of its
own, whose statements take turns in an order that the schedule gives, as far as the locks of the server let them. A
transaction is a batch of calls that have nothing to do with each other, so the order is one of calls there too.

At the end nothing may be left that a look at a job would find.
"""

from __future__ import annotations

import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import attrs
from fuzz_campaign import Case
from mariadb_stage import MariaDb
from schedules import CONNECTIONS, WORKERS, schedule, step
from serial import Call, Done, Oracle, Rows, difference, done, rows
from store_stage import raw

from gearbox import rules
from gearbox.errors import StoreBusy
from gearbox.job import ACTIVE, CURRENT, Action, Recheck, Release, Status, Transition
from gearbox.steps import controls, life
from gearbox.store import Moment, Result, Step, Store, Tx, open_store
from gearbox.store.mysql import MysqlStore
from gearbox.store.mysql.words import translator

__all__ = ["StoreOnMariadb", "StoreOnSqlite"]

NOW = 1_800_000_000.0
TRIES = 200  # of a transaction that met others
PATIENCE = 0.002  # s for whoever's turn it is: it may wait for a lock of one whose turn it is not
TURNS = 60  # statements whose order is given
CORE = "core 0"
IDS = 10_000  # more than the connections take in a case
QUIET = 20  # rounds after which nothing may be left to follow


class _Schedules:
    """What both targets do. A case is a schedule."""

    name: str
    cases: int

    def __init__(self) -> None:
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # and a short path, for a socket's name
        self._folder = tempfile.TemporaryDirectory(prefix="gearbox", dir=memory)
        self.folder = Path(self._folder.name)
        self.oracle = Oracle(self.folder)
        self._empty = self.oracle.image

    def make(self, chance: Random) -> Case:
        return schedule(chance)

    def check(self, case: Case) -> None:
        self.empty()
        self.oracle.put_back(self._empty)
        now = NOW
        told: Counter[str] = Counter()
        follow: list[Call] = []
        for number, (seconds, seed, calls) in enumerate([*case, *[(0.0, 0, [])] * QUIET]):
            now += seconds
            moment = Moment(now, "", since=0.0, workers=WORKERS)
            jobs = [(id, epoch) for id, epoch, *_ in self.oracle.rows["jobs"]]
            due = self._due(moment) if seconds else []
            wanted = [*follow, *(Call(f"core {id % CONNECTIONS}", partial(life.look, id)) for id in due)]
            for connection, operation in calls:
                wanted += [Call(f"core {connection}", made) for made in step(operation, jobs, now)]
            follow = self._round(wanted, Random(seed), moment, told)
            if number >= len(case) and not follow:
                break
        else:
            raise AssertionError("no end of what follows")
        twice = {what: times for what, times in told.items() if times > 1}
        assert not twice, f"told twice: {twice}"
        self._nothing_is_forgotten(moment)

    def _due(self, moment: Moment) -> list[int]:
        ids: list[int] = self._ask(lambda tx: tx.due(moment.now, life.DUE_LIMIT), moment)
        return ids

    def _ask(self, question: Callable[[Tx], Any], moment: Moment) -> Any:
        (outcome,) = self.oracle.run_batch([lambda tx, moment: Result(question(tx))], moment).outcomes
        return done(outcome).value

    def _round(self, wanted: Sequence[Call], chance: Random, moment: Moment, told: Counter[str]) -> list[Call]:
        """What has to be done next because of it."""
        before = self.oracle.rows["jobs"]
        calls, seen = self.run(wanted, chance, moment)
        fault = self.judge(calls, seen, moment)
        assert fault is None, f"no serial order explains it. {fault}\ncalls: {calls}\njobs before: {before}"
        for what in seen:
            told += what.told
        return [
            Call(call.who, step)
            for call, what in zip(calls, seen, strict=True)
            for action in what.follow
            for step in _following(action)
        ]

    def _nothing_is_forgotten(self, moment: Moment) -> None:
        def look(tx: Tx) -> None:
            for job in tx.current(1000):
                if job.status in CURRENT - ACTIVE and (job.next_at is None or job.next_at > moment.now):
                    facts = tx.facts(job.id)
                    assert facts is not None
                    decision = rules.check(life.facts_of(tx, moment, facts), moment.now)
                    # That a held job is a duplicate is found when it is its turn.
                    is_due = isinstance(decision, Transition) and (
                        job.held is None or decision.status is not Status.DUPLICATE
                    )
                    assert not is_due, f"forgotten: {facts}"

        self._ask(look, moment)

    def close(self) -> None:
        self.oracle.close()
        self._folder.cleanup()

    # --- what differs ---

    @property
    def rows(self) -> Rows:
        raise NotImplementedError

    def empty(self) -> None:
        raise NotImplementedError

    def run(self, wanted: Sequence[Call], chance: Random, moment: Moment) -> tuple[Sequence[Call], list[Done]]:
        """Do it at the same time. The calls in the order in which they seem to have come, and their answers."""
        raise NotImplementedError

    def judge(self, calls: Sequence[Call], seen: Sequence[Done], moment: Moment) -> str | None:
        """What is wrong with that."""
        raise NotImplementedError


def _following(action: Action) -> Iterator[Step]:
    match action:
        case Recheck(ids):
            for id in ids:
                yield partial(life.look, id)
        case Release(method, above):
            yield partial(controls.release, method, above)


def _shuffled(calls: Sequence[Call], chance: Random) -> list[Call]:
    """Whose turn it is, is chance; those of each connection come one after the other."""
    queues: dict[str, deque[Call]] = {}
    for call in calls:
        queues.setdefault(call.who, deque()).append(call)
    turns = [call.who for call in calls]
    chance.shuffle(turns)
    return [queues[who].popleft() for who in turns]


class StoreOnSqlite(_Schedules):
    """All that is wanted at once, as one transaction against one for each."""

    name = "store"
    cases = 60

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count()
        self._store: Store | None = None

    def empty(self) -> None:
        self._close_store()
        path = str(self.folder / f"{next(self._numbers)}.db")
        self._store = open_store(path)
        self._raw = raw(path)
        self._read = self._raw.__enter__()

    @property
    def rows(self) -> Rows:
        self._read("BEGIN")
        found = rows(self._read)
        self._read("ROLLBACK")
        return found

    def run(self, wanted: Sequence[Call], chance: Random, moment: Moment) -> tuple[Sequence[Call], list[Done]]:
        assert self._store is not None
        before = self.oracle.rows
        calls = [attrs.evolve(call, who=CORE) for call in _shuffled(wanted, chance)]

        def reader(tx: Any, moment: Moment) -> Result:
            tx.write()
            return Result(difference(before, self.rows))

        batch = self._store.run_batch([*(call.step for call in calls), reader], attrs.evolve(moment, owner=CORE))
        *seen, read = map(done, batch.outcomes)
        assert read.value is None, f"another connection saw what was not committed: {read.value}"
        if seen:
            seen[-1].follow.extend(batch.actions)
        return calls, seen

    def judge(self, calls: Sequence[Call], seen: Sequence[Done], moment: Moment) -> str | None:
        return self.oracle.follows(calls, seen, self.rows, moment)

    def _close_store(self) -> None:
        if self._store is not None:
            self._raw.__exit__(None, None, None)
            self._store.close()
            for path in self.folder.glob("[0-9]*.db*"):
                path.unlink()

    def close(self) -> None:
        self._close_store()
        super().close()


class _Turns:
    """Whose statement comes next: the first of the order that still wants one, unless it waits for something else."""

    def __init__(self, order: Sequence[str]) -> None:
        self._order = deque(order)
        self._changed = threading.Condition()

    def take(self, who: str) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: not self._order or self._order[0] == who, PATIENCE):
                if self._order:
                    self._order.popleft()
            else:
                with suppress(ValueError):
                    self._order.remove(who)
            self._changed.notify_all()

    def leave(self, who: str) -> None:
        """It wants no more."""
        with self._changed:
            self._order = deque(other for other in self._order if other != who)
            self._changed.notify_all()


class StoreOnMariadb(_Schedules):
    """Transactions at the same time."""

    name = "store-mariadb"
    cases = 15

    def __init__(self) -> None:
        super().__init__()
        self._server = MariaDb(self.folder)
        self._server.install()
        self._server.start()
        self._database = self._server.database()
        self._address = self._database.__enter__()
        self._stores = {f"core {number}": MysqlStore(self._address) for number in range(CONNECTIONS)}
        self._reader = self._server.connect(self._address.database)
        self._translate = translator(self._address.table)
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._turns = _Turns([])
        self._numbers = count(1)

    def _gate(self, store: MysqlStore, who: str) -> None:
        """Have each of its statements wait for its turn. A connection that was silent for long is a new one."""
        store.run_batch([], Moment(NOW, who, since=0.0, workers=WORKERS))
        assert store._session is not None
        connection = store._session._connection
        if "query" not in vars(connection):
            for name in ("query", "commit", "rollback"):
                setattr(connection, name, self._in_turn(getattr(connection, name), who))

    def _in_turn(self, function: Callable[..., Any], who: str) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            self._turns.take(who)
            return function(*arguments, **named)

        return called

    def empty(self) -> None:
        self._turns = _Turns([])
        for who, store in self._stores.items():
            with suppress(StoreBusy):
                self._gate(store, who)
        self._server.reset(self._address.database)
        # Connections remember ids for a while, and controls by their version: both have to be new.
        number = next(self._numbers)
        self._server.sql(f"ALTER TABLE gearbox_ids AUTO_INCREMENT = {number * IDS}", self._address.database)
        self._server.sql(f"INSERT INTO gearbox_meta VALUES ('controls', '{number}')", self._address.database)

    @property
    def rows(self) -> Rows:
        def sql(statement: str) -> list[tuple[Any, ...]]:
            with self._reader.cursor() as cursor:
                cursor.execute(self._translate(statement))
                return list(cursor.fetchall())

        return rows(sql)

    def run(self, wanted: Sequence[Call], chance: Random, moment: Moment) -> tuple[Sequence[Call], list[Done]]:
        mine: dict[str, list[Call]] = {}
        for call in wanted:
            mine.setdefault(call.who, []).append(call)
        if not mine:
            return [], []
        self._turns = _Turns(chance.choices(list(mine), k=TURNS))
        ready = threading.Barrier(len(mine))
        order: list[str] = []

        def run(who: str) -> list[Done]:
            ready.wait(60)
            try:
                return self._insist(self._stores[who], mine[who], moment)
            finally:
                order.append(who)
                self._turns.leave(who)

        seen = dict(zip(mine, self._pool.map(run, mine), strict=True))
        return [call for who in order for call in mine[who]], [what for who in order for what in seen[who]]

    def _insist(self, store: Store, calls: Sequence[Call], moment: Moment) -> list[Done]:
        """One transaction; as a core does: if it met another one, it is run again."""
        moment = attrs.evolve(moment, owner=calls[0].who)
        for _ in range(TRIES):
            with suppress(StoreBusy):
                batch = store.run_batch([call.step for call in calls], moment)
                seen = [done(outcome) for outcome in batch.outcomes]
                seen[-1].follow.extend(batch.actions)
                return seen
        raise AssertionError("never got through")

    def judge(self, calls: Sequence[Call], seen: Sequence[Done], moment: Moment) -> str | None:
        return self.oracle.explains(calls, seen, self.rows, moment)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._server.stop()

    def close(self) -> None:
        with self._ending():
            self._pool.shutdown()
            self._reader.close()
            for store in self._stores.values():
                store.close()
            self._database.__exit__(None, None, None)
        super().close()
