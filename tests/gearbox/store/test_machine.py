"""Any sequence of calls, news and time on a real store: the safety invariants hold after every commit.

The invariants are asked in SQL, beside the code that should keep them. After each event all that follows from it is
done; then a look at every job that waits must find nothing to do (L7), or a job would be forgotten until the sweep.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from graphlib import TopologicalSorter
from itertools import count
from typing import Any

import pytest
from home_stage import Home, MysqlHome, SqliteHome
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mariadb_stage import MariaDb

from gearbox import rules
from gearbox.errors import RpcError
from gearbox.job import (
    ACTIVE,
    CURRENT,
    FAILED,
    TERMINAL,
    Backoff,
    Ended,
    Fire,
    Job,
    NewJob,
    NoWorker,
    Priority,
    Recheck,
    Release,
    Reported,
    Start,
    Status,
    Tell,
    Transition,
    Unsent,
)
from gearbox.rules import answers
from gearbox.rules.bundle import Item
from gearbox.steps import bundles, controls, life, orphans, pruning, recurring
from gearbox.store import Moment, Result, Step, open_store
from gearbox.store.address import MysqlAddress
from gearbox.store.rows import listed

ERROR = {"code": -28502, "message": "the worker failed"}
METHODS = ["a::b", "c::d", rules.NOOP, rules.NOOPWAIT]
picks = st.integers(0, 1_000)
maybe = st.one_of(st.none(), picks)


class Jobs(RuleBasedStateMachine):
    """One store, what it was told, and what it said."""

    home: Home

    def settle_in(self) -> Home:
        """An empty database."""
        return SqliteHome()

    @initialize()
    def start(self) -> None:
        self.home = self.settle_in()
        self.store = open_store(self.home.place)
        self.now = 1_800_000_000.0
        self.workers: dict[str, int] | None = {"a::b": 1, "c::d": 1}
        self.ended: dict[int, tuple[Any, ...]] = {}  # what stands in terminal rows
        self.told: Counter[int] = Counter()
        self.released: Counter[int] = Counter()
        self.pruned: set[int] = set()
        self.answers: dict[int, Any] = {}  # what watchers were told, or would have been
        self.calls = count()
        self.limits: dict[str, int] = {}  # method -> how many may be active at most

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.home.close()

    # --- what the core does ---

    def run(self, step: Step) -> Any:
        """Run a step and all that follows from it; its value, or None for an RpcError."""
        paused = {method for method, control in self._controls().items() if control.is_paused}
        batch = self.store.run_batch([step], self._moment())
        (outcome,) = batch.outcomes
        if isinstance(outcome, RpcError):
            return None
        assert isinstance(outcome, Result), outcome
        todo = deque([*outcome.actions, *batch.actions])
        for _ in range(10_000):
            if not todo:
                return outcome.value
            action = todo.popleft()
            follow: Iterable[Step] = ()
            match action:
                case Start(job):
                    assert job.status is Status.RUNNING
                    assert job.method not in paused or not self._controls()[job.method].is_paused
                case Tell(job):
                    self.told[job.id] += 1
                    assert self.told[job.id] == 1
                case Recheck(ids):
                    follow = [partial(life.look, id) for id in ids]
                case Release(method, above):
                    follow = [partial(controls.release, method, above)]
                case Fire(name):
                    follow = [partial(recurring.fire, name)]
            batch = self.store.run_batch(list(follow), self._moment())
            for result in batch.outcomes:
                assert isinstance(result, Result), result
                todo += result.actions
            todo += batch.actions
        raise AssertionError("no end of what follows")

    def _moment(self) -> Moment:
        return Moment(self.now, "core", since=0.0, workers=self.workers)

    def _controls(self) -> Any:
        return self.store._controls  # type: ignore[attr-defined]

    def sql(self, statement: str) -> list[Any]:
        return self.home.sql(statement)

    def ids(self) -> list[int]:
        return [id for (id,) in self.sql("SELECT id FROM gearbox_jobs ORDER BY id")]

    def job(self, pick: int) -> Job | None:
        """One of the last jobs: the ones that still live."""
        ids = self.ids()[-12:]
        return self.read(lambda tx: tx.job(ids[pick % len(ids)])) if ids else None

    def read(self, question: Callable[[Any], Any]) -> Any:
        (outcome,) = self.store.run_batch([lambda tx, moment: Result(question(tx))], self._moment()).outcomes
        assert isinstance(outcome, Result), outcome
        return outcome.value

    # --- events ---

    @rule(
        method=st.sampled_from(METHODS),
        dedupe=st.sampled_from([None, None, "D", "E"]),
        after=maybe,
        before=maybe,
        delay=st.sampled_from([None, None, 0.0, 5.0]),
        expires=st.sampled_from([None, None, 3.0]),
        timeout=st.sampled_from([None, None, 4.0]),
        max_retries=st.integers(0, 2),
        backoff=st.sampled_from(Backoff),
        priority=st.sampled_from(Priority),
    )
    def queue(
        self, after: int | None, before: int | None, delay: float | None, expires: float | None, **fields: Any
    ) -> None:
        parent = None if after is None else self.job(after)
        target = None if before is None else self.job(before)
        new = NewJob(
            after_id=parent and parent.id,
            before_id=target and target.id,
            after_date=None if delay is None else self.now + delay,
            expires=None if expires is None else self.now + expires,
            submit_token=f"call {next(self.calls)}",
            **fields,
        )
        id = self.run(partial(life.queue, new))
        if id is not None:  # S2: whoever does not know whether the call was heard may repeat it
            assert self.run(partial(life.queue, new)) == id
        else:
            assert target is not None
            assert target.status not in (Status.READY, Status.WAITING) or parent is not None

    @rule(after=st.lists(maybe, min_size=1, max_size=5), before=st.lists(maybe, min_size=5, max_size=5), outside=maybe)
    def queue_many(self, after: list[int | None], before: list[int | None], outside: int | None) -> None:
        job = None if outside is None else self.job(outside)
        size = len(after)
        items = [
            Item(
                NewJob(METHODS[place % 3], before_id=job.id if job is not None and before[place] is None else None),
                None if after[place] is None else after[place] % size,
                None if before[place] is None else before[place] % size,
            )
            for place in range(size)
        ]
        stored = len(self.ids())
        ids = self.run(partial(bundles.queue_many, items, None))
        assert len(self.ids()) == stored + (0 if ids is None else size)

    @rule(
        pick=picks, status=st.sampled_from([None, Status.COMPLETE, Status.COMPLETE, Status.ERRORED]), late=st.booleans()
    )
    def report(self, pick: int, status: Status | None, late: bool) -> None:
        job = self.job(pick)
        if job is not None and job.epoch > late:
            self.run(partial(life.report, job.id, job.epoch - late, Reported(status, f"{job.epoch}", progress=1.0)))

    @rule(
        pick=picks,
        event=st.sampled_from([Ended(), Ended(ERROR), NoWorker(), Unsent()]),
        late=st.booleans(),
    )
    def news(self, pick: int, event: Any, late: bool) -> None:
        job = self.job(pick)
        if job is not None and job.epoch > late:
            self.run(partial(life.settle, job.id, job.epoch - late, event))

    @rule(pick=picks)
    def connection_lost(self, pick: int) -> None:
        job = self.job(pick)
        if job is not None:
            self.run(partial(orphans.vanish, job.id, job.epoch, 5.0))

    @rule(pick=picks)
    def worker_starts(self, pick: int) -> None:
        job = self.job(pick)
        if job is not None and self.run(partial(life.job_start, job.id, job.epoch, "w")):
            assert not self.run(partial(life.job_start, job.id, job.epoch, "v"))
            assert self.run(partial(life.job_start, job.id, job.epoch, "w"))  # its first answer may be lost

    @rule(pick=picks, late=st.booleans())
    def worker_asks(self, pick: int, late: bool) -> None:
        job = self.job(pick)
        if job is not None:
            is_wanted = self.run(partial(life.alive, job.id, job.epoch - late))
            assert is_wanted == (job.status in ACTIVE and not late and (job.stops_at or self.now + 1) > self.now)

    @rule(seconds=st.sampled_from([0.2, 1.0, 6.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.run(life.due)

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        job = self.job(pick)
        if job is not None:
            assert self.run(partial(life.cancel, job.id, None)) == (job.status not in TERMINAL)

    @rule(pick=picks, downstream=st.booleans())
    def retry(self, pick: int, downstream: bool) -> None:
        job = self.job(pick)
        if job is not None:
            new = self.run(partial(bundles.retry, job.id, downstream))
            assert new is None or job.id in new

    @rule(pick=picks)
    def go(self, pick: int) -> None:
        job = self.job(pick)
        if job is not None:
            self.released[job.id] += bool(self.run(partial(life.go, job.id)))

    @rule(method=st.sampled_from(METHODS[:2]), is_paused=st.booleans())
    def pause(self, method: str, is_paused: bool) -> None:
        self.run(partial(controls.control, method, {"is_paused": is_paused}))

    @rule(method=st.sampled_from(METHODS[:2]), concurrency=st.sampled_from([None, 0, 1, 2]))
    def limit(self, method: str, concurrency: int | None) -> None:
        self.limits.pop(method, None)
        if concurrency is not None:
            self.limits[method] = max(concurrency, self._active(method))
        self.run(partial(controls.control, method, {"concurrency": concurrency}))

    @rule(workers=st.sampled_from([None, {}, {"a::b": 1}, {"a::b": 1, "c::d": 1}, {"a::b": 1, "c::d": 1}]))
    def workers_change(self, workers: dict[str, int] | None) -> None:
        self.workers = workers
        for id in self.ids():
            self.run(partial(life.look, id))

    @rule(grace=st.sampled_from([5.0, 60.0]))
    def restart(self, grace: float) -> None:
        self.store.close()
        self.store = open_store(self.home.place)
        self.run(partial(orphans.recover, grace, 0))
        for id in self.ids():
            self.run(partial(life.look, id))

    @rule()
    def killed(self) -> None:
        """S1: what is stored at any moment is all that was acknowledged."""
        self.home.kill(self.store)

    @rule(days=st.sampled_from([0.0001, 0.001]))
    @precondition(lambda self: len(self.ids()) > 20)
    def prune(self, days: float) -> None:
        before = set(self.ids())
        retention = pruning.Retention(dict.fromkeys(TERMINAL, days))
        below = self.run(partial(pruning.newest, retention))
        while below:
            _, below = self.run(partial(pruning.prune, retention, below))
        self.pruned |= before - set(self.ids())

    @rule()
    def a_neighbour_fails(self) -> None:
        def broken(tx: Any, moment: Moment) -> Result:
            id = life.queue(NewJob("a::b"), tx, moment).value
            controls.control("a::b", {"is_paused": True}, tx, moment)
            raise RpcError(400, str(id))

        was = dict(self._controls())
        self.run(broken)
        assert dict(self._controls()) == was

    # --- what must hold ---

    def _active(self, method: str) -> int:
        return int(
            self.sql(
                f"SELECT count(*) FROM gearbox_jobs WHERE method_name = '{method}' AND status IN ({listed(ACTIVE)})"
            )[0][0]
        )

    def _jobs(self) -> dict[int, Job]:
        return {job.id: job for job in self.read(lambda tx: tx.jobs(self.ids()))}

    @invariant()
    @precondition(lambda self: hasattr(self, "store"))
    def safety_holds(self) -> None:
        # S3: every attempt has its row and, unless it is the current one of an active job, exactly one outcome
        assert not self.sql(f"""
            SELECT j.id FROM gearbox_jobs j LEFT JOIN gearbox_attempts a ON a.job_id = j.id
            GROUP BY j.id, j.epoch, j.status
            HAVING count(a.epoch) <> j.epoch OR (j.epoch > 0 AND max(a.epoch) <> j.epoch)
                OR sum(a.outcome IS NULL AND a.epoch IS NOT NULL) <> (j.status IN ({listed(ACTIVE)}))
                OR sum(a.outcome IS NULL AND a.epoch < j.epoch) > 0""")  # S4 is the last line
        # S3: events are gapless, and the last one tells the status
        assert not self.sql("""
            SELECT j.id FROM gearbox_jobs j JOIN gearbox_events e ON e.job_id = j.id
            GROUP BY j.id, j.events HAVING count(*) <> j.events OR max(e.seq) <> j.events OR min(e.seq) <> 1""")
        assert not self.sql("""
            SELECT j.id FROM gearbox_jobs j JOIN gearbox_events e ON e.job_id = j.id AND e.seq = j.events
            WHERE e.to_status <> j.status""")
        assert not self.sql("""
            SELECT a.job_id FROM gearbox_events a JOIN gearbox_events b ON b.job_id = a.job_id AND b.seq = a.seq + 1
            WHERE b.from_status <> a.to_status""")
        # S6
        assert not self.sql(f"""
            SELECT dedupe FROM gearbox_jobs WHERE has_dedupe AND status IN ({listed(ACTIVE)})
            GROUP BY dedupe HAVING count(*) > 1""")
        # S9
        assert not self.sql("""
            SELECT j.id FROM gearbox_jobs j JOIN gearbox_attempts a ON a.job_id = j.id AND a.outcome <> 'released'
            GROUP BY j.id, j.max_retries HAVING count(*) > j.max_retries + 1""")
        # S14
        for column in ("after_id", "before_id", "see_other", "retry_of"):
            assert not self.sql(f"""
                SELECT j.id FROM gearbox_jobs j LEFT JOIN gearbox_jobs o ON o.id = j.{column}
                WHERE j.{column} IS NOT NULL AND o.id IS NULL""")
        # what is kept beside the rows: counts, timers, places
        counted = Counter({(m, s): n for m, s, n in self.sql("SELECT method_name, status, jobs FROM gearbox_counts")})
        if not self.pruned:
            rows = self.sql("SELECT method_name, status, count(*) FROM gearbox_jobs GROUP BY 1, 2")
            assert +counted == Counter({(method, status): n for method, status, n in rows})
        for method, most in self.limits.items():
            active = self._active(method)
            assert active <= most
            concurrency = self._controls()[method].concurrency
            self.limits[method] = max(concurrency, active)
        assert max(self.released.values(), default=0) <= 1  # S13

    @invariant()
    @precondition(lambda self: hasattr(self, "store"))
    def jobs_are_as_the_rules_say(self) -> None:
        jobs = self._jobs()

        def resolved(job: Job) -> Job:
            return job if job.see_other is None else resolved(jobs[job.see_other])

        retried = {job.retry_of for job in jobs.values()}
        sorter: TopologicalSorter[int] = TopologicalSorter()
        for job in jobs.values():
            assert job.next_at == job.look_at()
            members = [member for member in jobs.values() if member.before_id == job.id]
            sorter.add(job.id, *([job.after_id] if job.after_id else []), *(member.id for member in members))
            if job.status in ACTIVE or job.status is Status.COMPLETE:  # S8; in a retry, members may still join
                assert job.after_id is None or resolved(jobs[job.after_id]).status is Status.COMPLETE
                for member in members:
                    assert resolved(member).status is Status.COMPLETE or member.id in retried
            if job.status in TERMINAL:  # S7
                stands = (job.status, job.result_data, job.see_other, job.completed)
                assert job.completed is not None
                assert self.ended.setdefault(job.id, stands) == stands
                assert self.told[job.id] == 1
                self._check_answer(job, resolved(job))
        sorter.prepare()  # S10: raises for a circle

    def _check_answer(self, job: Job, original: Job) -> None:
        """S11: all who watch a job are told the same, however late; S12: what the accepted attempt reported."""
        if original.status not in TERMINAL:
            return
        answer = answers.answer(original)
        told = answer if isinstance(answer, str) else (answer.code, answer.message, answer.data)
        assert self.answers.setdefault(job.id, told) == told
        if original.status is Status.COMPLETE and original.method not in rules.ALWAYS_AVAILABLE:
            assert told == str(original.epoch)

    @invariant()
    @precondition(lambda self: hasattr(self, "store"))
    def nothing_is_forgotten(self) -> None:
        """L7: a look at any job finds nothing to do before its timer."""
        for job in self._jobs().values():
            if job.status in CURRENT - ACTIVE and (job.next_at is None or job.next_at > self.now):
                moment = self._moment()
                facts = self.read(lambda tx, id=job.id, moment=moment: life.facts_of(tx, moment, tx.facts(id)))
                assert not isinstance(rules.check(facts, self.now), Transition), facts
            elif job.status in ACTIVE and job.next_at is None:
                assert job.status is Status.RUNNING  # Gearman's word or somebody's noopgo will come
            assert job.status not in FAILED or job.result_data is not None


class JobsOnMysql(Jobs):
    """The same on a server."""

    server: MariaDb
    address: MysqlAddress

    def settle_in(self) -> Home:
        return MysqlHome(self.server, self.address)


def effort(examples: int) -> settings:
    return settings(
        max_examples=int(os.environ.get("GEARBOX_TEST_EXAMPLES", examples)),
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


TestJobs = Jobs.TestCase
TestJobs.settings = effort(40)


@pytest.mark.mariadb
class TestJobsOnMysql(JobsOnMysql.TestCase):  # type: ignore[misc, valid-type]
    settings = effort(15)

    @pytest.fixture(autouse=True)
    def serve(self, mariadb: MariaDb, mysql: MysqlAddress) -> None:
        JobsOnMysql.server, JobsOnMysql.address = mariadb, mysql
