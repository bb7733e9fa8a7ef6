"""The tools as processes: signals, closed pipes, and what is left behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from abraxas_py import open_client

ACCEPTING = {"job_data": lambda params: None, "job_start": lambda params: True}


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Starts a tool; its output goes to files `out` and `err`. All are killed in the end."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(address: str, tool: str, *argv: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", f"from gearbox.cli.{tool} import run; run()", *argv]
        environment = {**os.environ, "GEARMAN_SERVER": address, "PYTHONUNBUFFERED": "1"}
        with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
            process = subprocess.Popen(command, env=environment, stdout=out if stdout is None else stdout, stderr=err)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what another process does; nothing in this one could tell."""
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def wait(process: subprocess.Popen[bytes]) -> int:
    await until(lambda: process.poll() is not None)
    return process.returncode


def payload(method: str, id: int) -> bytes:
    request = {"jsonrpc": "2.0", "method": method, "params": [], "id": "x-1"}
    return json.dumps({**request, "_meta": {"gearbox_id": id, "gearbox_attempt": 1}}).encode()


async def submit(address: str, method: str, id: int) -> None:
    async with open_client(address) as client:
        await client.submit(method, payload(method, id), unique=str(id).encode())


async def test_an_interrupted_client_ends_with_130_and_no_traceback(
    open_gearman: Any, start: Any, tmp_path: Path
) -> None:
    never = {"watch": lambda params: trio.Event()}
    async with open_gearman(never) as gearman:
        process = start(gearman.address, "client", "watch", "7")
        await until(lambda: gearman.calls)
        process.send_signal(signal.SIGINT)
        assert await wait(process) == 130
    assert (tmp_path / "err").read_text() == "==> Watching job 7\n"


async def test_a_client_whose_output_nobody_reads_ends_quietly(open_gearman: Any, start: Any, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    async with open_gearman({"watch": lambda params: "x" * 1_000_000}) as gearman:
        process = start(gearman.address, "client", "watch", "-q", "7", stdout=writer)
        os.close(writer)
        assert await wait(process) == 141
    assert (tmp_path / "err").read_text() == ""


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["audit"], ""),
        (["watch", "-q", "7"], ""),
        (["queue", "-q", "a::b"], "job 89 is queued\n"),
        (["--help"], ""),
        (["completion", "bash"], ""),
    ],
)
async def test_a_client_whose_output_cannot_be_written_says_so(
    argv: list[str], said: str, open_gearman: Any, start: Any, tmp_path: Path
) -> None:
    answers = {"audit": lambda params: [], "watch": lambda params: "x" * 1_000_000, "queue": lambda params: 89}
    full = os.open("/dev/full", os.O_WRONLY)
    async with open_gearman(answers) as gearman:
        process = start(gearman.address, "client", *argv, stdout=full)
        os.close(full)
        assert await wait(process) == 74
    assert (tmp_path / "err").read_text() == f"{said}-c: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EPIPE])
async def test_a_fault_of_a_tool_whose_output_cannot_fail_is_none_of_its_output(code: int) -> None:
    """Both outputs are one, as in a log of systemd's."""
    script = (
        "from abraxas_py import stdio; from gearbox.cli import run_tool\n"
        f"def main(argv): raise OSError({code}, 'of something else')\n"
        "stdio.never_block(); run_tool(main)"
    )
    done = await trio.run_process(
        [sys.executable, "-c", script], check=False, capture_stdout=True, stderr=subprocess.STDOUT
    )
    assert done.returncode == 1
    assert done.stdout.startswith(b"Traceback")
    assert done.stdout.endswith(b"of something else\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_a_client_goes_on_without_an_output_that_is_closed(closed: str, open_gearman: Any) -> None:
    script = f'exec "$0" -c "from gearbox.cli.client import run; run()" status 1 {closed}'
    async with open_gearman({"status": lambda params: []}) as gearman:
        environment = {**os.environ, "GEARMAN_SERVER": gearman.address}
        done = await trio.run_process(
            ["sh", "-c", script, sys.executable], env=environment, check=False, capture_stdout=True, capture_stderr=True
        )
    assert (done.returncode, done.stderr) == (0, b"")


async def test_a_worker_told_to_end_finishes_its_job_and_reports_it(
    open_gearman: Any, start: Any, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    async with open_gearman(ACCEPTING) as gearman, trio.open_nursery() as nursery:
        command = ("sh", "-c", f"touch {started}; sleep 0.5; echo done")
        process = start(gearman.address, "worker", "a::b", *command)
        nursery.start_soon(submit, gearman.address, "a::b", 7)
        await until(started.exists)
        process.terminate()
        assert await wait(process) == 0
        assert [params["data"] for params in gearman.params_of("job_data")] == ["done\n"]
    assert (tmp_path / "err").read_text() == "=== Finishing what runs, 30 s at most\n"


@pytest.mark.parametrize(("timeout", "signals"), [("0.2", 1), ("1000", 2)])
async def test_a_worker_that_cannot_finish_kills_its_command(
    timeout: str, signals: int, open_gearman: Any, start: Any, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait"
    async with open_gearman(ACCEPTING) as gearman, trio.open_nursery() as nursery:
        process = start(gearman.address, "worker", "--stop-timeout", timeout, "a::b", "sh", "-c", script)
        nursery.start_soon(submit, gearman.address, "a::b", 7)
        await until(pid_file.exists)
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            await trio.sleep(0.1)
        assert await wait(process) == 0
        await until(partial(is_dead, int(pid_file.read_text())))
        nursery.cancel_scope.cancel()


def is_dead(pid: int) -> bool:
    """A zombie waiting for init counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_a_worker_goes_on_when_nobody_reads_its_output(open_gearman: Any, start: Any) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    async with open_gearman(ACCEPTING) as gearman:
        start(gearman.address, "worker", "a::b", "true", stdout=writer)
        os.close(writer)
        for id in (1, 2):
            await submit(gearman.address, "a::b", id)
        await until(lambda: len(gearman.params_of("job_data")) == 2)


async def test_a_worker_waits_for_its_server_and_says_so(start: Any, tmp_path: Path) -> None:
    process = start("127.0.0.1:1", "worker", "a::b", "true")
    message = "??? cannot reach Gearman at 127.0.0.1:1; trying on. Is g-core running?\n"
    await until(lambda: (tmp_path / "err").read_text() == message)
    process.terminate()
    assert await wait(process) == 0


async def test_a_multiworker_reloads_by_signal_and_by_call_and_survives_a_broken_file(
    open_gearman: Any, start: Any, tmp_path: Path
) -> None:
    path, out, err = tmp_path / "a.toml", tmp_path / "out", tmp_path / "err"
    path.write_text("[config]\nreload_worker = true\n[a.one]\ncommand = 'echo 1'\n[a.two]\ncommand = 2\n")
    async with open_gearman(ACCEPTING) as gearman:
        process = start(gearman.address, "multiworker", str(path))
        await until(lambda: "=== Waiting for jobs...\n" in out.read_text())
        (reload_method,) = (
            line.removeprefix("=== Installing ") for line in out.read_text().splitlines() if "reloadmw" in line
        )
        assert reload_method.startswith("gearbox\\reloadmw::")
        assert err.read_text() == (
            "=== Loading configuration\n"
            f"??? a::two has invalid command syntax ({path} line 6, a.two.command), method skipped\n"
        )
        path.write_text("[config]\nreload_worker = true\n[a.three]\ncommand = 'echo 3'\n")
        process.send_signal(signal.SIGUSR1)
        await submit(gearman.address, "a::three", 3)
        path.write_text("[config]\nreload_worker = true\n[a.four]\ncommand = 'echo 4'\n")
        await submit(gearman.address, reload_method, 4)
        await submit(gearman.address, "a::four", 5)
        path.write_text("broken")
        await submit(gearman.address, reload_method, 6)
        await submit(gearman.address, "a::four", 7)
        await until(lambda: len(gearman.params_of("job_data")) == 5)
        process.terminate()
        assert await wait(process) == 0
    outcomes = {params["id"]: (params["status"], params["data"]) for params in gearman.params_of("job_data")}
    assert (outcomes[3], outcomes[4], outcomes[5]) == (("complete", "3\n"), ("complete", None), ("complete", "4\n"))
    assert outcomes[6][0] == "errored"
    assert "line 1" in outcomes[6][1]["message"]
    assert outcomes[7] == ("complete", "4\n")


async def test_signals_that_come_early_are_heeded_once_the_multiworker_works(
    open_gearman: Any, start: Any, tmp_path: Path
) -> None:
    path, out, err = tmp_path / "a.toml", tmp_path / "out", tmp_path / "err"
    os.mkfifo(path)  # reading it takes until something is written

    async def define(method: str) -> None:
        text = f"[a.{method}]\ncommand = 'grep -c ^SigBlk:.0000000000000000 /proc/self/status'\n"
        with trio.fail_after(20):
            await trio.to_thread.run_sync(path.write_text, text, abandon_on_cancel=True)
        await until(lambda: f"=== Installing a::{method}\n" in out.read_text())

    async with open_gearman(ACCEPTING) as gearman:
        process = start(gearman.address, "multiworker", str(path))
        await until(lambda: "=== Loading configuration\n" in err.read_text())
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)
        await define("first")
        await define("reloaded")
        await submit(gearman.address, "a::reloaded", 1)
        await until(lambda: gearman.params_of("job_data"))
        process.terminate()
        assert await wait(process) == 0
    assert [report["data"] for report in gearman.params_of("job_data")] == ["1\n"]  # no command has them blocked


async def test_a_log_that_is_rotated_goes_on_in_a_new_file(open_gearman: Any, start: Any, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    async with open_gearman(ACCEPTING) as gearman:
        process = start(gearman.address, "worker", "--log", str(log), "--log-no-time", "a::b", "true")
        await submit(gearman.address, "a::b", 1)
        await until(log.exists)
        log.rename(tmp_path / "job.log.1")
        process.send_signal(signal.SIGHUP)
        await submit(gearman.address, "a::b", 2)
        await until(lambda: log.exists() and "(2)" in log.read_text())
    assert "(1)" in (tmp_path / "job.log.1").read_text()
