"""Jobs of one call that name each other."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gearbox.errors import RpcError
from gearbox.job import NewJob
from gearbox.rules.bundle import Item, check_order, link


def item(after: int | None = None, before: int | None = None) -> Item:
    return Item(NewJob("a::b"), after, before)


def test_names_become_places() -> None:
    assert link(["a", None, "c", "d"], [None, "a", "d", None], ["c", None, None, "a"]) == [
        (None, 2),
        (0, None),
        (3, None),
        (None, 0),
    ]


@pytest.mark.parametrize(
    ("names", "afters", "befores", "message"),
    [
        (["a", "b", "a"], [None] * 3, [None] * 3, "jobs[2].ref: a is the name of jobs[0] already"),
        (["a", "b"], [None, "x"], [None] * 2, "jobs[1].after_ref: no job of this call has the ref x"),
        (["a", "b"], [None] * 2, ["y", None], "jobs[0].before_ref: no job of this call has the ref y"),
    ],
)
def test_a_name_that_is_twice_or_unknown_is_refused(
    names: list[str | None], afters: list[str | None], befores: list[str | None], message: str
) -> None:
    with pytest.raises(RpcError) as caught:
        link(names, afters, befores)
    assert (caught.value.code, caught.value.message) == (400, message)


def test_lists_of_one_length_belong_together() -> None:
    with pytest.raises(ValueError, match="shorter"):
        link(["a"], ["a"], [])


def test_every_job_comes_after_those_it_waits_for() -> None:
    items = [item(after=1), item(before=0), item(before=1), item(after=0)]
    assert check_order(items) == [2, 1, 0, 3]
    assert sorted(check_order([item(), item()])) == [0, 1]


def circle_of(size: int) -> list[Item]:
    """Each waits for the next one, and the last for the first."""
    return [item(after=(place + 1) % size) for place in range(size)]


@pytest.mark.parametrize("items", [circle_of(3), [item(before=2), item(before=0), item(before=1)]])
def test_a_circle_is_refused_with_all_its_jobs(items: list[Item]) -> None:
    with pytest.raises(RpcError) as caught:
        check_order(items)
    assert caught.value.code == 400
    said, colon, circle = caught.value.message.partition(": ")
    assert (said, colon) == ("they would wait for ever", ": ")
    places = [int(word.removeprefix("jobs[").removesuffix("]")) for word in circle.split(" waits for ")]
    assert places[0] == places[-1]
    assert sorted(places[1:]) == [0, 1, 2]
    for here, there in pairwise(places):
        assert items[here].after == there or items[there].before == here


def test_a_long_circle_is_shown_in_part() -> None:
    shown = {}
    for size in (9, 10):
        with pytest.raises(RpcError) as caught:
            check_order(circle_of(size))
        shown[size] = caught.value.message.removeprefix("they would wait for ever: ").split(" waits for ")
    assert len(shown[9]) == 10  # the first is named again at the end
    assert "..." not in " ".join(shown[9])
    assert len(shown[10]) == 11
    assert shown[10][9] == "jobs[...]"
    assert shown[10][-1] == shown[10][0]
    assert len(set(shown[10][:9])) == 9
