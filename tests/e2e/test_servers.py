"""The scheduler on {SQLite, MariaDB} x {its own broker, a gearmand, two gearmands}, and on a gearmand beside our
server: it is the same for everybody.

The processes of a layout are started once for all tests. Those that end one of them come last, and leave it running.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
import trio
from ledger_stage import Runs, command
from mariadb_stage import MariaDb
from site_stage import BIN, Program, Site, wait_for

from gearbox.client import open_gearbox
from gearbox.errors import RpcError

BROKERS = {"its own broker": "", "a gearmand": "g", "two gearmands": "gg", "a gearmand and ours": "ga"}
CELLS = [
    pytest.param((broker, database), id=f"{broker} on {database}", marks=marks)
    for database, marks in (("SQLite", []), ("MariaDB", [pytest.mark.mariadb]))
    for broker in BROKERS
    if (broker, database) != ("a gearmand and ours", "MariaDB")
]
# A core's own broker dies with it, so that both kills are one.
with_servers = pytest.mark.parametrize(
    "layout", [cell for cell in CELLS if BROKERS[cell.values[0][0]]], indirect=True, scope="module"
)
AT_ONCE = 4  # jobs of the worker
NOOPWAIT = "gearbox\\core::noopwait"


@attrs.frozen
class Layout:
    """A core on some servers, with a worker: `a::job` keeps a ledger, `a::fail` fails."""

    site: Site
    servers: list[Program]
    core: Program
    ledger: Path

    @property
    def addresses(self) -> list[str]:
        return self.core.address.split(",")

    def runs(self, *names: str) -> Runs:
        """What the ledger says of these jobs."""
        return Runs.read(self.ledger).of(names)


@pytest.fixture(scope="module", params=CELLS)
def layout(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Callable[[str, str], str]
) -> Iterator[Layout]:
    broker, database = request.param
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        place = {"GEARBOX_DATABASE": str(folder / "gearbox.db")}
        if database == "MariaDB":
            mariadb: MariaDb = request.getfixturevalue("mariadb")
            place = MariaDb.environment(stack.enter_context(mariadb.database()))
        site = stack.enter_context(Site(folder))
        servers = [
            site.gearmand(f"server-{n}", program("gearmand", "gearman-job-server"))
            if kind == "g"
            else site.abraxas(f"server-{n}")
            for n, kind in enumerate(BROKERS[broker])
        ]
        core = site.core("core", servers, **place)
        ledger = folder / "ledger"
        config = (
            f"[a.job]\ncommand = {json.dumps(command(ledger))}\ninput = 'append'\nconcurrency = {AT_ONCE}\n"
            "[a.fail]\ncommand = ['sh', '-c', 'exit 3']\n"
        )
        site.multiworker("worker", servers or [core], config, ["a::job", "a::fail"])
        yield Layout(site, servers, core, ledger)


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
    runs = layout.runs("twin", *names)
    assert runs.started == runs.ended == dict.fromkeys(names, 1)


async def test_a_failure_is_told_tried_again_and_passed_on(layout: Layout) -> None:
    async with open_gearbox(layout.addresses, connect_timeout=5) as g:
        id = await g.queue("a::fail", max_retries=2, retry_delay=0.1)
        child = await g.queue("a::job", ["child of a failure", "0"], after_id=id)
        with trio.fail_after(30):
            for one, code in ((id, 3), (child, -28523)):
                with pytest.raises(RpcError) as failed:
                    await g.watch(one)
                assert failed.value.code == code
        assert [attempt["outcome"] for attempt in (await g.history(id))["attempts"]] == ["errored"] * 3
        assert (await g.history(child))["attempts"] == []


async def test_a_method_without_workers_fails_and_is_tried_again(layout: Layout) -> None:
    async with open_gearbox(layout.addresses, connect_timeout=5) as g:
        id = await g.queue("nobody::does", max_retries=1, retry_delay=0.2)
        with trio.fail_after(40), pytest.raises(RpcError, match="No worker available"):
            await g.watch(id)
        outcomes = [attempt["outcome"] for attempt in (await g.history(id))["attempts"]]
    assert outcomes == ["no_worker", "no_worker"]


async def test_dates_gates_and_pauses_hold_a_job_and_let_it_go(layout: Layout) -> None:
    async with open_gearbox(layout.addresses, connect_timeout=5) as g:
        soon = datetime.now(UTC) + timedelta(seconds=1)
        dated = await g.queue("a::job", ["dated", "0"], after_date=soon.isoformat())
        gate = await g.queue(NOOPWAIT)
        gated = await g.queue("a::job", ["gated", "0"], after_id=gate)
        await g.pause("a::fail")
        paused = await g.queue("a::fail")
        held = {row["id"]: row["status"] for row in await g.status([dated, gated, paused])}
        assert held == {dated: "waiting", gated: "waiting", paused: "ready"}
        assert await g.noopgo(gate) is True
        await g.resume("a::fail")
        with trio.fail_after(20):
            assert await g.watch(gated) == "gated\n"
            with pytest.raises(RpcError):
                await g.watch(paused)
            assert await g.watch(dated) == "dated\n"
        assert datetime.now(UTC) >= soon


async def test_a_recurring_job_runs_and_a_cancelled_one_does_not(layout: Layout) -> None:
    async with open_gearbox(layout.addresses, connect_timeout=5) as g:
        await g.schedule("yearly", "0 0 1 1 *", "a::job", ["recurring", "0"])
        with trio.fail_after(20):
            assert await g.watch(await g.run_now("yearly")) == "recurring\n"
        assert await g.unschedule("yearly") is True
        unwanted = await g.queue("a::job", ["unwanted", "0"], after_date="9999-01-01")
        assert await g.cancel(unwanted, "no longer wanted") is True
        with pytest.raises(RpcError) as cancelled:
            await g.watch(unwanted)
        assert cancelled.value.code == -28499
    assert layout.runs("recurring", "unwanted").started == {"recurring": 1}


def test_the_tools_queue_watch_and_tell(layout: Layout) -> None:
    def client(*arguments: str) -> str:
        environment = layout.site.environment | {"GEARMAN_SERVER": ",".join(layout.addresses)}
        return subprocess.run(
            [BIN / "g-client", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert client("run", "-q", "-O", "json", "a::job", "by a tool", "0") == '"by a tool\\n"\n'
    id = client("queue", "-q", "a::job", "by another", "0").strip()
    assert client("watch", "-q", "-O", "json", id) == '"by another\\n"\n'
    assert "complete" in client("status", id)
    assert "complete" in client("history", id)


async def test_a_core_that_is_told_to_end_hands_its_jobs_to_the_next(layout: Layout) -> None:
    async with open_gearbox(layout.addresses, connect_timeout=30) as g:
        names = [f"handed over {n}" for n in range(2 * AT_ONCE)]  # half of them run, half wait in Gearman's queue
        ids = [await g.queue("a::job", [name, "3"]) for name in names]
        gate = await g.queue(NOOPWAIT)
        await until(lambda: len(layout.runs(*names).started) == AT_ONCE)
        await trio.to_thread.run_sync(layout.core.terminate)
        await trio.to_thread.run_sync(layout.core.start)
        with trio.fail_after(40):
            assert await g.noopgo(gate) is True
            assert [await g.watch(id) for id in ids] == [f"{name}\n" for name in names]
    runs = layout.runs(*names)
    assert runs.started == runs.ended == dict.fromkeys(names, 1)
    assert not runs.overlapped


@with_servers
async def test_a_killed_server_costs_no_job(layout: Layout) -> None:
    """Of two servers, the other one goes on at once; a single one comes back after some seconds."""
    async with open_gearbox(layout.addresses, connect_timeout=30) as g:
        names = [f"server killed {n}" for n in range(2 * AT_ONCE)]
        ids = [await g.queue("a::job", [name, "2"]) for name in names]
        await until(lambda: len(layout.runs(*names).started) == AT_ONCE)
        victim = layout.servers[0]
        victim.kill()
        if len(layout.servers) > 1:
            with trio.fail_after(20):
                assert [await g.watch(id) for id in ids] == [f"{name}\n" for name in names]
            with trio.fail_after(5):
                names.append("server killed, and more")
                assert await g.watch(await g.queue("a::job", [names[-1], "0"])) == f"{names[-1]}\n"
            await trio.to_thread.run_sync(victim.start)
        else:
            await trio.sleep(5)
            await trio.to_thread.run_sync(victim.start)
            with trio.fail_after(50):
                assert [await g.watch(id) for id in ids] == [f"{name}\n" for name in names]
    runs = layout.runs(*names)
    assert runs.started == runs.ended == dict.fromkeys(names, 1)
    assert not runs.overlapped


async def test_a_killed_core_leaves_what_runs_alone_and_sends_what_waits_again(layout: Layout) -> None:
    async with open_gearbox(layout.addresses, connect_timeout=30) as g:
        names = [f"core killed {n}" for n in range(2 * AT_ONCE)]  # half of them run, half wait in Gearman's queue
        ids = [await g.queue("a::job", [name, "4"]) for name in names]
        await until(lambda: len(layout.runs(*names).started) == AT_ONCE)
        layout.core.kill()
        await trio.to_thread.run_sync(layout.core.start)
        with trio.fail_after(50):
            assert [await g.watch(id) for id in ids] == [f"{name}\n" for name in names]
        histories = [await g.history(id) for id in ids]
    runs = layout.runs(*names)
    assert runs.started == runs.ended == dict.fromkeys(names, 1)
    assert not runs.overlapped
    outcomes = sorted([attempt["outcome"] for attempt in history["attempts"]] for history in histories)
    assert outcomes == [["complete"]] * AT_ONCE + [["released", "complete"]] * AT_ONCE


async def until(condition: Callable[[], bool], timeout: float = 20) -> None:
    await trio.to_thread.run_sync(wait_for, condition, timeout)
