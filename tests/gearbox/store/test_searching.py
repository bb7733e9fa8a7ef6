"""Looking for jobs: each word alone and together, page by page, with a bound on the rows that are looked at."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from functools import partial
from math import floor
from typing import Any

import pytest
from store_stage import NOW, complete, fail, queue, read, run

from gearbox.job import Status
from gearbox.rules.query import Query, parse
from gearbox.steps import life
from gearbox.store import Found, Store

METHODS = ("a::b", "a::c", "d::e")
WORKERS = dict.fromkeys(METHODS, 1)


def search(store: Store, line: str, below: int | None = None, limit: int = 50, budget: int = 1000) -> Found:
    found: Found = read(store, lambda tx: tx.search(parse(line), tx.counts(), below, limit, budget))
    return found


def ids(found: Found) -> list[int]:
    return [job.id for job in found.jobs]


def filled(store: Store) -> list[int]:
    """Forty jobs of three methods in all sorts of states."""
    chance = random.Random(1)
    made = []
    for n in range(40):
        fields: dict[str, Any] = {"method": chance.choice(METHODS), "arguments": f'["file {n}"]'}
        if n % 5 == 0:
            fields["after_date"] = NOW + 1000 + n
        if n % 4 == 0:
            fields["dedupe"] = f"d{n % 3}"
        if n % 7 == 6:
            fields["after_id"] = made[0]
        if n % 11 == 9:
            fields["before_id"] = made[5]
        id = queue(store, workers=WORKERS, **fields).value
        made.append(id)
        if n % 3 == 0 and n % 5:
            complete(store, id, NOW + n, data=f'"result {n}"')
        elif n % 3 == 1 and n % 5:
            fail(store, id, NOW + n)
    run(store, partial(life.cancel, made[10], "not wanted"))
    return made


LINES = (
    "", "status:waiting", "status:failed", "status:complete", "status:ready,complete,invalid", "method:a::b",
    "method:a::*", "method:a::b status:complete", "method:d::e status:failed", "dedupe:d0", "dedupe:d0 status:current",
    "arg:file", 'arg:"file 3"', "error:result", "took>10", "took<10", "took>5 took<20 status:complete", "after:1",
    "priority:high", "priority:normal method:a::c", "3 4 5", "3 status:complete", "method:nobody", "status:missing",
    "before:6", "before:6 dedupe:d2", "before:6 after:1", "after:1 7 8 14", "after:1 dedupe:d2", "dedupe:d0 1 2 13",
    "20 21 22 dedupe:d2 after:1 before:6 status:current", "9 21 32 before:6 arg:20", "after:1 before:6 dedupe:d0",
)  # fmt: skip


def is_wanted(job: Any, query: Query) -> bool:
    """The same question asked of one job in Python."""
    took = None if job.completed is None or job.claimed_at is None else job.completed - job.claimed_at
    return (
        (not query.ids or job.id in query.ids)
        and (not query.methods or any(fnmatchcase(job.method, name) for name in query.methods))
        and (not query.statuses or job.status in query.statuses)
        and all(text in (job.arguments or "") for text in query.args)
        and all(text in (job.result_data or "") for text in query.errors)
        and (query.dedupe is None or job.dedupe == query.dedupe)
        and (query.after_id is None or job.after_id == query.after_id)
        and (query.before_id is None or job.before_id == query.before_id)
        and (query.priority is None or job.priority is query.priority)
        and (query.took_above < 0 or (took is not None and took > query.took_above))
        and (query.took_below > 1e9 or (took is not None and took < query.took_below))
    )


@pytest.mark.parametrize("line", LINES)
def test_a_search_finds_exactly_what_is_wanted_newest_first(store: Store, line: str) -> None:
    made = filled(store)
    jobs = read(store, lambda tx: tx.jobs(made))
    wanted = [job.id for job in reversed(jobs) if is_wanted(job, parse(line))]
    assert ids(search(store, line)) == wanted


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("budget", [3, 10, 1000])
def test_pages_are_the_whole_without_a_gap_or_an_overlap_whatever_the_budget(
    store: Store, line: str, budget: int
) -> None:
    filled(store)
    whole = ids(search(store, line))
    pages: list[int] = []
    below: int | None = None
    for _ in range(100):
        found = search(store, line, below, limit=4, budget=budget)
        pages += ids(found)
        below = found.next
        if below is None:
            break
    assert below is None
    assert pages == whole


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a[1]::b", ["a[1]::b"]),
        ("a?::b", ["a?::b"]),
        ("[!x]::b", ["[!x]::b"]),
        ("a[*", ["a[1]::b"]),
        ("*]::b", ["a[1]::b", "[!x]::b"]),
        ("a*::b", ["a1::b", "a[1]::b", "a?::b"]),
    ],
)
def test_in_the_name_of_a_method_the_star_alone_stands_for_others(store: Store, pattern: str, found: list[str]) -> None:
    for method in ("a1::b", "a[1]::b", "a?::b", "[!x]::b"):
        queue(store, method=method)
    assert [job.method for job in reversed(search(store, f"method:{pattern}").jobs)] == found


def test_a_search_that_finds_little_says_how_far_it_got(store: Store) -> None:
    for _ in range(30):
        queue(store)
    first = queue(store, arguments='["needle"]').value
    for _ in range(30):
        queue(store)
    found = search(store, "arg:needle", budget=10)
    assert (ids(found), found.is_cut) == ([], True)
    assert ids(search(store, "arg:needle", budget=100)) == [first]


@pytest.mark.parametrize("below", [2**62, 2**63 - 1, 2**63])
def test_an_id_beyond_all_is_no_bound(store: Store, below: int) -> None:
    id = queue(store).value
    for line in ("", "method:a::b", "status:running"):
        assert ids(search(store, line, below)) == [id]


def test_lists_carry_only_the_beginning_of_arguments(store: Store) -> None:
    queue(store, arguments='"' + "x" * 100_000 + '"')
    (job,) = search(store, "").jobs
    assert len(job.arguments or "") == 400


def test_jobs_to_come_are_listed_by_their_date(store: Store) -> None:
    dates = [NOW + seconds for seconds in (300, 100, 200)]
    made = [queue(store, after_date=date).value for date in dates]
    queue(store)
    assert upcoming(store, 0.0) == [made[1], made[2], made[0]]
    assert upcoming(store, NOW + 150) == [made[2], made[0]]
    assert upcoming(store, NOW + 200) == [made[0]]


def upcoming(store: Store, above: float, above_id: int | None = None, limit: int = 10) -> list[int]:
    return [job.id for job in read(store, lambda tx: tx.upcoming(above, above_id, limit))]


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_jobs_of_one_date_or_millisecond_are_gone_through_without_a_gap_or_an_overlap(store: Store, limit: int) -> None:
    """By what a list tells: the date to the millisecond. One that expires before its date comes as it ends."""
    dates = [
        NOW + seconds for seconds in (100.0005, 100.000004, 100.0005, 100.0005, 100.0, 100.0, 99.0, 100.001, 101.0)
    ]
    made = [queue(store, after_date=date).value for date in dates]
    made.append(queue(store, after_date=NOW + 1000.0, expires=NOW + 100.0).value)
    told = {id: floor(date * 1000) / 1000 for id, date in zip(made, [*dates, NOW + 1000.0], strict=True)}
    seen = upcoming(store, 0.0, None, limit)
    for _ in made:
        seen += upcoming(store, told[seen[-1]], seen[-1], limit)
    assert seen == [made[n] for n in (6, 4, 5, 9, 1, 0, 2, 3, 7, 8)]


def test_a_page_of_jobs_to_come_goes_on_behind_one_that_comes_no_more_or_later(store: Store) -> None:
    one, put_off, gone, other = [queue(store, after_date=NOW + 100).value for _ in range(4)]
    run(store, partial(life.cancel, gone, None))
    read(store, lambda tx: tx.alter(tx.job(put_off), {"opens_at": NOW + 500}))
    assert upcoming(store, NOW + 100, one) == [other, put_off]
    assert upcoming(store, NOW + 100, put_off) == [other, put_off]
    assert upcoming(store, NOW + 100, gone) == [other, put_off]


def test_the_states_of_jobs_that_somebody_looks_at(store: Store) -> None:
    one, other = queue(store).value, queue(store, after_date=NOW + 10).value
    complete(store, one, NOW + 1)
    states = read(store, lambda tx: tx.states([one, other, 999]))
    assert [(state.id, state.status) for state in states] == [(one, Status.COMPLETE), (other, Status.WAITING)]


def test_the_oldest_job_of_a_status(store: Store) -> None:
    assert read(store, lambda tx: tx.oldest(Status.WAITING)) is None
    first = queue(store, now=NOW - 50, after_date=NOW + 10).value
    queue(store, after_date=NOW + 5)
    assert read(store, lambda tx: tx.oldest(Status.WAITING)) == (first, NOW - 50)
