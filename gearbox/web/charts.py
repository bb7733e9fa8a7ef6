"""Charts as SVG, drawn on the server; pure.

They are shapes alone and stretch with the page; their texts stand around them as HTML, so they stay readable at any
width. Colours come from the style sheet, by class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil, log10
from typing import Any

import attrs
from markupsafe import Markup

from gearbox.web.series import Point, rates
from gearbox.web.words import rate, span

__all__ = ["Chart", "backlog", "bar", "calendar", "histogram", "throughput"]

WIDTH, HEIGHT = 600, 120
COLUMNS = 120  # points of a chart
STATUS_ORDER = (
    "complete", "running", "almost-done", "missing", "ready", "waiting", "duplicate", "invalid", "errored",
)  # fmt: skip
FAILED = ("errored", "invalid")
PER_FACTOR = 8  # buckets of a histogram to the factor of two; two bars are drawn for it
PER_BAR = 4
SHARE_LEAST = 9.0  # of the width: one failure among thousands is what somebody looks for


@attrs.frozen
class Chart:
    """A picture and the texts around it. `legend`: class and text of each line."""

    svg: Markup
    label: str  # what it shows, for those who cannot see it
    top: str = ""
    left: str = ""
    right: str = ""
    legend: Sequence[tuple[str, str]] = ()
    is_empty: bool = False


def throughput(points: Sequence[Point]) -> Chart:
    """Jobs a second that were completed and that failed, over the last hour."""
    complete, errors = (_columns(rates(points, statuses)) for statuses in (("complete",), FAILED))
    latest = complete[-1] if complete else 0.0, errors[-1] if errors else 0.0
    legend = [("complete", f"{rate(latest[0])}/s complete"), ("errored", f"{rate(latest[1])}/s failed")]
    return _lines(
        [("complete", complete), ("errored", errors)], legend, "jobs a second over the last hour", "/s", _length(points)
    )


def backlog(points: Sequence[Point]) -> Chart:
    """Jobs that were ready, and that ran, over the last hour."""
    lines = [
        (status, _columns([float(point.states.get(status, 0)) for point in points])) for status in ("ready", "running")
    ]
    legend = [(status, f"{values[-1] if values else 0:.0f} {status}") for status, values in lines]
    return _lines(lines, legend, "ready and running jobs over the last hour", "", _length(points))


def _length(points: Sequence[Point]) -> float:
    return points[-1].at - points[0].at if points else 0.0


def _columns(values: Sequence[float]) -> list[float]:
    """At most as many values as there is room for, each the average of its share."""
    size = ceil(max(len(values), 1) / COLUMNS)
    start = len(values) % size
    parts = ([values[:start]] if start else []) + [values[i : i + size] for i in range(start, len(values), size)]
    return [sum(part) / len(part) for part in parts if part]


def _lines(
    lines: Sequence[tuple[str, Sequence[float]]],
    legend: Sequence[tuple[str, str]],
    label: str,
    unit: str,
    length: float,
) -> Chart:
    """`length`: seconds from the first to the last value."""
    top = _nice(max((max(values, default=0.0) for _, values in lines), default=0.0))
    parts = []
    for name, values in lines:
        if not values:
            continue
        values = [*values[:1], *values] if len(values) == 1 else values
        step = WIDTH / (len(values) - 1)
        spots = [f"{i * step:.1f},{HEIGHT - 2 - (HEIGHT - 6) * value / top:.1f}" for i, value in enumerate(values)]
        parts.append(f'<polygon class="area {name}" points="0,{HEIGHT} {" ".join(spots)} {WIDTH},{HEIGHT}"/>')
        parts.append(f'<polyline class="line {name}" points="{" ".join(spots)}"/>')
    words = f"{label}: now {', '.join(text for _, text in legend)}; the scale ends at {rate(top)}{unit}"
    return Chart(_svg(parts), words, f"{rate(top)}{unit}", f"{span(length)} ago", "now", legend)


def _nice(value: float) -> float:
    """The next round number.

    >>> [_nice(v) for v in (0.0, 0.3, 7, 130)]
    [1.0, 0.5, 10.0, 200.0]
    """
    if value <= 0:
        return 1.0
    unit = 10.0 ** (ceil(log10(value)) - 1)
    return next(unit * step for step in (1, 2, 5, 10) if value <= unit * step * 1.0000001)


def _svg(parts: Sequence[str], height: int = HEIGHT) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def histogram(buckets: Sequence[Mapping[str, Any]]) -> Chart:
    """How many samples took how long, on a logarithmic scale. Buckets are those of `latency` and `system`."""
    bars: dict[int, int] = {}
    for bucket in buckets:
        number = bucket["bucket"] // PER_BAR
        bars[number] = bars.get(number, 0) + bucket["jobs"]
    if not bars:
        return Chart(Markup(""), "no samples", is_empty=True)
    first, last = min(bars), max(bars)
    first, last = min(first, last - 7), max(last, first + 7)
    top = max(bars.values())
    width = WIDTH / (last - first + 1)
    parts = []
    for number, jobs in sorted(bars.items()):
        height = max((HEIGHT - 4) * jobs / top, 2)
        x = (number - first) * width
        low, high = (1e-6 * 2.0 ** (PER_BAR * n / PER_FACTOR) for n in (number, number + 1))
        parts.append(
            f'<rect class="bar" x="{x + 1:.1f}" y="{HEIGHT - height:.1f}" width="{max(width - 2, 1):.1f}" '
            f'height="{height:.1f}"><title>{span(low)} to {span(high)}: {jobs}</title></rect>'
        )
    ends = [span(1e-6 * 2.0 ** (PER_BAR * n / PER_FACTOR)) for n in (first, last + 1)]
    return Chart(_svg(parts), f"a histogram from {ends[0]} to {ends[1]}", str(top), ends[0], ends[1])


def bar(members: Mapping[str, int]) -> Markup:
    """The shares of statuses as one bar."""
    total = sum(members.values())
    x = 0.0
    parts = []
    shares = [(status, members[status]) for status in STATUS_ORDER if members.get(status)]
    for status, jobs in shares:
        width = SHARE_LEAST + (WIDTH - SHARE_LEAST * len(shares)) * jobs / total
        parts.append(f'<rect class="part" data-status="{status}" x="{x:.1f}" y="0" width="{width:.1f}" height="12"/>')
        x += width
    return _svg(parts, 12)


def calendar(
    entries: Sequence[Mapping[str, Any]], dated: Sequence[str], now: float, length: float
) -> Sequence[tuple[str, str, Markup]]:
    """For each recurring entry, and for jobs with a date: how many runs come, and when, as ticks on a line."""
    rows = [(entry["name"], entry["runs"], entry["is_cut"]) for entry in entries]
    if dated:
        rows.append(("jobs with a date", dated, False))
    found = []
    for name, runs, is_cut in rows:
        instants = [datetime.fromisoformat(run).timestamp() for run in runs]
        places = [WIDTH * (at - now) / length for at in instants if 0 <= at - now <= length]
        parts = [
            f'<rect class="hour" x="{WIDTH * hour / 24:.1f}" y="0" width="1" height="16"/>' for hour in range(0, 24, 6)
        ]
        parts += [f'<rect class="tick" x="{max(x - 1, 0):.1f}" y="2" width="3" height="12"/>' for x in places]
        found.append((name, f"{len(places)}{'+' if is_cut else ''}", _svg(parts, 16)))
    return found
