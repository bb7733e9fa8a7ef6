"""The tools' logging, and the seed's debug facility: `DEBUG=gearbox:*`, `DEBUG=gearbox:core,gearbox:sql`.

A logger is named as the original names its debug channels: `structlog.get_logger("gearbox:core")`. Events of level
info and above are always written, those of level debug only for the names that `DEBUG` lists: `*` stands for any text,
a leading `-` takes names out again. What comes through the standard library, from `abraxas_py` (`abraxas:worker`) and
from these tools (`gearbox:worker`, `gearbox:client`), is written from warnings on, unless DEBUG lists the name.

Each event is one line on standard error; control characters are escaped, so that no value can forge a second one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any

__all__ = ["configure_logging", "is_debugged", "printable"]

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
PLAIN = re.compile(r"[^\s\"'=]+")


def is_debugged(name: str, debug: str) -> bool:
    """Whether `debug`, the value of DEBUG, asks for the events of this logger.

    >>> [is_debugged(name, "gearbox:*,-gearbox:sql") for name in ("gearbox:core", "gearbox:sql", "gearbox")]
    [True, False, False]
    """
    patterns = [pattern for pattern in re.split(r"[\s,]+", debug) if pattern]
    return any(_matches(name, pattern) for pattern in patterns if not pattern.startswith("-")) and not any(
        _matches(name, pattern[1:]) for pattern in patterns if pattern.startswith("-")
    )


def _matches(name: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None


def printable(text: str) -> str:
    r"""The text on one line, with control characters and half surrogates escaped.

    >>> print(printable("a\n\x1b[1mb"))
    a\n\x1b[1mb
    """
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def configure_logging(debug: str) -> None:
    """Write the process's log to standard error; `debug` is the value of DEBUG. To be called once, by a tool."""
    import logging

    import structlog  # 200 ms, which g-client spares itself

    class Line:
        """A logger as structlog wants it: told its name, given finished lines."""

        def __init__(self, name: str = "gearbox") -> None:
            self.name = name
            self.is_debugged = is_debugged(name, debug)

        def msg(self, line: str) -> None:
            print(line, file=sys.stderr, flush=True)

        debug = info = warning = warn = error = critical = exception = fatal = log = failure = msg

    def drop_unless_debugged(logger: Line, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if level == "debug" and not logger.is_debugged:
            raise structlog.DropEvent
        return event

    def render(logger: Line, level: str, event: MutableMapping[str, Any]) -> str:
        return format_event(datetime.now(), logger.name, level, event)

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            drop_unless_debugged,
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if debug else "info"),
        logger_factory=Line,
        cache_logger_on_first_use=True,
    )

    class Records(logging.Handler):
        """What is logged through the standard library."""

        def emit(self, record: logging.LogRecord) -> None:
            name = record.name.replace(".", ":")
            if record.levelno >= logging.WARNING or is_debugged(name, debug):
                event = {"event": record.getMessage()}
                if record.exc_info:
                    event["exception"] = logging.Formatter().formatException(record.exc_info)
                print(format_event(datetime.now(), name, record.levelname.lower(), event), file=sys.stderr, flush=True)

    for name in ("abraxas", "gearbox"):
        logger = logging.getLogger(name)
        logger.handlers = [Records()]
        logger.propagate = False
        logger.setLevel(logging.DEBUG if debug else logging.WARNING)


def format_event(now: datetime, name: str, level: str, event: Mapping[str, Any]) -> str:
    """One event as a line: time, name, level, what happened, `key=value`; a traceback follows on lines of its own."""
    values = dict(event)
    what = printable(str(values.pop("event", "")))
    traceback = values.pop("exception", None)
    pairs = "".join(f" {key}={_value(value)}" for key, value in values.items())
    line = f"{now.isoformat(sep=' ', timespec='milliseconds')} {name} {level}: {what}{pairs}"
    return f"{line}\n{traceback}" if traceback else line


def _value(value: Any) -> str:
    text = printable(str(value))
    return text if PLAIN.fullmatch(text) else repr(text).replace("\\\\", "\\")
