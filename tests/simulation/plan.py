"""What happens in a run, as data: made from the seed, executed by `workload` and `faults`, cut down by `minimise`.

A step says when, what, and with which arguments. Jobs are named by the number `n` of the step that queues them, so a
step that is left out takes nothing with it but its own effect.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import attrs

from gearbox.rules import NOOP, NOOPGO, NOOPWAIT

__all__ = ["CLIENTS", "FAULTS", "METHODS", "RAW", "WORKERS", "Plan", "Step", "plan_of"]

METHODS = ("a::one", "b::two")  # of workers that ask leave
RAW = "raw::three"  # of a worker of another maker
NOBODY = "nobody::four"
WORKERS = ("worker1", "worker2", "worker3")  # the last is of another maker
CLIENTS = ("client1", "client2")

FAR = 40 * 86400.0  # s: beyond what a timer of 31 bits of milliseconds can hold; cancelled when a run ends
AIMED = 0.5  # of the faults wait for an event of the system
LONG = 0.15  # of the seeds go on until what was cut off for minutes has come back
QUIET, QUIETLY = 65.0, 4  # s that one seed in four goes on when all is done: whatever comes late comes within that time
CALM = 0.12  # of the seeds have no fault: there every job must end exactly as its plan says
ODD = 0.25  # of the jobs are given something that is rarely seen, and their workers give it back
ODDITIES: tuple[Any, ...] = (
    "\ud800", "a\0b\x1b[31m\r\n", "<b>'\"`\u2028", {"": {"\udfff": "é"}}, "x" * 70_000, 2**63, -(2**64), 10**400,
    5e-324, 1.7976931348623157e308, -0.0, 9007199254740993, True, [], {}, [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]],
    [None] * 500, {"jsonrpc": "2.0", "id": 1, "result": None}, {"stream": "H:x:1"},
)  # fmt: skip
ODD_OPTION = 0.06  # of the jobs are asked for in an odd way: some are refused, none may be forgotten
ODD_OPTIONS: tuple[dict[str, Any], ...] = (
    {"dedupe": "\ud800"}, {"dedupe": "a\0b"}, {"dedupe": ""}, {"dedupe": "long" * 300}, {"priority": "urgent"},
    {"timeout": 1e300}, {"timeout": -1}, {"timeout": 5e-324}, {"max_retries": 2**70}, {"max_retries": True},
    {"retry_delay": 1e300, "max_retries": 1}, {"retry_delay": "1", "max_retries": 1}, {"after_id": 2**62},
    {"before_id": 2**63}, {"after_id": -1}, {"after_date": 1e300}, {"expires": -1e300},
)  # fmt: skip


@attrs.frozen
class Step:
    """At `at` seconds, do `kind`."""

    at: float
    kind: str
    args: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.at:8.3f} {self.kind} {json.dumps(self.args, sort_keys=True)}"


@attrs.frozen
class Plan:
    """One run. Faults end at `until`; whether the broker is in the only core's process is `is_embedded`."""

    seed: int
    cores: int  # several share one database and the broker
    is_embedded: bool
    until: float
    quiet: float  # s without faults before the end, at least
    steps: tuple[Step, ...]

    @property
    def faults(self) -> set[str]:
        return {step.kind for step in self.steps if step.kind in FAULTS}

    @property
    def jumps_clocks(self) -> bool:
        return "clock_jump" in self.faults


def plan_of(seed: int) -> Plan:
    """The run of a seed."""
    chance = random.Random(seed)
    until = chance.uniform(90, 200) if chance.random() < LONG else chance.uniform(15, 90)
    cores = chance.choice([1, 1, 1, 2, 3])
    place = Place(cores, is_embedded=cores == 1 and chance.random() < 0.7)
    author = _Author(chance, random.Random(f"odd {seed}"), until, place)
    for _ in range(chance.randint(15, 40)):
        author.queue()
    for _ in range(chance.randint(10, 35)):
        author.operate()
    if chance.random() > CALM:
        for kind, draw in FAULTS.items():
            while chance.random() < 0.22:
                author.fault(kind, draw(chance, author.place))
    steps = sorted(author.steps, key=lambda step: step.at)
    quiet = QUIET if seed % QUIETLY == 0 else 0.0
    return Plan(seed, cores, author.place.is_embedded, until, quiet, tuple(steps))


@attrs.frozen
class Place:
    """Where a run takes place."""

    cores: int
    is_embedded: bool

    @property
    def broker(self) -> str:
        """The node that has it."""
        return "core1" if self.is_embedded else "broker"

    @property
    def core_names(self) -> list[str]:
        return [f"core{number}" for number in range(1, self.cores + 1)]


class _Author:
    """Draws steps."""

    def __init__(self, chance: random.Random, oddity: random.Random, until: float, place: Place) -> None:
        self.chance = chance
        self.oddity = oddity
        self.until = until
        self.place = place
        self.steps: list[Step] = []
        self.jobs: list[tuple[float, int]] = []  # when and which

    def step(self, kind: str, at: float | None = None, **args: Any) -> None:
        moment = self.chance.uniform(0.5, self.until * 0.85) if at is None else at
        self.steps.append(Step(round(moment, 3), kind, args))

    def fault(self, kind: str, args: dict[str, Any]) -> None:
        """At some time; or right after something, when it hurts."""
        if self.chance.random() < AIMED:
            event = self.chance.choice(["commit", "commit", "commit", "begin", "end", "send", "queued"])
            args["aim"] = {"event": event, "after": self.chance.choice([0, 0, 1, 2, 5, 20])}
        self.step(kind, **args)

    def some_job(self, before: float = 1e9) -> int | None:
        """A job that is queued before an instant, a late one rather."""
        known = [n for at, n in self.jobs if at < before]
        return self.chance.choice(known[-8:]) if known else None

    def queue(self) -> None:
        chance = self.chance
        n = len(self.jobs)
        at = round(chance.uniform(0, self.until * 0.8), 3)
        method = chance.choice([*METHODS, *METHODS, *METHODS, RAW, NOOP, NOOPWAIT, NOBODY])
        if method in (NOOP, NOOPWAIT):
            args: Any = None
        else:
            args = {"n": n, "do": [self.deed() for _ in range(chance.randint(1, 3))]}
        options: dict[str, Any] = {"name": method, "args": args}
        if chance.random() < 0.4:
            options["max_retries"] = chance.randint(1, 3)
            options["retry_delay"] = chance.choice([0, 0.1, 1, 4])
            if chance.random() < 0.3:
                options |= {"backoff": "exponential", "retry_delay_max": 5}
        if chance.random() < 0.2:
            options["priority"] = chance.choice(["high", "low"])
        if chance.random() < 0.2:
            options["dedupe"] = chance.choice(["D", "E", "long" * 30])
        if chance.random() < 0.15:
            options["timeout"] = chance.choice([0.5, 2.0, 10.0])
        if method == NOOPWAIT and chance.random() < 0.5:
            options["timeout"] = chance.choice([1.0, 20.0])
        if args is not None and self.oddity.random() < ODD:
            args["odd"] = self.oddity.choice(ODDITIES)
        if self.oddity.random() < ODD_OPTION:
            options |= self.oddity.choice(ODD_OPTIONS)
        step = {
            "n": n,
            "client": chance.choice(CLIENTS),
            "options": options,
            "delay": chance.choice([None] * 6 + [0.0, 1.0, 10.0, FAR]),  # after_date, from the call on
            "expires": chance.choice([None] * 9 + [0.5, 15.0]),
            "after": self.some_job(at) if chance.random() < 0.3 else None,
            "before": self.some_job(at) if chance.random() < 0.2 else None,
            "twice": chance.random() < 0.1,
            "watch": chance.random() < 0.6,
        }
        self.jobs.append((at, n))
        self.step("queue", at, **step)

    def deed(self) -> list[Any]:
        """What a worker does at one attempt."""
        chance = self.chance
        kind = chance.choice(["ok", "ok", "ok", "ok", "fail", "big", "progress", "nonsense", "mute"])
        return [kind, chance.choice([0.0, 0.01, 0.3, 0.3, 2.0, 2.0, 12.0, 35.0])]

    def operate(self) -> None:
        chance = self.chance
        kind = chance.choice(list(OPERATIONS))
        at = round(chance.uniform(1, self.until * 0.85), 3)
        self.step(kind, at, client=chance.choice(CLIENTS), **OPERATIONS[kind](chance, self.some_job(at)))


def _job(chance: random.Random, n: int | None) -> dict[str, Any]:
    return {"job": n}


def _method(chance: random.Random, n: int | None) -> dict[str, Any]:
    return {"method": chance.choice([*METHODS, RAW]), "seconds": chance.uniform(0.5, 15)}


OPERATIONS: dict[str, Any] = {
    "cancel": _job,
    "watch": _job,
    "go": _job,
    "retry": lambda chance, n: {"job": n, "downstream": chance.random() < 0.5},
    "look": lambda chance, n: {"job": n, "what": chance.choice(["status", "history", "why", "graph"])},
    "watch_ahead": lambda chance, n: {"ahead": chance.randint(1, 5)},
    "pause": _method,
    "limit": lambda chance, n: _method(chance, n) | {"most": chance.choice([0, 1, 2])},
    "recurring": lambda chance, n: {
        "name": chance.choice(["r", "s"]),
        "overlap": chance.choice(["skip", "queue", "allow"]),
        "missed": chance.choice(["skip", "once", "all"]),
        "do": [["ok", chance.choice([0.1, 3.0])]],
    },
    "many": lambda chance, n: {
        "size": chance.randint(2, 4),
        "shape": chance.choice(["chain", "pool"]),
        "failures": chance.choice([0, 0, 1, 2]),
    },
    "release": lambda chance, n: {"meta": NOOPGO, "job": n},
}


def _seconds(chance: random.Random, longest: float) -> float:
    return round(chance.choice([0.05, 0.5, 3.0, longest]) * chance.random(), 3)


def _core(chance: random.Random, place: Place) -> dict[str, Any]:
    return {"node": chance.choice(place.core_names), "seconds": _seconds(chance, 70.0)}


def _worker(chance: random.Random, place: Place) -> dict[str, Any]:
    return {"node": chance.choice(WORKERS), "seconds": _seconds(chance, 70.0)}


def _client(chance: random.Random, place: Place) -> dict[str, Any]:
    return {"node": chance.choice(CLIENTS), "seconds": _seconds(chance, 40.0)}


def _broker(chance: random.Random, place: Place) -> dict[str, Any]:
    return {"node": place.broker, "seconds": _seconds(chance, 40.0)}


def _way(chance: random.Random, place: Place) -> dict[str, Any]:
    others = [*WORKERS, *CLIENTS, *([] if place.is_embedded else place.core_names)]
    ends = [place.broker, chance.choice(others)]
    chance.shuffle(ends)
    return {"ends": ends, "seconds": _seconds(chance, 90.0)}


def _wall(chance: random.Random, place: Place) -> dict[str, Any]:
    return _way(chance, place) | {"seconds": round(chance.choice([3.0, 30.0, 150.0]) * chance.random(), 3)}


def _store(chance: random.Random, place: Place) -> dict[str, Any]:
    return {"after": chance.randint(0, 60)}


FAULTS: dict[str, Any] = {
    "core_kill": _core,
    "core_term": _core,
    "core_stop": _core,
    "broker_kill": _broker,
    "broker_stop": _broker,
    "worker_kill": _worker,
    "worker_term": _worker,
    "worker_stop": _worker,
    "client_kill": _client,
    "cut": _way,
    "cut_one_way": _way,
    "reset": _way,
    "sever": _wall,
    "half_close": _way,
    "slow_network": lambda chance, _: {"lag": chance.choice([0.05, 0.5, 3.0]), "seconds": _seconds(chance, 30.0)},
    "store_busy": lambda chance, _: _store(chance, _) | {"seconds": _seconds(chance, 2.0)},
    "store_error": _store,
    "store_broken": _store,
    "store_full": lambda chance, _: _store(chance, _) | {"seconds": _seconds(chance, 20.0)},
    "store_down": lambda chance, _: _store(chance, _) | {"seconds": _seconds(chance, 40.0)},
    "store_unheard": lambda chance, _: {"is_stored": chance.random() < 0.7},
    "store_slow": lambda chance, _: {"latency": chance.choice([0.1, 2, 8, 40]), "seconds": _seconds(chance, 30.0)},
    "clock_jump": lambda chance, _: {"seconds": chance.choice([-300.0, -40.0, -1.0, 1.0, 40.0, 3600.0])},
}
