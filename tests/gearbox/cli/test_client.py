"""g-client against a real Gearman server: what it sends, what it prints, and that it never hangs without a word."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from abraxas_py import Assigned, Connection, Options, Packet, Policy, Type, Worker, serve
from gearbox import rpc
from gearbox.cli import client, lookout, session
from gearbox.errors import RpcError

Run = Callable[..., Any]


@pytest.fixture
def g_client(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the tool in a thread of its own; its exit code and both outputs, with times taken out."""

    async def run(address: str, *argv: str) -> tuple[int, str, str]:
        monkeypatch.setenv("GEARMAN_SERVER", address)
        monkeypatch.setenv("NO_COLOR", "1")
        code = await trio.to_thread.run_sync(client.main, argv)
        captured = capsys.readouterr()
        errors = "".join(
            "=== Took Nms\n" if line.startswith("=== Took ") and line.endswith("ms\n") else line
            for line in captured.err.splitlines(keepends=True)
        )
        return code, captured.out, errors

    return run


async def test_queue_prints_the_id_alone_on_standard_output(open_gearman: Any, g_client: Run) -> None:
    async with open_gearman({"queue": lambda params: 89}) as gearman:
        assert await g_client(gearman.address, "queue", "cl/echo::x", "a") == (
            0,
            "89\n",
            "==> Queueing cl\\echo::x with normal priority\n==> Arguments: [ 'a' ]\n=== Took Nms\n<== Job ID: ",
        )
        assert await g_client(gearman.address, "queue", "-q", "cl/echo::x", "a") == (0, "89\n", "")
    (params, _) = gearman.params_of("queue")
    assert params.pop("submit_token")
    assert params == {
        "name": "cl\\echo::x",
        "args": ["a"],
        "priority": "normal",
        "max_retries": 0,
        "retry_delay": 1,
    }


async def test_every_option_of_a_job_reaches_the_core(open_gearman: Any, g_client: Run) -> None:
    async with open_gearman({"queue": lambda params: 1}) as gearman:
        options = ["-P", "low", "-D", "once", "--after", "2026-12-01T09:00", "--after-job", "5", "--before-job", "6"]
        retries = ["--retries", "3", "--retry-delay", "0.5"]
        code, _, errors = await g_client(
            gearman.address, "queue", *options, *retries, "-J", "a::b", "x=[1]", "--", "-y"
        )
    assert code == 0
    assert "==> After 2026-12-01T09:00:00.000Z\n" in errors
    (params,) = gearman.params_of("queue")
    del params["submit_token"]
    assert params == {
        "name": "a::b",
        "args": {"x": [1], "-y": None},
        "priority": "low",
        "dedupe": "once",
        "after_date": "2026-12-01T09:00:00.000Z",
        "after_id": 5,
        "before_id": 6,
        "max_retries": 3,
        "retry_delay": 0.5,
    }


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--", "a::b", "-x", "--", "y"], ["-x", "--", "y"]),
        (["a::b", "--", "-x", "--", "y"], ["-x", "--", "y"]),
        (["a::b", "w", "--", "-x", "--"], ["w", "-x", "--"]),
        (["a::b", "-1", "2.5", "-"], ["-1", "2.5", "-"]),
        (["a::b", "run", "queue"], ["run", "queue"]),
    ],
)
async def test_arguments_that_look_like_options(
    argv: list[str], expected: list[str], open_gearman: Any, g_client: Run
) -> None:
    async with open_gearman({"queue": lambda params: 1}) as gearman:
        assert await g_client(gearman.address, "queue", "-q", *argv) == (0, "1\n", "")
    assert [params["args"] for params in gearman.params_of("queue")] == [expected]


async def test_run_queues_and_watches(open_gearman: Any, g_client: Run) -> None:
    async with open_gearman({"queue": lambda params: 74, "watch": lambda params: "a b c\n"}) as gearman:
        assert await g_client(gearman.address, "run", "cl/echo::x", "a", "b", "c") == (
            0,
            "a b c\n\n",
            "==> Queueing cl\\echo::x with normal priority\n==> Arguments: [ 'a', 'b', 'c' ]\n=== Took Nms\n"
            "==> Watching job 74\n=== Took Nms\n",
        )
    assert gearman.params_of("watch") == [{"id": 74}]


async def test_the_error_of_a_job_is_shown_and_is_exit_code_1(open_gearman: Any, g_client: Run) -> None:
    error = RpcError(42, "m\x1b[1m", {"k": 1})
    async with open_gearman({"watch": lambda params: error}) as gearman:
        assert await g_client(gearman.address, "watch", "7") == (
            1,
            "",
            "==> Watching job 7\n<== Received an error\ncode: 42\nmessage: m\\x1b[1m\ndata: { k: 1 }\n=== Took Nms\n",
        )
        assert await g_client(gearman.address, "watch", "-q", "7") == (
            1,
            "",
            "code: 42\nmessage: m\\x1b[1m\ndata: { k: 1 }\n",
        )


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("inspect", "[ 1, null ]\n"), ("json", "[1,null]\n"), ("nl-json", "1\nnull\n"), ("plain", "[1,null]\n")],
)
async def test_output_modes(mode: str, expected: str, open_gearman: Any, g_client: Run) -> None:
    async with open_gearman({"watch": lambda params: [1, None]}) as gearman:
        assert await g_client(gearman.address, "watch", "-q", "-O", mode, "7") == (0, expected, "")


async def test_status_and_stats_print_what_the_core_says(open_gearman: Any, g_client: Run) -> None:
    answers = {"status": lambda params: [{"id": id} for id in params], "stats": lambda params: params}
    async with open_gearman(answers) as gearman:
        assert await g_client(gearman.address, "status") == (0, "[]\n", "")
        assert await g_client(gearman.address, "status", "1", "3", "-O", "json") == (0, '[{"id":1},{"id":3}]\n', "")
        assert await g_client(gearman.address, "stats", "a/b::c") == (0, "{ method: 'a\\\\b::c' }\n", "")


async def test_raw_calls_the_core_and_any_worker(open_gearman: Any, g_client: Run) -> None:
    async def echo(job: Assigned) -> bytes:
        request = rpc.parse_request(job.data, "a\\b::echo")
        assert isinstance(request, rpc.Request)
        return rpc.result(request.id, request.params)

    async with open_gearman({"status": lambda params: params}) as gearman, trio.open_nursery() as nursery:
        worker = Worker(gearman.address)
        worker.add("a\\b::echo", echo)
        await nursery.start(worker.run)
        assert await g_client(gearman.address, "raw", "gearbox/core::status", "-J", "[1]") == (
            0,
            "[ 1 ]\n",
            "==> Running gearbox\\core::status with normal priority\n==> Arguments: [ 1 ]\n=== Took Nms\n",
        )
        assert await g_client(gearman.address, "raw", "-q", "-J", "a/b::echo", "null") == (0, "null\n", "")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("argv", "method"), [(("raw", "-q", "gearbox/core::nope"), "nope"), (("pause", "-q", "a::b"), "pause")]
)
async def test_a_method_that_the_core_does_not_have(
    argv: tuple[str, ...], method: str, open_gearman: Any, g_client: Run
) -> None:
    """Or not yet: a core may be older than g-client."""
    async with open_gearman({"status": lambda params: params}) as gearman:
        said = f"g-client: g-core is there, but it has no method gearbox\\core::{method}\n"
        assert await g_client(gearman.address, *argv) == (1, "", said)


async def test_a_raw_call_of_the_core_does_not_wait_for_what_is_said_of_workers(
    open_gearman: Any, g_client: Run
) -> None:
    """The server carries packets, but gives the administrator no answer."""

    async def pass_on(source: trio.SocketStream, target: trio.SocketStream) -> None:
        async for data in source:
            await target.send_all(data)
        await target.send_eof()

    async def carry(stream: trio.SocketStream) -> None:
        first = await stream.receive_some()
        if not first.startswith(b"\0"):
            await trio.sleep_forever()
        async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as directions:
            await server.send_all(first)
            directions.start_soon(pass_on, stream, server)
            directions.start_soon(pass_on, server, stream)

    async with open_gearman({"status": lambda params: params}) as gearman, trio.open_nursery() as nursery:
        port = int(gearman.address.rpartition(":")[2])
        (listener,) = await nursery.start(partial(trio.serve_tcp, carry, 0, host="127.0.0.1"))
        address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        began = time.monotonic()
        assert await g_client(address, "raw", "-qJ", "gearbox/core::status", "[1]") == (0, "[ 1 ]\n", "")
        assert time.monotonic() - began < lookout.ANSWER_TIMEOUT
        nursery.cancel_scope.cancel()


async def test_a_worker_that_fails_the_gearman_job_is_an_error(open_gearman: Any, g_client: Run) -> None:
    async def fail(job: Assigned) -> None:
        job.fail()

    async with open_gearman({}) as gearman, trio.open_nursery() as nursery:
        worker = Worker(gearman.address)
        worker.add("a::b", fail)
        await nursery.start(worker.run)
        code, output, errors = await g_client(gearman.address, "raw", "a::b")
        assert (code, output) == (1, "")
        assert "<== Received an error\nmessage: the job failed\n" in errors
        nursery.cancel_scope.cancel()


async def test_an_unreachable_server_is_named_within_seconds(g_client: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_TIMEOUT", 0.3)
    started = time.monotonic()
    assert await g_client("127.0.0.1:1", "run", "-q", "a::b") == (
        69,
        "",
        "g-client: cannot reach Gearman at 127.0.0.1:1 within 0.3 s; "
        "start the daemon there with g-core, or name another server: GEARMAN_SERVER=host:port\n",
    )
    assert time.monotonic() - started < 3


async def test_a_gearman_without_a_core_is_told_and_given_up(
    open_gearman: Any, g_client: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "INTERVAL", 0.05)
    monkeypatch.setattr(lookout, "HINT_AFTER", 0.1)
    monkeypatch.setattr(session, "CORE_PATIENCE", 0.3)
    async with open_gearman({}) as gearman:
        for argv, method in (
            (["status"], "status"),
            (["watch", "-q", "1"], "watch"),
            (["queue", "-q", "a::b"], "queue"),
        ):
            assert await g_client(gearman.address, *argv) == (
                69,
                "",
                f"=== Gearman at {gearman.address} has no worker for gearbox\\core::{method}: "
                "is g-core running and connected to it?\n",
            )


async def test_a_gearman_that_hangs_is_told_and_given_up(
    open_gearman: Any, g_client: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "INTERVAL", 0.05)
    monkeypatch.setattr(lookout, "HINT_AFTER", 0.1)
    monkeypatch.setattr(lookout, "ANSWER_TIMEOUT", 0.1)
    monkeypatch.setattr(lookout, "SILENCE_HINT_AFTER", 0.2)
    monkeypatch.setattr(lookout, "SILENCE_PATIENCE", 0.5)

    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, say_nothing, 0, host="127.0.0.1"))
        address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        said = f"=== Gearman at {address} does not answer\n=== Giving up; whether the call was carried out is unknown\n"
        assert await g_client(address, "status") == (69, "", said)
        nursery.cancel_scope.cancel()


async def test_a_core_that_takes_long_is_told(
    open_gearman: Any, g_client: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "INTERVAL", 0.05)
    monkeypatch.setattr(lookout, "SLOW_AFTER", 0.1)
    told = "=== No answer from g-core yet; it or its database may hang (--timeout SECONDS gives up)\n"
    answers = {"status": lambda params: trio.Event(), "watch": lambda params: trio.Event()}
    async with open_gearman(answers) as gearman:
        for argv, words in ((["status"], told), (["watch", "-q", "1"], "")):  # a job may take as long as it wants
            code, _, said = await g_client(gearman.address, *argv, "--timeout", "0.5")
            assert (code, said.partition("g-client:")[0]) == (75, words)


async def test_raw_on_an_unknown_method_says_that_it_waits_and_for_what(
    open_gearman: Any, g_client: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "INTERVAL", 0.05)
    monkeypatch.setattr(lookout, "HINT_AFTER", 0.1)
    async with open_gearman({}) as gearman:
        assert await g_client(gearman.address, "raw", "-q", "--timeout", "0.5", "no/such::method") == (
            75,
            "",
            "=== No worker offers no\\such::method now; waiting for one\ng-client: no answer within 0.5 s\n",
        )


async def test_a_timeout_names_the_job_that_goes_on(open_gearman: Any, g_client: Run) -> None:
    answers = {"queue": lambda params: 208, "watch": lambda params: trio.Event()}
    async with open_gearman(answers) as gearman:
        for argv in (["run", "-q", "a::b"], ["watch", "-q", "208"]):
            assert await g_client(gearman.address, *argv, "--timeout", "0.5") == (
                75,
                "",
                "g-client: no answer within 0.5 s; the job goes on: g-client watch 208\n",
            )


async def test_watching_goes_on_when_the_server_was_restarted(open_gearman: Any, g_client: Run) -> None:
    outcome: list[Any] = []

    async def watch(address: str) -> None:
        outcome.append(await g_client(address, "watch", "-q", "5"))

    async with trio.open_nursery() as nursery:
        async with open_gearman({"watch": lambda params: trio.Event()}) as gearman:
            nursery.start_soon(watch, gearman.address)
            while not gearman.calls:  # noqa: ASYNC110
                await trio.sleep(0.01)
        async with serving_again(gearman.address):
            while not outcome:  # noqa: ASYNC110
                await trio.sleep(0.01)
    assert outcome == [(0, "done\n", "=== Lost the connection, trying again\n")]


def serving_again(address: str) -> Any:
    """A second server at the address of one that has ended."""
    from contextlib import asynccontextmanager

    from abraxas_py import serve

    async def watch(job: Assigned) -> bytes:
        request = rpc.parse_request(job.data, "gearbox\\core::watch")
        assert isinstance(request, rpc.Request)
        return rpc.result(request.id, "done")

    @asynccontextmanager
    async def again() -> Any:
        async with serve(address), trio.open_nursery() as nursery:
            worker = Worker(address)
            worker.add("gearbox\\core::watch", watch)
            await nursery.start(worker.run)
            yield
            nursery.cancel_scope.cancel()

    return again()


# --- the commands beyond the seed's ---

GRAPH = {
    "nodes": [{"id": n, "method_name": "a::b", "status": "complete"} for n in (1, 2)],
    "edges": [{"from": 1, "to": 2, "kind": "after"}],
    "is_cut": False,
}
FOUND = {
    "id": 7, "method_name": "a::b", "status": "errored", "priority": "high", "arguments": '["x"]', "data": None,
    "created": "2026-11-21T18:58:47.962Z", "took": 1.5,
}  # fmt: skip
TABLE = (
    "ID  STATUS   PRIORITY  CREATED (UTC)             TOOK    METHOD  ARGUMENTS\n"
    '7   errored  high      2026-11-21 18:58:47.962Z  1.500s  a::b    ["x"]\n'
)
DEED = {
    "id": 3, "at": "2026-11-21T18:58:47.962Z", "who": "ada", "action": "cancel", "target": "7", "reason": "no",
    "jobs": None,
}  # fmt: skip
METHOD = {"method": "a::b", "workers": 1, "is_paused": True, "concurrency": 3, "states": {"complete": 7}}
ENTRY = {"name": "nightly", "cron": "0 3 * * *", "timezone": "UTC", "next": [], "method": "a::b", "args": []}


@pytest.mark.parametrize(
    ("argv", "method", "answer", "params", "output"),
    [
        (["cancel", "7"], "cancel", True, {"id": 7}, ""),
        (["cancel", "7", "--reason", "x y"], "cancel", False, {"id": 7, "reason": "x y"}, ""),
        (["retry", "7"], "retry", {"id": 9, "jobs": {"7": 9}}, {"id": 7, "downstream": True}, "9\n"),
        (["retry", "7", "--alone"], "retry", {"id": 9, "jobs": {"7": 9}}, {"id": 7, "downstream": False}, "9\n"),
        (
            ["retry", "7", "--reason", "x"],
            "retry",
            {"id": 9, "jobs": {}},
            {"id": 7, "downstream": True, "reason": "x"},
            "9\n",
        ),
        (["hurry", "7", "--reason", "x"], "run_now", True, {"id": 7, "reason": "x"}, ""),
        (["reprioritise", "-P", "high", "7"], "reprioritise", True, {"id": 7, "priority": "high"}, ""),
        (["release", "7"], "noopgo", True, {"id": 7}, ""),
        (
            ["search", "status:failed", "took>1s", "--limit", "2", "--below", "9"],
            "search",
            {"jobs": [FOUND], "next": None, "is_cut": False},
            {"query": "status:failed took>1s", "limit": 2, "below": 9},
            TABLE,
        ),
        (["search", "-O", "json"], "search", {"jobs": [], "next": None}, {"query": "", "limit": 50}, None),
        (["audit", "-O", "nl-json"], "audit", [{}], {"limit": 50}, "{}\n"),
        (["audit"], "audit", [DEED], {"limit": 50}, None),
        (["why", "7"], "why", "job 7 waits", {"id": 7}, "job 7 waits\n"),
        (["graph", "2"], "graph", GRAPH, {"id": 2}, "2 a::b  complete  <==\n└─ after  1 a::b  complete\n"),
        (["methods", "--json"], "methods", [], {}, "[]\n"),
        (["methods"], "methods", [METHOD], {}, None),
        (["pause", "a/b::c"], "pause", None, {"method": "a\\b::c"}, ""),
        (["pause", "a::b", "--reason", "x"], "pause", None, {"method": "a::b", "reason": "x"}, ""),
        (["resume", "a/b::c"], "resume", None, {"method": "a\\b::c"}, ""),
        (["limit", "a::b", "3"], "limit", None, {"method": "a::b", "concurrency": 3}, ""),
        (["limit", "a::b", "none"], "limit", None, {"method": "a::b", "concurrency": None}, ""),
        (["schedules", "-O", "nl-json"], "schedules", [{}], {}, "{}\n"),
        (["unschedule", "nightly"], "unschedule", True, {"name": "nightly"}, ""),
        (["unschedule", "n", "--reason", "x"], "unschedule", True, {"name": "n", "reason": "x"}, ""),
        (["run-now", "nightly"], "run_now", 12, {"name": "nightly"}, "12\n"),
        (["watch", "--wait-for-id", "7"], "watch", "x", {"id": 7, "wait_for_id": True}, "x\n"),
    ],
)
async def test_each_command_is_one_call(
    argv: list[str], method: str, answer: Any, params: Any, output: str | None, open_gearman: Any, g_client: Run
) -> None:
    async with open_gearman({method: lambda params: answer}) as gearman:
        code, out, _ = await g_client(gearman.address, *argv)
    assert code == 0
    assert gearman.calls == [(method, params)]
    if output is not None:
        assert out == output


def acting(asked: dict[str, Any]) -> dict[str, Any]:
    return {"jobs": 3, "changed": 0 if asked["preview"] else 2, "is_cut": True, "ids": [9, 8, 7]}


ANSWERS = {"act": acting, "search": lambda params: {"jobs": [FOUND], "next": None, "is_cut": False}}


@pytest.mark.parametrize(
    ("typed", "is_terminal", "argv", "is_done"),
    [
        ("", False, [], False),  # nobody to ask
        ("y\n", False, [], False),  # what is piped in is no answer
        ("n\n", True, [], False),
        ("", True, [], False),
        ("yes\n", True, [], True),
        ("", False, ["--yes"], True),
        ("", False, ["-y", "-q"], True),
    ],
)
async def test_a_deed_to_many_is_shown_and_asked_about(
    typed: str,
    is_terminal: bool,
    argv: list[str],
    is_done: bool,
    open_gearman: Any,
    g_client: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keyboard = io.StringIO(typed)
    monkeypatch.setattr(keyboard, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stdin", keyboard)
    async with open_gearman(ANSWERS) as gearman:
        words = ["act", "reprioritise", "status:waiting", "took>1s", "-P", "high", "--reason", "x", *argv]
        code, out, errors = await g_client(gearman.address, *words)
    wanted = {"action": "reprioritise", "query": "status:waiting took>1s"}
    doing = {"priority": "high", "reason": "x", "up_to": 9}
    assert gearman.params_of("act") == [
        wanted | {"preview": True},
        *([wanted | doing | {"preview": False}] if is_done else []),
    ]
    assert gearman.params_of("search") == [{"query": "9 8 7", "limit": session.PREVIEWED}]
    is_asked = is_terminal or is_done
    assert (code, out) == (0 if is_asked else 1, "2 of 3 jobs changed\n" if is_done else "")
    if "-q" not in argv:
        assert TABLE in errors
        assert "=== 3 jobs match; there are more that match, act again for them\n" in errors
    assert ("othing was done" in errors) is not is_done
    assert ("g-client: nobody can be asked here" in errors) is not is_asked


async def test_a_job_that_there_is_not_cannot_be_released(open_gearman: Any, g_client: Run) -> None:
    def why(params: Any) -> Any:
        return "job 7 is complete" if params["id"] == 7 else RpcError(404, "no such job")

    async with open_gearman({"noopgo": lambda params: False, "why": why}) as gearman:
        assert await g_client(gearman.address, "release", "7") == (0, "", "=== Job 7 did not wait for that\n")
        code, _, errors = await g_client(gearman.address, "release", "-q", "8")
    assert (code, errors) == (1, "code: 404\nmessage: no such job\n")


async def test_a_deed_to_nobody_asks_nothing(open_gearman: Any, g_client: Run) -> None:
    async with open_gearman({"act": lambda params: {"jobs": 0, "changed": 0, "is_cut": False, "ids": []}}) as gearman:
        assert await g_client(gearman.address, "act", "hurry", "12", "-y") == (0, "", "=== No job matches\n")
    assert gearman.params_of("act") == [{"action": "run_now", "query": "12", "preview": True}]


async def test_every_option_of_a_recurring_entry_reaches_the_core(open_gearman: Any, g_client: Run) -> None:
    async with open_gearman({"schedule": lambda params: ENTRY}) as gearman:
        options = ["--timezone", "Europe/Berlin", "--overlap", "queue", "--missed", "all", "-P", "high", "-D", "d"]
        options += ["--reason", "the boss reads it"]
        tries = ["--retries", "2", "--retry-delay", "5", "--backoff", "exponential", "--max-delay", "60"]
        words = ["nightly", "0 3 * * *", "a/b::c", "-J", "[1]", "--run-limit", "9"]
        code, out, _ = await g_client(gearman.address, "schedule", *options, *tries, *words)
    assert code == 0
    assert "nightly  0 3 * * *  UTC" in out
    assert gearman.params_of("schedule") == [
        {
            "name": "nightly",
            "cron": "0 3 * * *",
            "timezone": "Europe/Berlin",
            "method": "a\\b::c",
            "args": [1],
            "overlap": "queue",
            "missed": "all",
            "priority": "high",
            "dedupe": "d",
            "max_retries": 2,
            "retry_delay": 5,
            "retry_delay_max": 60,
            "backoff": "exponential",
            "timeout": 9,
            "reason": "the boss reads it",
        }
    ]


async def test_limits_of_time_reach_the_core(open_gearman: Any, g_client: Run) -> None:
    async with open_gearman({"queue": lambda params: 1}) as gearman:
        options = ["--run-limit", "2.5", "--expires", "2030-01-01T00:00Z", "--backoff", "exponential"]
        assert (await g_client(gearman.address, "queue", *options, "a::b"))[0] == 0
    (params,) = gearman.params_of("queue")
    assert (params["timeout"], params["expires"]) == (2.5, "2030-01-01T00:00:00.000Z")
    assert (params["backoff"], params["retry_delay_max"]) == ("exponential", 3600)


async def test_many_jobs_from_a_file(open_gearman: Any, g_client: Run, tmp_path: Path) -> None:
    jobs = [{"name": "a::b", "ref": "x"}, {"name": "a::b", "after_ref": "x"}]
    file = tmp_path / "jobs.json"
    async with open_gearman({"queue_many": lambda params: [4, 5]}) as gearman:
        for value in (jobs, {"jobs": jobs}):
            file.write_text(json.dumps(value))
            assert (await g_client(gearman.address, "queue-many", "-q", str(file)))[:2] == (0, "4\n5\n")
        file.write_text(json.dumps(jobs), "utf-8-sig")  # with a byte order mark, as editors on Windows write it
        assert (await g_client(gearman.address, "queue-many", "-q", str(file)))[:2] == (0, "4\n5\n")
        file.write_bytes(b'["\xff"]')
        code, _, errors = await g_client(gearman.address, "queue-many", "-q", str(file))
        assert code == 1
        assert errors.startswith(f"g-client: {file} is not JSON: 'utf-8' codec can't decode byte 0xff in position 2")
        file.write_text("[")
        code, _, errors = await g_client(gearman.address, "queue-many", "-q", str(file))
        assert (code, errors) == (1, f"g-client: {file} is not JSON: Expecting value: line 1 column 2 (char 1)\n")
        for number, problem in (("NaN", "NaN is not JSON"), ("1e999", "1e999 is too large a number")):
            file.write_text(f'[{{"name": "a::b", "args": [{number}]}}]')
            code, _, errors = await g_client(gearman.address, "queue-many", "-q", str(file))
            assert (code, errors) == (1, f"g-client: {file} is not JSON: {problem}\n")
        code, _, errors = await g_client(gearman.address, "queue-many", "-q", str(tmp_path / "none"))
        assert (code, errors) == (1, f"g-client: {tmp_path / 'none'}: No such file or directory\n")
    assert [params["jobs"] for params in gearman.params_of("queue_many")] == [jobs, jobs, jobs]


async def test_top_prints_once_where_nobody_watches(open_gearman: Any, g_client: Run) -> None:
    job = {"id": 3, "method_name": "a::b\n", "status": "running", "progress": {"n": 42}}
    rows = [{**job, "updated": "2026-11-21T18:58:47.984Z"}]
    async with open_gearman({"methods": lambda params: [METHOD], "status": lambda params: rows}) as gearman:
        code, out, _ = await g_client(gearman.address, "top")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["a::b", "(paused)", "1", "3", "0", "0", "0", "0", "0"] in lines
    assert ["3", "a::b\\n", "running", "42"] in [line[:4] for line in lines]


async def test_a_terminal_sees_the_progress_of_its_job(open_gearman: Any) -> None:
    progress: dict[str, Any] = {"id": 5, "status": "running", "progress": {"n": 42}}
    asked = trio.Event()

    def status(params: Any) -> Any:
        asked.set()
        return [progress]

    master, slave = os.openpty()
    async with open_gearman({"watch": lambda params: trio.Event(), "status": status}) as gearman:
        argv = [sys.executable, "-c", "from gearbox.cli.client import run; run()", "watch", "5"]
        environment = {**os.environ, "GEARMAN_SERVER": gearman.address, "TERM": "xterm", "COLUMNS": "80"}
        process = await trio.lowlevel.open_process(argv, stderr=slave, stdout=slave, env=environment)
        os.close(slave)
        output = b""
        async with trio.lowlevel.FdStream(master) as screen:
            with trio.fail_after(30):
                while b"42%" not in output:
                    output += await screen.receive_some()
            process.terminate()
            await process.wait()
    assert b"job 5 running" in output


async def test_dead_jobs_are_listed_run_anew_and_dropped(g_client: Run) -> None:
    options = Options(policies=(Policy("f", retries=0),))
    async with serve("127.0.0.1:0", options=options) as server:
        (address,) = server.endpoints
        worker = Connection(server.attach())
        await worker.send(Packet(Type.CAN_DO, b"f"))
        await worker.send(Packet.of(Type.SUBMIT_JOB_BG, b"f", b"u", b"x"))
        handle = (await worker.receive())[0].body

        async def fail() -> None:
            await worker.send(Packet(Type.GRAB_JOB))
            await worker.receive()
            await worker.send(Packet(Type.WORK_FAIL, handle))

        await fail()
        row = [handle.decode(), "f", "0", "u"]
        shown = json.dumps([row], separators=(",", ":")) + "\n"
        assert await g_client(address, "dead", "list", "-O", "json") == (0, shown, "")
        assert await g_client(address, "dead", "retry", "f") == (0, "", "=== f: runs anew\n")
        assert await g_client(address, "dead", "list") == (0, "", "")
        await fail()
        assert await g_client(address, "dead", "drop", handle.decode()) == (0, "", f"=== {handle.decode()}: dropped\n")
        code, _, errors = await g_client(address, "dead", "drop", "f")
        said = "g-client: no failed job or function is called f; g-client dead list shows them\n"
        assert (code, errors) == (1, said)
    for argv in (("list",), ("retry", "f"), ("drop", "f")):
        code, _, errors = await g_client(address, "dead", *argv)
        assert (code, errors.partition(" within")[0]) == (69, f"g-client: cannot reach Gearman at {address}")
    assert (await g_client(address, "dead", "retry"))[0] == 1
    assert (await g_client(address, "dead", "bury", "f"))[0] == 1


async def test_dead_jobs_that_are_named_are_not_listed_first(g_client: Run) -> None:
    """There may be very many."""
    asked = []

    async def answer(stream: trio.SocketStream) -> None:
        async for line in stream:
            if line.startswith(b"\0"):  # the other connection, on which nothing is asked
                continue
            asked.append(bytes(line))
            if b" g" in line:
                break
            await stream.send_all(b".\r\n" if line == b"status\r\n" else b"OK\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        assert await g_client(address, "dead", "retry", "-q", "f") == (0, "", "")
        code, _, errors = await g_client(address, "dead", "drop", "-q", "g")
        lost = f"{address} closed the connection; whether the call was carried out is unknown"
        assert (code, errors) == (69, f"g-client: {lost}\n")
        nursery.cancel_scope.cancel()
    assert asked == [b"status\r\n", b"dead retry f\r\n", b"status\r\n", b"dead drop g\r\n"]
