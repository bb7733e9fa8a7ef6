"""Statistics that are kept while jobs change, so that nobody ever counts over history; pure.

A `Rollup` gathers what the steps of one batch add; the store writes the sums once, in the same transaction. Durations
go into a histogram with eight buckets to the factor of two (a bucket's width is 9 % of its value), each with the sums
that averages and deviations need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import floor, log2, sqrt
from typing import Any

import attrs

from gearbox.job import Job, Status

__all__ = ["Bucket", "Rollup", "bound_of", "bucket_of", "percentiles", "summary"]

PERCENTS = (50, 95, 99)
SHORTEST = 1e-6  # s; the clock of the store knows nothing shorter


@attrs.define
class Bucket:
    """The samples of one bucket of one measure."""

    jobs: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.jobs += 1
        self.total += value
        self.squares += value * value


def bucket_of(seconds: float) -> int:
    """The number of the histogram's bucket.

    >>> [bucket_of(s) for s in (0, 1e-6, 2e-6, 1.0)]
    [0, 0, 8, 159]
    """
    return floor(8 * log2(max(seconds, SHORTEST) / SHORTEST))


def bound_of(bucket: int) -> float:
    """The seconds below which all samples of the bucket are.

    >>> bound_of(7), round(bound_of(159), 3)
    (2e-06, 1.049)
    """
    return float(SHORTEST * 2.0 ** ((bucket + 1) / 8))


@attrs.define
class Rollup:
    """What some steps add to the statistics."""

    counts: Counter[tuple[str, Status]] = attrs.field(factory=Counter)
    measures: dict[tuple[str, str, int], Bucket] = attrs.field(factory=dict)
    seen: dict[str, tuple[float, float]] = attrs.field(factory=dict)  # method -> earliest, latest `created`

    def born(self, job: Job) -> None:
        self.counts[job.method, job.status] += 1
        earliest, latest = self.seen.get(job.method, (job.created, job.created))
        self.seen[job.method] = min(earliest, job.created), max(latest, job.created)

    def moved(self, was: Job, job: Job, now: float) -> None:
        """Count a change of status, and measure a job that ended by running."""
        self.counts[job.method, was.status] -= 1
        self.counts[job.method, job.status] += 1
        if job.status in (Status.COMPLETE, Status.ERRORED) and job.claimed_at is not None:
            self._sample(job.method, "retries", job.retries, float(job.retries))
        if job.status is Status.COMPLETE and job.claimed_at is not None:
            durations = {"completion": now - job.created, "run": now - job.claimed_at}
            if job.ready_at is not None:
                durations["wait"] = job.claimed_at - job.ready_at
            for measure, seconds in durations.items():
                self._sample(job.method, measure, bucket_of(seconds), max(seconds, 0.0))

    def _sample(self, method: str, measure: str, bucket: int, value: float) -> None:
        self.measures.setdefault((method, measure, bucket), Bucket()).add(value)


def summary(
    states: Mapping[str, int],
    span: tuple[str | None, str | None],
    measures: Mapping[str, Iterable[Bucket]],
) -> dict[str, Any]:
    """The answer of `gearbox\\core::stats`; `span` is earliest and latest run as text."""
    retries = list(measures.get("retries", ()))
    completion = list(measures.get("completion", ()))
    return {
        "totalRuns": sum(states.values()),
        "earliest": span[0],
        "latest": span[1],
        "averageRetries": _average(retries),
        "averageCompletionTime": _average(completion),
        "stdAverageRetries": _average(_without_outliers(retries)),
        "stdAverageCompletionTime": _average(_without_outliers(completion)),
        "states": dict(states),
        "wait": percentiles(list(measures.get("wait", ()))),
        "run": percentiles(list(measures.get("run", ()))),
    }


def percentiles(buckets: Sequence[Bucket]) -> dict[str, float | None]:
    """Seconds that 50, 95 and 99 % of the samples do not exceed, by the average of the bucket: 9 % off at most.

    `buckets` are in the order of their values.

    >>> percentiles([Bucket(98, 98.0), Bucket(1, 5.0), Bucket(1, 60.0)])
    {'p50': 1.0, 'p95': 1.0, 'p99': 5.0}
    """
    jobs = sum(bucket.jobs for bucket in buckets)
    found: dict[str, float | None] = {}
    for percent in PERCENTS:
        left = jobs * percent / 100
        value = None
        for bucket in buckets:
            left -= bucket.jobs
            if left <= 0:
                value = bucket.total / bucket.jobs
                break
        found[f"p{percent}"] = value
    return found


def _average(buckets: Iterable[Bucket]) -> float | None:
    buckets = list(buckets)
    jobs = sum(bucket.jobs for bucket in buckets)
    return sum(bucket.total for bucket in buckets) / jobs if jobs else None


def _without_outliers(buckets: list[Bucket]) -> list[Bucket]:
    """The buckets within one standard deviation of the average; all of them, where that leaves none."""
    average = _average(buckets)
    if average is None:
        return buckets
    jobs = sum(bucket.jobs for bucket in buckets)
    deviation = sqrt(max(sum(bucket.squares for bucket in buckets) / jobs - average * average, 0.0))
    near = [bucket for bucket in buckets if abs(bucket.total / bucket.jobs - average) <= deviation]
    return near or buckets
