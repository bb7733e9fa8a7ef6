"""Every page, empty and full, as text: what it shows, and what it says to do first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
from core_stage import START, Clock, System, hanging
from web_stage import site

from gearbox.errors import StoreError
from gearbox.store.writing import Writing

PAGES = (
    "/", "/jobs", "/pools", "/methods", "/scheduled", "/failed", "/gearman", "/workers", "/audit", "/system",
)  # fmt: skip
LATER = (START + 5000) * 1000

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


def words(text: str) -> str:
    """A page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text.partition("<main")[2]))


async def filled(it: System) -> dict[str, int]:
    """One job of each kind."""

    def run(request: dict[str, object]) -> object:
        return ValueError("no such file") if request["params"] == ["bad"] else {"lines": 3}

    await it.work("a::b", run)
    ids = {
        "done": await it.gearbox.queue("a::b", ["good"]),
        "bad": await it.gearbox.queue("a::b", ["bad"]),
        "later": await it.gearbox.queue("a::b", ["later"], after_date=LATER),
    }
    ids["child"] = await it.gearbox.queue("a::b", after_id=ids["later"])
    ids["member"] = await it.gearbox.queue("a::b", before_id=ids["later"], after_date=LATER)
    await it.gearbox.watch(ids["done"])
    await it.gearbox.schedule("nightly", "0 3 * * *", "a::b")
    await it.call("pause", {"method": "c::d", "reason": "its disk is full"})
    return ids


@pytest.mark.parametrize("page", PAGES)
async def test_every_page_is_there_before_anything_was_queued(tmp_path: Path, autojump_clock: Clock, page: str) -> None:
    async with site(tmp_path / "db") as it:
        answer = await it.get(page)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "<h1" in answer.text


async def test_empty_pages_say_what_to_do_first(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        for page, command in [
            ("/", "g-client run"),
            ("/jobs", "g-client run"),
            ("/methods", "g-worker"),
            ("/workers", "g-worker"),
            ("/scheduled", "g-client schedule"),
            ("/pools", "--before-job"),
        ]:
            assert command in (await it.get(page)).text, page


async def test_pages_show_what_there_is(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        ids = await filled(it.system)
        for page, shown in {
            "/": ["1 complete", "Latest failures", "no such file", "a::b"],
            "/jobs": [f"#{id}" for id in ids.values()],
            "/jobs?q=status:failed": [f"#{ids['bad']}", "no such file"],
            f"/jobs/{ids['done']}": ["was completed", '"lines": 3', "claimed", "queued"],
            f"/jobs/{ids['bad']}": ["errored", "no such file", "attempt 1"],
            f"/jobs/{ids['later']}": ["it waits for its pool", "Connected jobs"],
            f"/pools/{ids['child']}": ["3 waiting", f"#{ids['later']}"],
            "/pools": [f"#{ids['later']}"],
            "/methods": ["a::b", "c::d", "paused"],
            "/method?name=a::b": ["p95", "Slowest of the latest", f"#{ids['done']}"],
            "/scheduled": ["nightly", "0 3 * * *", f"#{ids['later']}", "The next 24 hours"],
            "/failed": ["no such file", f"#{ids['bad']}"],
            "/gearman": ["a::b", "gearbox\\core::queue"],
            "/workers": ["a::b"],
            "/audit": ["pause", "c::d", "its disk is full", "schedule", "nightly"],
            "/system": ["Settings", str(tmp_path / "db")],
        }.items():
            answer = await it.get(page)
            text = words(answer.text).replace("&#34;", '"').replace("&#39;", "'")
            assert answer.status == 200
            for one in shown:
                assert one in text, (page, one)


async def test_why_a_job_waits_is_a_sentence_with_links(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        ids = await filled(it.system)
        text = (await it.get(f"/jobs/{ids['child']}")).text
        assert f'it waits for job <a href="/jobs/{ids["later"]}">{ids["later"]}</a> (after_id)' in text


async def test_a_page_that_there_is_not(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        for page in ("/nothing", "/jobs/999", "/jobs/x", "/method?name=nobody", "/jobs/999/data"):
            assert (await it.get(page)).status == 404, page
        assert (await it.get("/jobs?q=status:never")).status == 400


async def test_lists_go_on_by_a_link(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        for _ in range(60):
            await it.system.gearbox.queue("a::b", after_date=LATER)
        first = (await it.get("/jobs?q=method:a::b")).text
        link = re.search(r'rel="next" href="(/jobs\?[^"]*)"', first)
        assert link is not None
        rest = (await it.get(link[1].replace("&amp;", "&"))).text
        assert len(re.findall(r"<tr data-job", first)) == 50
        assert len(re.findall(r"<tr data-job", rest)) == 10
        assert 'rel="next"' not in rest


async def test_jobs_of_one_date_go_on_by_a_link(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        ids = await it.system.gearbox.queue_many([{"name": "a::b", "after_date": LATER}] * 70)
        first = (await it.get("/scheduled")).text
        link = re.search(r'rel="next" href="(/scheduled\?[^"]*)"', first)
        assert link is not None
        rest = (await it.get(link[1].replace("&amp;", "&"))).text
        assert [int(id) for page in (first, rest) for id in re.findall(r'<tr data-job="(\d+)"', page)] == ids
        assert 'rel="next"' not in rest


async def test_downloads(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        ids = await filled(it.system)
        data = await it.get(f"/jobs/{ids['done']}/data")
        assert data.json == {"lines": 3}
        assert data.headers["content-disposition"].startswith("attachment")
        export = await it.get(f"/jobs/{ids['done']}/export")
        assert [event["to"] for event in export.json["events"]][-1] == "complete"
        assert (await it.get("/audit?format=json")).json[-1]["action"] == "schedule"


async def test_half_a_surrogate_hides_no_page_and_no_download(tmp_path: Path, autojump_clock: Clock) -> None:
    """JSON may carry it escaped (JavaScript's "😀".slice(0, 1) does), UTF-8 may not."""
    async with site(tmp_path / "db") as it:
        half = "cut emoji \ud83d"
        await it.system.work("a::b", lambda request: ValueError(half))
        id = await it.system.gearbox.queue("a::b", [half])
        assert (await it.get(f"/api/watch?id={id}")).json["error"] == {"code": 42, "message": half}
        for page in ("/", "/jobs", "/failed", f"/jobs/{id}"):
            answer = await it.get(page)
            assert (answer.status, "cut emoji \\ud83d" in answer.text) == (200, True), page
        assert (await it.get(f"/jobs/{id}/export")).json["job"]["data"]["message"] == half
        assert (await it.get(f"/jobs/{id}/data")).json["message"] == half
        await it.system.work("c::d", lambda request: half)
        text = await it.system.gearbox.queue("c::d")
        await it.system.gearbox.watch(text)
        assert (await it.get(f"/jobs/{text}/data")).text == "cut emoji \\ud83d"


async def test_health(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        assert (await it.get("/healthz")).text == "ok\n"
        assert (await it.get("/readyz")).text == "ready\n"


async def test_health_tells_what_is_wrong(tmp_path: Path, autojump_clock: Clock) -> None:
    async with site(tmp_path / "db") as it:
        it.system.store.error = StoreError("the disk is gone")
        answer = await it.get("/readyz")
        assert (answer.status, answer.text) == (503, "the database: the disk is gone\n")
        it.system.store.error = None
        await trio.sleep(10)
        with hanging(it.system), trio.fail_after(5):
            answer = await it.get("/readyz")
        assert (answer.status, answer.text) == (503, "the database: no answer within 4 s\n")
        assert (await it.get("/readyz")).status == 200
        it.lose_gearman()
        answer = await it.get("/readyz")  # although no job was ever queued
        assert (answer.status, answer.text) == (503, "Gearman cannot be reached\n")
        assert (await it.get("/healthz")).status == 200


async def test_a_try_that_said_too_much_is_shown_as_a_failure_and_one_that_was_cancelled_with_its_job_is_not(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writing, "largest", 1000)
    async with site(tmp_path / "db") as it:
        await it.system.work("a::b", lambda request: trio.Event())
        talkative, unwanted = [await it.system.gearbox.queue("a::b", max_retries=1) for _ in range(2)]
        await trio.sleep(1)
        for _ in range(2):
            await it.system.gearbox.job_data(talkative, data="x" * 600, append=True)
        await it.system.gearbox.cancel(unwanted)
        for id, status in ((talkative, "errored"), (unwanted, "waiting")):
            text = (await it.get(f"/jobs/{id}")).text
            assert f'<span class="chip" data-status="{status}">cancelled</span>' in text
