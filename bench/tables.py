"""Results as tables: Markdown that reads well as plain text, too."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from bench.figures import Bench, Metric
from bench.results import Results

__all__ = ["number", "overview", "table"]


def table(bench: Bench, results: Results) -> str:
    """One bench: a line for each system with its medians, and their ratios to the reference."""
    compared = bench.main if bench.reference in results.samples else ()
    head = ["system", *(f"{metric.name} {metric.unit}".strip() for metric in bench.metrics)]
    head += ["ratio" if len(compared) == 1 else f"ratio {metric.name}" for metric in compared]
    rows = [
        [
            system,
            *(number(results.median(system, metric.name)) for metric in bench.metrics),
            *(ratio(results, system, metric, bench.reference) for metric in compared),
        ]
        for system in results.samples
    ]
    axis = f" By {bench.axis}." if bench.axis else ""
    rounds = f"Medians of {results.rounds} rounds." if results.rounds > 1 else "One round."
    title = f"### {bench.name}\n\n{bench.what}.{axis} {rounds}\n\n"
    return title + _lines([head, *rows])


def overview(all_results: Sequence[tuple[Bench, Results]]) -> str:
    """The main figure of each bench: a line for each bench, a column for each system."""
    columns = list(dict.fromkeys(system for _, results in all_results for system in results.samples))
    rows = [["bench", *columns]]
    for bench, results in all_results:
        for metric in bench.main if not bench.axis else ():
            cells = []
            for system in columns:
                compared = ratio(results, system, metric, bench.reference)
                value = number(results.median(system, metric.name))
                cells.append(f"{value} ({compared})" if compared and system != bench.reference else value)
            rows.append([f"{bench.name}, {metric.unit}", *cells])
    return _lines(rows) if len(rows) > 1 else ""


def number(value: float) -> str:
    """Three digits that count.

    >>> number(64123.4), number(12.345), number(0.0123), number(float("nan"))
    ('64,100', '12.3', '0.0123', '')
    """
    if isnan(value):
        return ""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(results: Results, system: str, metric: Metric, reference: str) -> str:
    """A ratio to the reference, as `1.25x`."""
    value = results.ratio(system, metric.name, reference) if reference else float("nan")
    return "" if isnan(value) else f"{value:.2f}x"


def _lines(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"
