"""The functions `gearbox\\core::...` that a core offers: typed params in, a call of the core, a JSON value out.

One function a method. Each takes the core, the params as JSON, and `reply`, which it or the core calls once with the
value or an RpcError. What the original accepted is accepted: unknown keys are ignored, null means absent, ids may be
text. What it let through and stumbled over later is refused here with code 400 and the name of the parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from typing import Any, NewType, TypeVar

import attrs
import cattrs
import structlog

from gearbox import rpc, rules, steps
from gearbox.core import Core, Reply
from gearbox.errors import Code, RpcError
from gearbox.gearman import Call
from gearbox.job import Job, NewJob, Priority, Reported, Status
from gearbox.store.rows import iso

__all__ = ["METHODS", "dispatch"]

log = structlog.get_logger("gearbox:rpc")

NAME_LONGEST = 255  # characters of a method's name or a dedupe, as the original's columns
NUMBER_HIGHEST = 2**32 - 1  # of an unsigned integer in the original's table
TEXT_LARGEST = 32 << 20  # bytes of arguments or data; half of Gearman's largest packet, to leave room for escapes
DATE_LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()

# --- types of parameters ---

JobId = NewType("JobId", int)
Name = NewType("Name", str)  # of a method: what Gearman can carry and no listing can be forged with
Text = NewType("Text", str)
Count = NewType("Count", int)
Seconds = NewType("Seconds", float)
Date = NewType("Date", float)  # ISO 8601 or milliseconds since 1970
Json = NewType("Json", str)  # any value, as JSON text


@attrs.frozen
class Queue:
    name: Name
    args: Json | None = None
    priority: Priority = Priority.NORMAL
    dedupe: Text | None = None
    after_date: Date | None = None
    after_id: JobId | None = None
    before_id: JobId | None = None
    max_retries: Count = Count(0)
    retry_delay: Seconds = Seconds(1.0)
    submit_token: Text | None = None


@attrs.frozen
class Watch:
    id: JobId
    wait_for_id: bool = False


@attrs.frozen
class JobData:
    id: JobId
    data: Json | None = None
    status: str | None = None
    progress: Any = None
    append: Any = None
    attempt: Count | None = None


@attrs.frozen
class JobStart:
    id: JobId
    attempt: Count
    worker: Text = Text("")


@attrs.frozen
class Stats:
    method: Name


def _job_id(value: Any, _: type) -> JobId:
    id = steps.id_of(value)
    if id is None:
        raise ValueError("invalid job id")
    return JobId(id)


def _name(value: Any, _: type) -> Name:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise ValueError("missing method name")
    if len(value) > NAME_LONGEST or len(value.encode(errors="replace")) > 2 * NAME_LONGEST:
        raise ValueError(f"method name longer than {NAME_LONGEST} characters")
    if not value.isprintable() or " " in value:
        raise ValueError("method name with a space or control character")
    return Name(value)


def _text(value: Any, _: type) -> Text:
    if not isinstance(value, str) or len(value) > NAME_LONGEST or "\0" in value:
        raise ValueError(f"not text of at most {NAME_LONGEST} characters")
    value.encode()  # a lone surrogate: UnicodeEncodeError is a ValueError
    return Text(value)


def _count(value: Any, _: type) -> Count:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= NUMBER_HIGHEST:
        raise ValueError(f"not a whole number from 0 to {NUMBER_HIGHEST}")
    return Count(value)


def _seconds(value: Any, _: type) -> Seconds:
    number = _number(value)
    if number is None or number > NUMBER_HIGHEST:
        raise ValueError(f"not a number of seconds from 0 to {NUMBER_HIGHEST}")
    return Seconds(number)


def _date(value: Any, _: type) -> Date:
    if isinstance(value, str):
        date = datetime.fromisoformat(value)
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        at = value / 1000
    else:
        raise ValueError("not a date: use ISO 8601 or milliseconds since 1970")
    if not 0 <= at <= DATE_LATEST:
        raise ValueError("a date before 1970 or after the year 9999")
    return Date(at)


def _json(value: Any, _: type) -> Json:
    text = rpc.dump(value)
    if len(text) > TEXT_LARGEST // 4 and len(text.encode()) > TEXT_LARGEST:
        raise RpcError(Code.TOO_LARGE, f"more than {TEXT_LARGEST} bytes")
    return Json(text)


def _priority(value: Any, _: type) -> Priority:
    try:
        return Priority(value)
    except ValueError:
        raise ValueError("not one of high, normal, low") from None


def _flag(value: Any, _: type) -> bool:
    return bool(value)


def _plain(value: Any, _: type) -> str:
    return value if isinstance(value, str) else rpc.dump(value)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    hooks: dict[Any, Callable[[Any, Any], Any]] = {
        JobId: _job_id,
        Name: _name,
        Text: _text,
        Count: _count,
        Seconds: _seconds,
        Date: _date,
        Json: _json,
        Priority: _priority,
        bool: _flag,
        str: _plain,
    }
    for kind, hook in hooks.items():
        converter.register_structure_hook_func(partial(_is, kind), hook)
    return converter


def _is(kind: Any, other: Any) -> bool:
    return kind is other


converter = _converter()
Params = TypeVar("Params")


def _typed(params: Any, kind: type[Params]) -> Params:
    """The params as `kind`. Raises RpcError 400 with each fault and where it is."""
    if not isinstance(params, dict):
        params = {}
    params = {key: value for key, value in params.items() if value is not None}
    try:
        return converter.structure(params, kind)
    except cattrs.ClassValidationError as errors:
        raise _refusal(errors) from None


def _refusal(errors: cattrs.ClassValidationError) -> RpcError:
    messages = []
    for error, where in _faults(errors):
        if isinstance(error, RpcError):
            return error
        if isinstance(error, KeyError):
            message = {"id": "invalid job id", "name": "missing method name", "method": "missing method name"}.get(
                str(error.args[0]), f"missing {error.args[0]}"
            )
            messages.append(message)
        elif str(error) in ("invalid job id", "missing method name") and where in ("id", "name", "method"):
            messages.append(str(error))  # the original's words
        else:
            messages.append(f"{where}: {error}")
    return RpcError(Code.BAD_REQUEST, "; ".join(messages))


def _faults(errors: cattrs.ClassValidationError) -> list[tuple[Exception, str]]:
    with_notes, without = errors.group_exceptions()
    return [(error, note.name) for error, note in with_notes] + [(error, "") for error in without]


# --- the methods ---


def queue(core: Core, params: Any, reply: Reply, is_kept: bool) -> None:
    wanted = _typed(params, Queue)
    new = NewJob(
        method=wanted.name,
        arguments=wanted.args,
        priority=wanted.priority,
        dedupe=wanted.dedupe or None,
        after_date=wanted.after_date,
        after_id=wanted.after_id,
        before_id=wanted.before_id,
        max_retries=wanted.max_retries,
        retry_delay=wanted.retry_delay,
        submit_token=wanted.submit_token or None,
    )
    core.ask(partial(steps.queue, new), reply, is_kept=is_kept)


def watch(core: Core, params: Any, reply: Reply, is_kept: bool) -> None:
    wanted = _typed(params, Watch)

    def ended(job: Job | RpcError) -> None:
        reply(job if isinstance(job, RpcError) else _as_answer(rules.answer(job)))

    core.watch(wanted.id, wanted.wait_for_id, ended)


def job_data(core: Core, params: Any, reply: Reply, is_kept: bool) -> None:
    wanted = _typed(params, JobData)
    news = Reported(
        status=_reported_status(wanted.status),
        data=wanted.data,
        separator=_separator(wanted.append),
        progress=_number(wanted.progress),
    )
    core.ask(partial(steps.report, wanted.id, wanted.attempt, news), reply, is_kept=is_kept)


def job_start(core: Core, params: Any, reply: Reply, is_kept: bool) -> None:
    wanted = _typed(params, JobStart)
    core.ask(partial(steps.job_start, wanted.id, wanted.attempt, wanted.worker), reply, is_kept=is_kept)


def status(core: Core, params: Any, reply: Reply, is_kept: bool) -> None:
    if params is not None and params != {} and not isinstance(params, list):
        raise RpcError(Code.BAD_REQUEST, "params must be an array of job ids")
    ids = []
    for value in params or []:
        id = steps.id_of(value) if not isinstance(value, list) else None
        if id is None:
            raise RpcError(Code.BAD_REQUEST, f"invalid job id: {rpc.dump(value)[:100]}")
        ids.append(id)

    def found(jobs: list[Job] | RpcError) -> None:
        reply(jobs if isinstance(jobs, RpcError) else [status_object(job) for job in jobs])

    core.ask(partial(steps.status, ids), found, is_kept=is_kept)


def stats(core: Core, params: Any, reply: Reply, is_kept: bool) -> None:
    core.ask(partial(steps.stats, _typed(params, Stats).method), reply, is_kept=is_kept)


def noop(core: Core, params: Any, reply: Reply, is_kept: bool) -> None:
    reply(None)


def noopwait(core: Core, params: Any, reply: Reply, is_kept: bool) -> None:
    raise RpcError(Code.BAD_REQUEST, "noopwait waits as a job only: queue it with gearbox\\core::queue")


def noopgo(core: Core, params: Any, reply: Reply, is_kept: bool) -> None:
    id = steps.id_of(params.get("id") if isinstance(params, dict) else params)
    if id is None:
        raise RpcError(Code.BAD_REQUEST, "invalid job id")
    core.ask(partial(steps.go, id), reply, is_kept=is_kept)


Method = Callable[[Core, Any, Reply, bool], None]
METHODS: dict[str, Method] = {
    f"gearbox\\core::{method.__name__}": method
    for method in (queue, watch, job_data, job_start, status, stats, noop, noopwait, noopgo)
}


def dispatch(core: Core, call: Call) -> None:
    """Answer a Gearman job for one of `METHODS`, now or once the core has the answer. Never raises."""
    request = rpc.parse_request(call.payload, call.function)
    if isinstance(request, rpc.Refused):
        call.reply(b"" if request.is_notification else rpc.error(request.id, request.error))
        return
    is_notification = request.id is None

    def reply(value: Any) -> None:
        if is_notification:
            if isinstance(value, RpcError):
                log.info("a notification failed", method=request.method, error=str(value))
            call.reply(b"")
        elif isinstance(value, RpcError):
            call.reply(rpc.error(request.id, value))
        elif isinstance(value, _Text):
            call.reply(rpc.result_text(request.id, value))
        else:
            call.reply(rpc.result(request.id, value))

    try:
        METHODS[request.method](core, request.params, reply, is_notification)
    except RpcError as error:
        reply(error)
    except Exception as error:
        log.error("a call failed", method=request.method, exc_info=error)
        reply(RpcError(Code.INTERNAL, f"internal error: {type(error).__name__}"))


class _Text(str):
    """A value that is JSON text already."""


def _as_answer(answer: str | RpcError) -> _Text | RpcError:
    return answer if isinstance(answer, RpcError) else _Text(answer)


def status_object(job: Job) -> dict[str, Any]:
    """The object that `gearbox\\core::status` shows, with the original's keys and order."""
    value: dict[str, Any] = {
        "id": job.id,
        "method_name": job.method,
        "arguments": rules.json_of(job.arguments),
        "priority": job.priority.value,
        "created": iso(job.created),
        "updated": iso(job.updated),
        "status": job.status.value,
        "after_date": None if job.after_date is None else iso(job.after_date),
        "after_id": job.after_id,
        "before_id": job.before_id,
        "completed": None if job.completed is None else iso(job.completed),
        "retries": False,
        "dedupe": job.dedupe,
        "progress": False,
        "data": rules.json_of(job.result_data),
    }
    if job.max_retries:
        value["retries"] = {"n": job.retries, "max": job.max_retries, "delay": _short(job.retry_delay)}
    if job.progress is not None:
        assert job.progress_at is not None
        value["progress"] = {"n": _short(job.progress), "updated": iso(job.progress_at)}
    if job.see_other is not None:
        value["see_other"] = job.see_other
    return value


def _reported_status(word: str | None) -> Status | None:
    """An unknown word ends the job as invalid: a job whose worker speaks nonsense must not wait for ever."""
    known = {None: None, "complete": Status.COMPLETE, "errored": Status.ERRORED}
    return known.get(word, Status.INVALID)


def _separator(append: Any) -> str | None:
    """What to put before appended data; None: it replaces what is there."""
    if append is None or append is False:
        return None
    return append if isinstance(append, str) else "\n"


def _number(value: Any) -> float | None:
    """A number from 0 up, or text of one; None for anything else."""
    try:
        number = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and isfinite(number) and number >= 0 else None


def _short(number: float) -> float:
    return int(number) if number.is_integer() else number
