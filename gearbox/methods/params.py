"""Params of the RPC methods: from JSON to types, with every fault named; pure.

What the original accepted is accepted: unknown keys are ignored, null means absent, ids may be text. What it let
through and stumbled over later is refused here with code 400 and the name of the parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from math import isfinite
from typing import Any, NewType, TypeVar

import attrs
import cattrs

from gearbox import rpc
from gearbox.errors import Code, RpcError
from gearbox.job import TEXT_LARGEST, Backoff, Priority
from gearbox.rules.recurrence import Missed, Overlap
from gearbox.steps.life import id_of

__all__ = [
    "Act",
    "Alive",
    "ById",
    "ByMethod",
    "ByName",
    "Calendar",
    "Cancel",
    "Ids",
    "JobData",
    "JobStart",
    "Latency",
    "Limit",
    "Nothing",
    "Page",
    "Queue",
    "Recurring",
    "Reprioritise",
    "Retry",
    "RunNow",
    "Search",
    "Size",
    "Token",
    "Upcoming",
    "Watch",
    "number_of",
    "typed",
]

NAME_LONGEST = 255  # characters of a method's name or a dedupe, as the original's columns
REASON_LONGEST = 1000  # characters
PAGE_LARGEST = 1000  # rows of one answer
NUMBER_HIGHEST = 2**32 - 1  # of an unsigned integer in the original's table
DATE_LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()

# --- types of parameters ---


class Deed(Enum):
    """What can be done to many jobs at once."""

    CANCEL = "cancel"
    RETRY = "retry"
    RUN_NOW = "run_now"
    REPRIORITISE = "reprioritise"


JobId = NewType("JobId", int)
Name = NewType("Name", str)  # of a method: what Gearman can carry and no listing can be forged with
Text = NewType("Text", str)
Count = NewType("Count", int)
Seconds = NewType("Seconds", float)
Positive = NewType("Positive", float)  # seconds, more than 0
Date = NewType("Date", float)  # ISO 8601 or milliseconds since 1970
Reason = NewType("Reason", str)  # text for people
Json = NewType("Json", str)  # any value, as JSON text
PageSize = NewType("PageSize", int)  # from 1 to PAGE_LARGEST


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
    retry_delay_max: Seconds = Seconds(3600.0)
    backoff: Backoff = Backoff.FIXED
    timeout: Positive | None = None
    expires: Date | None = None
    submit_token: Text | None = None
    ref: Text | None = None  # these three within queue_many only
    after_ref: Text | None = None
    before_ref: Text | None = None


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
class Alive:
    id: JobId
    attempt: Count


@attrs.frozen
class Cancel:
    id: JobId
    reason: Reason | None = None


@attrs.frozen
class Retry:
    id: JobId
    downstream: bool = True
    reason: Reason | None = None


@attrs.frozen
class Reprioritise:
    id: JobId
    priority: Priority
    reason: Reason | None = None


@attrs.frozen
class RunNow:
    """A recurring entry by its name, or a job by its id."""

    name: Text | None = None
    id: JobId | None = None
    reason: Reason | None = None


@attrs.frozen
class Act:
    """An action for all jobs that a search finds, the newest of which is `up_to`."""

    action: Deed
    query: Reason
    up_to: JobId | None = None
    priority: Priority = Priority.NORMAL
    reason: Reason | None = None
    preview: bool = False


@attrs.frozen
class Search:
    query: Reason = Reason("")
    below: JobId | None = None
    limit: PageSize = PageSize(50)


@attrs.frozen
class Page:
    below: JobId | None = None
    limit: PageSize = PageSize(50)


@attrs.frozen
class Size:
    limit: PageSize = PageSize(50)


@attrs.frozen
class Upcoming:
    after: Date | None = None
    above_id: JobId | None = None
    limit: PageSize = PageSize(50)


@attrs.frozen
class Calendar:
    until: Date


@attrs.frozen
class Latency:
    method: Name
    limit: PageSize = PageSize(10)


@attrs.frozen
class Ids:
    """Or the array alone."""

    ids: Any = None


@attrs.frozen
class Nothing:
    """A call without params."""


@attrs.frozen
class Token:
    submit_token: Text | None = None


@attrs.frozen
class Limit:
    method: Name
    concurrency: Count | None = None
    reason: Reason | None = None


@attrs.frozen
class Recurring:
    name: Text
    cron: Text
    method: Name
    timezone: Text = Text("UTC")
    args: Json | None = None
    priority: Priority = Priority.NORMAL
    dedupe: Text | None = None
    max_retries: Count = Count(0)
    retry_delay: Seconds = Seconds(1.0)
    retry_delay_max: Seconds = Seconds(3600.0)
    backoff: Backoff = Backoff.FIXED
    timeout: Positive | None = None
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.ONCE
    reason: Reason | None = None


@attrs.frozen
class ById:
    id: JobId


@attrs.frozen
class ByMethod:
    method: Name
    reason: Reason | None = None


@attrs.frozen
class ByName:
    name: Text
    reason: Reason | None = None


def _job_id(value: Any, _: type) -> JobId:
    id = id_of(value)
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


def _page_size(value: Any, _: type) -> PageSize:
    return PageSize(min(max(_count(value, int), 1), PAGE_LARGEST))


def _seconds(value: Any, _: type) -> Seconds:
    number = number_of(value)
    if number is None or number > NUMBER_HIGHEST:
        raise ValueError(f"not a number of seconds from 0 to {NUMBER_HIGHEST}")
    return Seconds(number)


def _positive(value: Any, _: type) -> Positive:
    number = number_of(value)
    if not number or number > NUMBER_HIGHEST:
        raise ValueError(f"not a number of seconds above 0 and up to {NUMBER_HIGHEST}")
    return Positive(number)


def _reason(value: Any, _: type) -> Reason:
    if not isinstance(value, str) or len(value) > REASON_LONGEST or "\0" in value:
        raise ValueError(f"not text of at most {REASON_LONGEST} characters")
    value.encode()
    return Reason(value)


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


def _word(value: Any, kind: Any) -> Any:
    """A member of an enumeration, by its word."""
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"not one of {', '.join(member.value for member in kind)}") from None


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
        PageSize: _page_size,
        Seconds: _seconds,
        Date: _date,
        Positive: _positive,
        Reason: _reason,
        Json: _json,
        Priority: _word,
        Backoff: _word,
        Overlap: _word,
        Missed: _word,
        Deed: _word,
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


def typed(params: Any, kind: type[Params]) -> Params:
    """The params as `kind`. Raises RpcError 400 with each fault and where it is."""
    if not isinstance(params, dict):
        params = {}
    params = {key: value for key, value in params.items() if value is not None}
    try:
        return converter.structure(params, kind)
    except cattrs.ClassValidationError as errors:
        raise _refusal(errors, kind) from None


def _refusal(errors: cattrs.ClassValidationError, kind: type) -> RpcError:
    messages = []
    fields = attrs.fields_dict(kind)
    for error, where in _faults(errors):
        if isinstance(error, RpcError):
            return error
        if isinstance(error, KeyError):
            name = str(error.args[0])
            words = {JobId: "invalid job id", Name: "missing method name"}  # the original's
            messages.append(words.get(fields[name].type, f"missing {name}"))  # type: ignore[arg-type]
        elif str(error) in ("invalid job id", "missing method name") and where in ("id", "name", "method"):
            messages.append(str(error))  # the original's words
        else:
            messages.append(f"{where}: {error}")
    return RpcError(Code.BAD_REQUEST, "; ".join(messages))


def _faults(errors: cattrs.ClassValidationError) -> list[tuple[Exception, str]]:
    with_notes, without = errors.group_exceptions()
    return [(error, note.name) for error, note in with_notes] + [(error, "") for error in without]


def number_of(value: Any) -> float | None:
    """A number from 0 up, or text of one; None for anything else."""
    try:
        number = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and isfinite(number) and number >= 0 else None
