"""Looking for jobs by what they are: newest first, a page at a time, and never more work than was agreed.

Nothing here counts or sorts the table. A search walks one index (or a few, merged) from the newest job down: that of
the dedupe, the parent, the pool, the method or the status, whichever has the fewest rows by the counts that are kept
anyway. What the index cannot tell is checked row by row, for at most `budget` rows; then the answer says how far it
got, and the next question goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from math import inf, isfinite
from typing import Any

import attrs

from gearbox.job import CURRENT, Job, Status
from gearbox.rules.query import Query
from gearbox.store import Found, PoolView, State
from gearbox.store.reading import Reading, named
from gearbox.store.rollups import Bucket
from gearbox.store.rows import JOB, STATUSES, job_of, listed, micros, one_of

__all__ = ["Searching", "Stream", "streams"]

SHOWN = 400  # characters of arguments and data in a list
BRIEF = JOB.replace("j.arguments", f"substr(j.arguments, 1, {SHOWN})").replace(
    "j.result_data", f"substr(j.result_data, 1, {SHOWN})"
)
STAR_ALONE = str.maketrans({"[": "[[]", "?": "[?]"})  # the other signs of fnmatch stand for themselves
METHODS_LIMIT = 16  # streams by method that are merged; with more, the method is a filter like others
OTHERS = frozenset({Status.ERRORED, Status.INVALID, Status.DUPLICATE})  # ended, and few enough for an index
INDEXED = {status: one_of("j.status", group) for group in (CURRENT, OTHERS) for status in group}

SELECT_FLOOR = "SELECT j.id FROM gearbox_jobs j WHERE %s AND j.id < :below ORDER BY j.id DESC LIMIT 1 OFFSET :budget"
SELECT_TOP = "SELECT max(id) FROM gearbox_jobs WHERE id < :below"
SELECT_FOUND = f"SELECT {BRIEF} FROM gearbox_jobs j WHERE %s ORDER BY j.id DESC LIMIT :limit"
SELECT_UPCOMING = f"""
SELECT {BRIEF} FROM gearbox_jobs j
WHERE j.next_at >= :above AND (j.next_at > :above OR j.id > :above_id) AND j.opens_at IS NOT NULL
ORDER BY j.next_at, j.id LIMIT :limit
"""  # no word of the status, for whose index the order would be given up; a closed gate is a waiting job's
SELECT_PLACE = """
SELECT next_at FROM gearbox_jobs
WHERE id = :above_id AND next_at < :above + 1000 AND opens_at IS NOT NULL
"""  # :above is what the job was told to wait for, to the millisecond; it may have been put off since
SELECT_STATES = """
SELECT j.id, j.status, j.progress_status, j.updated FROM gearbox_jobs j WHERE j.id IN (%s)
"""
SELECT_LAST_TARGET = "SELECT max(before_id) FROM gearbox_jobs WHERE before_id < :below"
SELECT_MEMBERS = """
SELECT status, COUNT(*) FROM (
    SELECT status FROM gearbox_jobs WHERE before_id = :id LIMIT :limit) AS members GROUP BY status
"""
SELECT_OLDEST = (
    "SELECT j.id, j.created FROM gearbox_jobs j WHERE j.status = :status"
    f" AND {one_of('j.status', CURRENT)} ORDER BY j.id LIMIT 1"
)
SELECT_BUCKETS = """
SELECT method_name, measure, bucket, jobs, total, squares FROM gearbox_measures
WHERE measure IN ('wait', 'run') ORDER BY method_name, measure, bucket
"""
EVERYTHING = 2**62  # an id above all, and one that every database can take
MEMBERS_LIMIT = 5_000  # members of a pool that are counted


@attrs.frozen
class Stream:
    """A part of the table that an index gives newest first; `where` names its rows, `checks` what it cannot tell."""

    where: str
    values: Mapping[str, Any]
    checks: str = ""


def streams(query: Query, counts: Mapping[str, Mapping[Status, int]]) -> list[Stream]:
    """Where to look for what a query wants; nothing, if the counts say that there is none. Pure."""
    checks, values = _checks(query)
    patterns = [pattern.translate(STAR_ALONE) for pattern in query.methods]
    methods = [name for name in counts if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if query.methods and not methods:
        return []
    names = {f"method{n}": name for n, name in enumerate(methods)}
    by_method = f"j.method_name IN ({named(names)})" if names else ""
    by_status = f"j.status IN ({listed(query.statuses)})" if query.statuses else ""

    few, keys = _few(query)
    if few:
        where, *others = few
        return [Stream(where, {**values, **names, **keys}, _all(*others, checks, by_method, by_status))]

    there = dict.fromkeys(Status, 0)
    for name in methods or counts:
        for status, jobs in counts[name].items():
            there[status] += jobs
    if query.statuses and not any(there[status] for status in query.statuses):
        return []
    by_all = {status: sum(states.get(status, 0) for states in counts.values()) for status in Status}
    of_statuses = sum(by_all[status] for status in query.statuses)
    if query.statuses and query.statuses <= INDEXED.keys() and (not methods or of_statuses <= sum(there.values())):
        found = []
        for status in sorted(query.statuses, key=lambda status: status.value):
            where = f"j.status = '{status.value}' AND {INDEXED[status]}"
            found.append(Stream(where, {**values, **names}, _all(checks, by_method)))
        return found
    if methods and len(methods) <= METHODS_LIMIT:
        return [
            Stream("j.method_name = :method", {**values, "method": name}, _all(checks, by_status)) for name in methods
        ]
    return [Stream("", {**values, **names}, _all(checks, by_method, by_status))]


def _all(*conditions: str) -> str:
    return " AND ".join(condition for condition in conditions if condition)


def _few(query: Query) -> tuple[list[str], dict[str, Any]]:
    """Conditions that few jobs meet, each with an index of its own; that of the fewest first."""
    conditions = []
    values: dict[str, Any] = {f"id{n}": id for n, id in enumerate(query.ids)}
    if values:
        conditions.append(f"j.id IN ({named(values)})")
    for key, value, condition in (
        ("dedupe", query.dedupe, "j.dedupe = :dedupe AND j.has_dedupe = 1"),
        ("after_id", query.after_id, "j.after_id = :after_id"),
        ("before_id", query.before_id, "j.before_id = :before_id"),
    ):
        if value is not None:
            conditions.append(condition)
            values[key] = value
    return conditions, values


def _checks(query: Query) -> tuple[str, dict[str, Any]]:
    """What no index tells."""
    conditions = []
    values: dict[str, Any] = {}
    for column, texts in (("arguments", query.args), ("result_data", query.errors)):
        for n, text in enumerate(texts):
            conditions.append(f"instr(j.{column}, :{column}{n}) > 0")
            values[f"{column}{n}"] = text
    if query.priority is not None:
        conditions.append("j.priority = :priority")
        values["priority"] = query.priority.value
    if query.schedule is not None:
        conditions.append("j.schedule = :schedule")
        values["schedule"] = query.schedule
    if query.took_above > -inf:
        conditions.append("j.completed - j.claimed_at > :took_above")
        values["took_above"] = micros(query.took_above)
    if isfinite(query.took_below):
        conditions.append("j.completed - j.claimed_at < :took_below")
        values["took_below"] = micros(query.took_below)
    return _all(*conditions), values


class Searching(Reading):
    """The part of `store.Tx` that looks for jobs."""

    def search(
        self, query: Query, counts: Mapping[str, Mapping[Status, int]], below: int | None, limit: int, budget: int
    ) -> Found:
        parts = streams(query, counts)
        top = EVERYTHING if below is None else min(below, EVERYTHING)
        floors = [self._floor(part, top, budget // len(parts)) for part in parts]
        floor = max(floors, default=0)  # a stream that ends early must not hide what others have between
        jobs: list[Job] = []
        for part in parts:
            where = _all(part.where, part.checks, "j.id < :below", "j.id >= :floor")
            values = {**part.values, "below": top, "floor": floor, "limit": limit + 1}
            jobs += [job_of(row) for row in self._execute(SELECT_FOUND % where, values).fetchall()]
        jobs.sort(key=lambda job: -job.id)
        if len(jobs) > limit:
            return Found(jobs[:limit], jobs[limit - 1].id, False)
        return Found(jobs, floor or None, floor > 0)

    def _floor(self, part: Stream, below: int, budget: int) -> int:
        """The id down to which the budget reaches; 0: to the end."""
        if not part.checks:
            return 0
        if not part.where:  # ids are dense, so counting them out would only read the rows twice
            (top,) = self._execute(SELECT_TOP, {"below": below}).fetchone()
            return max((top or 0) - budget, 0)
        values = {**part.values, "below": below, "budget": budget}
        row = self._execute(SELECT_FLOOR % part.where, values).fetchone()
        return 0 if row is None else int(row[0])

    def upcoming(self, above: float, above_id: int | None, limit: int) -> list[Job]:
        behind = {"above": micros(above), "above_id": EVERYTHING if above_id is None else above_id}
        place = self._execute(SELECT_PLACE, behind).fetchone()
        if place is not None:
            behind["above"] = place[0]
        rows = self._execute(SELECT_UPCOMING, {**behind, "limit": limit}).fetchall()
        return [job_of(row) for row in rows]

    def pools(self, below: int | None, limit: int) -> list[PoolView]:
        found: list[PoolView] = []
        here: int | None = EVERYTHING if below is None else below
        while len(found) < limit:
            (here,) = self._execute(SELECT_LAST_TARGET, {"below": here}).fetchone()
            if here is None:
                break
            rows = self._execute(SELECT_MEMBERS, {"id": here, "limit": MEMBERS_LIMIT}).fetchall()
            members = {STATUSES[status]: int(jobs) for status, jobs in rows}
            target = self.job(here)
            assert target is not None  # a row that others refer to is never deleted
            found.append(PoolView(target, members, sum(members.values()) == MEMBERS_LIMIT))
        return found

    def states(self, ids: Sequence[int]) -> list[State]:
        found = []
        for start in range(0, len(ids), 500):  # every database takes that many parameters
            part = {f"id{n}": id for n, id in enumerate(ids[start : start + 500])}
            for id, status, *rest in self._execute(SELECT_STATES % named(part), part).fetchall():
                found.append(State(id, STATUSES[status], *rest))
        return found

    def oldest(self, status: Status) -> tuple[int, float] | None:
        row = self._execute(SELECT_OLDEST, {"status": status.value}).fetchone()
        return None if row is None else (row[0], row[1] / 1e6)

    def durations(self) -> dict[str, dict[str, dict[int, Bucket]]]:
        found: dict[str, dict[str, dict[int, Bucket]]] = {}
        for method, measure, bucket, jobs, total, squares in self._execute(SELECT_BUCKETS, {}).fetchall():
            found.setdefault(method, {}).setdefault(measure, {})[bucket] = Bucket(int(jobs), total, squares)
        return found
