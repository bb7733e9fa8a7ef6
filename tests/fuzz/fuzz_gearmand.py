"""Conversations of several peers with gearmand 1.1.20 and with our broker: everyone hears the same from both.

What we answer otherwise on purpose is listed in `DIFFERENCES` of `tests/broker/oracle_scripts.py`, each with its script
and its reason. What would lead there is not made, or, where it depends on what went before, not said (`EXCUSES`):
servers that have come to different states cannot be compared from then on.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

import octets
from both_servers import Gearmand, Heard, Ours, Theirs, gearmand_path
from fuzz_campaign import Case
from oracle_scripts import DIFFERENCES

from abraxas_py.broker import Broker
from abraxas_py.broker.model import JobState, Peer, WorkerState
from abraxas_py.broker.state import coalescing_key
from abraxas_py.protocol.packets import SHAPES, SUBMISSIONS, Priority, Type
from abraxas_py.protocol.text import words
from abraxas_py.protocol.wire import REQUEST, RESPONSE, Line

__all__ = ["EXCUSES", "AgainstGearmand"]

FUNCTIONS = (*[b"f"] * 20, *[b"g"] * 8, b"f" * 512, "ü".encode())
HELD = b"<0>"  # the handle of the job that the peer got last, of those that it holds
LATER = b"4000000000"  # as an epoch
TOO_LONG = b"u" * 65  # for a unique
UNIQUES = (b"", b"", b"u", b"v", b"-", b"u" * 63, TOO_LONG)
GRABS = (Type.GRAB_JOB, Type.GRAB_JOB_UNIQ, Type.GRAB_JOB_ALL)
REPORTS = (Type.WORK_DATA, Type.WORK_WARNING, Type.WORK_STATUS, Type.WORK_COMPLETE, Type.WORK_FAIL, Type.WORK_EXCEPTION)
SUBMITS = (*SUBMISSIONS.values(), Type.SUBMIT_JOB_EPOCH, Type.SUBMIT_REDUCE_JOB, Type.SUBMIT_REDUCE_JOB_BACKGROUND)
BACKGROUND = (
    *(type for (_, is_background), type in SUBMISSIONS.items() if is_background),
    *(Type.SUBMIT_JOB_EPOCH, Type.SUBMIT_REDUCE_JOB_BACKGROUND),
)
ABILITIES = (Type.CAN_DO, Type.CAN_DO_TIMEOUT)
RARE = (Type.CANT_DO, Type.RESET_ABILITIES, Type.SET_CLIENT_ID, Type.OPTION_REQ, Type.ECHO_REQ)
QUESTIONS = (Type.GET_STATUS, Type.GET_STATUS_UNIQUE)
SERVERS = (Type.NOOP, Type.NO_JOB, Type.JOB_CREATED, Type.ECHO_RES, Type.ALL_YOURS, Type.UNUSED)
LINES = (
    b"status", b"prioritystatus", b"show jobs", b"show unique jobs", b"workers", b"STATUS x", b"version", b"verbose",
    b"maxqueue f 2", b"maxqueue g 3 2 1", b"maxqueue f", b"maxqueue f 0", b"create function g\r",
    b"create function h\r", b"drop function g\r", b"drop function h\r", b"drop function nope\r", b"show", b"show x",
    b"cancel job H:no:1", b"cancel x y", b"foo", b"", b"maxqueue", b"create", b"drop x",
)  # fmt: skip

# A packet with its type and its arguments, or other bytes as they are. Handles stand as their numbers: <1>.
Said = tuple[int, list[bytes]] | bytes
Kind = Callable[[Random], list[Said]]


class AgainstGearmand:
    """A case is (peer, what it says...), or (peer, None) for one that leaves."""

    name = "gearmand"
    cases = 100

    def __init__(self) -> None:
        path = gearmand_path()
        assert path is not None, "gearmand is missing (Debian: gearman-job-server)"
        self._gearmand = Gearmand(path)
        self.unsteady = 0  # conversations that differed once, and not again

    def make(self, chance: Random) -> Case:
        return [_step(chance) for _ in range(chance.randint(10, 60))]

    def check(self, case: Case) -> None:
        try:
            self._play(case)
        except (AssertionError, OSError):
            # Ours says the same whenever it is asked; what does not come again is gearmand's, or the machine's.
            self._gearmand.restart()
            self._play(case)
            self.unsteady += 1

    def _play(self, case: Case) -> None:
        both = ours, theirs = Ours(), Theirs(self._gearmand)
        try:
            for number, (name, *said) in enumerate(case):
                peer = ours.meet(name)
                theirs.meet(name)
                said = [one for one in map(partial(_with_held, ours, peer), said) if _is_comparable(ours, peer, one)]
                if said == [None]:
                    _compare(number, ours.leave(name), theirs.leave(name))
                elif said:
                    _compare(number, *(side.say(name, b"".join(_octets(one, side) for one in said)) for side in both))
        finally:
            theirs.end()

    def close(self) -> None:
        self._gearmand.close()
        if self.unsteady:
            print(f"{self.name}: {self.unsteady} conversations differed once, and not again")


def _compare(number: int, ours: Heard, theirs: Heard) -> None:
    assert ours == theirs, f"after step {number} ours hear {ours}, gearmand's {theirs}"


def _with_held(ours: Ours, peer: Peer, said: Said | None) -> Said | None:
    """A report on what the peer holds; a grab where it holds nothing."""
    if said is None or isinstance(said, bytes) or HELD not in said[1]:
        return said
    if not peer.jobs:
        return int(Type.GRAB_JOB), []
    handle = ours.handles.number(next(reversed(peer.jobs)).handle)
    return said[0], [handle if argument == HELD else argument for argument in said[1]]


def _octets(said: Said, side: Ours | Theirs) -> bytes:
    if isinstance(said, bytes):
        return side.handles.fill(said)
    number, arguments = said
    return octets.request(Type(number), *map(side.handles.fill, arguments))


# --- what is said ---


def _step(chance: Random) -> tuple[object, ...]:
    peer = chance.choice(list(PEERS))
    if chance.random() < 0.02:
        return (peer, None)
    (kind,) = chance.choices(list(PEERS[peer]), PEERS[peer].values())
    return (peer, *kind(chance))


def _packets(*types: Type) -> Kind:
    return lambda chance: [_packet(chance, chance.choice(types))]


def _reports_on_its_own(chance: Random) -> list[Said]:
    number, (_, *arguments) = _packet(chance, chance.choice(REPORTS))
    return [(number, [HELD, *arguments])]


def _several_at_once(chance: Random) -> list[Said]:
    return [(int(chance.choice(list(SUBMISSIONS.values()))), [b"f", b"", b"x"]) for _ in range(3)]


def _line(chance: Random) -> list[Said]:
    return [chance.choice(LINES) + b"\n"]


def _damaged(chance: Random) -> list[Said]:
    """What is no packet of a peer, but as long as it says."""
    if chance.random() < 0.5:
        return [RESPONSE + octets.request(Type.ECHO_REQ, b"x")[4:]]
    magic, number = chance.choice([(REQUEST, 0), (REQUEST, 43), (REQUEST, 1000), (b"\0FOO", 7)])
    return [struct.pack(">4sII", magic, number, 0)]


def _packet(chance: Random, type: Type) -> Said:
    arguments = [_argument(chance, name) for name in SHAPES[type].arguments]
    if type not in SUBMISSIONS.values():  # "a unique too long for a reduced job"
        arguments = [b"u" if argument == TOO_LONG else argument for argument in arguments]
    return (int(type), arguments)


def _argument(chance: Random, name: str) -> bytes:
    match name:
        case "function":
            return chance.choice(FUNCTIONS)
        case "unique":
            return chance.choice(UNIQUES)
        case "reducer":
            return chance.choice([b"r", b""])
        case "id":
            return chance.choice([b"me", b"x" * 130])
        case "aggregator":
            return b""
        case "handle":
            return b"<%d>" % chance.randint(1, 9)
        case "epoch":
            return chance.choice([b"0", b"1", LATER])
        case "timeout":
            return chance.choice([b"0", b"100000000"])
        case "option":
            return chance.choice([b"exceptions", b"exceptions", b"speed", b""])
        case "numerator" | "denominator":
            return b"%d" % chance.randint(0, 9)
        case _:
            return chance.choice([b"", b"x", b"x\0y", b"payload"])


_questions, _submits, _grabs = _packets(*QUESTIONS), _packets(*SUBMITS), _packets(*GRABS)
_abilities, _sleeps, _reports = _packets(*ABILITIES), _packets(Type.PRE_SLEEP), _packets(*REPORTS)
_rare, _servers = _packets(*RARE), _packets(*SERVERS)
_CLIENT = {_submits: 10, _questions: 4, _line: 2, _several_at_once: 1, _rare: 1, _damaged: 0.2, _servers: 0.1}
_WORKER = {_abilities: 3, _grabs: 8, _reports_on_its_own: 8, _sleeps: 2, _reports: 1, _rare: 0.5, _line: 0.5}
PEERS: Mapping[str, Mapping[Kind, float]] = {
    "a": _CLIENT,
    "b": _CLIENT,
    "v": _WORKER,
    "w": _WORKER,
    "x": _CLIENT | _WORKER,
}


# --- what is not said, by the name of the difference that would come of it ---


def _is_comparable(ours: Ours, peer: Peer, said: Said | None) -> bool:
    excuse = _excuse(ours, peer, said)
    assert excuse is None or excuse in DIFFERENCES
    return excuse is None


def _excuse(ours: Ours, peer: Peer, said: Said | None) -> str | None:
    """Why this cannot be compared here, by a name in `DIFFERENCES`."""
    if said is None:
        return _excuse_leave(peer)
    if isinstance(said, bytes):
        if said.startswith(b"\0"):
            return _excuse_leave(peer)  # for some of them it is closed
        return _excuse_line(ours.broker, Line(said.rstrip(b"\r\n")))
    number, arguments = said
    type = Type(number)
    given = dict(zip(SHAPES[type].arguments, map(ours.handles.fill, arguments), strict=True))
    if peer.text_only:
        return "somebody else's protocol"
    for name, applies in EXCUSES.items():
        if applies(ours.broker, peer, type, given):
            return name
    return None


def _excuse_leave(peer: Peer) -> str | None:
    for job in peer.waiting:
        if set(job.clients) == {peer.id}:
            if job.is_background:
                return "a background job that a client joined and left"
            if job.state is not JobState.RUNNING or job.worker is peer:
                return "abandoned jobs"
    if not all(job.clients or job.is_background for job in peer.jobs):
        return "abandoned jobs"
    queues = Counter((job.function, job.priority) for job in peer.jobs)
    return "a worker lost with several jobs" if max(queues.values(), default=0) > 1 else None


def _excuse_line(broker: Broker, line: Line) -> str | None:
    word, arguments = words(line)
    match [word, *arguments]:
        case [b"maxqueue", name, *_] if name not in broker.functions:
            return "maxqueue before the function"
        case [b"drop", b"function", name] if name in broker.functions and broker.functions[name].total:
            return "dropping a function with jobs"
        case [b"prioritystatus", *_] if any(function.delayed for function in broker.functions.values()):
            return "waiting by priority"
    return None


Given = Mapping[str, bytes]  # arguments by their names


def _has_jobs(broker: Broker, given: Given) -> bool:
    return given["function"] in broker.functions and broker.functions[given["function"]].queued > 0


def _has_workers(broker: Broker, given: Given, state: WorkerState) -> bool:
    function = broker.functions.get(given["function"])
    return any(function in peer.abilities and peer.state is state for peer in broker.peers.values())


def _joins_foreground(broker: Broker, given: Given) -> bool:
    function = broker.functions.get(given["function"])
    job = function and function.jobs.get(coalescing_key(given["unique"], given["data"]))
    return job is not None and not job.is_background


def _takes_turns(broker: Broker, peer: Peer) -> bool:
    """Whether the worker's newest function that has jobs has none of the highest priority that waits for it."""
    tops = [
        min(level for level in Priority if function.queues[level].live)
        for function in reversed(peer.abilities)
        if function.queued
    ]
    return bool(tops) and tops[0] > min(tops)


Excuse = Callable[[Broker, Peer, Type, Given], bool]
EXCUSES: Mapping[str, Excuse] = {
    "registered twice": lambda broker, peer, type, given: (
        type in ABILITIES and broker.functions.get(given["function"]) in peer.abilities
    ),
    "asleep again without a grab": lambda broker, peer, type, given: (
        type is Type.PRE_SLEEP and peer.state is not WorkerState.AWAKE
    ),
    "learnt in its sleep": lambda broker, peer, type, given: (
        type in ABILITIES and peer.state is not WorkerState.AWAKE and _has_jobs(broker, given)
    ),
    "given up in the middle of a job": lambda broker, peer, type, given: (
        type in (Type.CANT_DO, Type.RESET_ABILITIES) and bool(peer.jobs)
    ),
    "a failure after an exception": lambda broker, peer, type, given: (
        type in REPORTS and given["handle"] in peer.pardoned
    ),
    "an abandoned job is joined by nobody": lambda broker, peer, type, given: (
        type in SUBMITS and coalescing_key(given["unique"], given["data"]) in broker._abandoned
    ),
    "a foreground job that is submitted in the background too": lambda broker, peer, type, given: (
        type in BACKGROUND and _joins_foreground(broker, given)
    ),
    "the same unique in two functions": lambda broker, peer, type, given: (
        type is Type.GET_STATUS_UNIQUE
        and (given["unique"] in broker._abandoned)
        + sum(given["unique"] in function.jobs for function in broker.functions.values())
        > 1
    ),
    "an epoch job beside others": lambda broker, peer, type, given: (
        type in GRABS and any(function.delayed for function in peer.abilities)
    ),
    "an epoch job and a sleeper": lambda broker, peer, type, given: (
        given.get("epoch") == LATER and _has_workers(broker, given, WorkerState.ASLEEP)
    ),
    "priorities of two functions": lambda broker, peer, type, given: type in GRABS and _takes_turns(broker, peer),
}
