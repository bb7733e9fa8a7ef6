"""The picture of a graph: where boxes are, what becomes a block, what stands in it."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest

from gearbox.web.graph import layout, svg, tally


def graph(*edges: tuple[int, int], kind: str = "before", **statuses: str) -> dict[str, Any]:
    ids = sorted({id for edge in edges for id in edge})
    nodes = [{"id": id, "method_name": "a::b", "status": statuses.get(f"n{id}", "waiting")} for id in ids]
    return {"nodes": nodes, "edges": [{"from": a, "to": b, "kind": kind} for a, b in edges], "is_cut": False}


GRAPHS = {
    "chain": graph((1, 2), (2, 3), (3, 4)),
    "diamond": graph((1, 2), (1, 3), (2, 4), (3, 4)),
    "pool": graph(*((id, 400) for id in range(1, 301)), (400, 401)),
    "two pools": graph(
        *((id, 400) for id in range(1, 51)), *((id, 401) for id in range(51, 101)), (400, 402), (401, 402)
    ),
    "fan out": graph(*((1, id) for id in range(2, 40))),
    "circle of duplicates": graph((1, 2), (2, 3), kind="duplicate"),
    "retry": graph((1, 9), kind="retry"),
    "binary tree": graph(*((id, id // 2) for id in range(2, 128))),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_job_has_its_place_and_no_two_share_one(name: str) -> None:
    found = layout(GRAPHS[name])
    ids = [id for box in found.boxes for id in box.ids]
    assert sorted(ids) == [node["id"] for node in GRAPHS[name]["nodes"]]
    for one, other in combinations(found.boxes, 2):
        is_apart = one.x + one.width <= other.x or other.x + other.width <= one.x
        is_apart |= one.y + one.height <= other.y or other.y + other.height <= one.y
        assert is_apart, (one, other)
    assert all(box.x >= 0 and box.x + box.width <= found.width for box in found.boxes)
    assert all(box.y >= 0 and box.y + box.height <= found.height for box in found.boxes)


@pytest.mark.parametrize("name", ["chain", "diamond", "pool", "two pools", "fan out", "retry", "binary tree"])
def test_time_goes_from_left_to_right(name: str) -> None:
    found = layout(GRAPHS[name])
    for one, other, _ in found.edges:
        assert found.boxes[one].x + found.boxes[one].width < found.boxes[other].x


def test_a_pool_of_hundreds_is_one_block_that_fits_a_screen() -> None:
    found = layout(GRAPHS["pool"])
    assert [len(box.ids) for box in found.boxes] == [300, 1, 1]
    assert found.width <= 951  # the room that a window of 1,280 leaves for it
    assert found.height < 750
    text = str(svg(GRAPHS["pool"], 400, "/base"))
    assert text.count("<path") == 2
    assert len(re.findall(r'href="/base/jobs/\d+"', text)) == 302
    assert len(re.findall("aria-current", text)) == 1


def test_few_alike_jobs_are_drawn_one_by_one() -> None:
    assert all(not box.is_block for box in layout(graph(*((id, 9) for id in range(1, 7)))).boxes)


def test_what_is_in_a_name_is_text() -> None:
    one = graph((1, 2))
    one["nodes"][0]["method_name"] = '<script>"&'
    assert "<script>" not in svg(one)
    assert "&lt;script&gt;" in svg(one)


def test_a_long_name_keeps_its_end() -> None:
    one = graph((1, 2))
    one["nodes"][0]["method_name"] = "company\\department\\team::render_the_page"
    assert "…" in svg(one)
    assert "render_the_page</text>" in svg(one)


def test_the_statuses_are_counted() -> None:
    assert tally(graph((1, 2), n1="complete")) == {"complete": 1, "waiting": 1}
