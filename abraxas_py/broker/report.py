"""The admin tables, computed from the model."""

from __future__ import annotations

from collections.abc import Iterable

from abraxas_py.broker.model import Function, Job, Peer
from abraxas_py.protocol.text import (
    END,
    ConnectionStatus,
    DeadRow,
    FunctionStatus,
    JobRow,
    PriorityStatus,
    printable,
    table,
)
from abraxas_py.protocol.wire import Line

__all__ = ["dead", "jobs", "priority_status", "status", "uniques", "workers"]


def status(functions: Iterable[Function]) -> Line:
    """All functions with their jobs and workers; a count each, so 1M queued jobs cost nothing."""
    return table(
        FunctionStatus(printable(function.name), function.total, function.running, function.workers).format()
        for function in functions
    )


def priority_status(functions: Iterable[Function]) -> Line:
    """All functions with the jobs that wait, by priority."""
    return table(
        PriorityStatus(printable(function.name), high.total, normal.total, low.total, function.workers).format()
        for function in functions
        for high, normal, low in [function.queues]
    )


def workers(peers: Iterable[Peer]) -> Line:
    """All connections; a peer's number stands for its file descriptor, which an attached one does not have."""
    return table(
        ConnectionStatus(
            peer.id,
            peer.origin.address,
            printable(peer.client_id).replace(b" ", b"_") or b"-",
            tuple(printable(function.name) for function in reversed(peer.abilities)),
        ).format()
        for peer in peers
    )


def jobs(jobs: Iterable[Job]) -> Line:
    """All jobs; one that runs on although its client left is to be ignored, as gearmand calls it."""
    return table(
        JobRow(job.handle, job.retries, not job.clients and not job.is_background, job.is_background).format()
        for job in jobs
    )


def dead(jobs: Iterable[Job]) -> Line:
    """The jobs that failed for good, with how often they were tried again."""
    return table(
        DeadRow(job.handle, printable(job.function.name), job.retries, printable(job.unique)).format() for job in jobs
    )


def uniques(jobs: Iterable[Job]) -> Line:
    """The uniques of all jobs, empty ones too; one that is a period would end the table (B11)."""
    return table(b"\\x2e" if job.unique == END else printable(job.unique) for job in jobs)
