"""A clock that is set moves dates, and no span: pauses, leases and timeouts are as long as they were."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from store_stage import NOW, fail, moment, queue, read, run

from gearbox.errors import StoreBusy
from gearbox.job import Job, Vanished
from gearbox.rules.attempts import STOPPED
from gearbox.steps import life, operators
from gearbox.store import Moment, Result, Store, Tx, open_store, sqlite
from gearbox.store.address import MysqlAddress
from gearbox.store.mysql import MysqlStore
from gearbox.store.sqlite import SqliteStore


def set_clock(store: Store, seconds: float) -> None:
    """Of the file's store, or of the server as this store sees it; there it stands still from then on."""
    if isinstance(store, MysqlStore):
        assert store._session is not None
        store._session.plain(f"SET timestamp = {time.time() + seconds:.6f}")
    else:
        assert isinstance(store, SqliteStore)
        store._clock = lambda: time.time() + seconds


def job(store: Store, id: int) -> Job:
    found: Job = read(store, lambda tx: tx.job(id))
    return found


def lose(store: Store) -> int:
    """A job whose worker is lost: 60 s are left."""
    id: int = queue(store).value
    run(store, partial(life.job_start, id, 1, "w"))
    run(store, partial(life.settle, id, 1, Vanished(was_started=True, grace=60.0)))
    return id


@pytest.mark.parametrize("seconds", [3600, -3600, 315_360_000, 2])
def test_spans_move_with_it_and_dates_do_not(store: Store, seconds: int) -> None:
    again = queue(store, max_retries=1, retry_delay=60.0).value
    fail(store, again)
    timed = queue(store, timeout=60.0).value
    run(store, partial(life.job_start, timed, 1, "w"))
    lost = lose(store)
    dated = queue(store, after_date=NOW + 60).value
    ready = queue(store, workers=None, expires=NOW + 60).value
    set_clock(store, seconds)
    done = store.run_batch([lambda tx, moment: Result(moment)], moment())
    (outcome,) = done.outcomes
    assert isinstance(outcome, Result)
    assert done.set_by == pytest.approx(seconds, abs=0.9)
    assert outcome.value.now == pytest.approx(time.time() + seconds, abs=0.9)  # the batch goes by the new time
    assert outcome.value.now - outcome.value.since == NOW  # as long ago as before
    moved = pytest.approx(NOW + 60 + done.set_by, abs=2e-6)
    assert (job(store, again).opens_at, job(store, again).next_at) == (moved, moved)
    assert (job(store, timed).stops_at, job(store, timed).next_at) == (moved, moved)
    assert (job(store, lost).lease_at, job(store, lost).next_at) == (moved, moved)
    assert job(store, lost).updated == pytest.approx(NOW + done.set_by, abs=2e-6)  # since when it is missing
    assert (job(store, dated).opens_at, job(store, dated).next_at) == (NOW + 60, NOW + 60)
    assert (job(store, ready).expires, job(store, ready).next_at) == (NOW + 60, NOW + 60)
    assert store.run_batch([], moment()).set_by == 0.0


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_it_is_noticed_although_it_was_set_while_no_core_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    path = str(tmp_path / "jobs.db")
    with closing(open_store(path)) as store:
        lost = lose(store)
    usual = time.time
    monkeypatch.setattr(time, "time", lambda: usual() + seconds)
    for wanted in (seconds, 0.0):  # the second start finds it as the first one left it
        with closing(open_store(path)) as store:
            assert store.run_batch([], moment()).set_by == pytest.approx(wanted, abs=0.9)
            assert job(store, lost).lease_at == pytest.approx(NOW + 60 + seconds, abs=0.9)
            assert store.run_batch([], moment()).set_by == 0.0
    monkeypatch.setattr(time, "time", usual)
    monkeypatch.setattr(sqlite, "boot", lambda: "another start of the machine")
    with closing(open_store(path)) as store:
        assert store.run_batch([], moment()).set_by == 0.0


def test_small_steps_do_not_add_up_to_one_that_the_next_start_takes_for_a_jump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "jobs.db")
    usual = time.time
    with closing(open_store(path)) as store:
        for step in range(10):
            set_clock(store, step * 0.8)
            queue(store)
    monkeypatch.setattr(time, "time", lambda: usual() + 7.2)
    with closing(open_store(path)) as store:
        assert store.run_batch([], moment()).set_by == 0.0


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_hurried_try_waits_for_the_last_worker_whatever_the_clock_says(store: Store, seconds: int) -> None:
    id: int = queue(store, max_retries=1, retry_delay=600.0, timeout=10.0).value
    run(store, partial(life.job_start, id, 1, "w"))
    run(store, partial(life.look, id), now=NOW + 10)
    set_clock(store, seconds)
    set_by = store.run_batch([], moment()).set_by
    assert run(store, partial(operators.hurry, id, None), now=NOW + 11 + set_by).value is True
    assert job(store, id).opens_at == pytest.approx(NOW + 10 + STOPPED + set_by, abs=2e-6)


def test_what_is_not_stored_is_moved_by_the_next_batch(store: Store) -> None:
    lost = lose(store)

    def refuse(tx: Tx, moment: Moment) -> Result:
        raise StoreBusy("another core is at it")

    set_clock(store, 3600)
    for _ in range(2):
        with pytest.raises(StoreBusy):
            store.run_batch([refuse], moment())
    set_by = store.run_batch([], moment()).set_by
    assert set_by == pytest.approx(3600, abs=0.9)
    assert job(store, lost).lease_at == pytest.approx(NOW + 60 + set_by, abs=2e-6)


def test_a_clock_that_is_only_nudged_moves_nothing(store: Store) -> None:
    lost = lose(store)
    for tenths in range(1, 30):
        set_clock(store, tenths / 10)
        assert store.run_batch([], moment()).set_by == 0.0
    assert job(store, lost).lease_at == NOW + 60


@pytest.fixture
def two(mysql: MysqlAddress) -> Iterator[tuple[Store, Store]]:
    with closing(open_store(mysql)) as one, closing(open_store(mysql)) as other:
        yield one, other


@pytest.mark.mariadb
def test_of_two_cores_one_moves(two: tuple[Store, Store]) -> None:
    lost = lose(two[0])
    for store in two:
        set_clock(store, 3600)
    first, second = (store.run_batch([], moment()).set_by for store in two)
    assert (first, second) == (pytest.approx(3600, abs=0.9), pytest.approx(3600, abs=0.9))
    assert job(two[0], lost).lease_at == pytest.approx(NOW + 60 + first, abs=2e-6)


@pytest.mark.mariadb
def test_what_another_core_writes_by_the_old_time_is_moved_too(two: tuple[Store, Store]) -> None:
    one, other = two
    lost: int = queue(other).value
    run(other, partial(life.job_start, lost, 1, "w"))
    is_writing, may_go_on = threading.Event(), threading.Event()

    def slowly(tx: Tx, moment: Moment) -> Result:
        is_writing.set()
        assert may_go_on.wait(10)
        return life.settle(lost, 1, Vanished(was_started=True, grace=60.0), tx, moment)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(run, other, slowly)
        assert is_writing.wait(10)
        set_clock(one, 3600)
        moving = pool.submit(one.run_batch, [], moment())
        with pytest.raises(TimeoutError):
            moving.result(timeout=0.3)  # it waits
        may_go_on.set()
        writing.result(timeout=10)
        set_by = moving.result(timeout=10).set_by
    assert job(one, lost).lease_at == pytest.approx(NOW + 60 + set_by, abs=2e-6)
    # and the other, whose clock is seen as set only now, leaves it so
    set_clock(other, 3600)
    assert other.run_batch([], moment()).set_by == pytest.approx(3600, abs=0.9)
    assert job(other, lost).lease_at == pytest.approx(NOW + 60 + set_by, abs=2e-6)
