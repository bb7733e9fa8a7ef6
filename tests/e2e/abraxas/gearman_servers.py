"""Gearman servers for the tests of the API: ours, and the C++ gearmand, each on a port of its own."""

from __future__ import annotations

import inspect
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

import abraxas_py
from abraxas_py import ConnectionLost

START_TIMEOUT = 20.0  # s


def free_port() -> int:
    """A port below those that the system gives to connections.

    Among them, a client that tries again and again to reach a server that is away ends up connected to itself, and the
    server finds its port taken when it comes back.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def answers(address: str) -> None:
    """Wait until a server listens."""
    with trio.fail_after(START_TIMEOUT):
        while True:
            try:
                async with await abraxas_py.connect(address):
                    return
            except ConnectionLost:
                await trio.sleep(0.02)


def gearmand(path: str, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [path, "-u", "root", "-L", "127.0.0.1", "-p", str(port), "--log-file=none"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


SERVE = """
import sys, trio, abraxas_py
trio.run(abraxas_py.Server().serve, sys.argv[1:])
"""


def abraxas(port: int) -> subprocess.Popen[bytes]:
    """Our server as a process that can be killed."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@asynccontextmanager
async def process(started: subprocess.Popen[bytes]) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process for the time of a block."""
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@asynccontextmanager
async def open_server(gearmand_path: str | None) -> AsyncIterator[str]:
    """The address of a gearmand, or, without its path, of a server of ours in this process."""
    if gearmand_path is None:
        async with abraxas_py.serve("127.0.0.1:0") as server:
            yield server.endpoints[0]
    else:
        port = free_port()
        async with process(gearmand(gearmand_path, port)):
            await answers(f"127.0.0.1:{port}")
            yield f"127.0.0.1:{port}"


async def until(question: Callable[[], Any]) -> None:
    """Ask, or ask and await, until the answer is true; fail after 10 s."""
    with trio.fail_after(10):
        while True:
            answer = question()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return
            await trio.sleep(0.01)
