"""`abraxas` as a process with its queue on disk or in a database, and a peer that speaks to it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from abraxas_py.journal.mysql_link import MysqlPlace
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, RESPONSE, Decoder, encode

TIMEOUT = 30.0  # s
GRABBED = 100  # jobs at a time


class Peer:
    """A connection that sends packets and waits for so many answers."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._decoder = Decoder(RESPONSE)
        self._unread: list[Packet] = []

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, *packets: Packet) -> None:
        """Send packets."""
        self.socket.sendall(b"".join(encode(REQUEST, packet) for packet in packets))

    def hear(self, count: int = 1) -> list[Packet]:
        """Wait for so many packets. Raises ConnectionError at the end of the connection."""
        while len(self._unread) < count:
            received = self.socket.recv(64 * 1024)
            if not received:
                raise ConnectionError("closed by the server")
            self._unread += self._decoder.feed(received)  # type: ignore[arg-type]
        heard, self._unread = self._unread[:count], self._unread[count:]
        return heard

    def ask(self, *packets: Packet) -> list[Packet]:
        """Send packets of which each is answered by one."""
        self.say(*packets)
        return self.hear(len(packets))


def submission(data: bytes, function: bytes = b"f", unique: bytes = b"") -> Packet:
    """A background job."""
    return Packet.of(Type.SUBMIT_JOB_BG, function, unique, data)


def work_off(peer: Peer, function: bytes = b"f") -> list[bytes]:
    """Run all that waits; the payloads in their order, once their ends are durable."""
    peer.say(Packet(Type.CAN_DO, function))
    done: list[bytes] = []
    while True:
        answers = peer.ask(*[Packet(Type.GRAB_JOB)] * GRABBED)
        given = [answer.split() for answer in answers if answer.type is Type.JOB_ASSIGN]
        peer.say(*[Packet.of(Type.WORK_COMPLETE, handle, b"") for handle, _, _ in given])
        done += [data for _, _, data in given]
        if len(given) < GRABBED:
            peer.ask(Packet(Type.ECHO_REQ, b""))
            return done


def flags_of(queue: Path | MysqlPlace) -> list[str]:
    """What `abraxas` is told of its queue: a file, or a table."""
    if isinstance(queue, Path):
        return ["-q", "sqlite", f"--queue-db={queue}"]
    where = [f"--mysql-host={queue.host}", f"--mysql-port={queue.port}", f"--mysql-db={queue.database}"]
    return ["-q", "mysql", *where, f"--mysql-user={queue.user}", f"--mysql-password={queue.password}"]


@contextmanager
def serving(
    queue: Path | MysqlPlace, *flags: str, within: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process with its queue, and its port; killed at the end of the block."""
    process = begin(queue, *flags, within=within)
    try:
        yield process, port_of(process)
    finally:
        end(process)


def begin(queue: Path | MysqlPlace, *flags: str, within: Sequence[str] = ()) -> subprocess.Popen[str]:
    """A process that begins to serve."""
    return subprocess.Popen(
        [*within, sys.executable, "-m", "abraxas_py", "--port=0", *flags_of(queue), *flags],
        stderr=subprocess.PIPE,
        text=True,
    )


def port_of(process: subprocess.Popen[str]) -> int:
    """Where it serves, once it does."""
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("abraxas serves"), line + process.stderr.read()
    return int(line.rpartition(":")[2])


def end(process: subprocess.Popen[str]) -> None:
    """Kill it."""
    assert process.stderr is not None
    process.kill()
    process.wait()
    process.stderr.close()
