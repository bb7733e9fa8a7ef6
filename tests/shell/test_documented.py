"""Every public name says what it is, and stands in the documentation."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import abraxas_py
from abraxas_py import blocking, testing

DOCS = "\n".join(path.read_text() for path in (Path(__file__).parents[2] / "docs").glob("*.md"))
NAMES = [
    pytest.param(module, name, id=f"{module.__name__}.{name}")
    for module in (abraxas_py, blocking, testing)
    for name in module.__all__
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_has_a_docstring_and_stands_in_the_docs(module: object, name: str) -> None:
    assert re.search(rf"\b{name}\b", DOCS), f"{name} is in no page of docs/"
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), name


@pytest.mark.parametrize(
    "cls",
    [
        abraxas_py.Admin,
        abraxas_py.Assigned,
        abraxas_py.Client,
        abraxas_py.JobStatus,
        abraxas_py.Registration,
        abraxas_py.Server,
        abraxas_py.Task,
        abraxas_py.Worker,
        blocking.BlockingAdmin,
        blocking.BlockingClient,
        blocking.BlockingJob,
        blocking.BlockingTask,
    ],
)
def test_a_public_method_has_a_docstring(cls: type) -> None:
    for name, member in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            doc = getattr(cls, name).__doc__ if not isinstance(member, property) else member.__doc__
            inherited = inspect.getdoc(getattr(cls, name))
            assert doc or inherited or name in PARTY, f"{cls.__name__}.{name} has no docstring"


# Said once, where the party is (`lifeline.Party`); for the package's own use.
PARTY = {"line_up", "line_down", "line_failed", "receive", "decide", "end"}
