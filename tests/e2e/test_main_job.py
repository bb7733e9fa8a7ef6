"""The main job from end to end: one `g-core`, workers, and jobs over real files, with the tools as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
JOBS = int(os.environ.get("GEARBOX_TEST_JOBS", "30"))  # the full run is 200: as many starts of g-client


def test_jobs_over_real_files_give_what_the_tools_give_by_hand(anywhere: Any) -> None:
    gearbox = anywhere
    gearbox.core()
    gearbox.worker("-q", "-j", "2", "-I", "append", "file::checksum", "cksum")
    gearbox.worker("-q", "-I", "append", "file/text::words", "wc", "-w")
    files = sorted(file for folder in ("gearbox", "abraxas_py", "tests") for file in (ROOT / folder).rglob("*.py"))
    assert files
    wanted = [(files[n // 2 % len(files)], ("file::checksum", "file/text::words")[n % 2]) for n in range(JOBS)]

    def queue(job: tuple[Path, str]) -> int:
        done = gearbox.client("queue", "-q", job[1], str(job[0]))
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    with ThreadPoolExecutor(2) as threads:
        ids = list(threads.map(queue, wanted))
    assert sorted(ids) == list(range(1, JOBS + 1))

    watched = gearbox.client("watch", "-q", str(ids[-1]))
    assert watched.returncode == 0
    by_hand = {"file::checksum": ["cksum"], "file/text::words": ["wc", "-w"]}
    rows = gearbox.wait_for(lambda: all_complete(gearbox, ids))
    for id, (file, method) in zip(ids, wanted, strict=True):
        expected = subprocess.run([*by_hand[method], file], capture_output=True, text=True, check=True).stdout
        assert rows[id]["data"] == expected
        assert rows[id]["arguments"] == [str(file)]
        assert rows[id]["method_name"] == method.replace("/", "\\")

    stats = json.loads(gearbox.client("stats", "-q", "-O", "json", "file::checksum").stdout)
    assert stats["totalRuns"] == JOBS // 2
    assert stats["states"] == {"complete": JOBS // 2}
    assert json.loads(gearbox.client("status", "-q", "-O", "json").stdout) == []


def all_complete(gearbox: Any, ids: list[int]) -> dict[int, Any] | None:
    rows = json.loads(gearbox.client("status", "-q", "-O", "json", *map(str, ids)).stdout)
    return {row["id"]: row for row in rows} if all(row["status"] == "complete" for row in rows) else None


def test_every_tool_works_as_the_readme_says(gearbox: Any) -> None:
    gearbox.core()
    gearbox.worker("-q", "-O", "json", "json::cat", "cat")
    gearbox.worker("-q", "-I", "append", "a/b/c::echo", "echo")
    for arguments, value in [
        (("a", "b", "c"), ["a", "b", "c"]),
        (("a=b", "c=d"), {"a": "b", "c": "d"}),
        (("a=b", "c"), {"a": "b", "c": None}),
        (("1", "2", "3"), ["1", "2", "3"]),
        (("-J", "1", "2", "3"), [1, 2, 3]),
        (("-J", "a=true", "c"), {"a": True, "c": None}),
        (("-J", '{"a":[123,true]}'), {"a": [123, True]}),
        (('{"a":[123,true]}',), '{"a":[123,true]}'),
    ]:
        options = [word for word in arguments if word == "-J"]
        words = [word for word in arguments if word != "-J"]
        done = gearbox.client("run", "-q", "-O", "json", *options, "json::cat", *words)
        assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, value, "")
    assert gearbox.client("run", "-q", "a\\b\\c::echo", "x y").stdout == "x y\n\n"

    queued = gearbox.client("queue", "a/b/c::echo", "hello")
    assert queued.stdout == "11\n" or queued.stdout.strip().isdigit()
    assert "<== Job ID: " in queued.stderr
    raw = gearbox.client("raw", "-q", "-O", "json", "gearbox/core::status", "-J", f"[{queued.stdout.strip()}]")
    assert json.loads(raw.stdout)[0]["arguments"] == ["hello"]


def test_dates_priorities_retries_and_dependencies_from_the_command_line(gearbox: Any) -> None:
    gearbox.core()
    gearbox.worker("-q", "-I", "append", "a::echo", "echo")
    later = int(gearbox.client("queue", "-q", "--after", "in 12 seconds", "a::echo", "later").stdout)
    never = int(gearbox.client("queue", "-q", "--after", "tomorrow 9:00", "a::echo", "tomorrow").stdout)
    child = int(gearbox.client("queue", "-q", "--after-job", str(later), "-P", "high", "a::echo", "child").stdout)
    rows = {row["id"]: row["status"] for row in json.loads(gearbox.client("status", "-q", "-O", "json").stdout)}
    assert rows == {later: "waiting", never: "waiting", child: "waiting"}
    assert gearbox.client("watch", "-q", str(child)).stdout == "child\n\n"
    failing = gearbox.client("run", "-q", "--retries", "2", "--retry-delay", "0", "no::worker")
    assert failing.returncode == 1
    assert "-28404" in failing.stderr


def test_what_the_dashboard_can_do_the_tool_can(gearbox: Any) -> None:
    gearbox.core()
    gearbox.worker("-q", "-I", "append", "a::echo", "echo")

    def client(*arguments: str) -> str:
        done = gearbox.client(*arguments)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    later = [client("queue", "-q", "--after", "tomorrow", "a::echo", str(n)).strip() for n in range(4)]
    found = json.loads(client("search", "-q", "-O", "json", "method:a::echo", "status:waiting"))
    assert [str(job["id"]) for job in found["jobs"]] == later[::-1]
    client("reprioritise", "-P", "high", later[0], "--reason", "first")
    client("hurry", later[0])
    assert client("watch", "-q", later[0]) == "0\n\n"
    assert gearbox.client("act", "cancel", "status:waiting").returncode == 1  # nobody to ask: nothing is done
    assert client("act", "-y", "cancel", "status:waiting", "--reason", "not needed") == "3 of 3 jobs changed\n"
    waiting = client("queue", "-q", "gearbox/core::noopwait").strip()
    client("release", waiting)
    client("watch", "-q", waiting)
    deeds = json.loads(client("audit", "-q", "-O", "json"))
    assert [(deed["action"], deed["target"], deed["reason"], deed["jobs"]) for deed in deeds] == [
        ("cancel", "status:waiting", "not needed", 3),
        ("run now", later[0], "", None),
        ("reprioritise high", later[0], "first", None),
    ]


def test_a_trace_goes_from_tool_to_tool(gearbox: Any) -> None:
    """A command finds the trace of whoever queued its job in its environment, where the tools that it starts do."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    client = Path(sys.executable).parent / "g-client"
    gearbox.environment["GEARMAN_SERVER"] = gearbox.address
    gearbox.core(GEARMAN_SERVER="")
    gearbox.worker("-q", "-I", "ignore", "trace::show", "sh", "-c", 'echo "got $TRACEPARENT"')
    gearbox.worker("-q", "-I", "ignore", "trace::nested", "sh", "-c", f"exec {client} run -q trace::show")
    assert gearbox.client("run", "-q", "trace::show", TRACEPARENT=trace).stdout == f"got {trace}\n\n"
    assert gearbox.client("run", "-q", "trace::nested", TRACEPARENT=trace).stdout.startswith(f"got {trace}\n")
    assert gearbox.client("run", "-q", "trace::show").stdout == "got \n\n"


def test_kill_loses_nothing_that_was_acknowledged(gearbox: Any) -> None:
    core = gearbox.core()
    gearbox.worker("-q", "-I", "append", "a::echo", "echo")
    done = gearbox.client("run", "-q", "a::echo", "before the crash")
    assert done.stdout == "before the crash\n\n"

    def queue(n: int) -> int:
        return int(gearbox.client("queue", "-q", "a::slow", str(n)).stdout)

    slow = gearbox.worker("-q", "-I", "append", "a::slow", "sh", "-c", 'sleep 0.5; echo "$1"', "sh")
    with ThreadPoolExecutor(2) as threads:
        ids = list(threads.map(queue, range(6)))
    core.send_signal(signal.SIGKILL)  # some wait in the broker's memory, one runs
    core.wait()
    gearbox.core()
    for n, id in enumerate(ids):
        watched = gearbox.client("watch", "-q", "--timeout", "50", str(id))
        assert (watched.stdout, watched.stderr) == (f"{n}\n\n", "")
    assert gearbox.client("watch", "-q", "1").stdout == "before the crash\n\n"
    rows = json.loads(gearbox.client("status", "-q", "-O", "json", *map(str, ids)).stdout)
    assert [row["status"] for row in rows] == ["complete"] * 6
    assert slow.poll() is None


def test_a_scheduled_job_survives_a_restart(gearbox: Any) -> None:
    core = gearbox.core()
    gearbox.worker("-q", "-I", "append", "a::echo", "echo")
    id = int(gearbox.client("queue", "-q", "--after", "in 6 seconds", "a::echo", "later").stdout)
    core.send_signal(signal.SIGHUP)  # nothing to reopen, and no reason to end
    assert gearbox.client("status", "-q", str(id)).returncode == 0
    core.send_signal(signal.SIGTERM)
    assert core.wait(timeout=10) == 0
    gearbox.core()
    assert gearbox.client("watch", "-q", "--timeout", "40", str(id)).stdout == "later\n\n"


@pytest.mark.gearman_tools
def test_gearman_and_gearadmin_work_against_the_same_process(
    gearbox: Any, program: Callable[[str, str], str], run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    gearman, gearadmin = program("gearman", "gearman-tools"), program("gearadmin", "gearman-tools")
    gearbox.core()
    host, port = gearbox.address.split(":")
    there = ["-h", host, "-p", port]
    worker = subprocess.Popen([gearman, *there, "-w", "-f", "plain_wc", "--", "wc", "-c"])
    gearbox.processes.append(worker)
    gearbox.wait_for(lambda: any(row[0] == "plain_wc" and row[3] == "1" for row in gearbox.functions()))

    for options in ([], ["-I"], ["-L"], ["-u", "some-unique"]):
        done = run([gearman, *there, "-f", "plain_wc", *options, "hello"])
        assert (done.returncode, done.stdout.strip()) == (0, "5"), done
    assert run([gearman, *there, "-b", "-f", "plain_wc", "hello"]).returncode == 0
    gearbox.wait_for(lambda: all(row[1] == "0" for row in gearbox.functions() if row[0] == "plain_wc"))

    admin = [gearadmin, *there]
    status = run([*admin, "--status"])
    assert "plain_wc\t0\t0\t1" in status.stdout
    assert "gearbox\\core::queue\t0\t0\t1" in status.stdout
    workers = run([*admin, "--workers"])
    assert any(line.endswith(": plain_wc") for line in workers.stdout.splitlines())
    assert run([*admin, "--server-version"]).returncode == 0
    # a plain Gearman client may speak to the scheduler too
    envelope = {"jsonrpc": "2.0", "method": "gearbox\\core::status", "id": "x", "params": []}
    answer = run([gearman, *there, "-f", "gearbox\\core::status", json.dumps(envelope)])
    assert json.loads(answer.stdout) == {"jsonrpc": "2.0", "id": "x", "result": []}
    broken = run([gearman, *there, "-f", "gearbox\\core::status", "{"])
    assert json.loads(broken.stdout)["error"]["code"] == -32700


# --- bad input: a clear error, an exit code, nothing lost or left hanging ---

BAD_INPUT = [
    (("run", "no::such"), 1, "No worker available"),
    (("run", "no::such"), 1, "=== Nobody offers no::such; g-client methods lists what is offered"),
    (("run", "-J", "a::b", '{"a":'), 1, "not JSON"),
    (("run", "--frobnicate", "a::b"), 1, "unknown option: --frobnicate"),
    (("watch", "999"), 1, "no such job"),
    (("watch", "seven"), 1, "seven"),
    (("run", "-P", "urgent", "a::b"), 1, "urgent"),
    (("run", "--after", "gibberish", "a::b"), 1, "gibberish"),
    (("run", "--after-job", "abc", "a::b"), 1, "abc"),
    (("run", "--after-job", "999", "a::b"), 1, "no such job: 999"),
    (("run", "--retries", "abc", "a::b"), 1, "abc"),
    (("run", "-O", "xml", "a::b"), 1, "xml"),
]


def test_bad_input_of_g_client(gearbox: Any) -> None:
    gearbox.core()
    for arguments, code, message in BAD_INPUT:
        done = gearbox.client(*arguments)
        assert done.returncode == code, arguments
        assert message in done.stderr, arguments
        assert "Traceback" not in done.stderr, arguments
        assert done.stdout == "", arguments
    assert [row["status"] for row in json.loads(gearbox.client("status", "-q", "-O", "json").stdout)] == []
    unreachable = gearbox.client("run", "a::b", address="127.0.0.1:1")
    assert unreachable.returncode == 69
    assert "cannot reach Gearman at 127.0.0.1:1" in unreachable.stderr


COMMANDS = [
    # worker options, command, code, message
    ((), ("sh", "-c", "echo out; echo err >&2; exit 3"), "code: ", "exited with status 3"),
    (("-O", "json"), ("echo", "{not json"), "code: ", "json"),
    ((), ("sh", "-c", "kill -9 $$"), "code: ", "SIGKILL"),
    ((), ("head", "-c", "100000000", "/dev/zero"), "code: 413", "printed more than its limit"),
    ((), ("/no/such/program",), "code: ", "/no/such/program"),
]


def test_commands_that_fail_say_so_to_those_who_watch(gearbox: Any) -> None:
    gearbox.core()
    for n, (options, command, code, message) in enumerate(COMMANDS):
        gearbox.worker("-q", "-I", "ignore", *options, f"bad::m{n}", "--", *command)
        done = gearbox.client("run", f"bad::m{n}")
        assert done.returncode == 1, command
        assert code in done.stderr, command
        assert message in done.stderr, command
    gearbox.worker("-q", "-I", "append", "good::echo", "echo")
    assert gearbox.client("run", "-q", "good::echo", "well").stdout == "well\n\n"
    states = [row["status"] for row in json.loads(gearbox.client("status", "-q", "-O", "json", *"12345").stdout)]
    assert states == ["errored"] * 5


def test_g_core_refuses_what_cannot_work(gearbox: Any, tmp_path: Path) -> None:
    gearbox.core()
    other = str(tmp_path / "other.db")
    in_use = gearbox.failing_core(GEARBOX_DATABASE=other)
    assert in_use.returncode == 69
    assert gearbox.address in in_use.stderr
    locked = gearbox.failing_core(GEARBOX_LISTEN="127.0.0.1:0")
    assert (locked.returncode, "in use by process" in locked.stderr) == (78, True)
    unwritable = gearbox.failing_core(GEARBOX_DATABASE="/proc/nowhere/gearbox.db")
    assert (unwritable.returncode, "cannot write to /proc/nowhere" in unwritable.stderr) == (78, True)
    Path(other).write_bytes(b"this is no database " * 100)
    garbage = gearbox.failing_core(GEARBOX_DATABASE=other, GEARBOX_LISTEN="127.0.0.1:0")
    assert (garbage.returncode, "not a database" in garbage.stderr) == (78, True)
    faulty = gearbox.failing_core(GEARBOX_LISTEN="nonsense://x", MYSQL_HOSTNAME="db")
    assert faulty.returncode == 78
    assert len(faulty.stderr.splitlines()) == 4  # one is the file that the test sets
    for done in (in_use, locked, unwritable, garbage, faulty):
        assert "Traceback" not in done.stderr


def test_nobody_can_pose_as_the_core(gearbox: Any) -> None:
    gearbox.core()
    host, port = gearbox.address.split(":")
    name = b"gearbox\\core::queue"
    with socket.create_connection((host, int(port)), timeout=10) as intruder:
        intruder.sendall(b"\0REQ" + struct.pack(">II", 1, len(name)) + name)  # CAN_DO
        answer = intruder.recv(1000)
        assert struct.unpack(">I", answer[4:8]) == (19,)  # ERROR
        assert gearbox.client("run", "no::such").returncode == 1
        assert next(row for row in gearbox.functions() if row[0] == name.decode())[3] == "1"


def test_a_newer_database_is_refused(gearbox: Any) -> None:
    import sqlite3

    core = gearbox.core()
    core.send_signal(signal.SIGTERM)
    core.wait(timeout=10)
    with sqlite3.connect(gearbox.database) as connection:
        connection.execute("PRAGMA user_version = 1000")
    connection.close()
    refused = gearbox.failing_core()
    assert (refused.returncode, "schema version 1000" in refused.stderr) == (78, True)


def test_check_and_help(gearbox: Any, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    core = gearbox.core()
    core.send_signal(signal.SIGTERM)
    core.wait(timeout=10)
    bin = Path(os.sys.executable).parent  # type: ignore[attr-defined]
    environment = gearbox.environment | {"GEARBOX_LISTEN": gearbox.address}
    checked = run([bin / "g-core", "--check"], env=environment)
    assert checked.returncode == 0, checked.stdout
    for word in ("settings", "database", "clock", "disk", "Gearman: ", "dashboard: off", "open files"):
        assert re.search(rf"^(ok|warn) +{word}", checked.stdout, re.MULTILINE), checked.stdout
    for tool in ("g-core", "g-client", "g-worker", "g-multiworker"):
        shown = run([bin / tool, "--help"], env=environment)
        assert shown.returncode == 0
        assert "Usage:" in shown.stdout
        wrong = run([bin / tool, "--no-such-option"], env=environment)
        assert wrong.returncode == 1
        assert wrong.stderr


def test_the_demonstration_shows_jobs_done(gearbox: Any) -> None:
    core = gearbox.core("--demo")
    lines = []
    for line in core.stderr:
        lines.append(line)
        if "jobs done in" in line:
            break
        assert "failed" not in line
    gearbox.wait_for(lambda: all_complete(gearbox, list(range(1, 13))))
    core.send_signal(signal.SIGINT)
    assert core.wait(timeout=15) == 0
