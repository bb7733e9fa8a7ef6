"""What jobs bring to our workers, and what their functions make of it: each job ends once, and the worker lives on.

A worker in Python (`gearbox.worker`), commands (`gearbox.work`) and a streaming worker (`abraxas_py`) share a server in
memory. The core is made up; what it gets, it reads as the real one does. The clock jumps, but not while a thread or a
command works; no step of the workers' loop may take long.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from random import Random
from typing import Any

import octets
import trio
import trio.testing
from deeds import DEEDS, HANDLERS
from fuzz_campaign import Case
from fuzz_rpc import VALUES
from payload_stage import COMMANDS, CORE, SOUND, Core, Pace, at_work

from abraxas_py import Client, JobError, JobRaised
from abraxas_py.protocol.pull import Ticket
from gearbox import rpc
from gearbox.errors import RpcError
from gearbox.work import assignment

__all__ = ["Payloads"]

_trio: Any = trio._core._run  # type: ignore[attr-defined]

ANSWERS = [True, True, False, None, 0, "yes", [], 404, 408, 413, 503, b"", b"\xff", b"null", b"[]", b"{}", b"[{}]"]
PULLS = [b"+a", b"+\xff\0", b"+" + b"[" * 2**16, b".", b"!no\xff", b"", b"?", b"+", b"..", None]
TICKETS = [b"abraxas.payload.7f 1"] * 6 + [
    b"abraxas.payload.8f 1", b"abraxas.payload. 1", b"abraxas.payload.\xff\n 1", b"abraxas.payload.7f -1", b"async 1",
    b"abraxas.payload.7f " + b"9" * 5000, b"abraxas.payload.7f", b"", b"abraxas.payload." + b"x" * 600 + b" 1",
]  # fmt: skip
IDS = ['"i"', '"i"', '"i"', "1", "null", "0", '""', "false", "true", "[]", '{"a":1}', '"\\ud800"', "9007199254740993"]
TRACE = '"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"'
META = ["gearbox_id", "gearbox_attempt", "gearbox_after", "gearbox_pool", "gearbox_pool_is_cut", "traceparent", "who"]
LONGEST_STEP = 0.5  # seconds
PATIENCE = 3600.0  # seconds of the clock that jumps


class Payloads:
    """A case is (function, payload) for a job, (method, answer) for the core's next answer, or ("pull", answer)."""

    name = "payloads"
    cases = 10

    def __init__(self) -> None:
        _trio._ALLOW_DETERMINISTIC_SCHEDULING = True
        self._logs = [logging.getLogger(name) for name in ("abraxas", "gearbox")]
        for log in self._logs:
            log.addHandler(_Nowhere())
            log.setLevel(logging.DEBUG)
            log.propagate = False

    def make(self, chance: Random) -> Case:
        return [_item(chance) for _ in range(chance.randint(1, 12))]

    def check(self, case: Case) -> None:
        # The machine has other work, too.
        assert any(_longest_step(case) < LONGEST_STEP for _ in range(3)), "the loop was held up"

    def close(self) -> None:
        _trio._ALLOW_DETERMINISTIC_SCHEDULING = False
        for log in self._logs:
            log.removeHandler(log.handlers[-1])
            log.setLevel(logging.NOTSET)
            log.propagate = True


class _Nowhere(logging.Handler):
    """Makes each line of a log as those do that write it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.format(record)
        except RecursionError:  # as in logging.StreamHandler
            raise
        except Exception:
            pass


def _longest_step(case: Case) -> float:
    pace = Pace(clock := trio.testing.MockClock())
    _trio._r.seed(0)  # the order of tasks that could go on: the same each time
    try:
        trio.run(_check, case, pace, clock=clock, instruments=[pace])
    except BaseExceptionGroup as escaped:
        raise AssertionError(f"it escaped: {escaped!r}") from escaped
    return pace.longest


def _item(chance: Random) -> tuple[str, object]:
    roll = chance.random()
    if roll < 0.15:
        return chance.choice(list(CORE)), chance.choice(ANSWERS)
    if roll < 0.25:
        return "pull", chance.choice(PULLS)
    kind = chance.choice(["plain", "async", "plain", "async", "whole", "stream", "command" if roll > 0.9 else "async"])
    if kind in ("plain", "async"):
        function = f"{kind}::{chance.choice([*DEEDS, 'strict'])}"
    elif kind == "command":
        function = chance.choice(COMMANDS)
    else:
        function = f"{kind}::{chance.choice(list(HANDLERS))}"
    if chance.random() < (0.5 if kind in ("whole", "stream") else 0.05):
        return function, b"\0abraxas-payload\0" + chance.choice(TICKETS)
    payload = _payload(chance, function)
    return function, octets.damaged(chance, payload) if chance.random() < 0.1 else payload


def _payload(chance: Random, function: str) -> bytes:
    envelope = [
        ("jsonrpc", '"2.0"'),
        ("method", json.dumps(function)),
        ("params", _value(chance)),
        ("id", chance.choice(IDS)),
        ("_meta", _meta(chance)),
    ]
    if chance.random() < 0.1:
        envelope.append((chance.choice(["jsonrpc", "method", "id", "_meta", "result", "error"]), _value(chance)))
    payload = "{" + ",".join(f'"{key}":{value}' for key, value in envelope) + "}"
    if chance.random() < 0.03:
        payload = chance.choice(["[%s]", "[%s,%s]", " %s\n", "\ufeff%s"]).replace("%s", payload)
    return payload.encode()


def _meta(chance: Random) -> str:
    if chance.random() < 0.3:
        return "null"
    usual = chance.choice(['"gearbox_id":7,"gearbox_attempt":1', f'"gearbox_id":{chance.randint(1, 9)}', '"who":1'])
    odd = [f'"{chance.choice(META)}":{_value(chance)}' for _ in range(chance.choice([0, 0, 1, 2]))]
    return "{" + ",".join(chance.sample([usual, *odd], len(odd) + 1)) + "}"


def _value(chance: Random, depth: int = 0) -> str:
    roll = chance.random()
    if roll < 0.2 and depth < 3:
        return "[" + ",".join(_value(chance, depth + 1) for _ in range(chance.randint(0, 3))) + "]"
    if roll < 0.4 and depth < 3:
        return "{" + ",".join(f'"{chance.choice("abc")}":{_value(chance, depth + 1)}' for _ in range(2)) + "}"
    if roll < 0.5:
        levels = chance.choice([chance.randint(470, 545), chance.randint(850, 1000)])
        return "[" * levels + "]" * levels
    return chance.choice([*VALUES, TRACE, '"42%\\r\\n"', '"-e"', "7", "1", '["sound"]'])


async def _check(case: Case, pace: Pace) -> None:
    core = Core()
    for name, answer in case:
        core.answers[name].append(answer)
    jobs = [(name, data) for name, data in case if "::" in name]
    functions = sorted({name for name, _ in jobs} | {"plain::none", "async::none", "whole::none"})
    with trio.fail_after(PATIENCE):
        async with at_work(functions, core, pace) as client:
            await trio.sleep(60)
            tasks = trio.lowlevel.current_statistics().tasks_living
            attempts = Counter(_attempt(*job) for job in jobs)
            for (function, data), task in [(job, client.submit(*job)) for job in jobs]:
                try:
                    end: bytes | JobError = await task
                except JobError as error:
                    end = error
                attempt = _attempt(function, data)
                if attempt is None or attempts[attempt] == 1:  # or it shares its answer with another job
                    _read(function, data, end, core)
            await trio.sleep(60)
            assert not core.faults, core.faults
            assert not core.is_exact or +core.begun == +core.settled, "an end is lacking, or one too many"
            for function in functions:
                await _do_a_sound_job(client, function)
            await trio.sleep(60)
            assert trio.lowlevel.current_statistics().tasks_living == tasks, "a task is left"
            assert trio.testing.active_thread_count() == 0, "a thread is left"


async def _do_a_sound_job(client: Client, function: str) -> None:
    if function.startswith(("whole", "stream")):
        assert await client.submit(function, SOUND) == SOUND.encode()
        return
    answer = await client.submit(function, rpc.request(function, [SOUND], "s"))
    assert function.startswith("command") or rpc.parse_response(answer, "s") == SOUND


def _attempt(function: str, data: bytes) -> tuple[str, assignment.Ticket] | None:
    request = rpc.parse_request(data, function)
    ticket = assignment.Ticket.of(request.meta) if isinstance(request, rpc.Request) else None
    return None if ticket is None else (function, ticket)


def _read(function: str, data: bytes, end: bytes | JobError, core: Core) -> None:
    """What a job came to, as a core or a client reads it."""
    if function.startswith(("whole", "stream")):
        return
    is_pulled = Ticket.parse(data) is not None
    if isinstance(end, JobRaised):
        assert is_pulled, end
    elif isinstance(end, JobError):
        assert not core.is_exact, "given up, although the core wants it"
    elif not is_pulled:
        request = rpc.parse_request(data, function)
        is_notification = request.is_notification if isinstance(request, rpc.Refused) else request.id is None
        is_too_deep = b"nested too deeply" in end  # the parser's own limit moves with the depth of the stack
        assert bool(end) != is_notification or is_too_deep, end
        if end:
            try:
                rpc.dump(rpc.parse_response(end, request.id))
            except RpcError as failure:
                rpc.dump(failure.as_json())
