"""The store in an interpreter of its own: all that goes over and comes back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from apart_stage import Here
from store_stage import moment, run

from gearbox.errors import RpcError, StoreBroken, StoreError, StoreFull
from gearbox.job import NewJob, Reported, Start, Status, Tell
from gearbox.steps import life
from gearbox.store import Moment, Result, Tx, open_store
from gearbox.store.apart import StoreApart, open_apart
from gearbox.store.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreApart]:
    store = StoreApart(str(tmp_path / "jobs.db"), Here())
    yield store
    store.close()


def test_g_core_has_its_store_apart_where_python_has_several_interpreters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is real, if there is one: it works as the store here does, and gives the file back."""
    monkeypatch.setattr(os, "process_cpu_count", lambda: 2, raising=False)
    path = str(tmp_path / "jobs.db")
    store = open_apart(path)
    assert isinstance(store, StoreApart if sys.version_info >= (3, 14) else SqliteStore)
    (queued,) = store.run_batch([partial(life.queue, NewJob("a::b", arguments='["é"]'))], moment()).outcomes
    assert isinstance(queued, Result)
    assert queued.value == 1
    with pytest.raises(StoreError, match="in use by process"):
        open_apart(path)
    store.close()
    store = open_store(path)
    assert run(store, partial(life.watch, 1)).value.arguments == '["é"]'
    store.close()


def test_with_one_processor_there_is_no_use_in_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 1, raising=False)
    store = open_apart(str(tmp_path / "jobs.db"))
    assert isinstance(store, SqliteStore)
    store.close()


def test_a_job_goes_its_way(store: StoreApart) -> None:
    done = store.run_batch([partial(life.queue, NewJob("a::b"))], moment())
    (queued,) = done.outcomes
    assert isinstance(queued, Result)
    (start,) = queued.actions
    assert isinstance(start, Start)
    assert start.job.status is Status.RUNNING
    assert run(store, partial(life.job_start, 1, 1, None)).value is True
    (reported,) = store.run_batch([partial(life.report, 1, 1, Reported(Status.COMPLETE, "42"))], moment()).outcomes
    assert isinstance(reported, Result)
    (told,) = [action for action in reported.actions if isinstance(action, Tell)]
    assert (told.job.status, told.job.result_data) == (Status.COMPLETE, "42")
    later = partial(life.queue, NewJob("a::b", after_date=moment().now + 60))
    assert store.run_batch([later], moment()).next_at == moment().now + 60


def test_a_refusal_comes_back_as_it_is(store: StoreApart) -> None:
    refused, queued = store.run_batch([_refuse, partial(life.queue, NewJob("a::b"))], moment()).outcomes
    assert isinstance(refused, RpcError)
    assert refused.as_json() == {"code": 409, "message": "no", "data": {"why": ["é"]}}
    assert isinstance(queued, Result)


@pytest.mark.parametrize("fault", [KeyError("where"), type("Local", (Exception,), {})("where")])
def test_a_fault_of_a_step_says_where_it_was_and_harms_no_other(store: StoreApart, fault: Exception) -> None:
    _faults[:] = [fault]
    faulty, queued = store.run_batch([_fail, partial(life.queue, NewJob("a::b"))], moment()).outcomes
    assert isinstance(faulty, Exception)
    assert "where" in str(faulty)
    assert type(fault).__name__ in repr(faulty)
    assert "in _fail" in "".join(faulty.__notes__)
    assert isinstance(queued, Result)


def test_errors_of_the_store_are_its_own(store: StoreApart, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise StoreFull("no room left")

    monkeypatch.setattr(SqliteStore, "run_batch", full)
    with pytest.raises(StoreFull, match="no room left"):
        store.run_batch([_fail], moment())


def test_an_interpreter_is_closed_with_its_store_and_stays_if_that_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To close it would close the database, and that would sync."""
    here = Here()
    StoreApart(str(tmp_path / "jobs.db"), here).close()
    assert here.is_closed
    here = Here()
    with pytest.raises(StoreError, match="cannot write to"):
        StoreApart("/proc/nowhere/jobs.db", here)
    assert here.is_closed

    here = Here()
    store = StoreApart(str(tmp_path / "jobs.db"), here)

    stores: list[SqliteStore] = []

    def broken(store: SqliteStore, *_: Any) -> Any:
        store.is_broken = True
        stores.append(store)
        raise StoreBroken("the disk failed")

    monkeypatch.setattr(SqliteStore, "run_batch", broken)
    with pytest.raises(StoreBroken, match="the disk failed"):
        store.run_batch([_fail], moment())
    store.close()
    assert not here.is_closed
    stores[0].is_broken = False
    store.close()


_faults: list[Exception] = []


def _refuse(tx: Tx, moment: Moment) -> Result:
    raise RpcError(409, "no", {"why": ["é"]})


def _fail(tx: Tx, moment: Moment) -> Result:
    raise _faults[0]
