"""Recurring entries whose runs wait for the last one, which may have become a duplicate of somebody else's job."""

from __future__ import annotations

from functools import partial

from store_stage import NOW, complete, fail, looked_at, queue, read, run, status

from gearbox.job import Fire, Status
from gearbox.rules.recurrence import Missed, Overlap, Schedule
from gearbox.steps import life, recurring
from gearbox.store import Store

TEMPLATE = (
    '{"name":"a::b","args":null,"priority":"normal","dedupe":"D","max_retries":0,"retry_delay":1,'
    '"backoff":"fixed","retry_delay_max":3600,"timeout":null}'
)
ENTRY = Schedule("minutely", "* * * * *", "UTC", Overlap.QUEUE, Missed.ONCE, TEMPLATE, 0.0, "", 0.0)


def entry_that_waits(store: Store) -> Schedule:
    """Its last job is a duplicate of one that runs, and the next run waits for that."""
    run(store, partial(recurring.schedule, ENTRY))
    for minute in (1, 2):
        now = NOW + 60 * minute
        looked_at(store, run(store, partial(recurring.fire, "minutely"), now), now)
    entry = read(store, lambda tx: tx.schedule("minutely"))
    assert isinstance(entry, Schedule)
    assert entry.waiting == 1
    assert status(store, entry.last_job or 0) is Status.DUPLICATE
    return entry


def test_a_run_that_waits_is_made_when_the_job_that_ran_in_place_of_the_last_ends(store: Store) -> None:
    other = queue(store, dedupe="D").value
    before = entry_that_waits(store)
    looked_at(store, complete(store, other, NOW + 121), NOW + 121)
    entry = read(store, lambda tx: tx.schedule("minutely"))
    assert (entry.waiting, entry.next_at) == (0, before.next_at)
    assert status(store, entry.last_job) is Status.RUNNING


def test_it_is_when_the_last_job_is_a_duplicate_of_a_duplicate(store: Store) -> None:
    other = queue(store, dedupe="D", max_retries=1, retry_delay=150).value
    entry_that_waits(store)
    fail(store, other, NOW + 121)
    twin = queue(store, NOW + 122, dedupe="D").value
    assert Fire("minutely") not in run(store, partial(life.look, other), NOW + 300).actions
    assert status(store, other) is Status.DUPLICATE
    assert Fire("minutely") in complete(store, twin, NOW + 301).actions
