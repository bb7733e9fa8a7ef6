"""Which cores are dead, as one of them sees it."""

from __future__ import annotations

from gearbox.rules.leases import CORE_LEASE, CREDIT, CREDIT_LATE, HEARTBEAT, Observer
from gearbox.store import CoreRow


def row(beats: int = 1, beat_at: float = 0.0, id: str = "other", is_alive: bool = True) -> CoreRow:
    return CoreRow(id, "there", is_alive, beats, 0.0, beat_at)


def dead(observer: Observer, rows: list[CoreRow], now: float, at: float | None = None) -> list[str]:
    """By the database's clock it is `at`; without it, nobody's last beat is past."""
    return [row.id for row in observer.expired(rows, rows[0].beat_at if at is None else at, now)]


def test_who_beats_lives_and_who_does_not_is_dead_after_the_lease() -> None:
    observer = Observer("me")
    assert dead(observer, [row(1)], 100.0) == []
    assert dead(observer, [row(2)], 129.0) == []
    assert dead(observer, [row(2)], 129.0 + CORE_LEASE - 0.1) == []
    assert dead(observer, [row(2)], 129.0 + CORE_LEASE) == ["other"]


def test_nobody_judges_itself_or_the_dead_and_all_others_are_judged() -> None:
    observer = Observer("me")
    rows = [row(id="me"), row(id="gone", is_alive=False), row(id="a"), row(id="b")]
    assert dead(observer, rows, 0.0) == []
    assert dead(observer, rows, CORE_LEASE) == ["a", "b"]


def test_a_new_observer_believes_the_row_for_a_part_of_the_lease() -> None:
    assert dead(Observer("me"), [row(beat_at=0.0)], 500.0, at=1000.0) == []
    observer = Observer("me")
    dead(observer, [row(beat_at=0.0)], 500.0, at=1000.0)
    assert dead(observer, [row(beat_at=0.0)], 500.0 + CORE_LEASE - CREDIT - 0.1, at=1000.0) == []
    assert dead(observer, [row(beat_at=0.0)], 500.0 + CORE_LEASE - CREDIT, at=1000.0) == ["other"]
    observer = Observer("me")
    dead(observer, [row(beat_at=995.0)], 500.0, at=1000.0)
    assert dead(observer, [row(beat_at=995.0)], 500.0 + CORE_LEASE - 5.0, at=1000.0) == ["other"]


def test_one_that_knows_the_core_believes_less_and_a_date_to_come_nothing() -> None:
    observer = Observer("me")
    dead(observer, [row(1)], 0.0)
    dead(observer, [row(2, beat_at=900.0)], 10.0, at=1000.0)
    assert dead(observer, [row(2)], 10.0 + CORE_LEASE - CREDIT_LATE - 0.1) == []
    assert dead(observer, [row(2)], 10.0 + CORE_LEASE - CREDIT_LATE) == ["other"]
    dead(observer, [row(3, beat_at=1100.0)], 50.0, at=1000.0)
    assert dead(observer, [row(3)], 50.0 + CORE_LEASE - 0.1) == []
    assert dead(observer, [row(3)], 50.0 + CORE_LEASE) == ["other"]


def test_who_comes_back_is_new() -> None:
    observer = Observer("me")
    dead(observer, [row(1)], 0.0)
    dead(observer, [row(id="me")], 10.0)
    assert dead(observer, [row(1)], CORE_LEASE) == []


def test_the_next_look_is_at_the_next_end_of_a_lease() -> None:
    observer = Observer("me")
    assert observer.pause(0.0) == HEARTBEAT
    dead(observer, [row(id="a")], 0.0)
    dead(observer, [row(id="a"), row(id="b")], 1.0)
    assert observer.pause(1.0) == HEARTBEAT
    assert observer.pause(CORE_LEASE - HEARTBEAT) == HEARTBEAT
    assert observer.pause(CORE_LEASE - 2.0) == 2.0
    assert observer.pause(CORE_LEASE) == 1.0  # of the other one; the first is over
    assert observer.pause(CORE_LEASE + 5.0) == HEARTBEAT
