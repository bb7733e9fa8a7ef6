"""A worker of the soak's methods, as a program: `python worker.py 127.0.0.1:4730`."""

from __future__ import annotations

import sys

import trio

from gearbox.worker import Worker

worker = Worker([sys.argv[1]])


@worker.method("soak::noop", concurrency=20)
async def noop(number: int = 0) -> int:
    return number


@worker.method("soak::slow", concurrency=20)
async def slow(number: int = 0) -> int:
    await trio.sleep(0.1)
    return number


@worker.method("soak::large", concurrency=5)
async def large(number: int = 0) -> str:
    return "x" * 10_000


@worker.method("soak::failing", concurrency=5)
async def failing(number: int = 0) -> None:
    raise ValueError("as it should")


worker.run()
