"""What the line of the search box means."""

from __future__ import annotations

import pytest

from gearbox.errors import RpcError
from gearbox.job import FAILED, Priority, Status
from gearbox.rules.query import Query, parse


@pytest.mark.parametrize(
    ("line", "query"),
    [
        ("", Query()),
        ("12 #13", Query(ids=(12, 13))),
        ("method:name/space::do", Query(methods=("name\\space::do",))),
        ("method:a::*,b::c", Query(methods=("a::*", "b::c"))),
        ("status:failed", Query(statuses=FAILED)),
        ("status:ready,running", Query(statuses=frozenset({Status.READY, Status.RUNNING}))),
        ("README", Query(args=("README",))),
        ('arg:"two words" arg:x', Query(args=("two words", "x"))),
        ("error:timeout", Query(errors=("timeout",))),
        ("dedupe:d-1 schedule:nightly", Query(dedupe="d-1", schedule="nightly")),
        ("after:3 before:4 priority:high", Query(after_id=3, before_id=4, priority=Priority.HIGH)),
        ("took>500ms took<2m", Query(took_above=0.5, took_below=120.0)),
        ("took>3", Query(took_above=3.0)),
    ],
)
def test_the_words_of_a_search(line: str, query: Query) -> None:
    assert parse(line) == query


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("status:redy", "no status is called redy"),
        ("priority:urgent", "no priority is called urgent"),
        ("colour:red", "nobody knows colour"),
        ("took>soon", "nobody knows took>soon"),
        ("wait>3", "nobody knows wait>3"),
        ("after:me", "after:me is no job id"),
        ("method:", "method: says nothing"),
        ("after:99999999999999999999", "is no job id"),
        ("x" * 1001, "more than 1000 characters"),
    ],
)
def test_a_word_that_nobody_knows_is_refused_by_name(line: str, message: str) -> None:
    with pytest.raises(RpcError) as caught:
        parse(line)
    assert caught.value.code == 400
    assert message in caught.value.message
