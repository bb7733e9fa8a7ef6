"""`abraxas_py.testing` and its pytest plugin, as a user's test uses them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from abraxas_py import Assigned, JobRaised, ResponseTimeout, testing

pytest_plugins = ["abraxas_py.pytest_plugin"]


def test_a_handler_is_tested_without_sockets_or_waiting() -> None:
    async def slow(job: Assigned) -> bytes:
        await trio.sleep(3600)
        return job.data.upper()

    async def main(stage: testing.Stage) -> float:
        stage.worker.add("slow", slow)
        assert await stage.client.submit("slow", b"abc") == b"ABC"
        with pytest.raises(ResponseTimeout):
            await stage.client.submit("slow", response_timeout=60)
        return trio.current_time()

    assert testing.run(main) >= 3600


def test_what_goes_wrong_comes_out_plain() -> None:
    async def main(stage: testing.Stage) -> None:
        stage.worker.add("bad", lambda job: b"x"[job.data])  # type: ignore[call-overload]
        await stage.client.submit("bad")

    with pytest.raises(JobRaised, match="TypeError"):
        testing.run(main)


async def test_a_stage_in_a_trio_program_of_ones_own(autojump_clock: object) -> None:
    async with testing.open_stage(streaming=True) as stage:
        stage.worker.add("f", lambda job: job.data)
        assert await stage.client.submit("f", b"x") == b"x"
        assert stage.server.broker.functions[b"f"].workers == 1


def test_the_plugin_gives_a_fixture(abraxas_stage: Callable[..., object]) -> None:
    async def main(stage: testing.Stage) -> str:
        stage.worker.add("upper", lambda job: job.data.upper())
        assert await stage.client.submit("upper", b"abc") == b"ABC"
        return "returned"

    assert abraxas_stage(main) == "returned"
