"""A caller and a worker for `bench.scheduler` that cost next to nothing: bare sockets, bytes laid together by hand.

Each is a process of its own, so that what is measured is `g-core`. What they say is what any caller or worker of
another maker says: one `gearbox\\core::queue` a job, then for each assignment `job_data` and WORK_COMPLETE; with the
gate, `job_start` first and the job only after its yes.

    python -m bench.gearbox_load queue  HOST PORT JOBS IN_FLIGHT
    python -m bench.gearbox_load work   HOST PORT IN_FLIGHT GATE
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import time
from collections.abc import Iterator

__all__ = ["METHOD", "main"]

METHOD = "bench::nothing"
HEADER = struct.Struct(">4sII")
JOB_CREATED, NO_JOB, JOB_ASSIGN_UNIQ, WORK_COMPLETE, NOOP = 8, 10, 31, 13, 6
SUBMIT_JOB, CAN_DO, GRAB_JOB_UNIQ, PRE_SLEEP = 7, 1, 30, 4
QUEUE = b"gearbox\\core::queue\0\0" + (
    b'{"jsonrpc":"2.0","method":"gearbox\\\\core::queue","params":{"name":"%b","args":["x"]},'
    b'"_meta":{"host":"bench"},"id":"b-%%d"}' % METHOD.encode()
)
START = (
    b'gearbox\\core::job_start\0\0{"jsonrpc":"2.0","method":"gearbox\\\\core::job_start",'
    b'"params":{"id":%b,"attempt":%b,"worker":"bench"},"id":"s"}'
)
DATA = (
    b'gearbox\\core::job_data\0\0{"jsonrpc":"2.0","method":"gearbox\\\\core::job_data",'
    b'"params":{"id":%b,"attempt":%b,"data":null,"status":"complete"},"id":"d"}'
)
TICKET = re.compile(rb'"gearbox_id":(\d+),"gearbox_attempt":(\d+)')
REQUEST_ID = re.compile(rb'"id":("[^"]*")\}$')
GRAB = HEADER.pack(b"\0REQ", GRAB_JOB_UNIQ, 0)


def packet(type: int, body: bytes = b"") -> bytes:
    return HEADER.pack(b"\0REQ", type, len(body)) + body


class Wire:
    """A connection, and what came over it packet by packet."""

    def __init__(self, host: str, port: str) -> None:
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def receive(self) -> Iterator[tuple[int, bytes]]:
        data = self._rest + self.socket.recv(1 << 18)
        at, end = 0, len(data)
        while end - at >= 12:
            _, type, size = HEADER.unpack_from(data, at)
            if end - at - 12 < size:
                break
            yield type, data[at + 12 : at + 12 + size]
            at += 12 + size
        self._rest = data[at:]


def queue(host: str, port: str, jobs: str, in_flight: str) -> None:
    """Queue jobs one by one with so many calls under way, then print jobs per second and the latencies of the calls."""
    wire = Wire(host, port)
    left, sent, answered = int(jobs), 0, 0
    began = time.perf_counter()
    more = min(int(in_flight), left)
    asked_at: dict[int, float] = {}
    took: list[float] = []
    while answered < int(jobs):
        if more:
            now = time.perf_counter()
            asked_at.update((n, now) for n in range(sent, sent + more))
            wire.socket.sendall(b"".join(packet(SUBMIT_JOB, QUEUE % n) for n in range(sent, sent + more)))
            sent += more
            left -= more
        done = 0
        for type, body in wire.receive():
            if type == WORK_COMPLETE:
                done += 1
                number = int(body[body.index(b'"b-') + 3 :].partition(b'"')[0])
                took.append(time.perf_counter() - asked_at.pop(number))
                if b'"result"' not in body:
                    sys.exit(f"refused: {body!r}")
        answered += done
        more = min(done, left)
    took.sort()
    print(
        f"{answered / (time.perf_counter() - began):.0f} {1000 * took[len(took) // 2]:.2f} "
        f"{1000 * took[len(took) * 99 // 100]:.2f}"
    )


def work(host: str, port: str, in_flight: str, gate: str) -> None:
    """Do nothing, for ever, up to `in_flight` jobs at once."""
    wire = Wire(host, port)
    slots, window = int(in_flight), 1  # so many grabs at once: doubled with each pass that brings jobs, as TCP does
    wire.socket.sendall(packet(CAN_DO, METHOD.encode()) + GRAB)
    grabs, is_empty = 1, False
    running: list[tuple[bytes, bytes, bytes, bytes]] = []  # those that asked for leave: answers come in order
    while True:
        out: list[bytes] = []
        for type, body in wire.receive():
            if type == JOB_ASSIGN_UNIQ:
                grabs -= 1
                handle, _, _, payload = body.split(b"\0", 3)
                ticket, request = TICKET.search(payload), REQUEST_ID.search(payload)
                assert ticket is not None
                assert request is not None
                job = (handle, request[1], ticket[1], ticket[2])
                if gate == "gate":
                    running.append(job)
                    out.append(packet(SUBMIT_JOB, START % (job[2], job[3])))
                else:
                    out.append(finish(job))
            elif type == WORK_COMPLETE and b'"id":"s"' in body:
                out.append(finish(running.pop(0)))
            elif type == NO_JOB:
                grabs -= 1
                is_empty, window = True, max(window // 2, 1)
            elif type == NOOP:
                is_empty = False
        if not is_empty:
            window = min(2 * window, slots)
            wanted = max(min(window, slots - len(running)) - grabs, 0)
            out.append(GRAB * wanted)
            grabs += wanted
        elif not grabs:
            out.append(packet(PRE_SLEEP))
            is_empty, grabs = True, 0
        if out:
            wire.socket.sendall(b"".join(out))


def finish(job: tuple[bytes, bytes, bytes, bytes]) -> bytes:
    handle, request, id, attempt = job
    complete = packet(WORK_COMPLETE, handle + b'\0{"jsonrpc":"2.0","id":' + request + b',"result":null}')
    return packet(SUBMIT_JOB, DATA % (id, attempt)) + complete


def main() -> None:
    role, *arguments = sys.argv[1:]
    {"queue": queue, "work": work}[role](*arguments)


if __name__ == "__main__":
    main()
