"""What a command line of g-client asks for: docopt's words in, checked values out; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import inf
from typing import Any

import attrs

from gearbox.cli.arguments import method_name, parse_arguments
from gearbox.cli.dates import parse_date
from gearbox.cli.output import Mode

__all__ = ["COMMANDS", "Complaint", "Wanted", "understand"]

COMMANDS = ("run", "queue", "watch", "raw", "status", "stats")
FOR_JOBS = {"--priority", "--dedupe", "--after", "--after-job", "--before-job", "--retries", "--retry-delay", "--json"}
OPTIONS = {"run": FOR_JOBS, "queue": FOR_JOBS, "raw": {"--priority", "--json"}}
DEFAULTS = {"--priority": "normal", "--retries": "0", "--retry-delay": "1"}


class Complaint(ValueError):
    """What is wrong with the command line, in one sentence."""


@attrs.frozen
class Wanted:
    """What was typed, understood. `method` and `arguments` are for commands that have them; times are in seconds."""

    command: str
    ids: tuple[int, ...] = ()
    method: str = ""
    arguments: Any = None
    priority: str = "normal"
    dedupe: str | None = None
    after_date: datetime | None = None
    after_id: int | None = None
    before_id: int | None = None
    max_retries: int = 0
    retry_delay: float = 1.0
    mode: Mode = Mode.INSPECT
    is_quiet: bool = False
    timeout: float = inf


def understand(typed: Mapping[str, Any], now: datetime) -> Wanted:
    """Raises Complaint, BadArguments or BadDate (all ValueErrors)."""
    command = next(name for name in COMMANDS if typed[name])
    for option in FOR_JOBS - OPTIONS.get(command, set()):
        if typed[option] not in (None, False, DEFAULTS.get(option)):
            raise Complaint(f"{command} takes no {option}")
    for option, choices in (("--priority", ("high", "normal", "low")), ("--output", [mode.value for mode in Mode])):
        if typed[option] not in choices:
            raise Complaint(f"invalid value for {option}: {typed[option]} (choose from {', '.join(choices)})")
    words = list(typed["<arguments>"])
    if "--" in words and not typed["--"]:  # docopt takes it away in the place that the usage shows
        words.remove("--")
    method = typed["<name/space::method>"]
    after = typed["--after"]
    return Wanted(
        command=command,
        ids=tuple(_id("job id", text) for text in (*filter(None, [typed["<id>"]]), *typed["<ids>"])),
        method="" if method is None else _method(method),
        arguments=parse_arguments(words, is_json=typed["--json"]),
        priority=typed["--priority"],
        dedupe=typed["--dedupe"],
        after_date=None if after is None else parse_date(after, now),
        after_id=_optional_id("--after-job", typed),
        before_id=_optional_id("--before-job", typed),
        max_retries=int(_number("--retries", typed, "whole number")),
        retry_delay=_number("--retry-delay", typed, "number"),
        mode=Mode(typed["--output"]),
        is_quiet=typed["--quiet"],
        timeout=inf if typed["--timeout"] is None else _number("--timeout", typed, "number"),
    )


def _method(typed: str) -> str:
    name = method_name(typed)
    if not name or not name.isprintable() or " " in name:
        raise Complaint(f"not a method name: {typed!r}")
    return name


def _id(what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise Complaint(f"not a {what}: {text} (job ids are whole numbers from 1 on)")
    return int(text)


def _optional_id(option: str, typed: Mapping[str, Any]) -> int | None:
    return None if typed[option] is None else _id(f"job id for {option}", typed[option])


def _number(option: str, typed: Mapping[str, Any], kind: str) -> float:
    text = typed[option]
    try:
        number = float(text) if kind == "number" else int(text)
    except ValueError:
        number = -1
    if not 0 <= number < inf:
        raise Complaint(f"invalid value for {option}: {text} (not a {kind} from 0 on)")
    return number
