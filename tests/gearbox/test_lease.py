"""How long work goes on without word from the core, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from abraxas_py import ConnectionLost
from gearbox.engine import RESTART_GRACE
from gearbox.errors import RpcError
from gearbox.rules.attempts import LEASE, RENEWAL
from gearbox.work.lease import CUT_PATIENCE, LATE, PATIENCE, Lease, keep


class Core:
    """Answers `alive` as told: a value, an error to raise, or None for silence; by seconds since the start."""

    def __init__(self, answer: Callable[[float], Any]) -> None:
        self._answer = answer
        self._start = trio.current_time()
        self.asked: list[float] = []

    async def alive(self, id: int, attempt: int) -> bool:
        at = trio.current_time() - self._start
        self.asked.append(at)
        answer = self._answer(at)
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, bool)
        return answer


async def end_of_work(answer: Callable[[float], Any], *, limit: float = 1000.0) -> tuple[float, Core, Lease]:
    """When the work was cancelled, in seconds; `limit` if it was not."""
    core, lease, start = Core(answer), Lease(trio.current_time()), trio.current_time()
    with trio.move_on_after(limit):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep, lease, core, 7, 1, nursery.cancel_scope)
            await trio.sleep_forever()
    return trio.current_time() - start, core, lease


async def test_the_core_is_asked_after_5_seconds_and_then_every_10(autojump_clock: MockClock) -> None:
    _, core, _ = await end_of_work(lambda at: True, limit=60)
    assert core.asked == [5, 15, 25, 35, 45, 55]


async def test_a_no_ends_the_work(autojump_clock: MockClock) -> None:
    ended_at, _, lease = await end_of_work(lambda at: at < 20)
    assert ended_at == 25
    assert lease.lost == "it was cancelled, timed out, or given to somebody else"


@pytest.mark.parametrize("silence", [None, ConnectionLost("gone"), RpcError(500, "internal")])
async def test_silence_ends_the_work_before_a_restarted_core_gives_it_away(
    silence: Any, autojump_clock: MockClock
) -> None:
    ended_at, _, lease = await end_of_work(lambda at: True if at < 100 else silence)
    assert PATIENCE <= ended_at - 95 <= PATIENCE + 1
    assert lease.lost is not None


async def test_a_restart_costs_nothing_and_leaves_less_patience(autojump_clock: MockClock) -> None:
    def answer(at: float) -> Any:
        return ConnectionLost("gone") if 100 <= at < 135 or at > 200 else True

    ended_at, core, _ = await end_of_work(answer)
    last_yes = max(at for at in core.asked if at <= 200)
    assert CUT_PATIENCE <= ended_at - last_yes <= CUT_PATIENCE + 1


def test_a_worker_has_stopped_before_the_core_gives_its_job_away() -> None:
    assert PATIENCE + LATE <= RESTART_GRACE  # a connection that was never lost, and a core that was restarted
    assert CUT_PATIENCE <= LEASE - RENEWAL  # afterwards: a yes leaves so much of the lease, and renews no fresher one


async def test_a_core_whose_database_fails_gives_no_job_away(autojump_clock: MockClock) -> None:
    ended_at, _, _ = await end_of_work(lambda at: RpcError(503, "down") if at > 20 else True, limit=900)
    assert ended_at == 900


async def test_a_lost_connection_is_asked_about_at_once(autojump_clock: MockClock) -> None:
    core, lease = Core(lambda at: True), Lease(trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, lease, core, 7, 1, nursery.cancel_scope)
        await trio.sleep(7)
        lease.cut()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert core.asked == [5, 7]


async def test_a_worker_that_was_stopped_for_too_long_finds_out(autojump_clock: MockClock) -> None:
    lease = Lease(trio.current_time())
    spans: list[float] = []
    lease.listen(spans.append, trio.current_time())
    await trio.sleep(10)
    lease.renew(trio.current_time(), trio.current_time())
    assert spans == [PATIENCE, PATIENCE]
    await trio.sleep(PATIENCE + 1)
    assert not lease.check(trio.current_time())
    assert lease.lost == "no word from the core for 51 s"
