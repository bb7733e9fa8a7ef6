"""Workers at work: a real Gearman server, real commands, and a core that answers as the test wants."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from abraxas_py import JobFailed, open_client, spool
from gearbox.cli.console import Console
from gearbox.cli.crew import CommandCrew
from gearbox.cli.performer import command_environment
from gearbox.client import open_gearbox
from gearbox.errors import RpcError
from gearbox.work import attendants, lease, reporter
from gearbox.work.assignment import Ticket
from gearbox.work.config import Method
from gearbox.work.guard import open_guard
from gearbox.work.runner import Input, Output

ECHO = Method("a\\b::echo", ("echo", "x"), Input.APPEND)
ACCEPTING = {"job_data": lambda params: None, "job_start": lambda params: params["attempt"] != 99}


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what another task or process does."""
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


@asynccontextmanager
async def a_crew(address: str, *methods: Method, instance: str = "test") -> AsyncIterator[CommandCrew]:
    async with open_gearbox([address]) as gearbox, open_guard() as guard, trio.open_nursery() as nursery:
        crew = CommandCrew(
            [address], gearbox=gearbox, guard=guard, console=Console(), nursery=nursery, instance=instance
        )
        crew.employ(methods)
        yield crew
        nursery.cancel_scope.cancel()
    spool.settle()


def payload(method: str, params: Any = None, **meta: Any) -> bytes:
    request = {"jsonrpc": "2.0", "method": method, "params": params, "id": "x-1", "_meta": {"host": "gearbox", **meta}}
    return json.dumps(request).encode()


async def submit(address: str, function: str, data: bytes) -> Any:
    async with open_client(address) as client:
        answer = await client.submit(function, data, unique=b"u")
        return json.loads(answer) if answer else answer


async def test_a_scheduled_job_is_answered_with_null_and_its_data_goes_to_the_core(
    open_gearman: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, ECHO):
        data = payload(ECHO.name, ["a", "$(id)"], gearbox_id=7, gearbox_attempt=2)
        assert await submit(gearman.address, ECHO.name, data) == {"jsonrpc": "2.0", "id": "x-1", "result": None}
        await until(lambda: gearman.params_of("job_data"))
    assert gearman.calls == [
        ("job_start", {"id": 7, "attempt": 2, "worker": f"{socket.gethostname()}:{os.getpid()}:test"}),
        ("job_data", {"id": 7, "attempt": 2, "status": "complete", "data": "x a $(id)\n"}),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[5].startswith("=== Took ")
    assert lines[:5] + lines[6:] == [
        "=== Installing a\\b::echo",
        "==> Processing a\\b::echo#u",
        "==> Starting job (7)",
        "  $ echo x a $(id)",
        "<== Job ended successfully, sending output back",
        "<== Done with  a\\b::echo#u",
    ]


async def test_processes_that_share_host_name_and_number_are_two_to_the_core(open_gearman: Any) -> None:
    """As in containers, where everybody is number 1: the second one must not get the leave of the first."""
    async with open_gearman(ACCEPTING) as gearman:
        for instance in ("one", "two"):
            async with a_crew(gearman.address, ECHO, instance=instance):
                data = payload(ECHO.name, gearbox_id=7, gearbox_attempt=2)
                await submit(gearman.address, ECHO.name, data)
    names = [params["worker"] for params in gearman.params_of("job_start")]
    assert len(set(names)) == 2


async def test_a_failure_reaches_the_core_with_its_text(open_gearman: Any, capsys: pytest.CaptureFixture[str]) -> None:
    method = Method("a::fail", "echo out; echo oops >&2; exit 3")
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, method):
        answer = await submit(gearman.address, method.name, payload(method.name, gearbox_id=7, gearbox_attempt=1))
        assert answer["result"] is None
        await until(lambda: gearman.params_of("job_data"))
    assert gearman.params_of("job_data") == [
        {
            "id": 7,
            "attempt": 1,
            "status": "errored",
            "data": {
                "code": 3,
                "message": "command exited with status 3",
                "data": {"status": 3, "signal": None, "stdout": "out\n", "stderr": "oops\n"},
            },
        }
    ]
    assert "<== Job failed, sending error back\n  command exited with status 3\n" in capsys.readouterr().out


async def test_a_job_that_the_core_does_not_know_is_answered_with_its_data(open_gearman: Any) -> None:
    failing = Method("a::fail", ("false",))
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, ECHO, failing):
        assert (await submit(gearman.address, ECHO.name, payload(ECHO.name, ["a"])))["result"] == "x a\n"
        answer = await submit(gearman.address, failing.name, payload(failing.name))
        assert answer["error"]["code"] == 1
        assert answer["error"]["message"] == "command exited with status 1"
    assert gearman.calls == []


async def test_a_core_that_knows_no_attempts_is_served_as_well(open_gearman: Any) -> None:
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, ECHO):
        await submit(gearman.address, ECHO.name, payload(ECHO.name, gearbox_id=7))
        await until(lambda: gearman.calls)
    assert gearman.calls == [("job_data", {"id": 7, "status": "complete", "data": "x\n"})]


async def test_a_job_that_the_core_does_not_want_any_more_is_killed_and_not_reported(
    open_gearman: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendants, "FIRST_QUESTION", 0.1)
    pid_file = tmp_path / "pid"
    method = Method("a::long", f"sleep 1000 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait")

    def alive(params: Any) -> bool:
        return not pid_file.exists()

    monkeypatch.setattr(lease, "INTERVAL", 0.1)
    async with open_gearman({**ACCEPTING, "alive": alive}) as gearman, a_crew(gearman.address, method):
        with pytest.raises(JobFailed):
            await submit(gearman.address, method.name, payload(method.name, gearbox_id=7, gearbox_attempt=3))
    assert gearman.params_of("alive")[0] == {"id": 7, "attempt": 3}
    assert gearman.params_of("job_data") == []
    await until(lambda: not Path(f"/proc/{int(pid_file.read_text())}/cmdline").read_bytes())


async def test_progress_that_a_command_reports_reaches_the_core(
    open_gearman: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendants, "PROGRESS_INTERVAL", 0.05)
    script = 'for n in 10 20 x 30.5%; do echo $n > "$GEARBOX_PROGRESS"; sleep 0.2; done; echo done'
    method = Method("a::steps", script, Input.IGNORE)
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, method):
        await submit(gearman.address, method.name, payload(method.name, gearbox_id=7, gearbox_attempt=1))
        await until(lambda: any("status" in params for params in gearman.params_of("job_data")))
    *news, end = gearman.params_of("job_data")
    assert [params["progress"] for params in news] == [10, 20, 30.5]
    assert all(params.keys() == {"id", "attempt", "progress"} for params in news)
    assert end == {"id": 7, "attempt": 1, "status": "complete", "data": "done\n"}


async def test_a_command_reads_the_results_of_the_jobs_before(open_gearman: Any) -> None:
    method = Method("a::inputs", ("sh", "-c", 'cat "$GEARBOX_INPUTS"'), Input.IGNORE, Output.JSON)
    result = {"text": "$(touch canary)\n'", "large": "x" * 200_000}
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, method):
        meta = {"gearbox_after": {"id": 6, "result": result}, "gearbox_pool": [{"id": 5, "result": None}]}
        data = payload(method.name, gearbox_id=7, gearbox_attempt=1, **meta)
        await submit(gearman.address, method.name, data)
        await until(lambda: gearman.params_of("job_data"))
    (report,) = gearman.params_of("job_data")
    assert report["data"] == {"after": {"id": 6, "result": result}, "pool": [{"id": 5, "result": None}]}


async def test_without_the_cores_leave_nothing_is_run(open_gearman: Any, tmp_path: Path) -> None:
    method = Method("a::touch", ("touch", str(tmp_path / "canary")))
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, method):
        answer = await submit(gearman.address, method.name, payload(method.name, gearbox_id=7, gearbox_attempt=99))
        assert answer["error"]["code"] == -28409
    assert not (tmp_path / "canary").exists()
    assert gearman.params_of("job_data") == []


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"[]", b""),
        (b"{}", b""),
        (b'{"jsonrpc":"2.0","method":"a\\\\b::echo"}', b""),
        (b'{"jsonrpc":"1.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"other"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"result":1}', -32603),
        (b"", -32700),
        (b"null", -32700),
        (b"\xff{", -32700),
    ],
)
async def test_bad_payloads_get_an_answer_and_the_worker_lives(data: bytes, answer: Any, open_gearman: Any) -> None:
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, ECHO):
        for _ in range(3):  # the second one killed the original
            reply = await submit(gearman.address, ECHO.name, data)
            assert (reply["error"]["code"] if reply else reply) == answer
        assert (await submit(gearman.address, ECHO.name, payload(ECHO.name)))["result"] == "x\n"


async def test_hostile_parameters_fail_their_job_alone(open_gearman: Any) -> None:
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, ECHO):
        for params, code in ((["\0"], 400), (["\ud800"], 400), (["x" * 3_000_000], 413)):
            answer = await submit(gearman.address, ECHO.name, payload(ECHO.name, params))
            assert answer["error"]["code"] == code
        assert (await submit(gearman.address, ECHO.name, payload(ECHO.name)))["result"] == "x\n"


async def test_concurrency_is_how_many_jobs_run_at_once(open_gearman: Any, tmp_path: Path) -> None:
    command = f"touch {tmp_path}/$GEARBOX_JOB_ID; while ! test -e {tmp_path}/go; do sleep 0.02; done"
    method = Method("a::wait", command, concurrency=3)
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, method), trio.open_nursery() as nursery:
        for id in range(1, 6):
            nursery.start_soon(submit_with_unique, gearman.address, method.name, id)
        await until(lambda: count(tmp_path) == 3)
        await trio.sleep(0.1)
        assert count(tmp_path) == 3
        (tmp_path / "go").touch()
    assert count(tmp_path) == 6


def count(folder: Path) -> int:
    return len(list(folder.iterdir()))


async def submit_with_unique(address: str, function: str, id: int) -> None:
    async with open_client(address) as client:
        await client.submit(function, payload(function, gearbox_id=id), unique=str(id).encode())


async def test_a_result_is_repeated_until_the_core_has_it(
    open_gearman: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reporter, "FIRST_DELAY", 0.01)
    answers = iter([RpcError(503, "database away"), RpcError(507, "disk full"), None])
    scripted = {**ACCEPTING, "job_data": lambda params: next(answers)}
    async with open_gearman(scripted) as gearman, a_crew(gearman.address, ECHO) as crew:
        await submit(gearman.address, ECHO.name, payload(ECHO.name, gearbox_id=7, gearbox_attempt=1))
        assert await crew.stop(10)
        assert len(gearman.params_of("job_data")) == 3
    assert capsys.readouterr().err == (
        "??? job 7: the core does not take its result, trying on: database away (503)\n"
        "=== job 7: the core has its result now\n"
    )


async def test_an_attempt_whose_result_is_on_its_way_is_not_run_again(
    open_gearman: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gearman gives a job again whose worker it has lost sight of, also when that had just done it."""
    monkeypatch.setattr(reporter, "FIRST_DELAY", 0.01)
    is_well = False
    scripted = {**ACCEPTING, "job_data": lambda params: None if is_well else RpcError(503, "database away")}
    async with open_gearman(scripted) as gearman, a_crew(gearman.address, ECHO) as crew:
        job = payload(ECHO.name, gearbox_id=7, gearbox_attempt=1)
        first = await submit(gearman.address, ECHO.name, job)
        assert await submit(gearman.address, ECHO.name, job) == first
        assert len(gearman.params_of("job_start")) == 1
        is_well = True
        assert await crew.stop(10)
        assert len(gearman.params_of("job_start")) == 1


async def test_a_refused_result_is_told_and_not_repeated(open_gearman: Any, capsys: pytest.CaptureFixture[str]) -> None:
    refusing = {**ACCEPTING, "job_data": lambda params: RpcError(404, "no such job")}
    async with open_gearman(refusing) as gearman, a_crew(gearman.address, ECHO) as crew:
        await submit(gearman.address, ECHO.name, payload(ECHO.name, gearbox_id=7))
        assert await crew.stop(10)
        assert len(gearman.calls) == 1
    assert capsys.readouterr().err == "??? job 7: the core refused its result: no such job (404)\n"


async def test_a_result_too_large_for_the_core_fails_the_job(open_gearman: Any) -> None:
    def refuse_results(params: Any) -> Any:
        return RpcError(413, "data: more than 5 bytes") if params["status"] == "complete" else None

    async with (
        open_gearman({**ACCEPTING, "job_data": refuse_results}) as gearman,
        a_crew(gearman.address, ECHO) as crew,
    ):
        await submit(gearman.address, ECHO.name, payload(ECHO.name, gearbox_id=7))
        assert await crew.stop(10)
        assert gearman.params_of("job_data")[1:] == [
            {
                "id": 7,
                "status": "errored",
                "data": {"code": 413, "message": "the result is too large: data: more than 5 bytes"},
            }
        ]


async def test_a_result_that_fills_more_than_a_packet_fails_the_job(open_gearman: Any) -> None:
    """A byte of output may be six of JSON. The server would hang up, and all jobs be in doubt."""
    method = Method("a::zero", ("head", "-c", "12000000", "/dev/zero"), Input.IGNORE)
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, method) as crew:
        await submit(gearman.address, method.name, payload(method.name, gearbox_id=7))
        assert await crew.stop(10)
        failure = {"code": 413, "message": "the result is too large: more than 67104768 bytes"}
        assert gearman.params_of("job_data") == [{"id": 7, "status": "errored", "data": failure}]


async def test_stopping_finishes_what_runs_and_takes_no_more(open_gearman: Any, tmp_path: Path) -> None:
    started = tmp_path / "started"
    method = Method("a::slow", f"touch {started}; sleep 0.3; echo done")
    async with (
        open_gearman(ACCEPTING) as gearman,
        a_crew(gearman.address, method) as crew,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(submit, gearman.address, method.name, payload(method.name, gearbox_id=7))
        await until(started.exists)
        assert await crew.stop(10)
        assert [params["data"] for params in gearman.params_of("job_data")] == ["done\n"]


async def test_stopping_is_bounded(open_gearman: Any, tmp_path: Path) -> None:
    started = tmp_path / "started"
    method = Method("a::slow", f"touch {started}; sleep 1000")
    async with (
        open_gearman(ACCEPTING) as gearman,
        a_crew(gearman.address, method) as crew,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(submit, gearman.address, method.name, payload(method.name, gearbox_id=7))
        await until(started.exists)
        assert not await crew.stop(0.1)
        nursery.cancel_scope.cancel()


async def test_a_worker_without_a_server_can_be_stopped() -> None:
    async with open_gearbox(["127.0.0.1:1"]) as gearbox, open_guard() as guard, trio.open_nursery() as nursery:
        crew = CommandCrew(
            ["127.0.0.1:1"], gearbox=gearbox, guard=guard, console=Console(), nursery=nursery, instance="test"
        )
        crew.employ([ECHO])
        await trio.sleep(0.05)
        assert await crew.stop(5)
        nursery.cancel_scope.cancel()


async def test_a_reload_keeps_running_jobs_and_changes_the_rest(open_gearman: Any, tmp_path: Path) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    slow = Method("a::slow", f"touch {started}; while ! test -e {go}; do sleep 0.02; done; echo old")
    changed = Method("a::slow", "echo new")
    gone, same, added = Method("a::gone", "echo gone"), Method("a::same", "echo same"), Method("a::added", "echo added")
    results: dict[int, Any] = {}
    ids = itertools.count()

    async with (
        open_gearman(ACCEPTING) as gearman,
        a_crew(gearman.address, slow, gone, same) as crew,
        trio.open_nursery() as nursery,
    ):

        async def call(name: str, id: int) -> None:
            async with open_client(gearman.address) as client:
                answer = await client.submit(name, payload(name), unique=str(id).encode())
                results[id] = json.loads(answer)["result"]

        nursery.start_soon(call, "a::slow", next(ids))
        await until(started.exists)
        crew.employ([changed, same, added])
        await crew.wait_until_connected()
        for name in ("a::slow", "a::same", "a::added"):
            await call(name, next(ids))
        assert results == {1: "new\n", 2: "same\n", 3: "added\n"}
        go.touch()
        await until(lambda: 0 in results)
        assert results[0] == "old\n"
        with trio.move_on_after(0.2) as scope:
            await call("a::gone", next(ids))
        assert scope.cancelled_caught
        assert await crew.stop(5)


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_a_job_outlives_the_connection_and_the_server_that_it_came_from(
    open_gearman: Any, tmp_path: Path
) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    method = Method("a::slow", f"echo x >> {started}; while ! test -e {go}; do sleep 0.02; done; echo done")
    data = payload(method.name, gearbox_id=7, gearbox_attempt=1)
    address = free_address()
    async with a_crew(address, method) as crew:
        async with open_gearman(ACCEPTING, address), open_client(address) as client:
            await client.submit_bg(method.name, data)
            await until(started.exists)
        async with open_gearman(ACCEPTING, address) as gearman, open_client(address) as client:
            task = client.submit(method.name, data)  # Gearman hands out the same attempt: it is not run a second time
            await trio.sleep(0.5)
            go.touch()
            assert json.loads(await task)["result"] is None
            assert await crew.stop(10)
            assert gearman.calls == [
                ("job_data", {"id": 7, "attempt": 1, "status": "complete", "data": "done\n"}),
            ]
    assert started.read_text() == "x\n"


async def test_stopping_without_a_server_finishes_what_runs(open_gearman: Any, tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    method = Method("a::slow", f"touch {started}; sleep 0.5; touch {ended}")
    address = free_address()
    async with a_crew(address, method) as crew:
        async with open_gearman(ACCEPTING, address), open_client(address) as client:
            await client.submit_bg(method.name, payload(method.name, gearbox_id=7, gearbox_attempt=1))
            await until(started.exists)
        await trio.sleep(0.1)
        assert not await crew.stop(1)  # the core does not have the result
    assert ended.exists()


@pytest.mark.skipif(shutil.which("php") is None, reason="needs php (Debian: php-cli)")
async def test_the_php_method_of_the_seeds_sample(open_gearman: Any) -> None:
    program = r"""$expr = implode(" ", json_decode($argn)); echo json_encode(eval("return $expr;"))."\n";"""
    method = Method("Php::eval", ("php", "-R", program), output=Output.NL_JSON)
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, method):
        assert (await submit(gearman.address, method.name, payload(method.name, ["1 + 2", "* 3"])))["result"] == [7]


async def test_a_log_tells_each_run_and_survives_its_rotation(open_gearman: Any, tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    method = Method("a::b", "echo out; echo err >&2", log=str(path), log_output=True, log_no_time=True)
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, method):
        await submit(gearman.address, method.name, payload(method.name, gearbox_id=7))
        spool.settle()
        path.rename(tmp_path / "job.log.1")
        await submit(gearman.address, method.name, payload(method.name, gearbox_id=8))
    lines = [
        "  $ echo out; echo err >&2",
        "  out| out",
        "  err| err",
        "<== Job ended successfully, sending output back",
    ]
    assert (tmp_path / "job.log.1").read_text().splitlines() == ["==> Starting job (7)", *lines]
    assert path.read_text().splitlines() == ["==> Starting job (8)", *lines]


async def test_output_goes_to_the_log_also_when_it_is_ignored(open_gearman: Any, tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    method = Method("a::b", ("echo", "x"), output=Output.IGNORE, log=str(path), log_output=True)
    async with open_gearman(ACCEPTING) as gearman, a_crew(gearman.address, method):
        assert (await submit(gearman.address, method.name, payload(method.name)))["result"] is None
    assert "] " in path.read_text()
    assert "  out| x\n" in path.read_text()


def test_a_command_sees_which_job_it_is_and_no_secrets() -> None:
    secrets = {"MYSQL_PASSWORD": "x", "GEARBOX_HTTP_TOKEN": "y"}
    environment = {"PATH": "/bin", "GEARBOX_JOB_ID": "outer", "TRACEPARENT": "outer", **secrets}
    assert command_environment(environment, "a::b", Ticket(7, 2)) == {
        "PATH": "/bin",
        "GEARBOX_METHOD": "a::b",
        "GEARBOX_JOB_ID": "7",
        "GEARBOX_ATTEMPT": "2",
    }
    assert command_environment(environment, "a::b", None, "00-1-2-03")["TRACEPARENT"] == "00-1-2-03"
    assert command_environment({}, "a::b", None) == {"GEARBOX_METHOD": "a::b"}


@pytest.mark.parametrize("id", [None, "7", True, 7.0, [7], {}])
def test_only_a_whole_number_is_a_jobs_id(id: Any) -> None:
    assert Ticket.of({"gearbox_id": id}) is None
