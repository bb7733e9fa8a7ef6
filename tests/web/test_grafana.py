"""The Grafana file: its shape, and that every query asks for a metric that there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from core_stage import Clock
from web_stage import site

FILE = Path(__file__).parent.parent.parent / "deploy" / "grafana" / "gearbox.json"
KEYS = {"id": int, "type": str, "title": str, "gridPos": dict, "targets": list, "fieldConfig": dict, "options": dict}

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


def test_the_file_has_the_shape_of_a_dashboard() -> None:
    found = json.loads(FILE.read_text())
    assert (found["schemaVersion"], found["uid"]) == (39, "gearbox")
    assert [variable["type"] for variable in found["templating"]["list"]] == ["datasource"]
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert {name: type(panel[name]) for name in KEYS} == KEYS
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"


async def test_every_query_asks_for_what_there_is(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        await it.system.work("a::b", lambda request: 7)
        await it.system.gearbox.watch(await it.system.gearbox.queue("a::b"))
        text = (await it.get("/metrics")).text
    names = set(re.findall(r"^([a-z_]+)", text, re.MULTILINE))
    for panel in json.loads(FILE.read_text())["panels"]:
        for target in panel["targets"]:
            asked = set(re.findall(r"\b((?:gearbox|gearman|process)_[a-z_]+)", target["expr"]))
            assert asked, target["expr"]
            assert asked <= names, asked - names
