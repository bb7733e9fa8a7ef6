"""What must hold of a broker after every input, read from its own state."""

from __future__ import annotations

from collections.abc import Set

from abraxas_py.broker import Broker
from abraxas_py.broker.model import JobState, WorkerState
from abraxas_py.protocol.packets import Priority


def counts_are_true(broker: Broker) -> None:
    """What functions count is what there is."""
    jobs = list(broker.jobs.values())
    for function in broker.functions.values():
        own = [job for job in jobs if job.function is function]
        assert function.running == sum(job.state is JobState.RUNNING for job in own)
        assert function.delayed == sum(job.state is JobState.DELAYED for job in own)
        for level in Priority:
            queued = [job for job in own if job.state is JobState.QUEUED and job.priority == level]
            assert function.queues[level].live == len(queued)
            withheld = [job for job in own if job.state is JobState.WITHHELD and job.priority == level]
            assert set(function.queues[level].withheld) == set(withheld)
            in_queue = [job for job in function.queues[level]._jobs if job.state is JobState.QUEUED]
            assert sorted(job.handle for job in in_queue) == sorted(job.handle for job in queued)
        able = [peer for peer in broker.peers.values() if function in peer.abilities]
        assert function.workers == len(able)
        assert function.woken == sum(peer.state is WorkerState.WOKEN for peer in able)
        assert set(function.sleepers) == {peer for peer in able if peer.state is WorkerState.ASLEEP}
        assert all(job.key and broker.jobs[job.handle] is job for job in function.jobs.values())


def books_are_true(broker: Broker) -> None:
    """What a broker with a journal counts is what there is."""
    there = [*broker.jobs.values(), *broker.dead.values()]
    assert broker._payload_bytes == sum(len(job.data) for job in there if job.data is not None)
    assert broker._on_disk == sum(job.data is None for job in there)
    for function in broker.functions.values():
        assert function.storing == sum(job.state is JobState.STORING and job.function is function for job in there)


def jobs_and_peers_agree(broker: Broker) -> None:
    """B3: who runs a job, and who waits for it, is the same from both sides."""
    for job in broker.jobs.values():
        assert job.state is not JobState.ENDED
        assert (job.worker is not None) == (job.state is JobState.RUNNING)
        assert job.worker is None or job in job.worker.jobs
        if job.state in (JobState.QUEUED, JobState.WITHHELD):
            is_idle = broker.is_draining and job.is_background and not job.clients
            assert is_idle == (job.state is JobState.WITHHELD)
        assert all(job in broker.peers[client].waiting for client in job.clients)
    for peer in broker.peers.values():
        assert all(job.worker is peer for job in peer.jobs)
        assert all(peer.id in job.clients for job in peer.waiting)
        assert (peer.timer is not None) == (peer.state is WorkerState.WOKEN)


def no_work_waits_for_a_sleeper(broker: Broker, exempt: Set[tuple[int, bytes]] = frozenset()) -> None:
    """B7: a job that can run, and a worker asleep that could run it: then a NOOP is on its way to one.

    `exempt` are workers, each with a function that it learnt in its sleep.
    """
    for function in broker.functions.values():
        sleepers = [peer for peer in function.sleepers if (peer.id, function.name) not in exempt]
        if function.queued and sleepers:
            assert function.woken, f"{function.queued} jobs of {function.name!r} wait for sleepers"


def nothing_is_left_behind(broker: Broker) -> None:
    """B9: timers and bytes are those of the jobs and peers that are there."""
    armed = sum(job.timer is not None for job in broker.jobs.values())
    armed += sum(peer.timer is not None for peer in broker.peers.values())
    assert len(broker._timers) == armed
    assert broker._payload_bytes == sum(len(job.data) for job in broker.jobs.values())
