"""A long stream through client, server and worker, each a process, in little memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import gearman_servers
import pytest
import trio

from abraxas_py import open_admin

EXAMPLE = str(Path(__file__).parents[3] / "examples" / "pipe.py")
STREAM_MIB = 160  # more than the limit, so that whoever keeps it whole is found out; 2048 was run by hand
LIMIT_MIB = 100
PIECE = b"abcdefgh" * 131072  # 1 MiB


def peak_mib(process: subprocess.Popen[bytes]) -> int:
    """The most memory that a running process has had."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("no VmHWM")


def feed(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    for _ in range(STREAM_MIB):
        process.stdin.write(PIECE)
    process.stdin.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see the memory of a process")
def test_a_stream_is_never_held_whole() -> None:
    port = gearman_servers.free_port()
    environment = {"GEARMAN_SERVER": f"127.0.0.1:{port}"}
    server = gearman_servers.abraxas(port)
    worker = client = None
    try:
        trio.run(gearman_servers.answers, f"127.0.0.1:{port}")
        worker = subprocess.Popen([sys.executable, EXAMPLE, "--work"], env=environment)
        trio.run(offered, f"127.0.0.1:{port}")
        client = subprocess.Popen(
            [sys.executable, EXAMPLE, "upper-stream"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        feeding = threading.Thread(target=feed, args=[client])
        feeding.start()
        assert client.stdout is not None
        got = hashlib.blake2b()
        peaks: dict[str, int] = {}
        for _ in range(STREAM_MIB - 1):
            got.update(client.stdout.read(len(PIECE)))
        for name, process in (("server", server), ("worker", worker), ("client", client)):
            peaks[name] = peak_mib(process)
        got.update(client.stdout.read())
        feeding.join()
        assert client.wait(timeout=20) == 0
        wanted = hashlib.blake2b()
        for _ in range(STREAM_MIB):
            wanted.update(PIECE.upper())
        assert got.digest() == wanted.digest()
        assert all(peak < LIMIT_MIB for peak in peaks.values()), peaks
    finally:
        for process in filter(None, (client, worker, server)):
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


async def offered(address: str) -> None:
    async def is_offered() -> bool:
        return any(row.workers for row in await admin.status())

    async with open_admin(address) as admin:
        await gearman_servers.until(is_offered)
