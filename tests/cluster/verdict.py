"""What must hold after a storm, read from the database and the ledgers; and the figures of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import attrs
from ledger_stage import Runs
from mariadb_stage import MariaDb
from weather import Fault

from gearbox.errors import RpcError

__all__ = ["Seen", "Verdict", "judge", "watch_terminal_rows"]

ADOPTION_LONGEST = 40.0  # s from a core's death to the adoption of its jobs
SHARE_LEAST = 0.2  # of the attempts, for each core
LEASE, BEAT = 30.0, 5.0  # s; a core that is stopped for less than both is not declared dead
STARTING = 10.0  # s that a core takes to start on a machine that is busy
RETURNING = 8.0  # s from the database's start until it works and cores have asked again: they pause up to 6 s
CORES = 3
EXPLAINED = ("went missing", "errored")  # by a poison pill, or by a job before it

CHANGES = """
CREATE TABLE storm_changes (id BIGINT, was VARCHAR(20), now VARCHAR(20))
"""
# Of a terminal row nothing that anybody was told may change.
TRIGGER = """
CREATE TRIGGER storm_final AFTER UPDATE ON gearbox_jobs FOR EACH ROW
IF OLD.status IN ('complete', 'errored', 'invalid', 'duplicate') AND NOT (
    OLD.status <=> NEW.status AND OLD.result_data <=> NEW.result_data AND OLD.see_other <=> NEW.see_other
    AND OLD.completed_us <=> NEW.completed_us)
THEN INSERT INTO storm_changes VALUES (OLD.id, OLD.status, NEW.status); END IF
"""


def watch_terminal_rows(server: MariaDb, database: str) -> None:
    server.sql(CHANGES, database)
    server.sql(TRIGGER, database)


@attrs.frozen
class Core:
    """One life of a program, as a core."""

    pid: int
    began: float


@attrs.define
class Verdict:
    """`faults` is empty if all held."""

    faults: list[str] = attrs.field(factory=list)
    figures: dict[str, Any] = attrs.field(factory=dict)

    def expect(self, holds: object, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


@attrs.frozen
class Seen:
    """What the harness knows of a storm: promises, answers, faults."""

    acknowledged: Mapping[int, str | None]  # id -> what the job prints; None: nothing runs for it
    watched: Mapping[int, Any]
    faults: Sequence[Fault]
    cores: Mapping[int, str]  # process id -> name of the program
    lateness: float  # s, the longest, of a task that only wanted to sleep


def judge(server: MariaDb, database: str, ledger: Path, seen: Seen, is_full: bool) -> Verdict:
    """`is_full`: it was long enough for every core to have a share."""
    verdict = Verdict()
    runs = Runs.read(ledger)
    rows = {
        id: (status, result, see_other)
        for id, status, result, see_other in server.sql(
            "SELECT id, status, result_data, see_other FROM gearbox_jobs", database
        )
    }
    _judge_jobs(verdict, rows, seen.acknowledged, seen.watched, runs)
    _judge_cores(verdict, server, database, seen, is_full)
    changes = server.sql("SELECT * FROM storm_changes", database)
    verdict.expect(not changes, f"terminal rows changed: {changes[:10]}")
    twice = server.sql(
        "SELECT job_id FROM gearbox_attempts WHERE outcome IS NULL GROUP BY job_id HAVING COUNT(*) > 1", database
    )
    verdict.expect(not twice, f"several open attempts: {twice[:10]}")
    return verdict


def _judge_jobs(
    verdict: Verdict,
    rows: Mapping[int, tuple[str, str | None, int | None]],
    acknowledged: Mapping[int, str | None],
    watched: Mapping[int, Any],
    runs: Runs,
) -> None:
    lost = acknowledged.keys() - rows.keys()
    verdict.expect(not lost, f"acknowledged and not there: {sorted(lost)[:10]}")
    statuses = Counter(rows[id][0] for id in acknowledged.keys() & rows.keys())
    verdict.figures["jobs"] = dict(statuses)
    open_ones = [id for id, row in rows.items() if row[0] not in ("complete", "duplicate", "errored", "invalid")]
    verdict.expect(not open_ones, f"not ended: {open_ones[:10]}")
    failed = [id for id, row in rows.items() if row[0] in ("errored", "invalid")]
    # Three attempts in a row that went missing are taken for the job's own fault; a storm can do that to a job.
    others = [(id, rows[id]) for id in failed if not any(word in str(rows[id][1]) for word in EXPLAINED)]
    verdict.expect(not others, f"failed: {others[:5]}")

    def original(id: int) -> int:
        while (see_other := rows[id][2]) is not None:
            id = see_other
        return id

    wrong, not_run = [], []
    for id, name in acknowledged.items():
        if id not in rows or rows[original(id)][0] != "complete":
            continue
        real = acknowledged.get(original(id))  # the original may be of a call whose answer is yet to come
        if real is not None and rows[original(id)][1] != f'"{real}\\n"':
            wrong.append((id, name, rows[original(id)][1]))
        if real is not None and not runs.ended[real]:
            not_run.append((id, name))
        if id in watched and not isinstance(watched[id], RpcError) and real is not None and watched[id] != f"{real}\n":
            wrong.append((id, name, watched[id]))
    verdict.expect(not wrong, f"another result than the worker's: {wrong[:5]}")
    verdict.expect(not not_run, f"complete without having been run to the end: {not_run[:5]}")
    verdict.expect(not runs.overlapped, f"two executions at once: {list(runs.overlapped)[:10]}")
    verdict.figures["executions"] = sum(runs.started.values())
    verdict.figures["executions cut short"] = sum(runs.started.values()) - sum(runs.ended.values())
    verdict.figures["watched"] = len(watched)


def _judge_cores(
    verdict: Verdict,
    server: MariaDb,
    database: str,
    seen: Seen,
    is_full: bool,
) -> None:
    faults, programs = seen.faults, seen.cores
    cores = {
        id: Core(int(name.rpartition(":")[2]), began / 1e6)
        for id, name, began in server.sql("SELECT core_id, name, began_at FROM gearbox_cores", database)
    }
    shares: Counter[str] = Counter()
    for owner, attempts in server.sql("SELECT owner, COUNT(*) FROM gearbox_attempts GROUP BY owner", database):
        shares[programs.get(cores[owner].pid, "?") if owner in cores else "?"] += attempts
    total = sum(shares.values())
    verdict.figures["attempts"] = total
    verdict.figures["share of the cores"] = {name: f"{n / total:.0%}" for name, n in sorted(shares.items())}
    if is_full:
        low = {name: n for name, n in shares.items() if n < SHARE_LEAST * total}
        verdict.expect(not low and len(shares) >= 3, f"cores with too little work: {dict(shares)}")

    adoptions = [
        (why.rpartition(" ")[2], at / 1e6)
        for why, at in server.sql("SELECT why, at FROM gearbox_events WHERE why LIKE 'adopted from core %'", database)
    ]
    delays, all_told = [], []
    blameless = set()
    for id, at in adoptions:
        death = _death(id, at, cores, faults)
        if death is None:
            blameless.add(id)
        else:
            began = _could_count_since(death, at, faults)
            delays.append(at - began - _without_database(faults, began, at))
            all_told.append(at - death.at)
    verdict.figures["jobs adopted"] = len(adoptions)
    verdict.figures["cores that were replaced"] = len({id for id, _ in adoptions})
    verdict.figures["cores declared dead that no single fault explains"] = len(blameless)
    verdict.figures["longest that a sleeper of the harness was late"] = f"{seen.lateness:.1f} s"
    if delays:
        longest = max(delays)
        verdict.figures["adoption"] = f"median {median(delays):.1f} s, longest {longest:.1f} s"
        verdict.figures["adoption, whatever else was down"] = (
            f"median {median(all_told):.1f} s, longest {max(all_told):.1f} s"
        )
        verdict.expect(longest <= ADOPTION_LONGEST + seen.lateness, f"adoption took {longest:.1f} s")


def _death(id: str, adopted_at: float, cores: Mapping[str, Core], faults: Sequence[Fault]) -> Fault | None:
    """What ended a core whose job was adopted then; a program that was declared dead goes on as another core."""
    if id not in cores:
        return None
    core = cores[id]
    next_began = min(
        (one.began for one in cores.values() if one.pid == core.pid and one.began > core.began), default=inf
    )
    ends = [one for one in faults if one.pid == core.pid and core.began <= one.at < min(next_began, adopted_at)]
    return next((one for one in reversed(ends) if not one.is_stop or one.seconds > LEASE - BEAT), None)


def _could_count_since(death: Fault, adopted_at: float, faults: Sequence[Fault]) -> float:
    """From when on one of the programs that are cores was unharmed: one that starts later begins to count anew."""
    well_since = {f"core-{n + 1}": death.at for n in range(CORES)}
    for fault in faults:
        well_again = fault.at + fault.seconds + STARTING
        if fault.name in well_since and fault.at < adopted_at and well_again > death.at:
            well_since[fault.name] = max(well_since[fault.name], well_again)
    return min(well_since.values())


def _without_database(faults: Sequence[Fault], since: float, until: float) -> float:
    """How long nobody could have adopted anything."""
    outages = sorted(
        (fault.at, fault.at + fault.seconds + RETURNING) for fault in faults if fault.name.startswith("mariadb")
    )
    seconds = 0.0
    for begin, end in outages:
        seconds += max(min(end, until) - max(begin, since), 0.0)
        since = max(since, end)
    return seconds


def lines(verdict: Verdict) -> Collection[str]:
    return [f"{name}: {value}" for name, value in verdict.figures.items()]
