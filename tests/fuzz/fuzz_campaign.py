"""Fuzzing: a target makes cases from a seed and says whether the system stands one; a campaign goes through many.

A case is a list of Python literals, so that it can be written down, read by people, and made smaller by leaving items
out. Every case that once broke something stands in `corpus/TARGET.txt`, one a line, under a comment that says what it
broke; it is checked before any new one.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Protocol

__all__ = ["Broken", "Case", "Target", "corpus", "run", "smaller"]

CORPUS = Path(__file__).parent / "corpus"
SHRINK_TRIES = 2000

Case = list[Any]


class Target(Protocol):
    """Something that has to stand any input. `check` raises where it does not."""

    name: str
    cases: int  # that are enough for a quick look

    def make(self, chance: Random) -> Case: ...

    def check(self, case: Case) -> None: ...

    def close(self) -> None: ...


class Broken(AssertionError):
    """A case that the target did not stand, in its smallest form; the cause is what it raised."""

    def __init__(self, target: Target, case: Case, label: str) -> None:
        super().__init__(f"{target.name}, {label}; add to {CORPUS.name}/{target.name}.txt: {case!r:.2000}")
        self.case = case


def corpus(target: Target) -> list[Case]:
    """The cases that once broke it."""
    path = CORPUS / f"{target.name}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [ast.literal_eval(line) for line in lines if line and not line.startswith("#")]


def run(target: Target, seed: int, cases: int, report: Callable[[str], None] = lambda text: None) -> None:
    """The corpus, then cases made from the seed. Raises Broken."""
    for number, case in enumerate(corpus(target), 1):
        _check(target, case, f"case {number} of the corpus")
    began = said = time.monotonic()
    for number in range(cases):
        # Text is hashed in the same way in every process.
        _check(target, target.make(Random(f"{target.name} {seed} {number}")), f"seed {seed}, case {number}")
        now = time.monotonic()
        if now > said + 5:
            said = now
            report(f"{target.name}: {number + 1} of {cases}, {(number + 1) / (now - began):.0f}/s")
    took = time.monotonic() - began
    report(f"{target.name}: {cases} cases from seed {seed} in {took:.1f} s, {cases / max(took, 0.001):.0f}/s")


def _check(target: Target, case: Case, label: str) -> None:
    try:
        target.check(case)
    except Exception as error:
        raise Broken(target, smaller(case, partial(_fails_with, target, type(error))), label) from error


def _fails_with(target: Target, kind: type[Exception], case: Case) -> bool:
    try:
        target.check(case)
    except Exception as error:
        return isinstance(error, kind)
    return False


def smaller(case: Case, fails: Callable[[Case], bool]) -> Case:
    """The case without all items that it fails without, as far as leaving them out in runs finds them.

    >>> smaller([1, 2, 3, 4, 5, 6, 7, 8], lambda case: 3 in case and 7 in case)
    [3, 7]
    """
    tries = SHRINK_TRIES
    length = len(case)
    while length > 1 and tries:
        length = (length + 1) // 2
        for start in _starts(len(case), length):
            without = case[:start] + case[start + length :]
            tries -= 1
            if not tries:
                break
            if without and fails(without):
                case = without
    return case


def _starts(total: int, length: int) -> Iterator[int]:
    # From the end, so that what is left out does not move what is still to be tried.
    return iter(range((total - 1) // length * length, -1, -length))
