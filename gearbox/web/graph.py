"""The graph of jobs that hang together, as a picture that can be clicked; pure.

A column for each step of the longest way to a job. Jobs of a column that have the same neighbours are alike, and a pool
may have hundreds: more than a handful of them are drawn as one block of small cells, with one line to what they wait
for, so that a pool of 300 fits on a screen. Within a column, what belongs together stands together (by the average
place of the neighbours, a few times there and back).

Colours come from the style sheet by `data-status`, which the live script changes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import Any

import attrs
from markupsafe import Markup, escape

__all__ = ["Layout", "layout", "svg", "tally"]

ORDERING = ("after", "before", "retry")  # kinds of edges along which columns are counted
NODE_WIDTH, NODE_HEIGHT = 180, 46
CELL_HEIGHT, CELL_GAP = 20, 4
DIGIT_WIDTH = 7  # px of a digit in a cell
HEADER = 24  # px above the cells of a block
GAP_X, GAP_Y, MARGIN = 48, 14, 16
ALIKE = 6  # as many like jobs are drawn one by one
ASPECT = 0.6  # width to height of a block, about: a pool of 300 with two jobs behind it fits a window of 1,280
NAME_SHOWN = 22
SWEEPS = 4


@attrs.define
class Box:
    """One job, or a block of like jobs, and where it is."""

    ids: list[int]
    rank: int
    x: float = 0.0
    y: float = 0.0
    width: float = NODE_WIDTH
    height: float = NODE_HEIGHT
    columns: int = 1

    @property
    def is_block(self) -> bool:
        return len(self.ids) > 1

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


@attrs.frozen
class Layout:
    """Boxes, and the edges between them: (place of one, place of other, kind)."""

    boxes: Sequence[Box]
    edges: Sequence[tuple[int, int, str]]
    width: float
    height: float


def layout(graph: Mapping[str, Any]) -> Layout:
    """Where everything goes."""
    ranks = _ranks(graph)
    boxes = _boxes(graph, ranks)
    home = {id: place for place, box in enumerate(boxes) for id in box.ids}
    edges = sorted({(home[edge["from"]], home[edge["to"]], edge["kind"]) for edge in graph["edges"]})
    columns: defaultdict[int, list[int]] = defaultdict(list)
    for place, box in enumerate(boxes):
        columns[box.rank].append(place)
    _arrange(boxes, edges, columns)
    width = max((box.x + box.width for box in boxes), default=0.0) + MARGIN
    height = max((box.y + box.height for box in boxes), default=0.0) + MARGIN
    return Layout(boxes, edges, width, height)


def _ranks(graph: Mapping[str, Any]) -> dict[int, int]:
    """How many jobs stand before each on the longest way to it; what has only later neighbours stands next to them."""
    follow: defaultdict[int, list[int]] = defaultdict(list)
    open_edges = {node["id"]: 0 for node in graph["nodes"]}
    for edge in graph["edges"]:
        if edge["kind"] in ORDERING:
            follow[edge["from"]].append(edge["to"])
            open_edges[edge["to"]] += 1
    firsts = [id for id, count in open_edges.items() if not count]
    ranks = dict.fromkeys(open_edges, 0)
    order = []
    todo = list(firsts)
    while todo:
        id = todo.pop()
        order.append(id)
        for after in follow[id]:
            ranks[after] = max(ranks[after], ranks[id] + 1)
            open_edges[after] -= 1
            if not open_edges[after]:
                todo.append(after)
    for id in reversed(order):
        if id in set(firsts) and follow[id]:
            ranks[id] = min(ranks[after] for after in follow[id]) - 1
    return ranks


def _boxes(graph: Mapping[str, Any], ranks: Mapping[int, int]) -> list[Box]:
    before: defaultdict[int, set[tuple[int, str]]] = defaultdict(set)
    after: defaultdict[int, set[tuple[int, str]]] = defaultdict(set)
    for edge in graph["edges"]:
        before[edge["to"]].add((edge["from"], edge["kind"]))
        after[edge["from"]].add((edge["to"], edge["kind"]))
    alike: dict[tuple[Any, ...], list[int]] = {}
    for id in sorted(ranks):
        alike.setdefault((ranks[id], frozenset(before[id]), frozenset(after[id])), []).append(id)
    boxes = []
    for (rank, *_), ids in alike.items():
        if len(ids) <= ALIKE:
            boxes += [Box([id], rank) for id in ids]
        else:
            boxes.append(_block(ids, rank))
    return boxes


def _block(ids: list[int], rank: int) -> Box:
    cell, line = _cell_width(ids) + CELL_GAP, CELL_HEIGHT + CELL_GAP
    columns = max(ceil(sqrt(len(ids) * ASPECT * line / cell)), 3)
    rows = ceil(len(ids) / columns)
    return Box(ids, rank, 0, 0, columns * cell + CELL_GAP + 8, rows * line + HEADER + 8, columns)


def _cell_width(ids: Sequence[int]) -> int:
    return len(str(max(ids))) * DIGIT_WIDTH + 16


def _arrange(boxes: Sequence[Box], edges: Sequence[tuple[int, int, str]], columns: Mapping[int, list[int]]) -> None:
    near: defaultdict[int, list[int]] = defaultdict(list)
    for one, other, _ in edges:
        near[one].append(other)
        near[other].append(one)
    x = float(MARGIN)
    for rank in sorted(columns):
        for place in columns[rank]:
            boxes[place].x = x
        x += max(boxes[place].width for place in columns[rank]) + GAP_X
        _stack(boxes, columns[rank])
    for sweep in range(SWEEPS):
        for rank in sorted(columns, reverse=bool(sweep % 2)):
            middle = {
                place: sum(boxes[other].middle for other in near[place]) / len(near[place]) if near[place] else 0.0
                for place in columns[rank]
            }
            columns[rank].sort(key=lambda place: (middle[place], boxes[place].ids[0]))
            _stack(boxes, columns[rank])
    tallest = max(_height(boxes, column) for column in columns.values()) if columns else 0.0
    for column in columns.values():
        down = (tallest - _height(boxes, column)) / 2
        for place in column:
            boxes[place].y += down


def _stack(boxes: Sequence[Box], column: Sequence[int]) -> None:
    y = float(MARGIN)
    for place in column:
        boxes[place].y = y
        y += boxes[place].height + GAP_Y


def _height(boxes: Sequence[Box], column: Sequence[int]) -> float:
    return sum(boxes[place].height + GAP_Y for place in column) - GAP_Y


def tally(graph: Mapping[str, Any]) -> dict[str, int]:
    """Jobs of a graph by status."""
    found: dict[str, int] = {}
    for node in graph["nodes"]:
        found[node["status"]] = found.get(node["status"], 0) + 1
    return found


def svg(graph: Mapping[str, Any], marked: int | None = None, base: str = "") -> Markup:
    """The picture; `marked` is the job that it is about."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    found = layout(graph)
    parts = [_edge(found.boxes[one], found.boxes[other], kind) for one, other, kind in found.edges]
    for box in found.boxes:
        if box.is_block:
            parts.append(_drawn_block(box, nodes, marked, base))
        else:
            parts.append(_drawn_node(box, nodes[box.ids[0]], box.ids[0] == marked, base))
    size = f'width="{found.width:.0f}" height="{found.height:.0f}" viewBox="0 0 {found.width:.0f} {found.height:.0f}"'
    words = ", ".join(f"{jobs} {status}" for status, jobs in sorted(tally(graph).items()))
    return Markup(
        f'<svg class="graph" {size} role="group" aria-label="{len(nodes)} jobs: {words}">{"".join(parts)}</svg>'
    )


def _edge(one: Box, other: Box, kind: str) -> str:
    x1, y1, x2, y2 = one.x + one.width, one.middle, other.x, other.middle
    if x2 <= x1:  # a duplicate may stand right of what it is a duplicate of
        x1, x2 = (one.x + one.width, other.x + other.width) if one.x == other.x else (one.x, other.x + other.width)
    bend = max(abs(x2 - x1) / 2, 24)
    return (
        f'<path class="edge {kind}" d="M{x1:.0f} {y1:.0f} C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} '
        f'{x2:.0f} {y2:.0f}"><title>{kind}</title></path>'
    )


def _drawn_node(box: Box, node: Mapping[str, Any], is_marked: bool, base: str) -> str:
    id, status, name = node["id"], node["status"], node["method_name"]
    shown = name if len(name) <= NAME_SHOWN else f"…{name[1 - NAME_SHOWN :]}"
    mark = ' aria-current="true"' if is_marked else ""
    right = box.x + box.width - 12
    return (
        f'<a class="node" href="{base}/jobs/{id}" data-job="{id}" data-status="{status}"{mark}>'
        f"<title>job {id}, {escape(name)}</title>"
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="8"/>'
        f'<text class="name" x="{box.x + 12:.0f}" y="{box.y + 19:.0f}">{escape(shown)}</text>'
        f'<text class="id" x="{box.x + 12:.0f}" y="{box.y + 36:.0f}">#{id}</text>'
        f'<text class="state" x="{right:.0f}" y="{box.y + 36:.0f}" text-anchor="end">{status}</text></a>'
    )


def _drawn_block(box: Box, nodes: Mapping[int, Any], marked: int | None, base: str) -> str:
    names = Counter(nodes[id]["method_name"] for id in box.ids)
    ((name, jobs),) = names.most_common(1)
    title = f"{jobs} × {name}" + (f" and {len(box.ids) - jobs} of other methods" if len(names) > 1 else "")
    width = _cell_width(box.ids)
    parts = [
        f'<g class="block"><rect class="frame" x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" '
        f'height="{box.height:.0f}" rx="10"/>'
        f'<text class="name" x="{box.x + 10:.0f}" y="{box.y + 18:.0f}">{escape(title)}</text>'
    ]
    for place, id in enumerate(box.ids):
        row, column = divmod(place, box.columns)
        x = box.x + 6 + column * (width + CELL_GAP)
        y = box.y + HEADER + 4 + row * (CELL_HEIGHT + CELL_GAP)
        node = nodes[id]
        mark = ' aria-current="true"' if id == marked else ""
        parts.append(
            f'<a class="node cell" href="{base}/jobs/{id}" data-job="{id}" data-status="{node["status"]}"{mark}>'
            f"<title>job {id}, {escape(node['method_name'])}: {node['status']}</title>"
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{width}" height="{CELL_HEIGHT}" rx="4"/>'
            f'<text x="{x + width / 2:.0f}" y="{y + 14:.0f}" text-anchor="middle">{id}</text></a>'
        )
    return "".join([*parts, "</g>"])
