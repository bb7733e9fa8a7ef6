"""The command `python -m tests.simulation`: replay a seed, or run many and say what they covered."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import inf

import attrs

from tests.simulation import determinism
from tests.simulation.audit import MOVES
from tests.simulation.minimise import minimise
from tests.simulation.plan import FAULTS, plan_of
from tests.simulation.world import Outcome, simulate

__all__ = ["Sum", "main", "outcomes"]

EPILOG = """
examples:
  python -m tests.simulation --seed 7            replay one seed; print its hash and what it broke
  python -m tests.simulation --seed 7 --trace    with its plan and every event
  python -m tests.simulation --seed 7 --minimise leave out what its violation does not need, and tell the rest
  python -m tests.simulation --seeds 1-2000 --jobs 2 --twice
"""
TRANSITIONS = sorted(set(MOVES.values()) | {"T17", "T20"}, key=lambda name: int(name[1:]))


@attrs.define
class Sum:
    """What many runs came to."""

    seeds: int = 0
    events: int = 0
    seconds: float = 0.0
    moves: Counter[str] = attrs.Factory(Counter)
    faults: Counter[str] = attrs.Factory(Counter)  # in how many seeds
    failed: dict[int, tuple[str, ...]] = attrs.Factory(dict)

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.events += outcome.events
        self.seconds += outcome.seconds
        self.moves += outcome.moves
        self.faults.update(outcome.faults.keys())
        if outcome.violations:
            self.failed[outcome.seed] = outcome.violations

    def lines(self) -> Iterator[str]:
        """A table for people."""
        yield f"{self.seeds} seeds, {self.events:,} events, {self.seconds / 86400:.2f} days of virtual time"
        yield "moves: " + ", ".join(f"{name} {self.moves[name]:,}" for name in TRANSITIONS)
        shares = ", ".join(f"{name} {self.faults[name] / max(self.seeds, 1):.0%}" for name in FAULTS)
        yield f"faults, in how many of the seeds: {shares}"
        yield f"{len(self.failed)} seeds broke a promise"
        yield from (f"replay with: python -m tests.simulation --seed {seed}" for seed in self.failed)


def outcomes(seeds: Iterable[int], jobs: int, *, is_twice: bool = False) -> Iterator[Outcome]:
    """Run seeds on several processes, in order."""
    run = _twice if is_twice else _once
    if jobs == 1:
        yield from map(run, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(run, seeds)


def _once(seed: int) -> Outcome:
    return simulate(plan_of(seed))


def _twice(seed: int) -> Outcome:
    first, second = _once(seed), _once(seed)
    if first.digest != second.digest:
        differs = f"not reproducible: {first.digest} ({first.events}), then {second.digest} ({second.events})"
        return attrs.evolve(first, violations=(*first.violations, differs))
    return first


def main() -> None:
    """Exits with 1 if a promise was broken."""
    determinism.with_fixed_hashes()
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Deterministic simulation of the whole system.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, metavar="N", help="replay this one")
    which.add_argument("--seeds", metavar="A-B", help="run these")
    parser.add_argument("--trace", action="store_true", help="print the plan and every event")
    parser.add_argument("--minimise", action="store_true", help="find the least that still breaks the same promise")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    parser.add_argument("--twice", action="store_true", help="each seed twice: the hashes must be equal")
    parser.add_argument("--until-failure", action="store_true", help="end with the first seed that breaks a promise")
    parser.add_argument("--minutes", type=float, default=inf, metavar="N", help="end after that time, wherever it is")
    given = parser.parse_args()
    if given.seed is not None:
        sys.exit(_replay(given.seed, is_traced=given.trace, is_minimised=given.minimise))
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    results = outcomes(seeds, given.jobs, is_twice=given.twice)
    total = Sum()
    began = time.monotonic()
    with suppress(KeyboardInterrupt):  # it ends there, and tells what it came to
        _campaign(total, seeds, results, 60 * given.minutes, is_short=given.until_failure)
    print(*total.lines(), f"{time.monotonic() - began:.0f} s", sep="\n")
    sys.exit(bool(total.failed))


def _replay(seed: int, *, is_traced: bool, is_minimised: bool) -> bool:
    plan = plan_of(seed)
    if is_minimised:
        plan = minimise(plan)
    if is_traced or is_minimised:
        print(f"cores={plan.cores} embedded={plan.is_embedded} until={plan.until:.3f}", *plan.steps, sep="\n")
    outcome = simulate(plan, print if is_traced else _tell if is_minimised else None)
    print(f"seed {seed}: {outcome.events} events, {outcome.seconds:.0f} s, hash {outcome.digest}")
    for violation in outcome.violations:
        print(f"  {violation}")
    return bool(outcome.violations)


def _tell(event: str) -> None:
    """An event of a short run, but for messages and transactions that changed no job."""
    if "('send'," not in event and "('commit',)" not in event:
        print(event)


def _campaign(total: Sum, seeds: range, results: Iterable[Outcome], seconds: float, *, is_short: bool) -> None:
    began = told_at = time.monotonic()
    for outcome in results:
        total.add(outcome)
        if outcome.violations:
            print(f"seed {outcome.seed}:", *outcome.violations[:5], sep="\n  ", flush=True)
            if is_short:
                break
        if time.monotonic() > began + seconds:
            break
        if time.monotonic() > told_at + 10:
            told_at = time.monotonic()
            rate = total.seeds / (told_at - began)
            print(f"{total.seeds} of {len(seeds)} seeds, {rate:.1f} a second", file=sys.stderr, flush=True)
