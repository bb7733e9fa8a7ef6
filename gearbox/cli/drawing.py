"""The graph of jobs that hang together: as a tree of text, as DOT for Graphviz, and as SVG; pure.

The tree begins with the jobs that nothing waits for; below each stands what it waits for. A job that is waited for
twice is drawn once and named again. The SVG has a column for each step of the longest way to a job.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape

from gearbox.cli.debug import printable
from gearbox.shapes import Edge, Graph, Node

__all__ = ["dot", "svg", "tree"]

DEPTH_SHOWN = 24  # levels of the tree; a chain of thousands would walk off the page
ORDERING = ("after", "before")  # the kinds of edges that say what runs first
COLOURS = {
    "complete": "#2e7d32",
    "errored": "#c62828",
    "invalid": "#c62828",
    "duplicate": "#757575",
    "waiting": "#8d6e00",
    "ready": "#1565c0",
}
RUNNING = "#1565c0"  # running, almost-done, missing

BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, MARGIN = 200, 40, 60, 16, 20  # px
NAME_SHOWN = 24  # characters in a box


def tree(graph: Graph, id: int) -> str:
    """The graph as text; the job `id` is marked."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    needs = _needs(graph)
    needed = {edge["from"] for edge in graph["edges"] if edge["kind"] in ORDERING}
    lines: list[str] = []
    drawn: set[int] = set()
    roots = [number for number in sorted(nodes) if number not in needed]
    for root in roots or sorted(nodes)[:1]:
        todo = [(root, "", "", 0, "")]
        while todo:
            number, prefix, branch, depth, kind = todo.pop()
            is_again = number in drawn
            drawn.add(number)
            label = _label(nodes[number], id) + ("  (above)" if is_again and needs[number] else "")
            lines.append(f"{prefix}{branch}{f'{kind}  ' if kind else ''}{label}")
            if is_again or not needs[number]:
                continue
            inner = prefix + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
            if depth >= DEPTH_SHOWN:
                lines.append(f"{inner}└─ ... (g-client graph {needs[number][0][0]} goes on)")
                continue
            last = needs[number][-1]
            todo += [
                (below, inner, "└─ " if (below, how) == last else "├─ ", depth + 1, how)
                for below, how in reversed(needs[number])
            ]
    lines += [_other(edge) for edge in graph["edges"] if edge["kind"] not in ORDERING]
    if graph["is_cut"]:
        lines.append("... there are more jobs than are shown")
    return "".join(f"{line}\n" for line in lines)


def _needs(graph: Graph) -> defaultdict[int, list[tuple[int, str]]]:
    """What each job waits for, and how, in order of id."""
    needs: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for edge in sorted(graph["edges"], key=lambda edge: edge["from"]):
        if edge["kind"] in ORDERING:
            needs[edge["to"]].append((edge["from"], edge["kind"]))
    return needs


def _label(node: Node, id: int) -> str:
    mark = "  <==" if node["id"] == id else ""
    return f"{node['id']} {printable(node['method_name'])}  {node['status']}{mark}"


def _other(edge: Edge) -> str:
    if edge["kind"] == "duplicate":
        return f"{edge['from']} is a duplicate of {edge['to']}"
    return f"{edge['to']} is the {edge['kind']} of {edge['from']}"


def dot(graph: Graph) -> str:
    """The graph in Graphviz' language."""
    lines = ["digraph gearbox {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    for node in graph["nodes"]:
        text = f"{node['id']} {node['method_name']}\n{node['status']}"
        lines.append(f"  {node['id']} [label={_quoted(text)}, color={_quoted(_colour(node))}];")
    for edge in graph["edges"]:
        style = "" if edge["kind"] in ORDERING else ", style=dashed"
        lines.append(f"  {edge['from']} -> {edge['to']} [label={_quoted(edge['kind'])}{style}];")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    r"""A string of DOT.

    >>> print(_quoted('a\\b "c"'))
    "a\\b \"c\""
    """
    escaped = "\\n".join(printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return f'"{escaped}"'


def svg(graph: Graph) -> str:
    """The graph as a picture that stands by itself."""
    places = _places(graph)
    width = max((x for x, _ in places.values()), default=0) + BOX_WIDTH + MARGIN
    height = max((y for _, y in places.values()), default=0) + BOX_HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    parts += [_line(edge, places) for edge in graph["edges"]]
    parts += [_box(node, *places[node["id"]]) for node in graph["nodes"]]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(graph: Graph) -> dict[int, tuple[int, int]]:
    """Where the upper left corner of each job's box is."""
    rows: defaultdict[int, int] = defaultdict(int)
    places = {}
    ranks = _ranks(graph)
    for number in sorted(ranks):
        rank = ranks[number]
        places[number] = (MARGIN + rank * (BOX_WIDTH + GAP_X), MARGIN + rows[rank] * (BOX_HEIGHT + GAP_Y))
        rows[rank] += 1
    return places


def _ranks(graph: Graph) -> dict[int, int]:
    """How many jobs stand before each one on the longest way to it."""
    follow: defaultdict[int, list[int]] = defaultdict(list)
    open_edges = {node["id"]: 0 for node in graph["nodes"]}
    for edge in graph["edges"]:
        if edge["kind"] in ORDERING:
            follow[edge["from"]].append(edge["to"])
            open_edges[edge["to"]] += 1
    ranks = dict.fromkeys(open_edges, 0)
    todo = [number for number, count in open_edges.items() if not count]
    while todo:
        number = todo.pop()
        for after in follow[number]:
            ranks[after] = max(ranks[after], ranks[number] + 1)
            open_edges[after] -= 1
            if not open_edges[after]:
                todo.append(after)
    return ranks


def _line(edge: Edge, places: dict[int, tuple[int, int]]) -> str:
    (x1, y1), (x2, y2) = places[edge["from"]], places[edge["to"]]
    x1, y1, y2 = x1 + BOX_WIDTH, y1 + BOX_HEIGHT // 2, y2 + BOX_HEIGHT // 2
    bend = GAP_X // 2
    dash = "" if edge["kind"] in ORDERING else ' stroke-dasharray="4 3"'
    return (
        f'<path d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}" fill="none" stroke="#888"{dash}>'
        f"<title>{edge['from']} {escape(edge['kind'])} {edge['to']}</title></path>"
    )


def _box(node: Node, x: int, y: int) -> str:
    name = printable(node["method_name"])
    shown = name if len(name) <= NAME_SHOWN else f"{name[: NAME_SHOWN - 3]}..."
    colour = _colour(node)
    return (
        f"<g><title>{node['id']} {escape(name)}: {escape(node['status'])}</title>"
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="white" stroke="{colour}"/>'
        f'<text x="{x + 8}" y="{y + 16}">{node["id"]} {escape(shown)}</text>'
        f'<text x="{x + 8}" y="{y + 32}" fill="{colour}">{escape(node["status"])}</text></g>'
    )


def _colour(node: Node) -> str:
    return COLOURS.get(node["status"], RUNNING)
