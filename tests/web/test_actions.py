"""What can be done from the pages, by their forms alone; and what remains of it in the audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from core_stage import START, Clock, fails, statuses
from web_stage import Site, site

LATER = (START + 5000) * 1000

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


async def does(it: Site, path: str, fields: dict[str, Any], page: str = "/jobs") -> str:
    """Send a form; the line that the page shows afterwards."""
    answer = await it.post(path, fields, page)
    assert (answer.status, answer.headers["location"]) == (303, page), answer.text
    text = (await it.get(page)).text
    _, _, rest = text.partition('<p class="notice" role="status">')
    return rest.partition("</p>")[0]


async def test_a_job_is_cancelled_with_a_reason(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        id = await it.system.gearbox.queue("a::b", after_date=LATER)
        page = f"/jobs/{id}"
        assert await does(it, f"{page}/cancel", {"reason": "not wanted"}, page) == f"Job {id} is cancelled."
        assert await does(it, f"{page}/cancel", {}, page) == f"Job {id} had ended already."
        assert "cancelled: not wanted" in (await it.get(page)).text
        history = await it.system.call("history", {"id": id})
        assert history["events"][-2]["who"] == "dashboard"
        assert await does(it, "/jobs/99/cancel", {}) == "Nothing was done: no such job."


async def test_a_job_runs_now_and_gets_another_priority(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        await it.system.work("a::b", lambda request: 7)
        id = await it.system.gearbox.queue("a::b", after_date=LATER)
        page = f"/jobs/{id}"
        assert await does(it, f"{page}/reprioritise", {"priority": "high"}, page) == f"Job {id} has high priority."
        assert await does(it, f"{page}/run_now", {}, page) == f"Job {id} runs as early as it may."
        assert await it.system.gearbox.watch(id) == 7


async def test_what_failed_is_retried_with_what_failed_because_of_it(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        parent = await it.system.gearbox.queue("a::b", after_date=LATER)
        child = await it.system.gearbox.queue("a::b", after_id=parent)
        await it.system.call("cancel", {"id": parent})
        await fails(-28523, it.system.gearbox.watch(child))
        page = f"/pools/{parent}"
        said = await does(it, f"/jobs/{parent}/retry", {"downstream": "yes"}, page)
        assert said == f"Job {parent} is queued again as job {child + 1}, with 1 more."


async def test_a_noopwait_is_let_go(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        id = await it.system.gearbox.queue("gearbox\\core::noopwait")
        assert "Let it go" in (await it.get(f"/jobs/{id}")).text
        assert await does(it, f"/jobs/{id}/release", {}) == f"Job {id} goes on."
        assert await it.system.status_of(id) == "complete"


async def test_a_method_is_paused_resumed_and_limited(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        page = "/method?name=a::b"
        await it.system.gearbox.queue("a::b", after_date=LATER)
        assert await does(it, "/methods/pause", {"method": "a::b", "reason": "x"}, page) == "a::b is paused."
        assert "Resume" in (await it.get(page)).text
        assert await does(it, "/methods/resume", {"method": "a::b"}, page) == "a::b goes on."
        fields = {"method": "a::b", "concurrency": "3"}
        assert await does(it, "/methods/limit", fields, page) == "a::b is limited to 3."
        assert await does(it, "/methods/limit", fields | {"concurrency": ""}, page) == "a::b has no limit."
        said = await does(it, "/methods/limit", fields | {"concurrency": "many"}, page)
        assert said.startswith("Nothing was done: concurrency: not a whole number")


async def test_a_recurring_job_runs_now_and_is_dropped(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        await it.system.gearbox.schedule("nightly", "0 3 * * *", "a::b")
        said = await does(it, "/scheduled/run_now", {"name": "nightly"}, "/scheduled")
        assert said == "nightly runs now, as job 1."
        said = await does(it, "/scheduled/unschedule", {"name": "nightly"}, "/scheduled")
        assert said == "The entry nightly is gone; its jobs stay."


async def test_an_action_for_many_shows_first_to_which(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        ids = [await it.system.gearbox.queue("a::b", after_date=LATER) for _ in range(30)]
        other = await it.system.gearbox.queue("c::d", after_date=LATER)
        fields = {"action": "cancel", "query": "method:a::b status:waiting", "reason": "over"}
        seen = (await it.post("/act", fields)).text
        assert "Cancel 30 jobs?" in seen
        assert f"#{ids[-1]}" in seen
        assert "and 10 more" in seen
        assert await it.system.status_of(ids[0]) == "waiting"

        said = await does(it, "/act", fields | {"confirmed": "yes", "up_to": ids[-1]})
        assert said == "cancel: 30 of 30 jobs."
        assert set(await statuses(it.system, *ids)) == {"invalid"}
        assert await it.system.status_of(other) == "waiting"
        (deed,) = await it.system.call("audit")
        assert (deed["action"], deed["reason"], deed["jobs"]) == ("cancel", "over", 30)

        said = await does(it, "/act", {"action": "cancel", "query": "status:never"})
        assert said.startswith("Nothing was done: no status is called never")


async def test_the_theme_is_kept(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        assert 'data-theme="auto"' in (await it.get("/")).text
        await it.post("/theme", {"theme": "dark"})
        assert 'data-theme="dark"' in (await it.get("/")).text
        await it.post("/theme", {"theme": '"><script>'})
        assert 'data-theme="dark"' in (await it.get("/")).text
