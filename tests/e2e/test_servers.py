"""The scheduler on its own broker, on a gearmand, and on two servers of different makers: the same for everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio
from ledger_stage import Runs, command
from site_stage import Program, Site, wait_for

from gearbox.client import open_gearbox
from gearbox.errors import RpcError


@attrs.frozen
class Layout:
    """A core on some servers, with a worker of `a::job` that keeps a ledger."""

    site: Site
    servers: list[Program]
    core: Program
    worker: Program
    ledger: Path

    @property
    def addresses(self) -> list[str]:
        return self.core.address.split(",")


BROKERS = ("embedded", "gearmand", "two servers")
ON_SQLITE = [pytest.param(broker, "sqlite", id=f"{broker} on sqlite") for broker in BROKERS]
ON_MARIADB = [
    pytest.param(broker, "mariadb", id=f"{broker} on mariadb", marks=pytest.mark.mariadb) for broker in BROKERS
]
everywhere = pytest.mark.parametrize(("broker", "database"), ON_SQLITE + ON_MARIADB, indirect=["database"])
# What takes long runs on MariaDB where all parts are apart, or not at all where the database has no part in it.
on_all_brokers = pytest.mark.parametrize(("broker", "database"), ON_SQLITE, indirect=["database"])
on_all_brokers_and_apart = pytest.mark.parametrize(
    ("broker", "database"), ON_SQLITE + ON_MARIADB[2:], indirect=["database"]
)


@pytest.fixture
def layout(
    broker: str, database: dict[str, str], tmp_path: Path, program: Callable[[str, str], str]
) -> Iterator[Layout]:
    with Site(tmp_path) as site:
        servers = []
        if broker != "embedded":
            servers.append(site.gearmand("gearmand", program("gearmand", "gearman-job-server")))
        if broker == "two servers":
            servers.append(site.abraxas("abraxas"))
        core = site.core("core", servers, **database)
        ledger = tmp_path / "ledger"
        worker = site.worker("worker", servers or [core], "a::job", command(ledger), "-I", "append", "-j", "4")
        yield Layout(site, servers, core, worker, ledger)


@everywhere
async def test_jobs_and_what_depends_on_them_run_once(layout: Layout) -> None:
    async with open_gearbox(layout.addresses, connect_timeout=5) as g:
        first = await g.queue("a::job", ["first", "0.5"], dedupe="D")
        twin = await g.queue("a::job", ["twin", "0"], dedupe="D")
        target = await g.queue("a::job", ["target", "0"], after_id=first)
        members = [await g.queue("a::job", [f"member{n}", "0.1"], before_id=target) for n in range(6)]
        with trio.fail_after(30):
            assert await g.watch(target) == "target\n"
            assert await g.watch(twin) == "first\n"
        rows = {row["id"]: row["status"] for row in await g.status([first, twin, target, *members])}
    assert rows.pop(twin) == "duplicate"
    assert set(rows.values()) == {"complete"}
    names = ["first", "target", *(f"member{n}" for n in range(6))]
    runs = Runs.read(layout.ledger)
    assert runs.started == runs.ended == dict.fromkeys(names, 1)


@on_all_brokers
async def test_a_method_without_workers_fails_and_is_tried_again(layout: Layout) -> None:
    async with open_gearbox(layout.addresses, connect_timeout=5) as g:
        id = await g.queue("nobody::does", max_retries=1, retry_delay=0.2)
        with trio.fail_after(40), pytest.raises(RpcError, match="No worker available"):
            await g.watch(id)
        outcomes = [attempt["outcome"] for attempt in (await g.history(id))["attempts"]]
    assert outcomes == ["no_worker", "no_worker"]


@on_all_brokers_and_apart
async def test_a_killed_core_leaves_what_runs_alone_and_sends_what_waits_again(layout: Layout) -> None:
    async with open_gearbox(layout.addresses, connect_timeout=30) as g:
        names = [f"{n}" for n in range(8)]  # four run, four wait in Gearman's queue
        ids = [await g.queue("a::job", [name, "4"]) for name in names]
        await until(lambda: len(Runs.read(layout.ledger).started) == 4)
        layout.core.kill()
        await trio.to_thread.run_sync(layout.core.start)
        with trio.fail_after(50):
            assert [await g.watch(id) for id in ids] == [f"{name}\n" for name in names]
        histories = [await g.history(id) for id in ids]
    runs = Runs.read(layout.ledger)
    assert runs.started == runs.ended == dict.fromkeys(names, 1)
    assert not runs.overlapped
    outcomes = sorted([attempt["outcome"] for attempt in history["attempts"]] for history in histories)
    assert outcomes == [["complete"]] * 4 + [["released", "complete"]] * 4


@on_all_brokers
async def test_a_killed_server_costs_no_job(layout: Layout) -> None:
    """Of two servers, the other one goes on at once; a single one comes back after ten seconds."""
    async with open_gearbox(layout.addresses, connect_timeout=30) as g:
        names = [f"{n}" for n in range(8)]
        ids = [await g.queue("a::job", [name, "2"]) for name in names]
        await until(lambda: len(Runs.read(layout.ledger).started) == 4)
        victim = (layout.servers or [layout.core])[0]
        victim.kill()
        if len(layout.servers) > 1:
            with trio.fail_after(20):
                assert [await g.watch(id) for id in ids] == [f"{name}\n" for name in names]
            with trio.fail_after(5):
                assert await g.watch(await g.queue("a::job", ["more", "0"])) == "more\n"
            names.append("more")
        else:
            await trio.sleep(10)
            await trio.to_thread.run_sync(victim.start)
            with trio.fail_after(50):
                assert [await g.watch(id) for id in ids] == [f"{name}\n" for name in names]
    runs = Runs.read(layout.ledger)
    assert runs.started == runs.ended == dict.fromkeys(names, 1)
    assert not runs.overlapped


async def until(condition: Callable[[], bool], timeout: float = 20) -> None:
    await trio.to_thread.run_sync(wait_for, condition, timeout)
