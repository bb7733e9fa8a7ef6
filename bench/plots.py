"""Results as drawings: SVG written by hand, without a library.

Bars for a bench (a group for each main metric, a bar for each system), lines for a bench about growth. The reader's
theme decides about light and dark; the colours of systems are such as can be seen on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isnan, log10
from xml.sax.saxutils import escape

from bench.figures import Bench
from bench.results import Results
from bench.tables import number

__all__ = ["draw"]

WIDTH, LEFT, RIGHT, TOP, BAR = 720, 190, 90, 48, 22
PLOT_HEIGHT = 260
# At least 3 : 1 against either background (WCAG 2, 1.4.11).
COLOURS = ("#1f6feb", "#8c7356", "#2a9444", "#b07a00", "#d63a42", "#8f63e0", "#0a84a4", "#768390")
STYLE = (
    ".b{fill:#fff}text{font:13px sans-serif;fill:#24292f}.t{font-weight:bold}.n{fill:#57606a}line{stroke:#d0d7de}"
    "@media(prefers-color-scheme:dark){.b{fill:#0d1117}text{fill:#e6edf3}.n{fill:#9198a1}line{stroke:#30363d}}"
)


def draw(bench: Bench, results: Results) -> str:
    """The SVG document of one bench; empty where there is nothing to draw."""
    systems = [name for name in results.samples if any(not isnan(results.median(name, m.name)) for m in bench.main)]
    if not systems:
        return ""
    return _lines(bench, results, systems) if bench.axis else _bars(bench, results, systems)


def _bars(bench: Bench, results: Results, systems: Sequence[str]) -> str:
    parts: list[str] = []
    y = TOP
    for metric in bench.main:
        values = {name: results.median(name, metric.name) for name in systems}
        values = {name: value for name, value in values.items() if not isnan(value)}
        longest = max(values.values(), default=0.0) or 1.0
        better = "more" if metric.more_is_better else "less"
        parts.append(_text(8, y, f"{metric.name}, {metric.unit} ({better} is better)", "n"))
        y += 10
        for name, value in values.items():
            width = (WIDTH - LEFT - RIGHT) * value / longest
            parts.append(_text(LEFT - 8, y + 15, name, anchor="end"))
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 4}" fill="{_colour(systems, name)}"/>'
            )
            parts.append(_text(LEFT + width + 6, y + 15, number(value)))
            y += BAR
        y += 22
    return _document(f"{bench.name}: {bench.what}", y, parts)


def _lines(bench: Bench, results: Results, systems: Sequence[str]) -> str:
    metrics = bench.main
    points = {name: [results.median(name, metric.name) for metric in metrics] for name in systems}
    known = [value for line in points.values() for value in line if not isnan(value)]
    top = _round_up(max(known))
    bottom = TOP + PLOT_HEIGHT
    step = (WIDTH - LEFT - RIGHT) / max(1, len(metrics) - 1)
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - PLOT_HEIGHT * share
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 5, number(top * share), "n", "end"))
    for n, metric in enumerate(metrics):
        parts.append(_text(LEFT + n * step, bottom + 20, metric.name, "n", "middle"))
    parts.append(_text(LEFT, bottom + 40, f"{metrics[0].unit} by {bench.axis}", "n"))
    for row, (name, line) in enumerate(points.items()):
        colour = _colour(systems, name)
        places = [(LEFT + n * step, bottom - PLOT_HEIGHT * v / top) for n, v in enumerate(line) if not isnan(v)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
        parts.append(f'<rect x="8" y="{TOP + 22 * row}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(26, TOP + 11 + 22 * row, name))
    return _document(f"{bench.name}: {bench.what}", bottom + 60, parts)


def _round_up(value: float) -> float:
    """A number to end an axis at.

    >>> _round_up(43_210), _round_up(0.0)
    (50000.0, 1.0)
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value)


def _colour(systems: Sequence[str], name: str) -> str:
    return COLOURS[list(systems).index(name) % len(COLOURS)]


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _document(title: str, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f'<style>{STYLE}</style><rect class="b" width="100%" height="100%"/>'
    )
    return "\n".join((head, _text(8, 22, title, "t"), *parts, "</svg>")) + "\n"
