"""Paused and limited methods: who waits, who is next, and that no place is ever lost or given twice."""

from __future__ import annotations

from functools import partial
from typing import Any

from store_stage import NOW, complete, looked_at, moment, queue, read, run, status

from gearbox.errors import RpcError
from gearbox.job import NewJob, Priority, Status, Tell
from gearbox.steps import controls, life
from gearbox.store import Moment, Result, Store, Tx


def limit(store: Store, concurrency: int | None) -> None:
    looked_at(store, run(store, partial(controls.control, "a::b", {"concurrency": concurrency})))


def statuses(store: Store, *ids: int) -> list[str]:
    return [status(store, id).value for id in ids]


def test_two_claims_of_one_transaction_share_the_limit(store: Store) -> None:
    limit(store, 1)
    step = partial(life.queue, NewJob("a::b"))
    ids = [outcome.value for outcome in store.run_batch([step, step], moment()).outcomes if isinstance(outcome, Result)]
    assert statuses(store, *ids) == ["running", "ready"]


def test_a_place_that_is_given_back_goes_to_the_next_at_once(store: Store) -> None:
    limit(store, 1)
    first, second = (queue(store).value for _ in range(2))
    low = queue(store, priority=Priority.LOW).value
    high = queue(store, priority=Priority.HIGH).value
    for ended, runs in ((first, high), (high, second), (second, low)):
        looked_at(store, complete(store, ended))
        assert status(store, runs) is Status.RUNNING
        assert read(store, lambda tx: tx.active("a::b")) == 1
        assert read(store, lambda tx, id=runs: tx.job(id)).held is None


def test_a_held_job_that_ends_without_running_passes_its_turn_on(store: Store) -> None:
    limit(store, 1)
    first = queue(store).value
    expiring = queue(store, expires=NOW + 5).value
    cancelled = queue(store).value
    last = queue(store).value
    run(store, partial(life.cancel, cancelled, None))
    result = complete(store, first, NOW + 6)
    tells = [action.job.id for action in looked_at(store, result, NOW + 6) if isinstance(action, Tell)]
    assert tells == [first, expiring]
    assert statuses(store, expiring, cancelled, last) == ["errored", "invalid", "running"]


def test_a_new_job_does_not_overtake_those_that_wait_for_a_free_place(store: Store) -> None:
    limit(store, 1)
    first = queue(store).value
    waiting = queue(store).value
    complete(store, first)  # its place is free, but nobody has looked at the next one yet
    newcomer = queue(store).value
    urgent = queue(store, priority=Priority.HIGH).value
    assert statuses(store, waiting, newcomer, urgent) == ["ready", "ready", "running"]
    run(store, partial(life.look, waiting))
    assert status(store, waiting) is Status.READY  # the urgent one took the place


def test_a_higher_limit_and_none_let_the_right_number_go(store: Store) -> None:
    limit(store, 0)
    ids = [queue(store).value for _ in range(5)]
    limit(store, 2)
    assert statuses(store, *ids) == ["running"] * 2 + ["ready"] * 3
    limit(store, 1)
    looked_at(store, complete(store, ids[0]))
    assert statuses(store, *ids[1:]) == ["running"] + ["ready"] * 3
    limit(store, None)
    assert statuses(store, *ids[1:]) == ["running"] * 4


def test_a_pause_holds_back_retries_and_dependents_too(store: Store) -> None:
    parent = queue(store).value
    child = queue(store, after_id=parent).value
    run(store, partial(controls.control, "a::b", {"is_paused": True}))
    looked_at(store, complete(store, parent))
    assert status(store, child) is Status.READY
    limit(store, 5)
    assert status(store, child) is Status.READY
    looked_at(store, run(store, partial(controls.control, "a::b", {"is_paused": False})))
    assert status(store, child) is Status.RUNNING


def test_a_control_whose_transaction_failed_was_never_set(store: Store) -> None:
    def broken(tx: Tx, moment: Moment) -> Any:
        controls.control("a::b", {"is_paused": True}, tx, moment)
        raise RpcError(400, "no")

    store.run_batch([broken], moment())
    assert read(store, lambda tx: tx.control("a::b")) is None
    assert status(store, queue(store).value) is Status.RUNNING
