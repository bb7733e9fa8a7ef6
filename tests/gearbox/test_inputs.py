"""What a job gets to see of those it waited for."""

from __future__ import annotations

from gearbox.job import Job, Priority, Status
from gearbox.rules.inputs import BYTES_LIMIT, MEMBERS_LIMIT, gather


def ended(id: int, data: str | None) -> tuple[int, Job]:
    job = Job(id, "a::b", None, Priority.NORMAL, 0, 0, Status.COMPLETE, "d", has_dedupe=False, result_data=data)
    return id, job


def sized(size: int) -> str:
    """JSON text of so many characters."""
    return '"' + "x" * (size - 2) + '"'


def result(id: int, size: int) -> dict[str, object]:
    return {"id": id, "result": "x" * (size - 2)}


def test_nothing_comes_of_nobody() -> None:
    assert gather(None, []) == {}


def test_results_come_with_the_ids_by_which_they_are_known() -> None:
    parent, (_, original) = ended(3, "[1]"), ended(9, None)
    assert gather(parent, [ended(4, '"a"'), (5, original)]) == {
        "gearbox_after": {"id": 3, "result": [1]},
        "gearbox_pool": [{"id": 4, "result": "a"}, {"id": 5, "result": None}],
    }


def test_a_parent_with_too_much_to_say_is_named_only() -> None:
    fits = gather(ended(3, sized(BYTES_LIMIT)), [])
    assert fits == {"gearbox_after": result(3, BYTES_LIMIT)}
    assert gather(ended(3, sized(BYTES_LIMIT + 1)), []) == {"gearbox_after": {"id": 3, "is_cut": True}}


def test_parent_and_members_share_the_room() -> None:
    third = BYTES_LIMIT // 3
    rest = BYTES_LIMIT - 2 * third
    members = [ended(4, sized(third)), ended(5, sized(rest))]
    assert gather(ended(3, sized(third)), members) == {
        "gearbox_after": result(3, third),
        "gearbox_pool": [result(4, third), result(5, rest)],
    }
    assert gather(ended(3, sized(third + 1)), members) == {
        "gearbox_after": result(3, third + 1),
        "gearbox_pool": [result(4, third)],
        "gearbox_pool_is_cut": True,
    }
    assert gather(ended(3, sized(BYTES_LIMIT + 1)), members)["gearbox_pool"] == []


def test_no_more_members_are_told_than_a_worker_can_read() -> None:
    members = [ended(id, None) for id in range(1, MEMBERS_LIMIT + 2)]
    meta = gather(None, members)
    assert len(meta["gearbox_pool"]) == MEMBERS_LIMIT
    assert meta["gearbox_pool_is_cut"] is True
    assert "gearbox_pool_is_cut" not in gather(None, members[:-1])
