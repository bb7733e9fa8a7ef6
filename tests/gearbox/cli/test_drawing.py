"""Graphs and histories as they are shown, from what the core answers."""

from __future__ import annotations

import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from gearbox.cli.drawing import DEPTH_SHOWN, dot, svg, tree
from gearbox.cli.tables import timeline
from gearbox.shapes import Edge, Graph, History


def graph(statuses: dict[int, str], *edges: tuple[int, str, int], is_cut: bool = False) -> Graph:
    nodes = [{"id": id, "method_name": f"a::m{id}", "status": status} for id, status in statuses.items()]
    links: list[Edge] = [{"from": one, "to": other, "kind": kind} for one, kind, other in edges]
    return {"nodes": nodes, "edges": links, "is_cut": is_cut}  # type: ignore[typeddict-item]


DIAMOND = graph(
    {1: "complete", 2: "running", 3: "errored", 4: "waiting"},
    *[(1, "after", 2), (1, "after", 3), (2, "before", 4), (3, "before", 4)],
)


def test_a_diamond_as_a_tree() -> None:
    assert tree(DIAMOND, 2) == (
        "4 a::m4  waiting\n"
        "├─ before  2 a::m2  running  <==\n"
        "│  └─ after  1 a::m1  complete\n"
        "└─ before  3 a::m3  errored\n"
        "   └─ after  1 a::m1  complete\n"
    )


def test_what_hangs_on_a_job_that_was_drawn_is_drawn_once() -> None:
    text = tree(graph(dict.fromkeys(range(1, 6), "waiting"), (1, "after", 2), (2, "after", 3), (2, "after", 4)), 2)
    assert text == (
        "3 a::m3  waiting\n"
        "└─ after  2 a::m2  waiting  <==\n"
        "   └─ after  1 a::m1  waiting\n"
        "4 a::m4  waiting\n"
        "└─ after  2 a::m2  waiting  <==  (above)\n"
        "5 a::m5  waiting\n"
    )


def test_duplicates_retries_and_the_cut_are_told() -> None:
    cut = graph({1: "errored", 2: "duplicate", 3: "running"}, (2, "duplicate", 3), (1, "retry", 3), is_cut=True)
    assert tree(cut, 3).splitlines()[-3:] == [
        "2 is a duplicate of 3",
        "3 is the retry of 1",
        "... there are more jobs than are shown",
    ]


def test_a_chain_of_thousands_ends_on_the_page() -> None:
    chain = graph(dict.fromkeys(range(1, 5001), "waiting"), *[(n, "after", n + 1) for n in range(1, 5000)])
    lines = tree(chain, 1).splitlines()
    assert len(lines) == DEPTH_SHOWN + 2
    assert lines[-1].endswith(f"(g-client graph {5000 - DEPTH_SHOWN - 1} goes on)")
    assert len(svg(chain)) > 5000


def test_svg_is_xml_with_a_box_for_each_job() -> None:
    root = ElementTree.fromstring(svg(DIAMOND))
    space = "{http://www.w3.org/2000/svg}"
    boxes = root.findall(f"{space}g")
    assert [box.findtext(f"{space}title") for box in boxes] == [
        "1 a::m1: complete",
        "2 a::m2: running",
        "3 a::m3: errored",
        "4 a::m4: waiting",
    ]
    columns = [box.find(f"{space}rect").get("x") for box in boxes]  # type: ignore[union-attr]
    assert columns == ["20", "280", "280", "540"]
    assert len(root.findall(f"{space}path")) == 4


@pytest.mark.parametrize("name", ["<script>", 'a"]; x [label="', "a\\", "a\nb", "\x1b[2J", "&amp;"])
def test_no_name_of_a_method_changes_the_picture(name: str) -> None:
    hostile = graph({1: "complete"})
    hostile["nodes"][0]["method_name"] = name
    assert len(ElementTree.fromstring(svg(hostile))) == 2
    assert "\x1b" not in tree(hostile, 1)
    assert len(dot(hostile).splitlines()) == 5
    label = dot(hostile).splitlines()[3]
    quotes = label.replace("\\\\", "").replace('\\"', "")
    assert quotes.count('"') == 4


def test_graphviz_reads_it() -> None:
    program = shutil.which("dot")
    if program is None:
        pytest.skip("dot is missing (Debian: graphviz)")
    subprocess.run([program, "-Tsvg"], input=dot(DIAMOND), text=True, check=True, capture_output=True)


def test_a_history_is_a_timeline() -> None:
    history: History = {
        "job": {"id": 7, "method_name": "a::b", "arguments": ["x\n"], "status": "complete"},
        "attempts": [
            {
                "attempt": 1,
                "owner": "c",
                "worker": "host:1",
                "claimed": "2026-11-21T10:00:00.000Z",
                "started": None,
                "ended": None,
                "outcome": None,
                "error": {"code": 1, "message": "oops"},
            }
        ],
        "events": [
            {
                "seq": 1,
                "at": "2026-11-21T10:00:00.000Z",
                "from": None,
                "to": "ready",
                "attempt": None,
                "why": "queued",
                "who": "me",
            },
            {
                "seq": 2,
                "at": "2026-11-21T10:00:01.000Z",
                "from": "ready",
                "to": "running",
                "attempt": 1,
                "why": "claimed",
                "who": "core",
            },
        ],
    }
    assert timeline(history) == (
        'job 7  a::b  ["x\\n"]  complete\n'
        "  2026-11-21 10:00:00.000Z  -> ready              queued   by me\n"
        "  2026-11-21 10:00:01.000Z  ready -> running  #1  claimed  by core\n"
        "attempts\n"
        "  #1  claimed 2026-11-21 10:00:00.000Z  started -  ended -  open  by host:1  oops\n"
    )
