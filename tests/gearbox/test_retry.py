"""Failed jobs queued anew, with what hangs on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from core_stage import START, Clock, fails, statuses, system

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def test_retry_queues_a_failed_job_and_what_hung_on_it_anew(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        is_broken = True
        await it.work("a::b", lambda request: ValueError("broken") if is_broken else request["params"], max_jobs=9)
        await it.work("a::ok", lambda request: request["params"])
        wait = await it.gearbox.queue("gearbox\\core::noopwait")
        target = await it.gearbox.queue("a::ok", "target", after_id=wait)
        bad = [await it.gearbox.queue("a::b", n, before_id=target, max_retries=1) for n in range(2)]
        good = await it.gearbox.queue("a::ok", "good", before_id=target)
        last = await it.gearbox.queue("a::ok", "last", after_id=target)
        await it.call("noopgo", wait)
        await fails(-28523, it.gearbox.watch(last))
        assert await statuses(it, *bad, good, target, last) == ["errored"] * 2 + ["complete", "errored", "errored"]

        is_broken = False
        retried = await it.call("retry", {"id": bad[0]})
        new = {int(old): id for old, id in retried["jobs"].items()}
        assert set(new) == {*bad, target, last}
        assert retried["id"] == new[bad[0]]
        assert await it.gearbox.watch(new[last]) == "last"
        assert await statuses(it, *bad, target, last) == ["errored"] * 4  # what an id answered, it answers for ever
        await fails(-28523, it.gearbox.watch(last))
        row = (await it.gearbox.status([new[target]]))[0]
        assert (row["retry_of"], row["after_id"]) == (target, wait)
        error = await fails(409, it.call("retry", {"id": bad[0]}))
        assert error.message == f"job {bad[0]} was retried as job {new[bad[0]]} already"
        assert error.data == {"id": new[bad[0]]}
        events = (await it.call("history", {"id": target}))["events"]
        assert events[-1]["why"] == f"retried as job {new[target]}"
        assert (await it.call("history", {"id": new[target]}))["events"][0]["why"] == "queued as a retry"
        kinds = {edge["kind"] for edge in (await it.call("graph", {"id": last}))["edges"]}
        assert kinds == {"after", "before", "retry"}


async def test_retry_of_a_dependent_takes_along_what_made_it_fail(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        parent = await it.gearbox.queue("a::b")  # no worker yet
        child = await it.gearbox.queue("a::b", after_id=parent)
        other = await it.gearbox.queue("a::b", after_id=parent)
        await fails(-28523, it.gearbox.watch(child))
        await it.work("a::b", lambda request: "ok")
        retried = await it.call("retry", {"id": child, "downstream": False})
        assert set(retried["jobs"]) == {str(parent), str(child)}
        assert await it.gearbox.watch(retried["id"]) == "ok"
        # the parent was retried already, and completed: its retry stands for it
        again = await it.call("retry", {"id": other})
        assert set(again["jobs"]) == {str(other)}
        assert await it.gearbox.watch(again["id"]) == "ok"


async def test_a_retried_member_takes_its_place_in_a_pool_that_waits(tmp_path: Path, autojump_clock: Clock) -> None:
    async with system(tmp_path / "db") as it:
        target = await it.gearbox.queue("gearbox\\core::noop", after_date=(START + 1) * 1000)
        wait = await it.gearbox.queue("gearbox\\core::noopwait", before_id=target)
        bad = await it.gearbox.queue("a::b", before_id=target)
        await fails(-28404, it.gearbox.watch(bad))
        await it.work("a::b", lambda request: "ok")
        again = await it.call("retry", {"id": bad})
        assert await it.gearbox.watch(again["id"]) == "ok"
        await it.call("noopgo", wait)
        assert await it.gearbox.watch(target) is None
        await fails(409, it.call("retry", {"id": target}))
        await fails(404, it.call("retry", {"id": 99}))
