"""What a job gets to see of the jobs it waited for; pure.

Results travel in the `_meta` of the payload, so that a worker needs no call to use them. They are bounded: what is
left out can be asked for with `gearbox\\core::watch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gearbox.job import Job
from gearbox.rules.answers import json_of

__all__ = ["MEMBERS_LIMIT", "gather"]

MEMBERS_LIMIT = 1_000
BYTES_LIMIT = 256 << 10  # of JSON text in all; Gearman would carry more, but every worker has to read it


def gather(parent: tuple[int, Job] | None, members: Sequence[tuple[int, Job]]) -> dict[str, Any]:
    """`gearbox_after` and `gearbox_pool`; each job with the id by which it is referred to and as it was resolved."""
    meta: dict[str, Any] = {}
    room = BYTES_LIMIT
    if parent is not None:
        id, job = parent
        size = len(job.result_data or "")
        meta["gearbox_after"] = {"id": id, "is_cut": True} if size > room else {"id": id, "result": _result(job)}
        room -= min(size, room)
    if members:
        results = []
        for id, job in members[:MEMBERS_LIMIT]:
            room -= len(job.result_data or "")
            if room < 0:
                break
            results.append({"id": id, "result": _result(job)})
        meta["gearbox_pool"] = results
        if len(results) < len(members):
            meta["gearbox_pool_is_cut"] = True
    return meta


def _result(job: Job) -> Any:
    return json_of(job.result_data)
