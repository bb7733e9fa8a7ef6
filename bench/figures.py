"""What a measurement is: `Bench` says what is measured of what, `Effort` how thoroughly, `Sample` what came out.

A bench knows nothing of rounds, files, tables or plots, and whoever runs it nothing of what it measures. To add one,
write a module with a `BENCHES` list and name it in `bench/__main__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Bench", "Effort", "Metric", "Run", "Sample"]

Sample = Mapping[str, float]
"""What one run of one system gave: the value of each metric, by its name; a metric may be missing."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How thoroughly to measure."""

    seconds: float = 2.0  # of a timed run
    scale: float = 1.0  # of what is counted: jobs, connections, rows

    def count(self, full: int) -> int:
        """So many of a thing of which there are `full` in a full run."""
        return max(1, round(full * self.scale))


Run = Callable[[Effort], Sample]
"""Starts a system, measures it once, and stops it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a bench; on an axis, its name is the place on the axis."""

    name: str
    unit: str = ""
    is_main: bool = False  # compared with the reference, and drawn
    more_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Bench:
    """A shape of load, measured for every system that is here, in turn."""

    name: str
    what: str  # in a sentence
    metrics: tuple[Metric, ...]
    systems: Callable[[], Mapping[str, Run]]  # those that are here, by name
    reference: str = ""  # the system that the others are compared with
    axis: str = ""  # what grows from metric to metric, for a bench about growth
    rounds: int = 99  # more than this many are not worth their time

    @property
    def main(self) -> tuple[Metric, ...]:
        """The metrics that are compared and drawn."""
        return tuple(metric for metric in self.metrics if metric.is_main)
