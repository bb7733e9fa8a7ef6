"""What a user's type checker sees: a program in `mypy --strict`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from collections.abc import AsyncIterator
from typing import assert_type

import abraxas_py
from abraxas_py import Assigned, Data, Event, JobStatus, Registration, Status, Task, Warning, Worker, WorkerRow
from abraxas_py import blocking


async def pieces(job: Assigned) -> AsyncIterator[bytes]:
    async for piece in job.payload:
        yield bytes(piece)


def upper(job: Assigned) -> str:
    job.status(0.5)
    return job.text.upper()


async def main() -> None:
    async with abraxas_py.serve() as server, abraxas_py.open_client(server.dial) as client:
        assert_type(await client.submit("f", b""), bytes)
        assert_type(client.submit("f", encoding="utf-8"), Task[str])
        assert_type(await client.echo(b""), bytes)
        assert_type(await client.submit_bg("f"), bytes)
        assert_type(await client.get_status(b"H"), JobStatus)
        assert_type(await client.admin.workers(), list[WorkerRow])
        assert_type(client.worker.add("f", pieces, stream=True), Registration)
        client.worker.add("g", upper)
        client.worker.add("h", lambda job: job.data)
        async with client.stream("f").payload as payload:
            await payload.send_all(b"")
    async with abraxas_py.open_client("h:1", encoding="utf-8") as texts:
        task = texts.submit("f", "text", on_end=ended)
        assert_type(await task, str)
        async for event in task:
            assert_type(event, Event[str])
            if isinstance(event, Status):
                assert_type(event.fraction, float)
            elif not isinstance(event, Warning):
                assert_type(event, Data[str])
                assert_type(event.data, str)
    Worker("h:1").take("f", lambda job: job.complete())


def ended(task: Task[str]) -> None:
    assert_type(task.result, str | None)


def script() -> None:
    with blocking.open_client("h:1", encoding="utf-8") as client:
        assert_type(client.submit("f", "x").result(), str)
    with blocking.open_client("h:1") as raw:
        assert_type(raw.submit("f", b"x").result(timeout=1), bytes)


def plain(client: abraxas_py.Client, task: Task) -> bytes | None:
    return task.result
"""


def test_a_strict_program_is_understood(tmp_path: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        message = "mypy is missing (pip install mypy)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    empty = tmp_path / "mypy.ini"
    empty.write_text("[mypy]\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", empty, "--cache-dir", tmp_path / "cache", program],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"MYPYPATH": str(Path(__file__).parents[3])},
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
