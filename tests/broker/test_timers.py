"""Deadlines: in order, each once, and without a trace of those that were cancelled."""

from __future__ import annotations

from math import inf

from abraxas_py.broker.timers import Timer, Timers


def arm(timers: Timers, *instants: float) -> list[Timer]:
    return [timers.arm(at, lambda target, now: None, None) for at in instants]


def test_deadlines_come_in_their_order_and_equal_ones_as_they_were_armed() -> None:
    timers = Timers()
    late, first, second = arm(timers, 3.0, 1.0, 1.0)
    assert (timers.deadline, len(timers)) == (1.0, 3)
    assert list(timers.due(0.9)) == []
    assert list(timers.due(1.0)) == [first, second]
    assert (timers.deadline, len(timers)) == (3.0, 1)
    assert list(timers.due(9.0)) == [late]
    assert (timers.deadline, len(timers)) == (inf, 0)


def test_what_was_cancelled_or_has_fired_is_let_be() -> None:
    timers = Timers()
    one, other, third = arm(timers, 1.0, 2.0, 3.0)
    timers.cancel(one)
    timers.cancel(one)
    assert (timers.deadline, len(timers)) == (2.0, 2)
    assert list(timers.due(2.0)) == [other]
    timers.cancel(other)
    assert len(timers) == 1
    assert list(timers.due(3.0)) == [third]


def test_a_timer_that_an_earlier_one_cancels_does_not_fire() -> None:
    timers = Timers()
    one, other = arm(timers, 1.0, 1.0)
    fired = []
    for timer in timers.due(1.0):
        fired.append(timer)
        timers.cancel(other)
    assert fired == [one]


def test_cancelled_timers_take_no_memory_for_long() -> None:
    timers = Timers()
    timers_of_calls = arm(timers, *(float(at) for at in range(1000, 0, -1)))
    for timer in timers_of_calls[:-10]:
        timers.cancel(timer)
    assert len(timers) == 10
    assert len(timers._heap) <= 2 * 10 + 64
    assert list(timers.due(2000.0)) == timers_of_calls[:-11:-1]  # still in order
    few = arm(timers, *(float(at) for at in range(64)))
    for timer in few:
        timers.cancel(timer)
    assert len(timers._heap) == 64  # so few are not worth it
    assert timers.deadline == inf
