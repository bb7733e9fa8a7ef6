"""Client, worker and administrator, whatever a server answers: each call ends, no job runs unasked, and work goes on.

A server of the case's making is met by our side, connection after connection; then a good one answers in its place, and
from the beginning where `beside` says so. Nothing waits for real time: the clock jumps.
"""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Iterator
from random import Random
from typing import Any

import hostile_server
import octets
import trio
import trio.testing
from fuzz_campaign import Case
from hostile_server import sent

from abraxas_py.protocol.packets import SHAPES, Type
from abraxas_py.protocol.pull import Ticket

__all__ = ["Servers"]

WEIGH_EVERY = 100  # cases; measuring memory makes one much slower
ODD = [*octets.ODD, b"\xed\xa0\x80", b"1e400", b"-0", b"nan", b"1" * 5000, b"\xd9\xa1", b"streaming", 70_000, 600_000]
TICKETS = [Ticket.of("7f", 3).format(), Ticket.of("", 10**17).format(), b"\0abraxas-payload\0abraxas.payload.x 99e9"]
PULLED = [b"+piece", b"+", b".", b"!no", b"", b"!\xff", b"?", 300_000]
ROWS = [
    b"f\t1\t1\t1", b"f\t1\t2\t3\t4", b"30 ::1 - : f g", b"30 127.0.0.1 a : b :", b"H:1\t0\t0\t1", b"H:1\tf\t3\tu", b"",
    b"OK", b"OK 1.0\r", b"OK " + b"7" * 5000, b"ERR", b"ERR A b+c\r", b"ERR \xff \xff", b"\t\t\t", b"f\t-1\t1e400\t",
    b"f\t\xd9\xa1\t1\t1", b"1 a b" + b" :" * 500 + b"  x", b"..", b"x" * 8192, b"x" * 8193,
]  # fmt: skip
TABLES = ["status", "priority_status", "workers", "jobs", "unique_jobs", "dead"]
FLAGS = ["streaming", "beside", "stream", "reducers", "limits", "early"]
ADMIN = [*TABLES, "version", "verbose", "getpid", "cancel_job", "retry_dead", "drop_function", "max_queue"]
ANSWERS: dict[str, list[Any]] = {  # what a good server answers to a call
    "submit": ["JOB_CREATED", "WORK_DATA", "WORK_STATUS", "WORK_WARNING", "WORK_COMPLETE"],
    "iterate": ["JOB_CREATED", "WORK_STATUS", "WORK_DATA", "WORK_EXCEPTION"],
    "output": ["JOB_CREATED", "WORK_DATA", "WORK_DATA", "WORK_COMPLETE"],
    "stream": ["JOB_CREATED", "WORK_DATA", "WORK_FAIL"],
    "created": ["JOB_CREATED", "WORK_FAIL"],
    "copy": ["JOB_CREATED", "WORK_COMPLETE"],
    "submit_bg": ["JOB_CREATED"], "submit_at": ["JOB_CREATED"], "submit_sched": ["JOB_CREATED"],
    "echo": ["ECHO_RES"], "get_status": ["STATUS_RES"], "get_status_unique": ["STATUS_RES_UNIQUE"],
}  # fmt: skip
WORK = ["JOB_ASSIGN_UNIQ", "JOB_ASSIGN_UNIQ", "JOB_ASSIGN_ALL", "JOB_ASSIGN", "NO_JOB", "NOOP"]
PULLS = ["JOB_ASSIGN_UNIQ", "JOB_CREATED", "WORK_COMPLETE", "JOB_CREATED", "STATUS_RES", "WORK_COMPLETE"]
STRAY = [*WORK, "ERROR", "WORK_COMPLETE", "ECHO_RES", "OPTION_RES", "OK"]


class Servers:
    """A case is options, then what the server does: it sends a packet (type, arguments; a number stands for as many
    bytes, None for the function that our side offers), bytes, or several of them at once in a list; it pauses
    (seconds), or closes the connection (None)."""

    name = "servers"
    cases = 30

    def __init__(self) -> None:
        self._checked = 0
        logging.getLogger("abraxas").setLevel(logging.CRITICAL + 1)

    def make(self, chance: Random) -> Case:
        role = chance.choice(["client", "client", "worker", "worker", "admin"])
        calls = ADMIN if role == "admin" else list(ANSWERS)
        options = {
            "role": role,
            "calls": [chance.choice(calls) for _ in range(chance.randint(1, 4))],
            "works": role == "worker" or chance.random() < 0.3,
            **{name: chance.random() < 0.3 for name in FLAGS},
            "leaves": chance.random() < 0.1,
            "max_jobs": chance.choice([1, 1, 3]),
            "encoding": chance.choice([None, None, None, "utf-8", "utf-16"]),
            "reads": chance.choice([1, 2, 3, 5, *[1000] * 12]),  # so often, then no more
        }
        return [
            options,
            *(step for turn in range(chance.randint(1, 3)) for step in (*_steps(chance, options, turn), None)),
        ]

    def check(self, case: Case) -> None:
        self._checked += 1
        clock = trio.testing.MockClock(autojump_threshold=0)
        if self._checked % WEIGH_EVERY:
            trio.run(hostile_server.meet, case, clock=clock)
        else:
            tracemalloc.start()
            try:
                trio.run(hostile_server.meet, case, clock=clock)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak <= 8 * sum(len(sent(step)) for step in case if not isinstance(step, dict)) + 16 * 1024 * 1024

    def close(self) -> None:
        logging.getLogger("abraxas").setLevel(logging.NOTSET)


def _steps(chance: Random, options: dict[str, Any], turn: int) -> Iterator[Any]:
    """A connection: what a good server would say, but for what went wrong."""
    if options["role"] == "admin":
        wanted = [["row", "row", "row", "."][chance.randint(0, 3) :] for _ in range(3)]
    else:
        is_feeder = options["role"] == "client" and options["streaming"] and turn > 0
        is_worker = options["works"] or is_feeder
        wanted = [["OPTION_RES"], *([["ECHO_RES"]] if is_worker else [])]
        wanted += [["OK"]] if options["limits"] and options["role"] == "worker" else []
        wanted += [] if options["role"] == "worker" else [ANSWERS[call] for call in options["calls"] if not is_feeder]
        wanted += [chance.choice([*([kind] for kind in WORK), PULLS]) for _ in range(chance.randint(0, 5)) if is_worker]
        if options["streaming"] and chance.random() < 0.95:
            yield from (0.1, ("OPTION_RES", b"streaming"))
    yield 0.1
    badness = chance.choice([0.0, 0.02, 0.1, 0.4])
    for kind in (kind for answer in wanted for kind in answer):
        if chance.random() < 0.5:
            yield chance.choice([0.001, 0.01, 0.1, 1.0, 6.0, 12.0])
        match chance.random() / badness if badness else 1:
            case roll if roll < 0.2:
                continue
            case roll if roll < 0.4:
                yield [_said(chance, kind) for _ in range(2)]
            case roll if roll < 0.6:
                yield octets.damaged(chance, sent(_said(chance, kind)))
            case roll if roll < 0.9:
                yield _said(chance, chance.choice(STRAY if chance.random() < 0.5 else list(SHAPES)))
            case roll if roll < 1:
                yield chance.choice([octets.packet(chance, chance.choice(octets.TYPES)), octets.line(chance)])
            case _:
                yield _said(chance, kind)
    yield chance.choice([0.1, 1.0, 20.0])


def _said(chance: Random, kind: str | Type) -> Any:
    if kind in ("row", ".", "OK"):
        text: bytes = chance.choice(ROWS) if kind == "row" else kind.encode()  # type: ignore[union-attr]
        return text + chance.choice([b"\n", b"\r\n"])
    type = Type[kind] if isinstance(kind, str) else kind
    arguments = [_argument(chance, name, type) for name in SHAPES[type].arguments]
    if chance.random() < 0.05:
        arguments = chance.choice([arguments[:-1], arguments[:1], [*arguments, b"x"]])
    return (type.name, *arguments)


def _argument(chance: Random, name: str, type: Type) -> bytes | int | None:
    if chance.random() < 0.03:
        return chance.choice(ODD)
    match name:
        case "handle":
            return chance.choice([b"H:1", b"H:1", b"H:1", b"H:2"])
        case "known" | "running" | "clients" | "numerator" | "denominator":
            return chance.choice([b"0", b"1", b"1", b"2"])
        case "function":
            return chance.choice([None, None, None, b"never offered"])
        case "option":
            return b"exceptions"
        case "code":
            return chance.choice([b"QUEUE_ERROR", b"JOB_NOT_FOUND"])
        case "data" if type.name.startswith("JOB_ASSIGN"):
            return chance.choice([b"x", b"x", *TICKETS, b"1 0", b"1 262144", b"1 9", b"2 0", b"1 1 "])
        case "data":
            return chance.choice(PULLED)
        case _:
            return chance.choice([b"", b"u"])
