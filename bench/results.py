"""The samples of all rounds: kept in a folder, a JSON file for each bench, so that a campaign may be run in pieces."""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import dataclass, field
from math import nan
from pathlib import Path

from bench.figures import Bench, Sample

__all__ = ["Results"]


@dataclass(slots=True)
class Results:
    """All samples of one bench, by system, in the order in which they were taken."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    machine: str = ""

    @classmethod
    def load(cls, folder: Path, bench: Bench) -> Results:
        """What the folder holds of a bench; nothing, where it was not run yet."""
        path = folder / f"{bench.name}.json"
        return cls(**json.loads(path.read_text())) if path.exists() else cls()

    def save(self, folder: Path, bench: Bench) -> None:
        """Write everything down."""
        folder.mkdir(parents=True, exist_ok=True)
        self.machine = f"{platform.system()} {platform.machine()}, {processor()}"
        text = json.dumps({"machine": self.machine, "samples": self.samples}, indent=1)
        (folder / f"{bench.name}.json").write_text(text + "\n")

    def add(self, system: str, sample: Sample) -> None:
        """One run more."""
        self.samples.setdefault(system, []).append(sample)

    @property
    def rounds(self) -> int:
        """How many runs the system has that was run most often."""
        return max(map(len, self.samples.values()), default=0)

    def median(self, system: str, metric: str) -> float:
        """The median of a metric over the rounds; nan where there is none."""
        values = [sample[metric] for sample in self.samples.get(system, ()) if metric in sample]
        return statistics.median(values) if values else nan

    def ratio(self, system: str, metric: str, reference: str) -> float:
        """How a system compares with another one: the median of the rounds' ratios, for a round shares its noise."""
        pairs = zip(self.samples.get(system, ()), self.samples.get(reference, ()), strict=False)
        ratios = [mine[metric] / its[metric] for mine, its in pairs if metric in mine and its.get(metric)]
        return statistics.median(ratios) if ratios else nan


def processor() -> str:
    """How many processors of what kind there are (Linux)."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else "unknown processor"
