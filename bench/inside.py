"""What a job costs this server alone: `Server`, links, decoder and broker in one process, without the kernel.

Sockets and poller are objects that return at once, so what is left is Python: processor time, which other programs
on the machine disturb little. It is the tool for a change of the packet path, for it shows a twentieth; what sockets
cost comes on top.

Peers take what they were sent *between* two passes of the server, and only its passes are timed. So all peers work in
step, which is how it is under full load.

`python -m bench --shape=inside` measures each interpreter that it knows, `python -m bench.inside` the one that runs it.
"""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import cast

import trio

from abraxas_py.door import Arrival
from abraxas_py.poller import READ
from abraxas_py.process import spare_collector
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, RESPONSE, Decoder, encode
from abraxas_py.server import Server
from bench.brokers import pythons
from bench.figures import Bench, Effort, Metric, Run, Sample

__all__ = ["BENCHES"]

SHAPES = {
    "fg-64": ("fg", 64, 4, 64),
    "fg-4": ("fg", 4, 32, 4),
    "ping": ("fg", 1, 1, 1),
    "bg": ("bg", 4, 32, 0),
    "echo": ("echo", 4, 32, 0),
}
REPETITIONS = 7  # of which the best one counts: everything else only adds
REQUESTS = 20_000  # in each
WARM_UP = 0.1  # of them
TIMEOUT = 120.0  # s

DATA = bytes(64)
_REQUESTS = {
    "fg": Packet.of(Type.SUBMIT_JOB, b"bench", b"", DATA),
    "bg": Packet.of(Type.SUBMIT_JOB_BG, b"bench", b"", DATA),
    "echo": Packet.of(Type.ECHO_REQ, DATA),
}
_ENDS = {"fg": Type.WORK_COMPLETE, "bg": Type.JOB_CREATED, "echo": Type.ECHO_RES}
_GRAB = encode(REQUEST, Packet(Type.GRAB_JOB))
_SLEEP = encode(REQUEST, Packet(Type.PRE_SLEEP))


class Peer:
    """The other end of a connection, in place of the server's socket to it."""

    def __init__(self, number: int, first: bytes) -> None:
        self.said = first  # what the server has not received yet
        self.heard: list[bytes] = []
        self._number = number
        self._decoder = Decoder(RESPONSE)

    def fileno(self) -> int:
        return self._number

    def recv(self, size: int) -> bytes:
        """Everything at once: nobody says more than 64 KiB here."""
        said, self.said = self.said, b""
        return said

    def send(self, data: bytes) -> int:
        """There is always room."""
        self.heard.append(data)
        return len(data)

    def close(self) -> None: ...

    def react(self) -> int:
        """Say what follows from what was heard; how many requests were answered by it."""
        heard, self.heard = self._decoder.cut(b"".join(self.heard)), []
        return sum(self.take(number, body) for number, body in heard)

    def take(self, number: int, body: bytes) -> bool:
        """One packet: whether it answers a request."""
        raise NotImplementedError


class Client(Peer):
    """Always has as many requests under way."""

    def __init__(self, number: int, kind: str, depth: int) -> None:
        self._request = encode(REQUEST, _REQUESTS[kind])
        self._end = int(_ENDS[kind])
        super().__init__(number, self._request * depth)

    def take(self, number: int, body: bytes) -> bool:
        if number != self._end:
            return False
        self.said += self._request
        return True


class Worker(Peer):
    """Speaks GRAB_JOB, PRE_SLEEP and NOOP, and gives each job's data back."""

    def __init__(self, number: int) -> None:
        super().__init__(number, encode(REQUEST, Packet.of(Type.CAN_DO, b"bench")) + _GRAB)

    def take(self, number: int, body: bytes) -> bool:
        if number == Type.JOB_ASSIGN:
            handle, _, data = body.split(b"\0", 2)
            self.said += encode(REQUEST, Packet.of(Type.WORK_COMPLETE, handle, data)) + _GRAB
        else:
            self.said += _SLEEP if number == Type.NO_JOB else _GRAB
        return False


class Ready:
    """A poller that finds ready whoever has said something."""

    def __init__(self) -> None:
        self.ready: list[tuple[int, int]] = []

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        return self.ready

    def register(self, fd: int, eventmask: int) -> None: ...

    def modify(self, fd: int, eventmask: int) -> None: ...

    def unregister(self, fd: int) -> None: ...

    def fileno(self) -> int:
        return -1


async def cost(kind: str, clients: int, depth: int, workers: int, requests: int) -> float:
    """Seconds of processor time for one request."""
    server, poller = Server(), Ready()
    server._poller = server._door._poller = poller
    peers: list[Peer] = []

    def join(newcomers: Iterable[Peer]) -> None:
        for peer in newcomers:
            server._welcome(Arrival(cast("socket.socket", peer), "127.0.0.1", None))
            peers.append(peer)

    def turn() -> tuple[int, float]:
        poller.ready = [(peer.fileno(), READ) for peer in peers if peer.said]
        began = time.thread_time()
        server._pass()
        took = time.thread_time() - began
        return sum(peer.react() for peer in peers if peer.heard), took

    join(Worker(number) for number in range(workers))
    while any(peer.said for peer in peers):
        turn()  # until they sleep
    join(Client(workers + number, kind, depth) for number in range(clients))
    warm_up, done, took = requests * WARM_UP, 0, 0.0
    while warm_up > 0:
        warm_up -= turn()[0]
    while done < requests:
        answered, seconds = turn()
        done += answered
        took += seconds
    return took / done


def best(scale: float) -> dict[str, float]:
    """The cost of each shape, in µs."""
    sample = {}
    for name, (kind, clients, depth, workers) in SHAPES.items():
        costs = []
        for _ in range(REPETITIONS):
            costs.append(trio.run(cost, kind, clients, depth, workers, round(REQUESTS * scale)))
            gc.collect()  # the jobs of this one are none of the next one's
        sample[name] = 1e6 * min(costs)
    return sample


def measure(python: str, effort: Effort) -> Sample:
    """The same in an interpreter of its own."""
    command = [python, "-m", "bench.inside", f"{effort.scale}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    sample: dict[str, float] = json.loads(done.stdout)
    return sample


def systems() -> Mapping[str, Run]:
    """This server, under each interpreter."""
    return {name: partial(measure, python) for name, python in pythons().items()}


BENCHES = [
    Bench(
        "inside",
        "What a job costs this server in one process without sockets, processor time",
        tuple(Metric(name, "µs", is_main=True, more_is_better=False) for name in SHAPES),
        systems,
    )
]

if __name__ == "__main__":
    import sys

    spare_collector()
    print(json.dumps(best(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)))
