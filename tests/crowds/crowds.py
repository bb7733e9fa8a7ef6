"""Very much of one thing, and what a server takes of the machine for it, seen from outside."""

from __future__ import annotations

import os
import resource
import selectors
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import trio
from probe import MIB, percentile
from site_stage import Program, Site

from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, RESPONSE, Decoder, encode
from bench.growth import copy
from bench.restart import BATCH, queue
from gearbox.client import Gearbox, open_gearbox
from gearbox.job import NewJob, Status
from gearbox.store import open_store

__all__ = ["callers", "due", "idle", "reader", "watchers"]

NOOP = "gearbox\\core::noop"
HOUR = 3600.0
AT_ONCE = 500  # calls under way while a crowd gathers
LOOK = 10.0  # s over which the processor is looked at
CUT = 16  # MiB that a client may leave unread
TIMEOUT = 600.0
WARM_UP = 1.0  # s
QUEUE = b"gearbox\\core::queue"
QUEUE_CALL = (
    b'{"jsonrpc":"2.0","method":"gearbox\\\\core::queue","params":{"name":"gearbox\\\\core::noop","args":["x"],'
    b'"after_date":"9999-01-01"},"id":"q"}'
)


def _memory(program: Program, field: str = "VmRSS") -> float:
    """MiB."""
    lines = Path(f"/proc/{program.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def _seconds(program: Program) -> float:
    """Processor time."""
    words = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


# --- watchers ---


async def watchers(folder: Path, count: int) -> None:
    with Site(folder) as site:
        core = await trio.to_thread.run_sync(partial(site.core, "core", [], GEARBOX_DATABASE=f"{folder}/jobs.db"))
        before = _memory(core)
        later = (time.time() + HOUR) * 1000
        async with open_gearbox([core.address]) as gearbox:
            jobs = [{"name": NOOP, "args": [], "after_date": later} for _ in range(count)]
            ids = await gearbox.queue_many(jobs)  # type: ignore[arg-type]
            queued = _memory(core)
            answers: Counter[int] = Counter()
            async with trio.open_nursery() as nursery:
                for id in ids:
                    nursery.start_soon(_watch, gearbox, id, answers)
                while (await gearbox._ask("system", {}))["watchers"] < count:  # noqa: ASYNC110
                    await trio.sleep(0.2)
                used = _seconds(core)
                await trio.sleep(LOOK)
                used = 100 * (_seconds(core) - used) / LOOK
                watched = _memory(core)
                began = time.monotonic()
                limit = trio.CapacityLimiter(AT_ONCE)
                for id in ids:
                    nursery.start_soon(_hurry, gearbox, id, limit)
            took = time.monotonic() - began
    assert answers == dict.fromkeys(ids, 1)
    print(
        f"{count:,} watchers of {count:,} jobs: {watched - queued:.1f} MiB for them, {queued - before:.1f} for the "
        f"jobs, {watched:.1f} in all; {used:.1f} % of a processor while they wait; all hurried, ended and told in "
        f"{took:.1f} s, each once"
    )


async def _watch(gearbox: Gearbox, id: int, answers: Counter[int]) -> None:
    await gearbox.watch(id)
    answers[id] += 1


async def _hurry(gearbox: Gearbox, id: int, limit: trio.CapacityLimiter) -> None:
    async with limit:
        await gearbox.hurry(id)


# --- connections that say nothing ---


def idle(folder: Path, count: int) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with Site(folder) as site:
        server = site.abraxas("server")
        before, used, began = _memory(server), _seconds(server), time.monotonic()
        peers = [_Peer(server) for _ in range(count)]
        for peer in peers:  # accepted, and not only by the kernel
            peer.say(Packet(Type.ECHO_REQ, b""))
        for peer in peers:
            peer.hear()
        took, used = time.monotonic() - began, _seconds(server) - used
        memory = _memory(server)
        rest = _seconds(server)
        time.sleep(LOOK)
        rest = 100 * (_seconds(server) - rest) / LOOK
        for peer in peers:
            peer.socket.close()
    print(
        f"{count:,} idle connections: accepted and answered an echo in {took:.1f} s, {count / took:,.0f}/s, for "
        f"{1e6 * used / count:.0f} µs of the processor each; {memory:.1f} MiB, {1024 * (memory - before) / count:.2f} "
        f"KiB each; {rest:.2f} % of a processor while they are idle"
    )


# --- callers that queue jobs ---


def callers(folder: Path, count: int, seconds: float) -> None:
    with Site(folder) as site, selectors.DefaultSelector() as selector:
        core = site.core("core", [], GEARBOX_DATABASE=f"{folder}/jobs.db")
        asked = {}
        for _ in range(count):
            peer = _Peer(core)
            selector.register(peer.socket, selectors.EVENT_READ, peer)
            peer.say(Packet.of(Type.SUBMIT_JOB, QUEUE, b"", QUEUE_CALL))
            asked[peer] = time.perf_counter()
        began = time.perf_counter() + WARM_UP
        used, took = 0.0, []
        while (now := time.perf_counter()) < began + seconds:
            used = used or (_seconds(core) if now > began else 0.0)
            for key, _ in selector.select(TIMEOUT):
                peer = key.data
                for answer in peer.received():
                    assert answer.type in (Type.JOB_CREATED, Type.WORK_COMPLETE), answer
                    if answer.type is Type.WORK_COMPLETE:
                        assert b'"result":' in answer.body, answer
                        heard = time.perf_counter()
                        if heard > began:
                            took.append(heard - asked[peer])
                        asked[peer] = heard
                        peer.say(Packet.of(Type.SUBMIT_JOB, QUEUE, b"", QUEUE_CALL))
        used = _seconds(core) - used
        for peer in asked:
            peer.socket.close()
    print(
        f"{count} callers, each a connection and one queue call at a time, for {seconds:g} s: "
        f"{len(took) / seconds:,.0f}/s stored, p50 {1000 * percentile(took, 0.5):.1f} ms, "
        f"p99 {1000 * percentile(took, 0.99):.1f} ms; the core {100 * used / seconds:.0f} % of a processor, "
        f"{1e6 * used / len(took):.0f} µs each"
    )


# --- a reader that does not read ---


class _Peer:
    def __init__(self, server: Program) -> None:
        host, port = server.address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=TIMEOUT)
        self._decoder = Decoder(RESPONSE)

    def say(self, *packets: Packet) -> None:
        self.socket.sendall(encode(REQUEST, *packets))

    def received(self) -> Iterator[Packet]:
        for message in self._decoder.feed(self.socket.recv(1 << 16)):
            assert isinstance(message, Packet), message
            yield message

    def hear(self) -> Packet:
        while True:
            for message in self.received():
                return message


def reader(folder: Path, mib: int) -> None:
    with Site(folder) as site:
        server = site.abraxas("server")
        worker, client = _Peer(server), _Peer(server)
        worker.say(Packet(Type.CAN_DO, b"f"))
        before = _memory(server)
        with _echoes(server) as quiet:
            time.sleep(LOOK)
        client.say(Packet.of(Type.SUBMIT_JOB, b"f", b"", b""))
        client.hear()
        worker.say(Packet(Type.GRAB_JOB))
        handle = worker.hear().split()[0]
        began = time.monotonic()
        with _echoes(server) as beside:
            for _ in range(mib):
                worker.say(Packet.of(Type.WORK_DATA, handle, bytes(MIB)))
            worker.say(Packet(Type.ECHO_REQ, b"done"))
            while worker.hear().type is not Type.ECHO_RES:
                pass
            took = time.monotonic() - began
            time.sleep(max(LOOK - took, 1))
        peak, after = _memory(server, "VmHWM"), _memory(server)
        unread = _unread(client)
    print(
        f"{mib} MiB for a client that does not read, in {took:.1f} s: the server's memory {before:.1f} MiB before, "
        f"{peak:.1f} at most, {after:.1f} after; the client was "
        + (f"closed with {unread} MiB on their way" if unread is not None else "not closed")
    )
    for name, echoes in (("before", quiet), ("beside", beside)):
        print(f"echoes of others {name}: {len(echoes)}, p50 {percentile(echoes, 0.5) * 1000:.2f} ms, ", end="")
        print(f"p99 {percentile(echoes, 0.99) * 1000:.2f} ms")


@contextmanager
def _echoes(server: Program) -> Iterator[list[float]]:
    """How long echoes took, one after the other with a pause, while the block ran."""
    took: list[float] = []
    is_over = threading.Event()

    def ask() -> None:
        peer = _Peer(server)
        while not is_over.is_set():
            began = time.perf_counter()
            peer.say(Packet(Type.ECHO_REQ, b""))
            peer.hear()
            took.append(time.perf_counter() - began)
            time.sleep(0.002)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        is_over.set()
        thread.join()


def _unread(client: _Peer) -> int | None:
    """How many MiB were on their way to it when it was closed; None: it was not."""
    count = 0
    client.socket.settimeout(5)
    try:
        while piece := client.socket.recv(1 << 20):
            count += len(piece)
    except ConnectionError:
        pass
    except TimeoutError:
        return None
    return count // MIB


# --- what is due at once ---


def due(folder: Path, waiting: int, count: int) -> None:
    path = folder / "jobs.db"
    at = time.time() + HOUR
    store = open_store(str(path))
    queue(store, [NewJob(NOOP, after_date=at)] * BATCH)
    store.close()
    copy(path, Status.WAITING, waiting)
    store = open_store(str(path))
    at = time.time() + count / 1000 + 10  # time enough to queue them
    for start in range(0, count, BATCH):
        queue(store, [NewJob(NOOP, after_date=at)] * min(BATCH, count - start))
    store.close()
    at_us = round(at * 1e6)
    with Site(folder) as site, closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        core = site.core("core", [], GEARBOX_DATABASE=str(path))
        assert time.time() < at, "it took too long to queue them"
        time.sleep(at - time.time())
        used, until = _seconds(core), time.monotonic() + TIMEOUT
        done = 0
        while done < count:
            assert time.monotonic() < until, f"{done} of {count} in {TIMEOUT} s"
            time.sleep(1)
            (done,) = connection.execute("SELECT count(*) FROM gearbox_jobs WHERE status = 'complete'").fetchone()
        used = _seconds(core) - used
        lags = [
            (completed - at_us) / 1e6
            for (completed,) in connection.execute("SELECT completed FROM gearbox_jobs WHERE status = 'complete'")
        ]
        memory = _memory(core, "VmHWM")
    print(
        f"{count:,} jobs due in one second beside {waiting:,} that wait: ended p50 {percentile(lags, 0.5):.1f} s, "
        f"p99 {percentile(lags, 0.99):.1f} s, at most {max(lags):.1f} s after their date; {used:.1f} s of the "
        f"processor, {1e6 * used / count:.0f} µs each; at most {memory:.1f} MiB"
    )
