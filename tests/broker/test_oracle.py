"""The same scripts to gearmand 1.1.20 and to our server: the same bytes come back, up to handles.

`DIFFERENCES` is the list of what we answer otherwise, each with its reason. It is held from both sides: a script in it
must differ, so that the list stays true when either server changes.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from oracle_scripts import DIFFERENCES, HANDLE, SCRIPTS, Step

from abraxas_py.protocol.packets import Packet
from abraxas_py.protocol.wire import REQUEST, encode

pytestmark = pytest.mark.gearmand

QUIET = 0.06  # seconds without a byte after which a server is taken to have said everything
VERY_QUIET = 0.6  # the same where the answers are not as expected: the machine may have been busy
PEERS = ("a", "b", "w", "x")


@dataclass
class Target:
    """A server that is spoken to in bytes."""

    port: int

    def play(self, script: list[Step], quiet: float) -> list[tuple[str, bytes]]:
        """What each peer gets after each step, with the handles numbered in the order of their appearance."""
        peers = {name: socket.create_connection(("127.0.0.1", self.port), timeout=5) for name in PEERS}
        handles: list[bytes] = []
        heard: list[tuple[str, bytes]] = []
        try:
            for name, what in script:
                if what is None:
                    peers.pop(name).close()
                else:
                    octets = encode(REQUEST, what) if isinstance(what, Packet) else what
                    peers[name].sendall(self._fill(octets, handles))
                for peer, data in self._listen(peers, quiet):
                    for handle in re.findall(rb"H:[\w.-]+(?::[0-9a-z]+)?:\d+(?![0-9a-z:])", data):
                        if handle not in handles and not handle.startswith(b"H:no:"):
                            handles.append(handle)
                    heard.append((peer, self._number(data, handles)))
        finally:
            for connection in peers.values():
                connection.close()
        return heard

    @staticmethod
    def _fill(octets: bytes, handles: list[bytes]) -> bytes:
        """Put handles in the place of their numbers, and mend the size of a packet."""
        for number, handle in enumerate(handles, 1):
            octets = octets.replace(HANDLE % number, handle)
        if octets.startswith(b"\0REQ"):
            octets = octets[:8] + struct.pack(">I", len(octets) - 12) + octets[12:]
        return octets

    @staticmethod
    def _number(data: bytes, handles: list[bytes]) -> bytes:
        """Packets without their sizes, for handles differ in length."""
        packets = []
        while data.startswith(b"\0RES"):
            size = struct.unpack(">I", data[8:12])[0]
            packets.append(data[:8] + data[12 : 12 + size])
            data = data[12 + size :]
        data = b"|".join([*packets, data]).replace(b"1.1.20+ds", b"1.1.20")  # Debian's build
        for number, handle in sorted(enumerate(handles, 1), key=lambda pair: -len(pair[1])):
            data = data.replace(handle, HANDLE % number)
        return data

    @staticmethod
    def _listen(peers: dict[str, socket.socket], quiet: float) -> Iterator[tuple[str, bytes]]:
        for name, connection in list(peers.items()):
            connection.settimeout(quiet if name == next(iter(peers)) else 0.001)
            data = b""
            try:
                while piece := connection.recv(65536):
                    data += piece
                data += b"<closed>"
                peers.pop(name).close()
            except TimeoutError:
                pass
            except ConnectionResetError:
                data += b"<closed>"
                peers.pop(name).close()
            if data:
                yield name, data


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int) -> Iterator[Target]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, f"{command} has ended"
                time.sleep(0.02)
        yield Target(port)
    finally:
        process.kill()
        process.wait()


@contextmanager
def gearmand() -> Iterator[Target]:
    path = shutil.which("gearmand") or shutil.which("gearmand", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        message = "gearmand is missing (Debian: gearman-job-server)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    port = free_port()
    # gearmand removes its pid file when it ends: as root it would remove even a device.
    with tempfile.TemporaryDirectory() as folder:
        command = [path, "-L", "127.0.0.1", "-p", str(port), "-l", "none", "-P", f"{folder}/pid", "--verbose", "ERROR"]
        with running(command, port) as target:
            yield target


@contextmanager
def abraxas() -> Iterator[Target]:
    port = free_port()
    with running([sys.executable, "-m", "abraxas_py", "-L", "127.0.0.1", "-p", str(port)], port) as target:
        yield target


Answers = tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]


def both(script: list[Step], *, is_equal: bool) -> Answers:
    """What our server and what gearmand answers; where that is not as expected, with more patience."""
    ours, theirs = play(script, QUIET)
    return (ours, theirs) if (ours == theirs) == is_equal else play(script, VERY_QUIET)


def play(script: list[Step], quiet: float) -> Answers:
    """The answers of fresh servers; at the same time, for most of it is waiting."""
    with gearmand() as theirs, abraxas() as ours, ThreadPoolExecutor() as pool:
        our_answers, their_answers = pool.map(lambda target: target.play(script, quiet), (ours, theirs))
    return our_answers, their_answers


@pytest.mark.parametrize("name", SCRIPTS)
def test_our_answers_are_gearmands(name: str) -> None:
    ours, theirs = both(SCRIPTS[name], is_equal=True)
    assert ours == theirs


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_we_answer_otherwise_is_listed_and_true(name: str) -> None:
    reason, script = DIFFERENCES[name]
    ours, theirs = both(script, is_equal=False)
    assert ours != theirs, f"no difference any more: {reason}"
