"""A caller and a worker for `bench.scheduler` that cost next to nothing: bare sockets, bytes laid together by hand.

Each is a process of its own, so that what is measured is `g-core`. What they say is what any caller or worker of
another maker says: one `gearbox\\core::queue` a job, then for each assignment `job_data` and WORK_COMPLETE; with the
gate, `job_start` first and the job only after its yes. With BATCH above 1 so many calls, at most, are a Gearman job.

    python -m bench.gearbox_load queue  HOST PORT JOBS IN_FLIGHT BATCH
    python -m bench.gearbox_load work   HOST PORT IN_FLIGHT GATE BATCH
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
QUEUE, START, DATA = b"gearbox\\core::queue", b"gearbox\\core::job_start", b"gearbox\\core::job_data"
QUEUE_CALL = (
    b'{"jsonrpc":"2.0","method":"gearbox\\\\core::queue","params":{"name":"%b","args":["x"]},'
    b'"_meta":{"host":"bench"},"id":"b-%%d"}' % METHOD.encode()
)
START_CALL = (
    b'{"jsonrpc":"2.0","method":"gearbox\\\\core::job_start",'
    b'"params":{"id":%b,"attempt":%b,"worker":"bench"},"id":"s%b"}'
)
DATA_CALL = (
    b'{"jsonrpc":"2.0","method":"gearbox\\\\core::job_data",'
    b'"params":{"id":%b,"attempt":%b,"data":null,"status":"complete"},"id":"d"}'
)
TICKET = re.compile(rb'"gearbox_id":(\d+),"gearbox_attempt":(\d+)')
LEAVE = re.compile(rb'"id":"s(\d+)","result":true')
ANSWER = re.compile(rb'"id":"b-(\d+)","result"')
REQUEST_ID = re.compile(rb'"id":("[^"]*")\}$')
GRAB = HEADER.pack(b"\0REQ", GRAB_JOB_UNIQ, 0)


def packet(type: int, body: bytes = b"") -> bytes:
    return HEADER.pack(b"\0REQ", type, len(body)) + body


def submissions(function: bytes, calls: list[bytes], batch: int) -> Iterator[bytes]:
    """The calls as Gearman jobs, so many in one."""
    for start in range(0, len(calls), batch):
        some = calls[start : start + batch]
        yield packet(SUBMIT_JOB, function + b"\0\0" + (b"[%b]" % b",".join(some) if batch > 1 else some[0]))


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


def queue(host: str, port: str, jobs: str, in_flight: str, batch: str) -> None:
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
            calls = [QUEUE_CALL % n for n in range(sent, sent + more)]
            wire.socket.sendall(b"".join(submissions(QUEUE, calls, int(batch))))
            sent += more
            left -= more
        done = 0
        for type, body in wire.receive():
            if type == WORK_COMPLETE:
                numbers = [int(number) for number in ANSWER.findall(body)]
                done += len(numbers)
                took += [time.perf_counter() - asked_at.pop(number) for number in numbers]
                if b'"error"' in body:
                    sys.exit(f"refused: {body!r}")
        answered += done
        more = min(done, left)
    took.sort()
    print(
        f"{answered / (time.perf_counter() - began):.0f} {1000 * took[len(took) // 2]:.2f} "
        f"{1000 * took[len(took) * 99 // 100]:.2f}"
    )


def work(host: str, port: str, in_flight: str, gate: str, batch: str) -> None:
    """Do nothing, for ever, up to `in_flight` jobs at once."""
    wire = Wire(host, port)
    slots, window = int(in_flight), 1  # so many grabs at once: doubled with each pass that brings jobs, as TCP does
    wire.socket.sendall(packet(CAN_DO, METHOD.encode()) + GRAB)
    grabs, is_empty = 1, False
    running: dict[bytes, tuple[bytes, bytes, bytes]] = {}  # by the job's id: those that asked for leave
    while True:
        starts: list[bytes] = []
        datas: list[bytes] = []
        out: list[bytes] = []

        def finish(id: bytes, handle: bytes, request: bytes, attempt: bytes) -> None:
            datas.append(DATA_CALL % (id, attempt))  # noqa: B023 -- called within this turn
            answer = b'\0{"jsonrpc":"2.0","id":' + request + b',"result":null}'
            out.append(packet(WORK_COMPLETE, handle + answer))  # noqa: B023

        for type, body in wire.receive():
            if type == JOB_ASSIGN_UNIQ:
                grabs -= 1
                handle, _, _, payload = body.split(b"\0", 3)
                ticket, request = TICKET.search(payload), REQUEST_ID.search(payload)
                assert ticket is not None
                assert request is not None
                id, attempt = ticket.groups()
                if gate == "gate":
                    running[id] = (handle, request[1], attempt)
                    starts.append(START_CALL % (id, attempt, id))
                else:
                    finish(id, handle, request[1], attempt)
            elif type == WORK_COMPLETE:
                for id in LEAVE.findall(body):
                    finish(id, *running.pop(id))
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
        out += [*submissions(START, starts, int(batch)), *submissions(DATA, datas, int(batch))]
        if out:
            wire.socket.sendall(b"".join(out))


def main() -> None:
    role, *arguments = sys.argv[1:]
    {"queue": queue, "work": work}[role](*arguments)


if __name__ == "__main__":
    main()
