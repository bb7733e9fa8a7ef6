"""What a command line of g-client asks for: docopt's words in, checked values out; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import inf
from typing import Any

import attrs

from gearbox.cli.arguments import method_name, parse_arguments
from gearbox.cli.dates import iso, parse_date
from gearbox.cli.manual import COMMANDS, NOTHING_TYPED
from gearbox.cli.output import Mode

__all__ = ["Complaint", "Wanted", "understand"]

TRIES = {"--retries", "--retry-delay", "--backoff", "--max-delay", "--run-limit"}
FOR_JOBS = {"--priority", "--dedupe", "--after", "--after-job", "--before-job", "--expires", *TRIES}
PAGED = {"--limit", "--below"}
RECURRING = {"--timezone", "--overlap", "--missed"}
OPTIONS = {
    "run": FOR_JOBS,
    "queue": FOR_JOBS,
    "raw": {"--priority"},
    "watch": {"--wait-for-id"},
    "retry": {"--alone", "--reason"},
    "reprioritise": {"--priority", "--reason"},
    "act": {"--priority", "--reason", "--yes"},
    "search": PAGED,
    "audit": PAGED,
    **{name: {"--reason"} for name in ("cancel", "hurry", "pause", "resume", "limit", "unschedule", "run-now")},
    "schedule": {"--priority", "--dedupe", "--reason", *TRIES, *RECURRING},
}
SPECIAL = FOR_JOBS | RECURRING | PAGED | {"--wait-for-id", "--reason", "--alone", "--yes"}
WITH_ARGUMENTS = ("run", "queue", "raw", "schedule")
CHOICES = {
    "--priority": ("high", "normal", "low"),
    "--backoff": ("fixed", "exponential"),
    "--overlap": ("skip", "queue", "allow"),
    "--missed": ("skip", "once", "all"),
}
DRAWINGS = ("dot", "svg")
DEEDS = {"cancel": "cancel", "retry": "retry", "hurry": "run_now", "reprioritise": "reprioritise"}
DEAD = ("list", "retry", "drop")
SHELLS = ("bash", "zsh", "fish")
DEFAULTS = {
    "--priority": "normal",
    "--retries": "0",
    "--retry-delay": "1",
    "--backoff": "fixed",
    "--max-delay": "3600",
    "--timezone": "UTC",
    "--overlap": "skip",
    "--missed": "once",
    "--limit": "50",
}


class Complaint(ValueError):
    """What is wrong with the command line, in one sentence."""


@attrs.frozen
class Wanted:
    """What was typed, understood. What a command does not have is as it is here; times are in seconds."""

    command: str
    ids: tuple[int, ...] = ()
    method: str = ""
    arguments: Any = None
    priority: str = "normal"
    dedupe: str | None = None
    after_date: datetime | None = None
    after_id: int | None = None
    before_id: int | None = None
    expires: datetime | None = None
    run_limit: float | None = None
    max_retries: int = 0
    retry_delay: float = 1.0
    backoff: str | None = None
    max_delay: float | None = None
    file: str = ""
    name: str = ""  # of a recurring entry
    cron: str = ""
    timezone: str = "UTC"
    overlap: str = "skip"
    missed: str = "once"
    concurrency: int | None = None  # None: no limit
    reason: str | None = None
    is_alone: bool = False
    is_awaited: bool = False  # the job need not exist yet
    query: str = ""
    deed: str = ""  # to do to all that it finds, by the core's word
    is_sure: bool = False  # do it without asking
    limit: int = 50  # rows of a page
    below: int | None = None
    what: str = ""  # to do with dead jobs
    handles: tuple[str, ...] = ()  # of them, or their functions
    shell: str = ""
    mode: Mode = Mode.INSPECT
    drawing: str | None = None
    is_quiet: bool = False
    timeout: float = inf

    def tries(self) -> dict[str, Any]:
        """The options of `queue` and `schedule` about tries."""
        return {
            "max_retries": self.max_retries,
            "retry_delay": self.retry_delay,
            "backoff": self.backoff,
            "retry_delay_max": self.max_delay,
            "timeout": self.run_limit,
        }

    def gates(self) -> dict[str, Any]:
        """The options of `queue` about when a job may run."""
        return {
            "after_date": None if self.after_date is None else iso(self.after_date),
            "after_id": self.after_id,
            "before_id": self.before_id,
            "expires": None if self.expires is None else iso(self.expires),
        }


def understand(typed: Mapping[str, Any], now: datetime) -> Wanted:
    """Raises Complaint, BadArguments or BadDate (all ValueErrors)."""
    typed = {**NOTHING_TYPED, **typed}
    command = next(name for name in COMMANDS if typed[name])
    for option in sorted(SPECIAL - OPTIONS.get(command, set())):
        if typed[option] not in (None, False, DEFAULTS.get(option)):
            raise Complaint(f"{command} takes no {option}")
    for option, choices in CHOICES.items():
        _choose(option, typed[option], choices)
    has_arguments = command in WITH_ARGUMENTS
    mode, drawing = _mode(command, typed, is_json=typed["--json"] and not has_arguments)
    words = list(typed["<arguments>"])
    if "--" in words and not typed["--"]:  # docopt takes it away in the place that the usage shows
        words.remove("--")
    method, shell = typed["<name/space::method>"], typed["<shell>"]
    if shell is not None and shell not in SHELLS:
        raise Complaint(f"unknown shell: {shell} (choose from {', '.join(SHELLS)})")
    is_growing = typed["--backoff"] != "fixed"
    return Wanted(
        command=command,
        ids=tuple(_id("job id", text) for text in (*filter(None, [typed["<id>"]]), *typed["<ids>"])),
        method="" if method is None else _method(method),
        arguments=parse_arguments(words, is_json=typed["--json"]) if has_arguments else None,
        priority=typed["--priority"],
        dedupe=typed["--dedupe"],
        after_date=_date("--after", typed, now),
        after_id=_optional_id("--after-job", typed),
        before_id=_optional_id("--before-job", typed),
        expires=_date("--expires", typed, now),
        run_limit=_run_limit(typed),
        max_retries=int(_number("--retries", typed, "whole number")),
        retry_delay=_number("--retry-delay", typed, "number"),
        backoff=typed["--backoff"] if is_growing else None,
        max_delay=_number("--max-delay", typed, "number") if is_growing else None,
        file=typed["<file>"] or "",
        name=typed["<name>"] or "",
        cron=typed["<cron>"] or "",
        timezone=typed["--timezone"],
        overlap=typed["--overlap"],
        missed=typed["--missed"],
        concurrency=_concurrency(typed["<number>"]),
        what=_what(typed["<what>"], typed["<handles>"]),
        handles=tuple(typed["<handles>"]),
        reason=typed["--reason"],
        is_alone=typed["--alone"],
        is_awaited=typed["--wait-for-id"],
        query=" ".join(typed["<query>"]),
        deed=_deed(typed["<deed>"]),
        is_sure=typed["--yes"],
        limit=int(_number("--limit", typed, "whole number")),
        below=_optional_id("--below", typed),
        shell=shell or "",
        mode=mode,
        drawing=drawing,
        is_quiet=typed["--quiet"],
        timeout=inf if typed["--timeout"] is None else _number("--timeout", typed, "number"),
    )


def _mode(command: str, typed: Mapping[str, Any], *, is_json: bool) -> tuple[Mode, str | None]:
    """How to print, and how to draw."""
    word = typed["--output"]
    modes = [mode.value for mode in Mode]
    _choose("--output", word, [*modes, *DRAWINGS] if command == "graph" else modes)
    if word in DRAWINGS:
        return Mode.INSPECT, word
    return Mode.JSON if is_json and word == Mode.INSPECT.value else Mode(word), None


def _choose(option: str, typed: str, choices: Any) -> None:
    if typed not in choices:
        raise Complaint(f"invalid value for {option}: {typed} (choose from {', '.join(choices)})")


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


def _date(option: str, typed: Mapping[str, Any], now: datetime) -> datetime | None:
    return None if typed[option] is None else parse_date(typed[option], now)


def _deed(text: str | None) -> str:
    if text is not None and text not in DEEDS:
        raise Complaint(f"unknown word: {text} (choose from {', '.join(DEEDS)})")
    return "" if text is None else DEEDS[text]


def _what(text: str | None, handles: list[str]) -> str:
    if text is None:
        return ""
    if text not in DEAD:
        raise Complaint(f"unknown word: {text} (choose from {', '.join(DEAD)})")
    if (text == "list") == bool(handles):
        raise Complaint("dead list takes no names" if handles else f"dead {text} needs handles or functions")
    return text


def _concurrency(text: str | None) -> int | None:
    if text is None or text == "none":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise Complaint(f"not a limit: {text} (a whole number from 1 on, or none; pause starts no jobs at all)")
    return int(text)


def _run_limit(typed: Mapping[str, Any]) -> float | None:
    limit = None if typed["--run-limit"] is None else _number("--run-limit", typed, "number")
    if limit == 0:
        raise Complaint(f"invalid value for --run-limit: {typed['--run-limit']} (not a number above 0)")
    return limit


def _number(option: str, typed: Mapping[str, Any], kind: str) -> float:
    text = typed[option]
    try:
        number = float(text) if kind == "number" else int(text)
    except ValueError:
        number = -1
    if not 0 <= number < inf:
        raise Complaint(f"invalid value for {option}: {text} (not a {kind} from 0 on)")
    return number
