"""What the steps of a batch will ask for first, so that a store can ask for all of it at once; pure.

A question to a server costs a way there and back, whether it is about one job or about two hundred. Nothing depends on
this: what was not foreseen is asked for when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import attrs

from gearbox.job import NewJob

__all__ = ["Foresight", "changes_job", "foresee", "starts_job"]

Function = TypeVar("Function", bound=Callable[..., Any])
_changing: set[Any] = set()
_starting: set[Any] = set()


def changes_job(function: Function) -> Function:
    """A decorator for steps whose first argument is the id of a job that they read, and perhaps change."""
    _changing.add(function)
    return function


def starts_job(function: Function) -> Function:
    """The same for one that also asks whether the job's attempt was started."""
    _starting.add(function)
    return changes_job(function)


@attrs.frozen
class Foresight:
    """Jobs that will be read to be changed, those whose attempts will be, and tokens that will be looked for."""

    ids: frozenset[int]
    starting: frozenset[int]
    tokens: frozenset[str]


def foresee(steps: Iterable[Any]) -> Foresight:
    """What is known of the steps by their first arguments.

    >>> @changes_job
    ... def look(id, tx, moment): ...
    >>> def queue(new, tx, moment): ...
    >>> foresee([partial(look, 7), partial(queue, NewJob("a::b", submit_token="t")), look])
    Foresight(ids=frozenset({7}), starting=frozenset(), tokens=frozenset({'t'}))
    """
    ids, starting, tokens = set(), set(), set()
    for step in steps:
        if not isinstance(step, partial) or not step.args:
            continue
        first = step.args[0]
        if isinstance(first, NewJob) and first.submit_token is not None:
            tokens.add(first.submit_token)
        if step.func in _changing:
            ids.add(first)
        if step.func in _starting:
            starting.add(first)
    return Foresight(frozenset(ids), frozenset(starting), frozenset(tokens))
