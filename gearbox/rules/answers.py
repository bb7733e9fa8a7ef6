"""What those who watch a job get when it has ended; pure."""

from __future__ import annotations

from typing import Any

from gearbox import rpc
from gearbox.errors import Code, RpcError
from gearbox.job import TERMINAL, Job, Status

__all__ = ["answer", "error_of", "error_text", "json_of"]


def answer(job: Job) -> str | RpcError:
    """JSON text, or the error to raise.

    A duplicate has no answer of its own: ask for its `see_other`.
    """
    assert job.status in TERMINAL
    assert job.status is not Status.DUPLICATE
    if job.status is not Status.COMPLETE:
        return error_of(job)
    return "null" if job.result_data is None else rpc.dump(json_of(job.result_data))


def error_of(job: Job) -> RpcError:
    """Why a job failed."""
    data = json_of(job.result_data)
    if job.status is Status.INVALID and data is None:
        return RpcError(Code.INVALID, "the job is invalid")
    if isinstance(data, dict) and "code" in data and "message" in data:
        return RpcError(data["code"], str(data["message"]), data.get("data"))
    return RpcError(Code.JOB_ERRORED, data if isinstance(data, str) else "the job errored", data)


def error_text(code: Code, message: str) -> str:
    """An error of Gearbox's own, as it stands in `result_data`."""
    return rpc.dump(RpcError(int(code), message).as_json())


def json_of(text: str | None) -> Any:
    """The value of stored JSON text; plain text (a result that was appended to) is a string, None is null."""
    if text is None:
        return None
    try:
        return rpc.load(text)
    except ValueError:
        return text
