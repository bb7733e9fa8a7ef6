"""gearmand 1.1.20 and our broker, spoken to in the same bytes; what their peers hear, made comparable.

gearmand is a process. After each step every peer asks it for an echo: what comes before the answer is all that the step
caused. Our broker is asked without a socket between, for `tests/broker/test_oracle.py` compares those.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from math import inf
from pathlib import Path

from octets import request
from site_stage import Site

from abraxas_py.broker import Broker, Close, Effect, Options
from abraxas_py.broker.model import Peer
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, RESPONSE, Decoder, Line, encode_one

__all__ = ["CLOSED", "Gearmand", "Heard", "Ours", "Theirs", "gearmand_path"]

CLOSED = "closed"
NOOP = (Type.NOOP.name, b"")
PATIENCE = 600.0  # s for its start: a campaign may be stopped meanwhile
TIMEOUT = 3.0  # s for an answer

Heard = dict[str, list[object]]  # by peer, in order


def gearmand_path() -> str | None:
    return shutil.which("gearmand") or shutil.which("gearmand", path="/usr/sbin:/usr/local/sbin")


class _Handles:
    """Handles are numbered in the order of their appearance, for each server makes its own."""

    def __init__(self, pattern: bytes) -> None:
        self._pattern = re.compile(pattern)
        self._known: dict[bytes, int] = {}

    def number(self, data: bytes) -> bytes:
        return self._pattern.sub(lambda found: b"<%d>" % self._known.setdefault(found[0], len(self._known) + 1), data)

    def fill(self, data: bytes) -> bytes:
        """Put handles in the place of their numbers."""
        handles = list(self._known)

        def handle(found: re.Match[bytes]) -> bytes:
            number = int(found[1])
            return handles[number - 1] if 0 < number <= len(handles) else b"H:no:%d" % number

        return re.sub(rb"<(\d+)>", handle, data)

    def comparable(self, octets: bytes) -> list[object]:
        """The messages that a peer got, without what differs from server to server."""
        messages: list[object] = []
        lines: list[bytes] = []
        for message in Decoder(RESPONSE).feed(octets):
            if isinstance(message, Line):
                lines.append(message.text.removesuffix(b"+ds"))  # Debian's build
                continue
            if lines:
                messages += _table(map(self.number, lines))
                lines = []
            if isinstance(message, Packet):
                body = self.number(message.body)
                if message.type is Type.WORK_FAIL:
                    body = body.rstrip(b"\0")  # "an exception for whom did not ask"
                messages.append((message.type.name, body))
            else:
                messages.append(str(message))
        messages += _table(map(self.number, lines))
        # gearmand wakes before it answers, if the submitter itself sleeps; we afterwards.
        return sorted(messages, key=lambda message: message == NOOP)


def _table(lines: Iterator[bytes]) -> list[object]:
    """Lines in an order of their own; of a connection, without its number and address."""
    rows = [re.sub(rb"^\d+ \S+ (.* :)", rb"\1", line) for line in lines]
    return sorted(row for row in rows if not row.startswith(Theirs.MONITOR))


class Ours:
    """A broker, with gearmand's way to wake; no time passes."""

    def __init__(self) -> None:
        self.broker = Broker(b"H:ours", Options(worker_wakeup=0, wakeup_timeout=inf))
        self.handles = _Handles(rb"H:ours:\d+")
        self._now = time.time()
        self._numbers: dict[str, int] = {}
        self._decoders: dict[str, Decoder] = {}
        self._octets: defaultdict[str, bytearray] = defaultdict(bytearray)  # since the last word
        self._new = count(1)

    def meet(self, name: str) -> Peer:
        """The peer of that name, connected if it was not."""
        if name not in self._numbers:
            self._numbers[name] = next(self._new)
            self._decoders[name] = Decoder(REQUEST)
            self.broker.connect(self._numbers[name], lambda data: self._octets[name].extend(data))
        return self.broker.peers[self._numbers[name]]

    def say(self, name: str, octets: bytes) -> Heard:
        pieces = self._decoders[name].cut(octets)
        return self._heard(self.broker.receive_all(self._numbers[name], pieces, self._now))

    def leave(self, name: str) -> Heard:
        return self._heard(self.broker.disconnect(self._numbers.pop(name), self._now))

    def _heard(self, effects: list[Effect]) -> Heard:
        names = {number: name for name, number in self._numbers.items()}
        closed = []
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, Close):
                closed.append(names[effect.peer])
                effects += self.broker.disconnect(self._numbers.pop(names[effect.peer]), self._now)
        octets, self._octets = self._octets, defaultdict(bytearray)
        heard = {name: self.handles.comparable(bytes(data)) for name, data in octets.items()}
        for name in closed:
            heard[name] = [*heard.get(name, []), CLOSED]
        return {name: messages for name, messages in heard.items() if messages}


class Gearmand:
    """The process; started anew when it has ended, or is not as empty as it should be."""

    def __init__(self, path: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._site = Site(Path(self._folder.name))
        self._program = self._site.gearmand("gearmand", path, "--verbose", "ERROR")
        self.crashes = 0

    @property
    def port(self) -> int:
        if not self._program.is_running:
            self.crashes += 1
            self._program.start(PATIENCE)
        return int(self._program.address.split(":")[1])

    def restart(self) -> None:
        self._program.kill()
        self._program.start(PATIENCE)

    def close(self) -> None:
        self._program.kill()
        self._folder.cleanup()


class _Wire:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_closed = False

    def send(self, octets: bytes) -> None:
        with suppress(ConnectionError):  # what it said before is still to be read
            self._socket.sendall(octets)

    def read(self, until: Callable[[bytes], bool]) -> bytes:
        data = b""
        while not until(data):
            try:
                piece = self._socket.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                self.is_closed = True
                self._socket.close()
                break
            data += piece
        return data

    def close(self) -> None:
        self._socket.close()


class Theirs:
    """gearmand's side of one conversation."""

    MONITOR = b"monitor"

    def __init__(self, gearmand: Gearmand) -> None:
        self._gearmand = gearmand
        self.handles = _Handles(rb"H:(?!no:)[\w.-]+:\d+")
        self._wires: dict[str, _Wire] = {}
        self._monitor = _Wire(gearmand.port)
        self._monitor.send(request(Type.SET_CLIENT_ID, self.MONITOR))
        self._echoes = count(1)

    def meet(self, name: str) -> None:
        """Connect a peer that is not connected."""
        if name not in self._wires:
            self._wires[name] = _Wire(self._gearmand.port)
            self._all_there()

    def say(self, name: str, octets: bytes) -> Heard:
        return self._heard(name, octets)

    def leave(self, name: str) -> Heard:
        self._wires.pop(name).close()
        self._all_there()
        return self._heard("", b"")

    def _heard(self, first: str, octets: bytes) -> Heard:
        heard = {}
        if first:
            heard[first] = self._caused(first, octets)
        barrier = request(Type.ECHO_REQ, b"barrier %d" % next(self._echoes))
        others = [name for name in sorted(self._wires) if name != first]
        for name in others:
            self._wires[name].send(barrier)
        for name in others:
            heard[name] = self._until_echo(name, barrier)
        return {name: messages for name, messages in heard.items() if messages}

    def _caused(self, name: str, octets: bytes) -> list[object]:
        barrier = request(Type.ECHO_REQ, b"barrier %d" % next(self._echoes))
        self._wires[name].send(octets + barrier)
        return self._until_echo(name, barrier)

    def _until_echo(self, name: str, barrier: bytes) -> list[object]:
        echo = encode_one(RESPONSE, Packet(Type.ECHO_RES, barrier[12:]))
        wire = self._wires[name]
        messages = self.handles.comparable(wire.read(lambda data: data.endswith(echo)).removesuffix(echo))
        if wire.is_closed:
            del self._wires[name]
            self._all_there()
            messages.append(CLOSED)
        return messages

    def _ask(self, line: bytes) -> list[bytes]:
        self._monitor.send(line + b"\n")
        return self._monitor.read(lambda data: data == b".\n" or data.endswith(b"\n.\n")).splitlines()

    def _tell(self, line: bytes) -> None:
        self._monitor.send(line + b"\r\n")
        self._monitor.read(lambda data: data.endswith(b"\n"))

    def _all_there(self) -> None:
        """Wait until gearmand knows of all connections that there are, and of no other."""
        until = time.monotonic() + TIMEOUT
        while len(self._ask(b"workers")) != len(self._wires) + 2:  # this one, and the period
            assert time.monotonic() < until, "gearmand does not know who is there"

    def end(self) -> None:
        """All leave; what is left in gearmand is taken out, or it is started anew."""
        try:
            for wire in self._wires.values():
                wire.close()
            self._wires.clear()
            self._all_there()
            is_empty = self._empty()
        except (OSError, AssertionError):
            is_empty = False
        self._monitor.close()
        if not is_empty:
            self._gearmand.restart()

    def _empty(self) -> bool:
        for row in self._ask(b"show jobs")[:-1]:
            self._tell(b"cancel job " + row.split(b"\t")[0])
        names = [row.split(b"\t")[0] for row in self._ask(b"status")[:-1]]
        self._wires["drain"] = _Wire(self._gearmand.port)
        for name in names:
            self._caused("drain", request(Type.CAN_DO, name))
        while job := next((m[1] for m in self._caused("drain", request(Type.GRAB_JOB)) if m[0] == "JOB_ASSIGN"), None):
            handle = self.handles.fill(job.split(b"\0")[0])
            self._caused("drain", request(Type.WORK_COMPLETE, handle, b""))
        self._wires.pop("drain").close()
        self._all_there()
        for name in names:
            self._tell(b"drop function " + name)
        return self._ask(b"status") == self._ask(b"show jobs") == [b"."]
