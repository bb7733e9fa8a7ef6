"""What every store must do. One suite, run on each kind of store."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import attrs
import pytest
from store_stage import NOW, REFUSALS, complete, fail, looked_at, moment, queue, raw, read, run, status

from gearbox.errors import RpcError, StoreBusy, StoreError, StoreFull
from gearbox.job import (
    Control,
    Ended,
    Event,
    NewJob,
    Outcome,
    Reported,
    Start,
    Status,
    Tell,
    Transition,
    Unsent,
    Vanished,
)
from gearbox.rules.attempts import STOPPED
from gearbox.steps import controls as controls_of
from gearbox.steps import life, operators, orphans
from gearbox.store import Moment, Result, Store, Tx, controls, open_store, pruning, reading, recurring
from gearbox.store.address import MysqlAddress
from gearbox.store.writing import Writing

Place = str | MysqlAddress


def test_a_job_is_stored_claimed_and_started_in_one_step(store: Store) -> None:
    result = queue(store, arguments='["é"]')
    (start,) = result.actions
    assert isinstance(start, Start)
    assert (start.job.id, start.job.epoch, start.job.status, start.job.owner) == (
        result.value,
        1,
        Status.RUNNING,
        "core",
    )
    assert read(store, lambda tx: tx.job(result.value)) == start.job
    (attempt,) = read(store, lambda tx: tx.attempts(result.value))
    assert (attempt.epoch, attempt.owner, attempt.outcome) == (1, "core", None)


def test_every_change_has_its_event_without_a_gap(store: Store) -> None:
    id = queue(store, max_retries=1, retry_delay=2).value
    fail(store, id, NOW + 1)
    run(store, partial(life.look, id), NOW + 4)
    complete(store, id, NOW + 5)
    audit = read(store, lambda tx: tx.audit(id))
    assert [event.seq for event in audit] == list(range(1, len(audit) + 1))
    assert [(event.was and event.was.value, event.status.value, event.epoch) for event in audit] == [
        (None, "ready", 0),
        ("ready", "running", 1),
        ("running", "waiting", 1),
        ("waiting", "ready", 1),
        ("ready", "running", 2),
        ("running", "complete", 2),
    ]
    attempts = read(store, lambda tx: tx.attempts(id))
    assert [(a.epoch, a.outcome, a.error) for a in attempts] == [
        (1, Outcome.ERRORED, '"no"'),
        (2, Outcome.COMPLETE, None),
    ]


def test_the_audit_cannot_be_rewritten(store: Store, place: Place) -> None:
    queue(store)
    with raw(place) as sql, pytest.raises(REFUSALS, match="append-only"):
        sql("UPDATE gearbox_events SET why = 'nothing'")


def test_a_step_that_raises_leaves_no_trace_and_spares_its_neighbours(store: Store) -> None:
    def broken(tx: Tx, moment: Moment) -> Result:
        tx.insert(NewJob("x::lost"), Status.READY, moment.now, "core")
        raise RpcError(400, "no")

    good = partial(life.queue, NewJob("a::b"))
    first, second, third = store.run_batch([good, broken, good], moment()).outcomes
    assert isinstance(second, RpcError)
    assert isinstance(first, Result)
    assert isinstance(third, Result)
    assert [job.method for job in read(store, lambda tx: tx.current(10))] == ["a::b", "a::b"]
    assert read(store, lambda tx: tx.stats("x::lost"))["totalRuns"] == 0


def test_a_step_that_raises_after_its_changes_were_written_leaves_no_trace_either(store: Store) -> None:
    def broken(tx: Tx, moment: Moment) -> Result:
        job = tx.insert(NewJob("a::b", submit_token="t"), Status.READY, moment.now, "core")
        assert next(one.id for one in tx.current(10)) == job.id  # which has it written
        tx.set_control("a::b", Control(is_paused=True), moment.now, "core")
        raise RpcError(400, "no")

    good = partial(life.queue, NewJob("a::b"))
    limited = partial(controls_of.control, "a::b", {"concurrency": 2})
    first, _, second, third = store.run_batch([good, broken, limited, good], moment()).outcomes
    assert isinstance(second, Result)
    assert second.value == Control(concurrency=2)
    assert isinstance(first, Result)
    assert isinstance(third, Result)
    assert [job.id for job in read(store, lambda tx: tx.current(10))] == [third.value, first.value]
    assert read(store, lambda tx: tx.job_of_token("t")) is None
    assert read(store, lambda tx: tx.stats("a::b"))["states"] == {"running": 2}
    assert [event.seq for event in read(store, lambda tx: tx.audit(third.value))] == [1, 2]


@pytest.mark.parametrize("unfit", [NewJob("a::b", '"\ud800"'), NewJob("a::b", max_retries=2**70)])
def test_a_step_whose_changes_cannot_be_written_spares_its_neighbours(store: Store, unfit: NewJob) -> None:
    good = partial(life.queue, NewJob("a::b"))
    first, second, third = store.run_batch([good, partial(life.queue, unfit), good], moment()).outcomes
    assert isinstance(second, Exception)
    assert isinstance(first, Result)
    assert isinstance(third, Result)
    assert [job.id for job in read(store, lambda tx: tx.current(10))] == [third.value, first.value]
    assert read(store, lambda tx: tx.stats("a::b"))["states"] == {"running": 2}


def test_a_job_that_is_queued_changed_and_cancelled_in_one_batch_has_its_whole_story(store: Store) -> None:
    id = queue(store).value + 1
    steps = [partial(life.queue, NewJob("a::b")), partial(life.job_start, id, 1, "w"), partial(life.cancel, id, None)]
    batch = store.run_batch(steps, moment())
    assert [outcome.value for outcome in batch.outcomes if isinstance(outcome, Result)] == [id, True, True]
    assert [event.status.value for event in read(store, lambda tx: tx.audit(id))] == ["ready", "running", "invalid"]
    (attempt,) = read(store, lambda tx: tx.attempts(id))
    assert (attempt.worker, attempt.started_at, attempt.outcome) == ("w", NOW, Outcome.CANCELLED)


def test_apply_is_compare_and_swap(store: Store) -> None:
    id = queue(store).value
    job = read(store, lambda tx: tx.job(id))
    stale = attrs.evolve(job, epoch=job.epoch - 1)
    change = Transition(frozenset({Status.RUNNING}), Status.COMPLETE, "test", {"completed": NOW}, Outcome.COMPLETE)
    with pytest.raises(StoreBusy):
        run(store, lambda tx, moment: Result(tx.apply(stale, change, NOW, "core")))
    with pytest.raises(AssertionError):
        run(store, lambda tx, moment: Result(tx.apply(attrs.evolve(job, status=Status.ERRORED), change, NOW, "core")))
    assert status(store, job.id) is Status.RUNNING


def test_the_same_token_is_the_same_call(store: Store) -> None:
    first = queue(store, submit_token="t")
    second = queue(store, submit_token="t")
    assert first.value == second.value
    assert second.actions == ()


def test_ids_are_never_used_twice(store: Store) -> None:
    first = queue(store).value
    assert queue(store).value == first + 1


def test_late_and_foreign_results_change_nothing(store: Store) -> None:
    id = queue(store, max_retries=1, retry_delay=0).value
    fail(store, id)
    run(store, partial(life.look, id), NOW + 1)
    assert status(store, id) is Status.RUNNING
    late = partial(life.report, id, 1, Reported(Status.COMPLETE, '"of the first attempt"'))
    assert run(store, late).actions == ()
    for news in (Ended(), Ended({"code": 1}), Vanished(was_started=False, grace=0.0), Unsent()):
        run(store, partial(life.settle, id, 1, news))
        assert status(store, id) is Status.RUNNING
    complete(store, id, data='"right"')
    assert run(store, late).actions == ()
    assert complete(store, id, data='"twice"').actions == ()
    assert fail(store, id).actions == ()
    job = read(store, lambda tx: tx.job(id))
    assert (job.status, job.result_data) == (Status.COMPLETE, '"right"')
    assert sum("late result" in event.why for event in read(store, lambda tx: tx.audit(id))) == 4


def test_data_that_grows_too_large_by_pieces_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writing, "largest", 1000)
    id = queue(store, max_retries=1).value
    piece = Reported(data=f'"{"x" * 600}"', separator="\n")
    for _ in range(2):
        run(store, partial(life.report, id, 1, piece))
    job = read(store, lambda tx: tx.job(id))
    assert (job.status, job.retries) == (Status.WAITING, 1)
    assert '"code":413' in job.result_data
    assert job.opens_at == NOW + STOPPED  # its worker goes on, and may not have a second one beside it
    assert not run(store, partial(operators.hurry, id, None), NOW + 1).value


def test_only_one_worker_may_start_an_attempt(store: Store) -> None:
    id = queue(store).value
    assert run(store, partial(life.job_start, id, 1, "w1")).value is True
    assert run(store, partial(life.job_start, id, 1, "w2")).value is False
    assert run(store, partial(life.job_start, id, 2, "w1")).value is False
    complete(store, id)
    assert run(store, partial(life.job_start, id, 1, "w1")).value is False


# --- gates ---


def test_a_date_holds_a_job_until_it_has_come(store: Store) -> None:
    result = queue(store, after_date=NOW + 5)
    assert result.actions == []
    assert store.run_batch([], moment()).next_at == NOW + 5
    assert run(store, life.due, NOW + 4.9).actions == []
    assert looked_at(store, run(store, life.due, NOW + 5), NOW + 5)[0].job.id == result.value


def test_a_clock_that_steps_back_does_not_close_a_gate(store: Store) -> None:
    parent = queue(store).value
    id = queue(store, after_date=NOW + 5, after_id=parent).value
    run(store, partial(life.look, id), NOW + 6)
    assert store.run_batch([], moment()).next_at == float("inf")
    assert [type(action) for action in looked_at(store, complete(store, parent, NOW - 100), NOW - 100)] == [Tell, Start]


def test_a_parent_and_its_child(store: Store) -> None:
    parent = queue(store).value
    child = queue(store, after_id=parent)
    assert child.actions == []
    tell, start = looked_at(store, complete(store, parent))
    assert (tell.job.id, start.job.id) == (parent, child.value)
    assert queue(store, after_id=parent).actions[0].job.status is Status.RUNNING  # done already: no gate


def test_failure_travels_down_the_chain_without_a_try(store: Store) -> None:
    parent = queue(store, max_retries=0).value
    child = queue(store, after_id=parent, max_retries=3).value
    grandchild = queue(store, after_id=child).value
    looked_at(store, fail(store, parent))
    assert [status(store, id) for id in (parent, child, grandchild)] == [Status.ERRORED] * 3
    assert read(store, lambda tx: tx.attempts(child)) == []


def test_a_child_waits_while_its_parent_retries(store: Store) -> None:
    parent = queue(store, max_retries=1).value
    child = queue(store, after_id=parent).value
    assert looked_at(store, fail(store, parent)) == []
    assert status(store, child) is Status.WAITING
    run(store, partial(life.look, parent), NOW + 2)
    looked_at(store, fail(store, parent, NOW + 2))
    assert status(store, child) is Status.ERRORED


def test_a_pool_holds_its_target_until_all_are_done(store: Store) -> None:
    target = queue(store, after_date=NOW + 1).value
    pool = [queue(store, before_id=target).value for _ in range(3)]
    looked_at(store, run(store, life.due, NOW + 2), NOW + 2)
    for id in pool:
        assert status(store, target) is Status.WAITING
        looked_at(store, complete(store, id))
    assert status(store, target) is Status.RUNNING


def test_a_failed_pool_fails_its_target_only_when_all_have_ended(store: Store) -> None:
    target = queue(store, after_date=NOW + 1).value
    pool = [queue(store, before_id=target).value for _ in range(3)]
    looked_at(store, fail(store, pool[0]))
    assert status(store, target) is Status.WAITING
    for id in pool[1:]:
        looked_at(store, complete(store, id))
    assert status(store, target) is Status.ERRORED


def test_a_ready_target_goes_back_to_waiting_when_a_pool_forms(store: Store) -> None:
    target = queue(store, workers=None).value
    assert status(store, target) is Status.READY
    member = queue(store, before_id=target).value
    assert status(store, target) is Status.WAITING
    looked_at(store, complete(store, member))
    assert status(store, target) is Status.RUNNING


def test_a_dedupe_that_runs_makes_a_duplicate(store: Store) -> None:
    first = queue(store, dedupe="D").value
    second = queue(store, dedupe="D").value
    assert status(store, second) is Status.DUPLICATE
    assert run(store, partial(life.watch, second)).value.id == first
    child = queue(store, after_id=second).value
    assert status(store, child) is Status.WAITING
    looked_at(store, complete(store, first))
    assert status(store, child) is Status.RUNNING
    assert status(store, queue(store, dedupe="D").value) is Status.RUNNING


@pytest.mark.parametrize("news", [Ended(), Vanished(was_started=True, grace=60.0)], ids=["almost-done", "missing"])
def test_a_dedupe_holds_until_the_attempt_has_ended(store: Store, news: Event) -> None:
    first = queue(store, dedupe="D").value
    run(store, partial(life.settle, first, 1, news))
    assert status(store, first) in (Status.ALMOST_DONE, Status.MISSING)
    second = queue(store, dedupe="D").value
    assert status(store, second) is Status.DUPLICATE
    complete(store, first)
    assert status(store, queue(store, dedupe="D").value) is Status.RUNNING


def test_a_duplicate_in_a_pool_counts_as_its_original(store: Store) -> None:
    original = queue(store, dedupe="D").value
    target = queue(store, after_date=NOW + 1).value
    queue(store, before_id=target, dedupe="D")
    looked_at(store, run(store, life.due, NOW + 2), NOW + 2)
    assert status(store, target) is Status.WAITING
    looked_at(store, complete(store, original))
    assert status(store, target) is Status.RUNNING


def test_a_parent_cannot_be_deleted_under_its_child(store: Store, place: Place) -> None:
    parent = queue(store, after_date=NOW + 9).value
    child = queue(store, after_id=parent).value
    with raw(place) as sql, pytest.raises(REFUSALS):
        sql(f"DELETE FROM gearbox_jobs WHERE id = {parent}")
    job = read(store, lambda tx: tx.job(child))
    assert (job.status, job.after_id) == (Status.WAITING, parent)


def test_a_cycle_is_refused(store: Store) -> None:
    last = queue(store, after_date=NOW + 9).value
    middle = queue(store, after_id=last).value
    with pytest.raises(RpcError) as caught:
        queue(store, after_id=middle, before_id=last)
    assert caught.value.code == 400


@pytest.mark.parametrize("fields", [{"after_id": 99}, {"before_id": 99}])
def test_an_unknown_dependency_is_refused_and_nothing_stored(store: Store, fields: dict[str, int]) -> None:
    with pytest.raises(RpcError) as caught:
        queue(store, **fields)
    assert caught.value.code == 404
    assert read(store, lambda tx: tx.current(10)) == []


def test_no_worker_fails_at_once_but_not_while_workers_come_back(store: Store) -> None:
    assert status(store, queue(store, workers={}).value) is Status.ERRORED
    id = queue(store, workers=None).value
    after_restart = Moment(NOW + 5, "core", since=NOW + 1, workers={})
    store.run_batch([partial(life.look, id)], after_restart)
    assert status(store, id) is Status.READY
    store.run_batch([partial(life.look, id)], attrs.evolve(after_restart, now=NOW + 1 + life.RETURN_GRACE))
    assert status(store, id) is Status.ERRORED


# --- meta jobs ---


def test_noopwait_and_noopgo(store: Store) -> None:
    wait = queue(store, method="gearbox\\core::noopwait").value
    child = queue(store, after_id=wait).value
    assert status(store, wait) is Status.RUNNING
    go = queue(store, method="gearbox\\core::noopgo", arguments=f"[{wait}]")
    looked_at(store, go)
    assert read(store, lambda tx: tx.job(go.value)).result_data == "true"
    assert [status(store, id) for id in (wait, child)] == [Status.COMPLETE, Status.RUNNING]
    again = queue(store, method="gearbox\\core::noopgo", arguments=f'"{wait}"').value
    assert read(store, lambda tx: tx.job(again)).result_data == "false"


def test_a_noopgo_before_its_noopwait_runs_is_remembered(store: Store) -> None:
    wait = queue(store, method="gearbox\\core::noopwait", after_date=NOW + 5).value
    assert run(store, partial(life.go, wait)).value is True
    assert run(store, partial(life.go, wait)).value is False
    looked_at(store, run(store, life.due, NOW + 5), NOW + 5)
    assert status(store, wait) is Status.COMPLETE


# --- after a restart ---


def test_recovery_releases_what_never_started_and_waits_for_the_rest(store: Store) -> None:
    started, fresh, done = (queue(store).value for _ in range(3))
    run(store, partial(life.job_start, started, 1, "w"))
    run(store, partial(life.settle, done, 1, Ended()))
    wait = queue(store, method="gearbox\\core::noopwait").value
    result = run(store, partial(orphans.recover, 60.0, 0), NOW + 1)
    assert [status(store, id) for id in (started, fresh, done, wait)] == [
        Status.MISSING,
        Status.READY,
        Status.ALMOST_DONE,
        Status.RUNNING,
    ]
    (start,) = looked_at(store, result, NOW + 1)
    assert (start.job.id, start.job.epoch) == (fresh, 2)
    # a sign of life, and then the result, of the attempt from before
    run(store, partial(life.report, started, 1, Reported()), NOW + 30)
    assert status(store, started) is Status.RUNNING
    run(store, partial(life.report, started, 1, Reported(Status.COMPLETE, "1")), NOW + 40)
    assert status(store, started) is Status.COMPLETE


def test_rows_survive_closing(place: Place) -> None:
    store = open_store(place)
    id = queue(store).value
    complete(store, id, data='{"a":1}')
    before = read(store, lambda tx: tx.job(id))
    database = store.database
    store.close()
    store = open_store(place)
    assert read(store, lambda tx: tx.job(id)) == before
    assert store.database == database
    store.close()


# --- statistics ---


def test_stats(store: Store) -> None:
    for n, seconds in enumerate([1.0, 1.0, 1.0, 1.0, 41.0]):
        complete(store, queue(store, NOW + n).value, NOW + n + seconds)
    fail(store, queue(store, NOW + 5).value, NOW + 6)
    stats = read(store, lambda tx: tx.stats("a::b"))
    assert stats == {
        "totalRuns": 6,
        "earliest": "2027-01-15T08:00:00.000Z",
        "latest": "2027-01-15T08:00:05.000Z",
        "averageRetries": 0.0,
        "averageCompletionTime": pytest.approx(9.0),
        "stdAverageRetries": 0.0,
        "stdAverageCompletionTime": pytest.approx(1.0),
        "states": {"complete": 5, "errored": 1},
        "wait": {"p50": 0.0, "p95": 0.0, "p99": 0.0},
        "run": {"p50": pytest.approx(1.0), "p95": pytest.approx(41.0), "p99": pytest.approx(41.0)},
    }
    assert read(store, lambda tx: tx.stats("no::such")) == {
        "totalRuns": 0,
        "earliest": None,
        "latest": None,
        "averageRetries": None,
        "averageCompletionTime": None,
        "stdAverageRetries": None,
        "stdAverageCompletionTime": None,
        "states": {},
        "wait": {"p50": None, "p95": None, "p99": None},
        "run": {"p50": None, "p95": None, "p99": None},
    }


# --- a file that cannot be used ---


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    store = open_store(path)
    with pytest.raises(StoreError, match="in use by process"):
        open_store(path)
    store.close()
    open_store(path).close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    open_store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="schema version 99"):
        open_store(path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="cannot use the database"):
        open_store(str(path))
    with pytest.raises(StoreError, match="cannot write to"):
        open_store("/proc/nowhere/jobs.db")


def test_a_disk_without_room_for_the_lock_is_told_of_and_the_lock_given_back(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(StoreError, match=f"cannot write to {tmp_path}: File too large; name a file"):
            open_store(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    open_store(path).close()


def test_a_full_disk_stores_nothing_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "jobs.db"))
    id = queue(store).value
    connection = store._connection  # type: ignore[attr-defined]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    large = NewJob("a::b", arguments='"' + "x" * 100_000 + '"')
    with pytest.raises(StoreFull):
        store.run_batch([partial(life.queue, NewJob("a::b")), partial(life.queue, large)], moment())
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [job.id for job in read(store, lambda tx: tx.current(10))] == [id]
    assert run(store, partial(life.queue, large)).value > id
    store.close()


def test_what_operators_set_is_known_after_a_failure_in_which_nothing_can_be_read(tmp_path: Path) -> None:
    store: Any = open_store(str(tmp_path / "jobs.db"))
    run(store, partial(controls_of.control, "a::b", {"is_paused": True}))

    def fail(tx: Tx, moment: Moment) -> Any:
        controls_of.control("a::b", {"is_paused": False}, tx, moment)
        store._connection.set_authorizer(lambda action, *_: action == sqlite3.SQLITE_SELECT)  # True: it fails
        return tx.counts()

    with pytest.raises(StoreError, match="not authorized"):
        store.run_batch([fail], moment())
    with pytest.raises(StoreError, match="not authorized"):
        read(store, lambda tx: tx.control("a::b"))
    store._connection.set_authorizer(None)
    assert read(store, lambda tx: tx.control("a::b")) == Control(is_paused=True)
    assert status(store, queue(store).value) is Status.READY
    store.close()


PLANS = [
    (reading.SELECT_DUE, "gearbox_jobs_due"),
    (reading.SELECT_NEXT, "gearbox_jobs_due"),
    (reading.SELECT_NEXT, "gearbox_schedules_due"),
    (reading.SELECT_IDS, "gearbox_jobs_current"),
    (reading.SELECT_CURRENT, "gearbox_jobs_current"),
    (reading.SELECT_TWIN, "gearbox_jobs_dedupe"),
    (reading.SELECT_POOL_DUPLICATES, "gearbox_jobs_before"),
    (reading.SELECT_POOL_DUPLICATES, "gearbox_jobs_retry_of"),
    (reading.SELECT_DEPENDENTS, "gearbox_jobs_after"),
    (reading.SELECT_FAILED_DEPENDENTS, "gearbox_jobs_after"),
    (reading.SELECT_FACTS, "gearbox_jobs_before"),
    (reading.SELECT_FACTS, "gearbox_jobs_retry_of"),
    (reading.SELECT_RETRY, "gearbox_jobs_retry_of"),
    (reading.SELECT_UNFINISHED, "gearbox_jobs_before"),
    (reading.SELECT_RESULTS, "gearbox_jobs_before"),
    (reading.SELECT_RESULTS, "gearbox_jobs_retry_of"),
    (reading.SELECT_FAILED_MEMBERS, "gearbox_jobs_before"),
    (reading.SELECT_NEIGHBOURS, "gearbox_jobs_see_other"),
    (reading.SELECT_JOB_OF_TOKEN, "gearbox_jobs_token"),
    (controls.SELECT_HELD, "gearbox_jobs_held"),
    (controls.SELECT_AHEAD, "gearbox_jobs_held"),
    (recurring.SELECT_DUE_SCHEDULES, "gearbox_schedules_due"),
    (recurring.SELECT_OF_DUPLICATES, "gearbox_jobs_see_other"),
    (recurring.SELECT_OF_DUPLICATES, "gearbox_schedules_last_job"),
    (pruning.SELECT_OLD, "gearbox_jobs_after"),
    (pruning.SELECT_OLD, "gearbox_jobs_retry_of"),
]
VALUES = ["id", "now", "limit", "status", "above", "dedupe", "submit_token", "method", "rank", "below"]
SMALL = {"same", "job", "ahead", "CONSTANT"}  # a job and its duplicates, and what is limited within the statement


@pytest.mark.parametrize("connect", [sqlite3.connect, apsw.Connection], ids=["Python's SQLite", "the newest"])
@pytest.mark.parametrize(("statement", "index"), PLANS)
def test_no_statement_scans_the_table(tmp_path: Path, connect: Callable[..., Any], statement: str, index: str) -> None:
    """Whichever SQLite there is: from one to another the same statement may be planned in another way."""
    path = str(tmp_path / "jobs.db")
    open_store(path).close()
    connection = connect(path)
    question = f"EXPLAIN QUERY PLAN {statement.replace('%s', ':id')}"
    plan = [row[3] for row in connection.execute(question, dict.fromkeys(VALUES, 1))]
    connection.close()
    assert any(index in line for line in plan), plan
    scans = [line for line in plan if line.startswith("SCAN ") and "INDEX" not in line]
    assert {line.split()[1] for line in scans} <= SMALL, plan
