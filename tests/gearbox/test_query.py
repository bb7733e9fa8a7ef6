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
        (f"{2**63 - 1}", Query(ids=(2**63 - 1,))),
        ("#tag X12 Xbox", Query(args=("#tag", "X12", "Xbox"))),
        ('"12 #13" arg:Xbox', Query(args=("12 #13", "Xbox"))),
        ("x" * 1000, Query(args=("x" * 1000,))),
        ("method:name/space::do", Query(methods=("name\\space::do",))),
        ("method:a::*,b::c", Query(methods=("a::*", "b::c"))),
        ("status:failed", Query(statuses=FAILED)),
        ("status:ready,running", Query(statuses=frozenset({Status.READY, Status.RUNNING}))),
        ("status:ready,failed,,running", Query(statuses=FAILED | {Status.READY, Status.RUNNING})),
        ("README", Query(args=("README",))),
        ('arg:"two words" arg:x', Query(args=("two words", "x"))),
        ("method:a method:b", Query(methods=("a", "b"))),
        ("status:ready status:running", Query(statuses=frozenset({Status.READY, Status.RUNNING}))),
        ("error:timeout", Query(errors=("timeout",))),
        ("dedupe:d-1 schedule:nightly", Query(dedupe="d-1", schedule="nightly")),
        ("after:3 before:4 priority:high", Query(after_id=3, before_id=4, priority=Priority.HIGH)),
        ("took>500ms took<2m", Query(took_above=0.5, took_below=120.0)),
        ("took>3", Query(took_above=3.0)),
        ("took>1000000000", Query(took_above=1e9)),
    ],
)
def test_the_words_of_a_search(line: str, query: Query) -> None:
    assert parse(line) == query


WORDS = "use method: status: arg: error: dedupe: after: before: schedule: priority: took> took< or a number"
STATUSES = (
    "ready, waiting, running, almost-done, errored, complete, invalid, missing, duplicate, "
    "current, active, failed, ended"
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("status:redy", f"no status is called redy: there are {STATUSES}"),
        ("priority:urgent", "no priority is called urgent: there are high, normal, low"),
        ("colour:red", f"nobody knows colour: {WORDS}"),
        ("took>soon", f"nobody knows took>soon: {WORDS}; spans are 500ms, 5s, 2m, 1h, 1d"),
        ("wait<3", f"nobody knows wait<3: {WORDS}; spans are 500ms, 5s, 2m, 1h, 1d"),
        ("took>11575d", "took>11575d: spans go up to 1000000000s"),
        (f"took<{'9' * 400}", f"took<{'9' * 400}: spans go up to 1000000000s"),
        ("after:me", "after:me is no job id"),
        ("before:me", "before:me is no job id"),
        ("method:", "method: says nothing"),
        ("after:99999999999999999999", "after:99999999999999999999 is no job id"),
        (f"{2**63}", f"id:{2**63} is no job id"),
        ("x" * 1001, "a search of more than 1000 characters"),
        ("dedupe:a dedupe:b", "dedupe: may be there only once"),
        ("schedule:a 7 schedule:b", "schedule: may be there only once"),
        ("priority:low priority:high", "priority: may be there only once"),
        ("after:1 before:2 after:3", "after: may be there only once"),
        ("before:1 before:1", "before: may be there only once"),
        ("took>1 took<9 took>5", "took> may be there only once"),
        ("took<1 took<5", "took< may be there only once"),
    ],
)
def test_a_word_that_nobody_knows_is_refused_by_name(line: str, message: str) -> None:
    with pytest.raises(RpcError) as caught:
        parse(line)
    assert (caught.value.code, caught.value.message) == (400, message)
