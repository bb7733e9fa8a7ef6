"""Several new jobs that refer to each other; pure.

A bundle is stored as a whole or not at all. Its jobs name each other by their places in the list, in any order, which
is possible because none of them can start before all are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

import attrs

from gearbox.errors import Code, RpcError
from gearbox.job import NewJob

__all__ = ["Item", "check_order", "link"]


CIRCLE_SHOWN = 10  # jobs of a circle that its error names


@attrs.frozen
class Item:
    """A new job. `after` and `before` are places in the bundle, in place of the ids in `new`."""

    new: NewJob
    after: int | None = None
    before: int | None = None


def link(
    names: Sequence[str | None], afters: Sequence[str | None], befores: Sequence[str | None]
) -> list[tuple[int | None, int | None]]:
    """(after, before) of each job, from their local names. Raises RpcError 400 for a name that is unknown or twice."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if name is not None:
            if name in places:
                raise RpcError(
                    Code.BAD_REQUEST, f"jobs[{place}].ref: {name} is the name of jobs[{places[name]}] already"
                )
            places[name] = place

    def find(place: int, key: str, name: str | None) -> int | None:
        if name is not None and name not in places:
            raise RpcError(Code.BAD_REQUEST, f"jobs[{place}].{key}: no job of this call has the ref {name}")
        return None if name is None else places[name]

    return [
        (find(place, "after_ref", after), find(place, "before_ref", before))
        for place, (after, before) in enumerate(zip(afters, befores, strict=True))
    ]


def check_order(items: Sequence[Item]) -> list[int]:
    """The places in an order in which every job comes after those it waits for. Raises RpcError 400 for a circle."""
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for place, item in enumerate(items):
        sorter.add(place, *(() if item.after is None else (item.after,)))
        if item.before is not None:
            sorter.add(item.before, place)
    try:
        return list(sorter.static_order())
    except CycleError as error:
        places = error.args[1][::-1]
        shown = places if len(places) <= CIRCLE_SHOWN else [*places[: CIRCLE_SHOWN - 1], "...", places[-1]]
        circle = " waits for ".join(f"jobs[{place}]" for place in shown)
        raise RpcError(Code.BAD_REQUEST, f"they would wait for ever: {circle}") from None
