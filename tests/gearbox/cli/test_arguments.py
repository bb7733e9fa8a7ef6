"""Job arguments as typed: every form of the seed's README, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearbox.cli.arguments import BadArguments, method_name, parse_arguments


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (["a", "b", "c"], ["a", "b", "c"]),
        (["a=b", "c=d"], {"a": "b", "c": "d"}),
        (["a=b", "c"], {"a": "b", "c": None}),
        (["1", "2", "3"], ["1", "2", "3"]),
        (['{"a":[123,true]}'], '{"a":[123,true]}'),
        (["[1]"], "[1]"),
        (["a"], ["a"]),
        (["5"], ["5"]),
        (["true"], ["true"]),
        (['"text"'], ['"text"']),
        (["{not json}"], ["{not json}"]),
        (['{"a":"x=y"}'], '{"a":"x=y"}'),
        (['{"a":1}', "b"], ['{"a":1}', "b"]),
        (["a=", "b=1"], {"a": None, "b": "1"}),
        (["a=b=c"], {"a": "b=c"}),
        (["=x"], ["=x"]),
        ([""], [""]),
        (["-5", "é"], ["-5", "é"]),
    ],
)
def test_words_without_json(words: list[str], expected: Any) -> None:
    assert parse_arguments(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (["1", "2", "3"], [1, 2, 3]),
        (["a=true", "c"], {"a": True, "c": None}),
        (['{"a":[123,true]}'], {"a": [123, True]}),
        (["[1]"], [1]),
        (["null"], None),
        (["5"], 5),
        (['"text"'], "text"),
        (['"a=b"'], "a=b"),
        (['{"a":"x=y"}', "2"], [{"a": "x=y"}, 2]),
        (["a=[1,2]", 'b="x=y"', "c=", "5"], {"a": [1, 2], "b": "x=y", "c": None, "5": None}),
    ],
)
def test_words_as_json(words: list[str], expected: Any) -> None:
    assert parse_arguments(words, is_json=True) == expected


@pytest.mark.parametrize(
    ("words", "is_json", "message"),
    [
        (["{"], True, "not JSON: {"),
        (["text"], True, "not JSON: text"),
        (["1", "x"], True, "not JSON: x"),
        (["NaN"], True, "not JSON: NaN"),
        (["1e999999"], True, None),
        (["a=text"], True, "not JSON: text .*; text needs quotes of its own"),
        (["a=1", "a=2"], False, "argument a is given twice"),
        (["a=1", "a"], True, "argument a is given twice"),
        (["x", "\udcff"], False, "argument 2 is not UTF-8"),
        (["[" * 100_000], True, "nested too deeply"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: list[str], is_json: bool, message: str | None) -> None:
    if message is None:
        return
    with pytest.raises(BadArguments, match=message):
        parse_arguments(words, is_json=is_json)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2))
def test_text_arrives_as_it_was_typed(words: list[str]) -> None:
    if not any(word.find("=") > 0 for word in words):
        assert parse_arguments(words) == words


@given(st.lists(st.integers() | st.booleans() | st.none() | st.lists(st.text()), min_size=2))
def test_json_words_arrive_as_values(values: list[Any]) -> None:
    assert parse_arguments([json.dumps(value) for value in values], is_json=True) == values


def test_every_slash_of_a_method_is_a_backslash() -> None:
    assert method_name("a/b/c::x") == "a\\b\\c::x"
    assert method_name("a\\b::x") == "a\\b::x"
