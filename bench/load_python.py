"""What `load.c` does, in Python, for machines without a compiler: the clients in one process, the workers in another.

The same arguments, the same line of JSON. It takes about as much of a processor as a server in Python does, so it is
good for comparing such servers with each other, not with one in C.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

FUNCTION = b"bench"
KINDS = {"echo": 16, "bg": 18, "fg": 7, "drain": 0}
ENDS = {"echo": 17, "bg": 8, "fg": 13}  # the packet that answers a request
CAN_DO, PRE_SLEEP, NOOP, GRAB_JOB, NO_JOB, JOB_ASSIGN, WORK_COMPLETE, ERROR = 1, 4, 6, 9, 10, 11, 13, 19
CHUNK = 64 * 1024


def packet(type: int, body: bytes = b"") -> bytes:
    return struct.pack(">4sII", b"\0REQ", type, len(body)) + body


@dataclass(slots=True)
class Peer:
    """One connection; it is written to only as much as it has answered, so sending may block."""

    socket: socket.socket
    buffer: bytes = b""
    sent_at: deque[float] = field(default_factory=deque)

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """What has arrived."""
        piece = self.socket.recv(CHUNK)
        if not piece:
            raise ConnectionError("the server closed a connection")
        data = self.buffer + piece
        at = 0
        while len(data) - at >= 12:
            _, type, size = struct.unpack_from(">4sII", data, at)
            if len(data) - at < 12 + size:
                break
            yield type, data[at + 12 : at + 12 + size]
            at += 12 + size
        self.buffer = data[at:]


def dial(port: int, count: int, selector: selectors.BaseSelector) -> list[Peer]:
    peers = [Peer(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
    for peer in peers:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(peer.socket, selectors.EVENT_READ, peer)
    return peers


def turn(selector: selectors.BaseSelector, answer: Callable[[Peer, int, bytes], bytes]) -> None:
    """Answer whatever has arrived."""
    for key, _ in selector.select(0.1):
        peer: Peer = key.data
        if answers := b"".join([answer(peer, type, body) for type, body in peer.packets()]):
            peer.socket.sendall(answers)


def work(port: int, count: int, jobs: int, ready: multiprocessing.synchronize.Event) -> None:
    """The workers; for ever, or until so many jobs are done."""
    selector = selectors.DefaultSelector()
    asleep = done = 0

    def answer(peer: Peer, type: int, body: bytes) -> bytes:
        nonlocal asleep, done
        if type == JOB_ASSIGN:
            handle, _, data = body.split(b"\0", 2)
            done += 1
            return packet(WORK_COMPLETE, handle + b"\0" + data) + packet(GRAB_JOB)
        if type == NO_JOB:
            asleep += 1
            return packet(PRE_SLEEP)
        return packet(GRAB_JOB) if type == NOOP else b""

    for peer in dial(port, count, selector):
        peer.socket.sendall(packet(CAN_DO, FUNCTION) + packet(GRAB_JOB))
    while not jobs or done < jobs:
        turn(selector, answer)
        if asleep >= count:
            ready.set()


@dataclass(slots=True)
class Clients:
    """The clients, and what they see."""

    kind: str
    depth: int
    jobs: int
    data: bytes
    submitted: int = 0
    done: int = 0
    counted_from: float = 0.0
    took: list[float] = field(default_factory=list)

    def request(self, peer: Peer) -> bytes:
        if self.jobs and self.submitted >= self.jobs:
            return b""
        self.submitted += 1
        peer.sent_at.append(time.perf_counter())
        body = self.data if self.kind == "echo" else FUNCTION + b"\0\0" + self.data
        return packet(KINDS[self.kind], body)

    def answer(self, peer: Peer, type: int, body: bytes) -> bytes:
        if type == ERROR:
            raise ConnectionError(body.decode())
        if type != ENDS[self.kind]:
            return b""
        now = time.perf_counter()
        self.done += 1
        sent_at = peer.sent_at.popleft()  # of several jobs of a client, the first to end is taken for the first sent
        if now >= self.counted_from:
            self.took.append(1000 * (now - sent_at))
        return self.request(peer)

    def run(self, port: int, count: int, seconds: float) -> float:
        """Keep all requests under way; the time that was counted."""
        selector = selectors.DefaultSelector()
        peers = dial(port, count, selector)
        began = time.perf_counter()
        self.counted_from = began if self.jobs else began + seconds / 10
        until = self.counted_from + seconds
        for peer in peers:
            peer.socket.sendall(b"".join([self.request(peer) for _ in range(self.depth)]))
        while self.done < self.jobs if self.jobs else time.perf_counter() < until:
            turn(selector, self.answer)
        return time.perf_counter() - self.counted_from


def main(port: int, kind: str, clients: int, depth: int, workers: int, seconds: float, jobs: int, size: int) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    began = time.perf_counter()
    helper = context.Process(target=work, args=(port, workers, 0 if clients else jobs, ready), daemon=True)
    if workers:
        helper.start()
    load = Clients(kind, depth, jobs, bytes(size))
    if clients:
        if workers:
            while not ready.wait(0.1):
                if not helper.is_alive():
                    sys.exit("load: the workers have ended")
        took = load.run(port, clients, seconds)
        helper.terminate() if workers else None
        rate = len(load.took) / took
    else:
        helper.join()
        took = time.perf_counter() - began
        rate = jobs / took
    if workers:
        helper.join()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = max(usage.ru_utime + usage.ru_stime for usage in used) / took
    ordered = sorted(load.took) or [0.0]
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    whole = took if jobs else took + seconds / 10  # with the warming up
    print(json.dumps({"rate": rate, "p50": p50, "p99": p99, "took": whole, "cpu": cpu}))


if __name__ == "__main__":
    _, port, kind, clients, depth, workers, seconds, jobs, size = sys.argv
    main(int(port), kind, int(clients), int(depth), int(workers), float(seconds), int(jobs), int(size))
