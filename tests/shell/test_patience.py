"""How a server waits: asleep, or looking again and again while traffic is quick. On a clock of its own."""

from __future__ import annotations

from abraxas_py.patience import MOMENT, WARM, Patience

LINGER = 0.001
ARRIVAL = [(7, 1)]


class Traffic:
    """A poller at which something arrives `gap` after each time that it was asked for in vain, and its clock."""

    def __init__(self, gap: float) -> None:
        self.gap = gap
        self.now = 0.0
        self.due_at: float | None = None
        self.slept = 0  # how often it was waited for asleep
        self.looked = 0  # how often it was looked at in vain

    def clock(self) -> float:
        return self.now

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        if self.due_at is None:
            self.due_at = self.now + self.gap
        self.slept += timeout > 0
        self.now = max(self.now + 1e-6, min(self.due_at, self.now + timeout))
        if self.now < self.due_at:
            self.looked += timeout == 0
            return []
        self.due_at = None
        return ARRIVAL


def patience(traffic: Traffic, linger: float = LINGER, processors: int = 2) -> Patience:
    return Patience(traffic.poll, linger, processors=processors, clock=traffic.clock)


def test_quick_traffic_is_waited_for_awake_after_some_short_waits() -> None:
    traffic = Traffic(gap=MOMENT / 2)
    it = patience(traffic)
    for _ in range(WARM):
        assert it.wait() == ARRIVAL
    assert (traffic.slept, traffic.looked) == (WARM, 0)
    for _ in range(100):
        assert it.wait() == ARRIVAL
    assert traffic.slept == WARM
    assert traffic.looked > 100


def test_slow_traffic_is_waited_for_asleep() -> None:
    traffic = Traffic(gap=MOMENT * 2)
    it = patience(traffic)
    for _ in range(100):
        assert it.wait() == ARRIVAL
    assert (traffic.slept, traffic.looked) == (100, 0)


def test_what_does_not_come_within_the_moment_is_waited_for_asleep_from_then_on() -> None:
    traffic = Traffic(gap=MOMENT / 2)
    it = patience(traffic)
    for _ in range(WARM + 1):
        it.wait()
    traffic.gap = LINGER * 2
    began, traffic.slept, traffic.looked = traffic.now, 0, 0
    assert it.wait() == []
    assert traffic.slept == 1
    assert traffic.now - began <= MOMENT + LINGER + 1e-5
    looked = traffic.looked
    traffic.gap = MOMENT * 2
    for _ in range(10):
        it.wait()
    assert traffic.looked == looked


def test_one_short_wait_among_long_ones_is_none_in_a_row() -> None:
    traffic = Traffic(gap=MOMENT / 2)
    it = patience(traffic)
    for n in range(10 * WARM):
        traffic.gap = MOMENT * 2 if n % WARM == 0 else MOMENT / 2
        assert it.wait() == ARRIVAL
    assert traffic.looked == 0


def test_the_only_processor_is_left_to_whoever_is_waited_for() -> None:
    traffic = Traffic(gap=MOMENT / 2)
    it = patience(traffic, processors=1)
    for _ in range(100):
        assert it.wait() == ARRIVAL
    assert (traffic.slept, traffic.looked) == (100, 0)


def test_within_another_program_nothing_is_waited_for() -> None:
    traffic = Traffic(gap=MOMENT / 2)
    it = patience(traffic, linger=0.0)
    for _ in range(100):
        assert it.wait() == []
    assert (traffic.slept, traffic.looked, traffic.now) == (0, 0, 0.0)
