"""The documentation is whole: links lead somewhere, and the reference has every command, variable, method and code.

`GEARBOX_TEST_REWRITE=1 pytest tests/test_docs.py` writes the manuals anew into the reference.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gearbox.errors import Code
from gearbox.methods import METHODS

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
COMMANDS = ("g-core", "g-client", "g-worker", "g-multiworker", "abraxas")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)|\]\(#([^)\s]+)\)")
VARIABLE = re.compile(r"\b(?:GEARBOX|MYSQL|GEARMAN|DB_TABLE)_[A-Z_]+\b")
NOT_SET_BY_PEOPLE = {"GEARBOX_JOB_ID", "GEARBOX_ATTEMPT", "GEARBOX_METHOD", "GEARBOX_PROGRESS", "GEARBOX_INPUTS"}


def manual(command: str) -> str:
    shown = subprocess.run(
        [Path(sys.executable).parent / command, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    return shown.stdout.strip()


def anchor(heading: str) -> str:
    """The link to a heading, as the hosts of Markdown make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for path, part, own in LINK.findall(page.read_text()):
        if "://" in path:
            continue
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {path}, which is not there"
        wanted = part or own
        if wanted:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert wanted in map(anchor, headings), f"{page.name} links to #{wanted} of {target.name}"


def test_every_page_can_be_found() -> None:
    linked = {(page.parent / path).resolve() for page in PAGES for path, _, _ in LINK.findall(page.read_text()) if path}
    assert [page.name for page in PAGES[1:] if page not in linked] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_has_the_manual(command: str) -> None:
    begin, end = f"## {command}\n\n```text\n", "\n```"
    text = REFERENCE.read_text()
    before, _, rest = text.partition(begin)
    shown, _, after = rest.partition(end)
    if os.environ.get("GEARBOX_TEST_REWRITE"):
        REFERENCE.write_text(before + begin + manual(command) + end + after)
    else:
        assert shown == manual(command), f"{REFERENCE.name} is old: set GEARBOX_TEST_REWRITE=1"


def test_the_reference_has_every_variable() -> None:
    sources = [*(ROOT / "gearbox").glob("**/*.py"), *(ROOT / "abraxas_py").glob("**/*.py")]
    named = {name for source in sources for name in VARIABLE.findall(source.read_text())}
    table = set(re.findall(r"^\| `([A-Z_]+)`", REFERENCE.read_text(), re.MULTILINE))
    assert named - NOT_SET_BY_PEOPLE <= table
    assert {name for name in table if VARIABLE.fullmatch(name)} <= named


def test_the_protocol_page_has_every_method_and_code() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    codes = set(re.findall(r"(?<![\w.])-?\d{3,5}\b", text.partition("## Error codes")[2]))
    assert {str(int(code)) for code in Code} <= codes
    names = {name.rpartition("::")[2] for name in METHODS}
    assert {name for name in names if not re.search(rf"`{name}`", text)} == set()


def test_the_tests_that_pages_name_are_there() -> None:
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    there = {
        name
        for path in (ROOT / "tests").glob("**/test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= there
