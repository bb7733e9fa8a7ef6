"""What somebody looks for among the jobs: the line of the search box as data; pure.

    method:demo::* status:failed arg:README took>5s

All words must hold; of several ids, methods or statuses, one. Unknown words are refused with what there is, so that a
typing error never finds "everything".
"""

from __future__ import annotations

import re
from math import inf

import attrs

from gearbox.errors import Code, RpcError
from gearbox.job import ACTIVE, CURRENT, FAILED, TERMINAL, Priority, Status

__all__ = ["Query", "parse"]

GROUPS = {"current": CURRENT, "active": ACTIVE, "failed": FAILED, "ended": TERMINAL}
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
WORD = re.compile(r'(?P<key>[a-z_]+)(?P<sign>[:<>])(?P<value>"[^"]*"|\S*)|(?P<text>"[^"]*"|\S+)')
SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)")
ONCE = ("dedupe:", "schedule:", "priority:", "after:", "before:", "took>", "took<")  # of which a job has one
HELP = "use method: status: arg: error: dedupe: after: before: schedule: priority: took> took< or a number"
LONGEST = 1000  # characters
ID_HIGHEST = 2**63 - 1
SPAN_LONGEST = 1_000_000_000  # s, 31 years; of far more, the databases can count no microseconds


@attrs.frozen
class Query:
    """What a job must be to be found; what is empty or None does not matter."""

    ids: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()  # names; `*` stands for anything
    statuses: frozenset[Status] = frozenset()
    priority: Priority | None = None
    args: tuple[str, ...] = ()  # texts that its arguments contain
    errors: tuple[str, ...] = ()  # texts that its data contains
    dedupe: str | None = None
    after_id: int | None = None
    before_id: int | None = None
    schedule: str | None = None
    took_above: float = -inf  # s of its last attempt
    took_below: float = inf


def parse(line: str) -> Query:
    """The query that a line says. Raises RpcError 400 with the word that is wrong.

    >>> parse("status:failed took>1.5m 12").took_above
    90.0
    """
    if len(line) > LONGEST:
        raise RpcError(Code.BAD_REQUEST, f"a search of more than {LONGEST} characters")
    words = list(WORD.finditer(line))
    keys = [f"{word['key']}{word['sign']}" for word in words]
    for key in ONCE:
        if keys.count(key) > 1:
            raise RpcError(Code.BAD_REQUEST, f"{key} may be there only once")
    query = Query()
    for match in words:
        key, sign = match["key"], match["sign"]
        if key is None:
            text = match["text"].strip('"')
            is_id = text.lstrip("#").isascii() and text.lstrip("#").isdigit()
            query = _with(query, "id" if is_id else "arg", text.lstrip("#") if is_id else text)
        elif sign == ":":
            query = _with(query, key, match["value"].strip('"'))
        else:
            query = _took(query, key, sign, match["value"])
    return query


def _with(query: Query, key: str, value: str) -> Query:
    if not value:
        raise RpcError(Code.BAD_REQUEST, f"{key}: says nothing")
    match key:
        case "id":
            return attrs.evolve(query, ids=(*query.ids, _id(key, value)))
        case "method":
            names = (name.replace("/", "\\") for name in value.split(",") if name)
            return attrs.evolve(query, methods=(*query.methods, *names))
        case "status":
            return attrs.evolve(query, statuses=query.statuses | _statuses(value))
        case "priority":
            return attrs.evolve(query, priority=_priority(value))
        case "arg":
            return attrs.evolve(query, args=(*query.args, value))
        case "error":
            return attrs.evolve(query, errors=(*query.errors, value))
        case "dedupe":
            return attrs.evolve(query, dedupe=value)
        case "schedule":
            return attrs.evolve(query, schedule=value)
        case "after":
            return attrs.evolve(query, after_id=_id(key, value))
        case "before":
            return attrs.evolve(query, before_id=_id(key, value))
    raise RpcError(Code.BAD_REQUEST, f"nobody knows {key}: {HELP}")


def _id(key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) <= ID_HIGHEST):
        raise RpcError(Code.BAD_REQUEST, f"{key}:{value} is no job id")
    return int(value)


def _statuses(value: str) -> frozenset[Status]:
    found: frozenset[Status] = frozenset()
    for word in filter(None, value.split(",")):
        if word in GROUPS:
            found |= GROUPS[word]
            continue
        try:
            found |= {Status(word)}
        except ValueError:
            known = ", ".join([*(status.value for status in Status), *GROUPS])
            raise RpcError(Code.BAD_REQUEST, f"no status is called {word}: there are {known}") from None
    return found


def _priority(value: str) -> Priority:
    try:
        return Priority(value)
    except ValueError:
        raise RpcError(Code.BAD_REQUEST, f"no priority is called {value}: there are high, normal, low") from None


def _took(query: Query, key: str, sign: str, value: str) -> Query:
    span = SPAN.fullmatch(value)
    if key != "took" or span is None:
        raise RpcError(Code.BAD_REQUEST, f"nobody knows {key}{sign}{value}: {HELP}; spans are 500ms, 5s, 2m, 1h, 1d")
    seconds = float(span[1]) * UNITS[span[2]]
    if seconds > SPAN_LONGEST:
        raise RpcError(Code.BAD_REQUEST, f"{key}{sign}{value}: spans go up to {SPAN_LONGEST}s")
    return attrs.evolve(query, took_above=seconds) if sign == ">" else attrs.evolve(query, took_below=seconds)
