"""The methods of the core, given any payload: one answer, which JSON can say; no internal error; nothing altered."""

from __future__ import annotations

import json
import logging
import tempfile
from functools import partial
from pathlib import Path
from random import Random

import attrs
import structlog
import trio
from core_stage import System, system
from fuzz_campaign import Case

from gearbox import methods, rpc
from gearbox.gearman import Call

__all__ = ["Rpc"]

PREFIX = "gearbox\\core::"
PENDING = {"watch", "noopwait"}  # which may wait for a job that never ends
VALUES = [
    "null", "true", "false", "0", "1", "2", "-1", "7", "1.0", "1.5", "-0.0", "1e400", "1e-400", "9007199254740993",
    "9223372036854775807", "9223372036854775808", "4294967296", "NaN", "Infinity", "-Infinity", '""', '"1"', '"é"',
    '"\\ud800"', '"\\u0000"', '"\\udc80x"', '"a b"', '"a::b"', '"x\\ny"', '"complete"', '"errored"', '"high"', '"skip"',
    '"exponential"', '"2026-11-21T09:00Z"', '"9999-12-31T23:59:59.999999-23:59"', '"2026-02-30"', '"* * * * *"',
    '"0 0 31 2 *"', '"UTC"', '"Mars/Base"', "[]", "{}", "[1]", '["1"]', "[[1]]", '{"a":1,"a":2}', '{"":null}', '"',
    "[", "9" * 5000, "[" * 100_000, '{"a":' * 2000 + "1" + "}" * 2000, "1" + "0" * 309, '"' + "x" * 300 + '"',
]  # fmt: skip
KEYS = [
    "id", "name", "method", "args", "priority", "dedupe", "after_date", "after_id", "before_id", "max_retries",
    "retry_delay", "retry_delay_max", "backoff", "timeout", "expires", "submit_token", "ref", "after_ref",
    "before_ref", "wait_for_id", "data", "status", "progress", "append", "attempt", "worker", "reason", "downstream",
    "concurrency", "cron", "timezone", "overlap", "missed", "jobs",
]  # fmt: skip


class Rpc:
    """A case is (method, payload) pairs, which one core gets."""

    name = "rpc"
    cases = 40

    def __init__(self) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    def make(self, chance: Random) -> Case:
        return [_call(chance) for _ in range(40)]

    def check(self, case: Case) -> None:
        with tempfile.TemporaryDirectory() as folder:
            trio.run(partial(_check, case, Path(folder) / "jobs.db"))

    def close(self) -> None:
        structlog.reset_defaults()


def _value(chance: Random, depth: int = 0) -> str:
    match chance.random():
        case roll if roll < 0.1 and depth < 4:
            return "[" + ",".join(_value(chance, depth + 1) for _ in range(chance.randint(0, 3))) + "]"
        case roll if roll < 0.2 and depth < 4:
            return "{" + _members(chance, chance.randint(0, 3), depth + 1) + "}"
        case roll if roll < 0.22:
            levels = chance.choice([chance.randint(480, 500), chance.randint(850, 1000)])  # ours and the parser's limit
            return "[" * levels + "]" * levels
        case _:
            return chance.choice(VALUES)


def _members(chance: Random, count: int, depth: int) -> str:
    return ",".join(f'"{chance.choice(KEYS)}":{_value(chance, depth)}' for _ in range(count))


def _params(chance: Random, method: str) -> str:
    if chance.random() < 0.1:
        return _value(chance)
    some = _members(chance, chance.randint(0, 3), 1)
    usual = {
        "queue": '"name":"a::b","args":' + _value(chance),
        "queue_many": '"jobs":[{"name":"a::b","ref":"x"},{"name":"a::b","after_ref":"x"}]',
        "schedule": '"name":"n","cron":"* * * * *","method":"a::b"',
    }.get(method, f'"id":{chance.randint(1, 9)},"method":"a::b","name":"n","attempt":1')
    # Of two equal keys the last one counts.
    return "{" + ",".join(filter(None, chance.sample([usual, some], 2))) + "}"


def _call(chance: Random) -> tuple[str, bytes]:
    method = "queue" if chance.random() < 0.4 else chance.choice(list(methods.METHODS)).removeprefix(PREFIX)
    id = chance.choice(['"i"', '"i"', '"i"', "1", "null", "0", "[]", '"\\ud800"'])
    envelope = {
        "jsonrpc": '"2.0"',
        "method": json.dumps(PREFIX + method),
        "params": _params(chance, method),
        "id": id,
        "_meta": chance.choice(["null", "{}", '{"who":"me"}', '{"who":"\\ud800"}', '{"who":"a\\u0000"}', '{"who":[]}']),
    }
    if chance.random() < 0.1:
        envelope[chance.choice(list(envelope))] = _value(chance)
    payload = ("{" + ",".join(f'"{key}":{value}' for key, value in envelope.items()) + "}").encode()
    if chance.random() < 0.03:
        at = chance.randrange(len(payload))
        payload = payload[:at] + chance.randbytes(1) + payload[at + 1 :]
    return method, payload


@attrs.define
class _Answers:
    """What a call was answered."""

    given: list[bytes] = attrs.field(factory=list)


async def _check(case: Case, path: Path) -> None:
    async with system(path) as it:
        answers = [_Answers() for _ in case]
        for (method, payload), answer in zip(case, answers, strict=True):
            methods.dispatch(it.core, Call(PREFIX + method, payload, answer.given.append))
        with trio.move_on_after(10):
            while not all(  # noqa: ASYNC110
                answer.given for (method, _), answer in zip(case, answers, strict=True) if method not in PENDING
            ):
                await trio.sleep(0.001)  # some methods take several transactions
        await it.core.drain()
        stored: dict[int, bytes] = {}
        for (method, payload), answer in zip(case, answers, strict=True):
            assert len(answer.given) == 1 or (method in PENDING and not answer.given), "answered once"
            for text in answer.given:
                await _check_answer(it, method, payload, text, stored)


async def _check_answer(it: System, method: str, payload: bytes, text: bytes, stored: dict[int, bytes]) -> None:
    """`stored` has the call that made each job: the first of those with the same token."""
    if not text:
        return
    answer = rpc.load(text)
    assert answer["jsonrpc"] == "2.0"
    assert ("error" in answer) != ("result" in answer)
    if "error" in answer:
        assert not str(answer["error"]["message"]).startswith("internal error"), answer
    elif method == "queue":
        id = answer["result"]
        (row,) = await it.gearbox.status([id])
        first = rpc.load(stored.setdefault(id, payload))
        assert row["arguments"] == first["params"].get("args"), "arguments came back altered (S12)"
