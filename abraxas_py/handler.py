"""What a worker calls for a job, and how the call becomes the job's end."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable

import trio

from abraxas_py.assigned import Assigned, as_bytes
from abraxas_py.errors import JobFailed, JobRaised

__all__ = ["Handler", "Outcome", "beyond_the_job", "handle"]

log = logging.getLogger("abraxas.worker")

Outcome = bytes | str | None | Iterable[bytes | str] | AsyncIterable[bytes | str]
"""What completes a job: bytes, text (as UTF-8), nothing, or an iterator or stream of pieces.

Pieces are written to `Assigned.output`: sent one by one in streaming mode, gathered otherwise.
"""

Handler = Callable[[Assigned], Outcome | Awaitable[Outcome]]
"""A function, plain, `async` or a generator of either kind, that is called with a job and returns its outcome.

Plain functions hold up the whole program while they run: what is slow belongs into a thread (`trio.to_thread`).
"""


async def handle(handler: Handler, job: Assigned) -> None:
    """Call a handler; end the job as it says, unless it has done so itself."""
    try:
        outcome = handler(job)
        if inspect.isawaitable(outcome):
            outcome = await outcome
        last = await _write(outcome, job)
    except JobFailed:
        if not job.is_ended:
            job.fail()
    except JobRaised as raised:
        if not job.is_ended:
            job.exception(raised.data)
    except BaseException as error:  # sys.exit() and asyncio's CancelledError are this job's matter, too
        beyond = beyond_the_job(error)
        if beyond is not None:
            if beyond is not error:
                log.info("a job raised while it was stopped", exc_info=True)
            raise beyond from None
        if job.is_lost:
            return  # nobody is there to be told
        text = text_of(error)
        log.info(
            "a job raised function=%s error=%s", job.function.decode(errors="replace"), text.decode(), exc_info=True
        )
        if not job.is_ended:
            job.exception(text)
    else:
        if not job.is_ended:
            job.complete(last)


async def _write(outcome: Outcome, job: Assigned) -> bytes:
    """Write the pieces of an outcome to the job's output; return what is to come with its end."""
    if outcome is None:
        return b""
    if isinstance(outcome, bytes | str):
        return as_bytes(outcome)
    if isinstance(outcome, AsyncIterable):
        async for piece in outcome:
            await job.output.send_all(as_bytes(piece))
    elif isinstance(outcome, Iterable) and not isinstance(outcome, bytearray | memoryview | dict):
        for piece in outcome:
            await job.output.send_all(as_bytes(piece))
    else:
        raise TypeError(f"a handler returned {type(outcome).__name__}, which is no bytes, text, or iterator of them")
    return b""


def beyond_the_job(error: BaseException) -> BaseException | None:
    """What of an exception ends more than its job, for what is around it is cancelled, or all of it.

    >>> beyond_the_job(BaseExceptionGroup("", [ValueError(), KeyboardInterrupt()]))
    BaseExceptionGroup('', [KeyboardInterrupt()])
    """
    if isinstance(error, BaseExceptionGroup):
        try:
            return error.subgroup((trio.Cancelled, KeyboardInterrupt))
        except RecursionError:  # groups within each other that no nurseries made: those are too few
            return None
    return error if isinstance(error, trio.Cancelled | KeyboardInterrupt) else None


def text_of(error: BaseException) -> bytes:
    """An exception as the data of a WORK_EXCEPTION."""
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = "<exception str() failed>"  # as Python's own tracebacks have it
    return f"{type(error).__name__}: {text}".encode(errors="backslashreplace")
