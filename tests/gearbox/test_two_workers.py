"""A worker that lost its connection still runs the job; the second one, which Gearman gave it to, has no leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from core_stage import Clock, system

from abraxas_py import Assigned, Worker
from gearbox import rpc
from gearbox.errors import Code, RpcError

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


@pytest.mark.parametrize("returns", [True, False])
async def test_no_leave_for_the_second_is_no_failure_of_the_first(
    tmp_path: Path, autojump_clock: Clock, returns: bool
) -> None:
    async with system(tmp_path / "db") as it:
        got: list[dict[str, int]] = []

        async def run(job: Assigned) -> bytes:
            request = json.loads(job.data)
            id, attempt = request["_meta"]["gearbox_id"], request["_meta"]["gearbox_attempt"]
            if not await it.gearbox.job_start(id, attempt, f"worker {len(got)}"):
                return rpc.error(request["id"], RpcError(Code.NO_LEAVE, "no leave to start"))
            got.append({"id": id, "attempt": attempt})
            await trio.sleep_forever()
            raise AssertionError

        first, second = (Worker(it.server.dial) for _ in range(2))
        with trio.CancelScope() as connection:
            async with trio.open_nursery() as nursery:
                first.add("a::b", run)
                await nursery.start(first.run)
                id = await it.gearbox.queue("a::b")
                await trio.sleep(1)
                connection.cancel()  # Gearman thinks that the worker is gone; its work goes on
        second.add("a::b", run)
        await it.nursery.start(second.run)
        await trio.sleep(1)
        assert got == [{"id": id, "attempt": 1}]
        assert await it.status_of(id) == "missing"
        if returns:
            await it.gearbox.job_data(id, data="done", status="complete", attempt=1)
            assert await it.gearbox.watch(id) == "done"
        else:
            with pytest.raises(RpcError) as caught:
                await it.gearbox.watch(id)
            assert caught.value.code == Code.WENT_MISSING
