"""The trace of whoever queued a job: kept with the job, given to its worker, never made up."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from core_stage import Clock, system

from gearbox.errors import RpcError
from gearbox.store import Moment, Result, open_store
from gearbox.trace import trace_of

ONE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

pytestmark = pytest.mark.usefixtures("store_in_the_loop")


@pytest.mark.parametrize(
    "text",
    [
        None, 7, [ONE], "", "x", ONE.upper(), f" {ONE}", f"{ONE}\n", f"{ONE}-more", ONE.replace("00-", "ff-", 1),
        ONE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), ONE.replace("00f067aa0ba902b7", "0" * 16),
        ONE[:-1], ONE.replace("-01", "-0g"), "01" + ONE[2:] + "more", f"01{ONE[2:]}-{'x' * 600}",
    ],
)  # fmt: skip
def test_what_is_no_traceparent_is_ignored(text: Any) -> None:
    assert trace_of(text) is None


async def test_a_trace_goes_from_the_client_to_the_worker_and_stays_with_the_job(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    seen: list[Any] = []
    async with system(tmp_path / "db") as it:
        await it.work("a::b", lambda request: seen.append(request["_meta"].get("traceparent")))
        plain = await it.gearbox.queue("a::b")
        await it.gearbox.watch(plain)
        traced = await it.gearbox.queue("a::b", traceparent=ONE)
        await it.gearbox.watch(traced)
        many = await it.gearbox.queue_many([{"name": "a::b"}, {"name": "a::b"}], traceparent=OTHER)
        for id in many:
            await it.gearbox.watch(id)
        wrong = await it.gearbox.queue("a::b", traceparent="00-nonsense")
        await it.gearbox.watch(wrong)
        assert seen == [None, ONE, OTHER, OTHER, None]
        rows = await it.gearbox.status([plain, traced, *many])
        assert [row.get("traceparent") for row in rows] == [None, ONE, OTHER, OTHER]
        assert (await it.gearbox.history(traced))["job"]["traceparent"] == ONE


async def test_a_trace_outlives_the_core_and_a_retry(tmp_path: Path, autojump_clock: Clock) -> None:
    seen: list[Any] = []

    def fail(request: dict[str, Any]) -> Exception:
        seen.append(request["_meta"].get("traceparent"))
        return ValueError("no")

    async with system(tmp_path / "db") as it:
        id = await it.gearbox.queue("a::b", traceparent=ONE, after_date="2027-06-01")
    async with system(tmp_path / "db") as it:
        await it.work("a::b", fail)
        await it.call("run_now", {"id": id})
        with pytest.raises(RpcError):
            await it.gearbox.watch(id)
        again = (await it.gearbox.retry(id))["id"]
        with pytest.raises(RpcError):
            await it.gearbox.watch(again)
        assert seen == [ONE, ONE]


def test_a_file_of_the_version_before_keeps_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with sqlite3.connect(path) as database:
        for file in sorted(resources.files("gearbox.store").joinpath("schema", "sqlite").iterdir(), key=str)[:4]:
            database.executescript(file.read_text())
        database.execute(
            "INSERT INTO gearbox_jobs (method_name, created, updated, dedupe, events) VALUES ('a::b', 1, 1, 'x', 1)"
        )
        database.execute("PRAGMA user_version = 4")
    database.close()
    with closing(open_store(str(path))) as store:
        (found,) = store.run_batch([lambda tx, moment: Result(tx.job(1))], Moment(2.0, "core", 0.0, {})).outcomes
        assert isinstance(found, Result)
        assert (found.value.method, found.value.traceparent) == ("a::b", None)
