"""The shapes of load on a bare Gearman server: how fast, how long each takes, how much memory.

Every run starts the server anew. `per cpu` is the rate divided by the processors that the server had: it depends less
on what else the machine does, and tells what a processor is good for where there are many. `load cpu` is the load
generator's share of one processor: where it comes near 1, it was the generator that was measured.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from bench.brokers import OURS, REFERENCE, Broker, Serving, found
from bench.figures import Bench, Effort, Metric, Run, Sample
from bench.load import Load, drive
from bench.machine import cpu_seconds, resident_mib

__all__ = ["BENCHES"]

DRAINED = 100_000
QUEUED = 1_000_000
QUEUES = (1_000, 10_000, 100_000, 1_000_000)
IDLE = 10_000
PROBES = 200  # requests whose latency is looked at one by one
TIMEOUT = 20.0  # s
KIB = 1024
MIB = 1024 * KIB
# The others would take minutes to queue a million jobs, or cannot hold as many connections.
LARGE = (OURS, REFERENCE)

Measure = Callable[[Broker, Effort], Sample]

RATE = Metric("rate", "jobs/s", is_main=True)
LATENCIES = (Metric("p50", "ms", more_is_better=False), Metric("p99", "ms", more_is_better=False))
COSTS = (
    Metric("per cpu", "jobs/s", is_main=True),
    Metric("server cpu", "s/s", more_is_better=False),
    Metric("load cpu", "s/s", more_is_better=False),
)
TIMED = (RATE, *LATENCIES, *COSTS)


def systems(measure: Measure, *, only: tuple[str, ...] = (), has_workers: bool = True) -> Mapping[str, Run]:
    """The brokers that are here and can do it, each measured in one way."""
    return {
        broker.name: partial(measure, broker)
        for broker in found()
        if (not only or broker.name.partition(" (")[0] in only) and (broker.knows_grab_job or not has_workers)
    }


def under(load: Load, serving: Serving) -> dict[str, float]:
    """What a load gives, with what it costs the server."""
    cpu_before = cpu_seconds(serving.pid)
    sample = dict(drive(load, serving.port))
    sample["server cpu"] = (cpu_seconds(serving.pid) - cpu_before) / sample.pop("took")
    sample["load cpu"] = sample.pop("cpu")
    sample["per cpu"] = sample["rate"] / sample["server cpu"]
    return sample


def timed(kind: str, clients: int, depth: int, workers: int = 0) -> Measure:
    """Requests for a while."""

    def measure(broker: Broker, effort: Effort) -> Sample:
        with broker.serving() as serving:
            return under(Load(kind, clients, depth, workers, effort.seconds), serving)

    return measure


def drain(broker: Broker, effort: Effort) -> Sample:
    """First queue, then work off."""
    jobs = effort.count(DRAINED // broker.slowness)
    with laden(broker, jobs) as serving:
        sample = under(Load("drain", workers=4, jobs=jobs), serving)
    return {name: value for name, value in sample.items() if name not in ("p50", "p99")}


def queues(broker: Broker, effort: Effort) -> Sample:
    """The same, with queues of growing length."""
    sample = {}
    for count in QUEUES:
        jobs = effort.count(count)
        with laden(broker, jobs) as serving:
            sample[f"{count:,}"] = drive(Load("drain", workers=4, jobs=jobs), serving.port)["rate"]
    return sample


@contextmanager
def laden(broker: Broker, jobs: int) -> Iterator[Serving]:
    """A server with so many jobs queued."""
    with broker.serving() as serving:
        drive(Load("bg", 4, 32, jobs=jobs), serving.port)
        yield serving


def depth(broker: Broker, effort: Effort) -> Sample:
    """Queue very many, and look what that does to memory and to single requests."""
    jobs = effort.count(QUEUED)
    with broker.serving() as serving:
        before = resident_mib(serving.pid)
        rate = drive(Load("bg", 4, 32, jobs=jobs), serving.port)["rate"]
        job_bytes = (resident_mib(serving.pid) - before) * MIB / jobs
        with dial(serving) as connection:
            connection.sendall(request(1, b"bench"))
            grab = latency(connection, request(30), PROBES)
            status = latency(connection, b"status\n", PROBES)
    return {"memory": job_bytes, "bg": rate, "GRAB_JOB": grab, "status": status}


def idle(broker: Broker, effort: Effort) -> Sample:
    """Very many connections that say nothing, and what they cost those that do."""
    count = effort.count(IDLE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with broker.serving() as serving, ExitStack() as stack:
        before = resident_mib(serving.pid)
        for _ in range(count):
            stack.enter_context(dial(serving))
        time.sleep(0.5)  # the server may still be busy with accepting
        connection_bytes = (resident_mib(serving.pid) - before) * MIB / count
        sample = under(Load("fg", 4, 32, 4, effort.seconds), serving)
    return {"memory": connection_bytes, **sample}


def dial(serving: Serving) -> socket.socket:
    """A connection whose every step has an end."""
    return socket.create_connection(("127.0.0.1", serving.port), timeout=TIMEOUT)


def latency(connection: socket.socket, question: bytes, times: int) -> float:
    """The median time of an answer, in ms; the answers are read, not understood."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        connection.sendall(question)
        connection.recv(64 * KIB)
        took.append(1000 * (time.perf_counter() - began))
    return sorted(took)[times // 2]


def request(type: int, body: bytes = b"") -> bytes:
    """A packet to a server."""
    return b"\0REQ" + type.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


def growing(name: str, what: str, axis: str, loads: Mapping[int, Load]) -> Bench:
    """The rate under loads of growing size."""

    def measure(broker: Broker, effort: Effort) -> Sample:
        sample = {}
        for place, load in loads.items():
            with broker.serving() as serving:
                sample[str(place)] = drive(scaled(load, effort, broker), serving.port)["rate"]
        return sample

    metrics = tuple(Metric(str(place), "jobs/s", is_main=True) for place in loads)
    return Bench(name, what, metrics, partial(systems, measure), REFERENCE, axis, rounds=3)


def scaled(load: Load, effort: Effort, broker: Broker) -> Load:
    """A load of half a run's time: growth has many points."""
    return Load(load.kind, load.clients, load.depth, load.workers, effort.seconds / 2)


def simple(
    name: str, what: str, measure: Measure, metrics: tuple[Metric, ...] = TIMED, *, has_workers: bool = True
) -> Bench:
    """A bench of all brokers."""
    return Bench(name, what, metrics, partial(systems, measure, has_workers=has_workers), REFERENCE)


BENCHES = [
    simple("echo", "ECHO_REQ until ECHO_RES, 4 connections x 32 under way", timed("echo", 4, 32), has_workers=False),
    simple(
        "bg", "SUBMIT_JOB_BG until JOB_CREATED, 4 connections x 32 under way", timed("bg", 4, 32), has_workers=False
    ),
    simple("fg-4", "SUBMIT_JOB until WORK_COMPLETE, 4 clients x 32, 4 workers", timed("fg", 4, 32, 4)),
    simple("fg-64", "SUBMIT_JOB until WORK_COMPLETE, 64 clients x 4, 64 workers", timed("fg", 64, 4, 64)),
    simple("ping", "One client, one job at a time, one worker", timed("fg", 1, 1, 1)),
    simple("herd", "One client, one job at a time, 500 sleeping workers", timed("fg", 1, 1, 500)),
    simple("drain", f"{DRAINED:,} queued jobs, worked off by 4 workers", drain, (RATE, *COSTS)),
    Bench(
        "depth",
        f"{QUEUED:,} queued jobs",
        (
            Metric("memory", "bytes/job", is_main=True, more_is_better=False),
            Metric("bg", "jobs/s"),
            Metric("GRAB_JOB", "ms", more_is_better=False),
            Metric("status", "ms", more_is_better=False),
        ),
        partial(systems, depth, only=LARGE),
        REFERENCE,
        rounds=3,
    ),
    Bench(
        "idle",
        f"{IDLE:,} idle connections, and fg-4 beside them",
        (Metric("memory", "bytes/connection", is_main=True, more_is_better=False), *TIMED),
        partial(systems, idle, only=LARGE),
        REFERENCE,
        rounds=3,
    ),
    growing(
        "clients", "fg with 4 workers", "clients", {n: Load("fg", n, max(1, 128 // n), 4) for n in (1, 4, 16, 64, 256)}
    ),
    growing("workers", "fg with 4 clients x 32", "workers", {n: Load("fg", 4, 32, n) for n in (1, 4, 16, 64, 256)}),
    Bench(
        "queues",
        "Jobs that are worked off by 4 workers, by how many are queued at first",
        tuple(Metric(f"{count:,}", "jobs/s", is_main=True) for count in QUEUES),
        partial(systems, queues, only=LARGE),
        REFERENCE,
        axis="queued jobs",
        rounds=3,
    ),
]
