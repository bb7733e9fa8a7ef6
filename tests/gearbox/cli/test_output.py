"""The -O modes; the expected texts of `inspect` were printed by Node 20 with a break length of 80."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearbox.cli.output import Mode, inspect, render

LIST = [1, {"a": None}, "s", None]
NESTED = {"a": [1, {"b": {"c": {}}}, {"b": {"c": 1}}], "s": "x"}


@pytest.mark.parametrize(
    ("value", "inspected", "as_json", "nl_json", "plain"),
    [
        (LIST, "[ 1, { a: null }, 's', null ]\n", *['[1,{"a":null},"s",null]\n', '1\n{"a":null}\n"s"\nnull\n'], None),
        ("text", "text\n", '"text"\n', '"text"\n', "text\n"),
        (12.5, "12.5\n", "12.5\n", "12.5\n", "12.5\n"),
        (True, "true\n", "true\n", "true\n", "true\n"),
        (None, "null\n", "null\n", "null\n", "null\n"),
        ([], "[]\n", "[]\n", "", "[]\n"),
        ({}, "{}\n", "{}\n", "{}\n", "{}\n"),
        ("é\n", "é\n\n", '"é\\n"\n', '"é\\n"\n', "é\n\n"),
    ],
)
def test_each_mode(value: Any, inspected: str, as_json: str, nl_json: str, plain: str | None) -> None:
    assert [render(value, mode) for mode in Mode] == [inspected, as_json, nl_json, plain or as_json]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NESTED, "{ a: [ 1, { b: [Object] }, { b: [Object] } ], s: 'x' }"),
        ([[[[1]]]], "[ [ [ [Array] ] ] ]"),
        ({"a": {"b": {"c": {}}}}, "{ a: { b: { c: {} } } }"),
        ({"a-b": "it's", "c": '"it\'s"', "d": "`\"'"}, "{ 'a-b': \"it's\", c: `\"it's\"`, d: '`\"\\'' }"),
        (["\n\t\\\x1b\x7f\x9f"], r"[ '\n\t\\\x1B\x7F\x9F' ]"),
        ([1e-7, 1e21, 12.0, -0.0, 0.1], "[ 1e-7, 1e+21, 12, -0, 0.1 ]"),
        (["x" * 35, "y" * 26], "[ '" + "x" * 35 + "', '" + "y" * 26 + "' ]"),
        (["x" * 35, "y" * 27], "[\n  '" + "x" * 35 + "',\n  '" + "y" * 27 + "'\n]"),
    ],
)
def test_inspect_writes_as_node_does(value: Any, expected: str) -> None:
    assert inspect(value) == expected


def test_inspect_cuts_long_arrays() -> None:
    lines = inspect(list(range(102))).splitlines()
    assert lines[0:2] == ["[", "  0,"]
    assert lines[-3:] == ["  99,", "  ... 2 more items", "]"]


def test_inspect_cuts_long_texts() -> None:
    assert inspect(["x" * 10_001]) == "[\n  '" + "x" * 10_000 + "'... 1 more character\n]"
    assert render("x" * 10_001, Mode.INSPECT) == "x" * 10_001 + "\n"


def test_inspect_colours_values_and_breaks_lines_as_without() -> None:
    assert inspect([1, "s", None, True], is_coloured=True) == (
        "[ \x1b[33m1\x1b[39m, \x1b[32m's'\x1b[39m, \x1b[1mnull\x1b[22m, \x1b[33mtrue\x1b[39m ]"
    )
    assert "\n" not in inspect(["x" * 20, "y" * 20], is_coloured=True)


def test_a_string_that_holds_colours_keeps_them_as_text() -> None:
    assert inspect(["\x1b[1m"]) == "[ '\\x1B[1m' ]"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(JSON_VALUES)
def test_json_loses_nothing_and_inspect_never_fails(value: Any) -> None:
    assert json.loads(render(value, Mode.JSON)) == value
    if isinstance(value, list):
        assert [json.loads(line) for line in render(value, Mode.NL_JSON).split("\n")[:-1]] == value
    text = render([value], Mode.INSPECT)
    assert "\x1b" not in text
