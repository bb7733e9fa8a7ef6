"""Numbers, spans, instants and JSON as people read them; pure. These are the templates' filters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from gearbox.web.forecast import message_of

__all__ = ["FILTERS", "age", "amount", "memory", "pretty", "span"]

JOB = re.compile(r"\bjob (\d+)|(?<=\(before_id\): )(\d+)|(?<=, )(\d+)(?=,| and others| ha(?:s|ve) not ended)")
PRETTY_LONGEST = 200_000  # characters of JSON that are laid out; more is offered as a file
SHOWN_LONGEST = 50_000  # characters shown on a page
YEAR = 365.25 * 86400  # s
CORE = re.compile(r"([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # the id of a core, as it signs its own deeds
STATUS_WORDS = {"almost-done": "almost done"}
UNITS = ((86400.0, "d", 3600.0, "h"), (3600.0, "h", 60.0, "min"), (60.0, "min", 1.0, "s"))


def span(seconds: float | None) -> str:
    """A duration in the unit that fits.

    >>> [span(s) for s in (None, 0.0, 0.0000014, 0.0042, 0.0123, 1.5, 75, 7300, 200000, 2e9)]
    ['–', '0 ms', '1 µs', '4.2 ms', '12 ms', '1.5 s', '1 min 15 s', '2 h 1 min', '2 d 7 h', '63 years']
    """
    if seconds is None:
        return "–"
    if 0 < seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1000:.{1 if 0 < seconds < 0.00995 else 0}f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds >= 2 * YEAR:
        return f"{seconds / YEAR:.0f} years"
    for size, word, part, part_word in UNITS:
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            parts = int(rest // part)
            return f"{whole:.0f} {word}" + (f" {parts} {part_word}" if parts else "")
    return "1 min"  # 59.95 s, rounded


def age(at: str | None, now: float | None = None) -> str:
    """How long ago an instant was, or how far ahead it is.

    >>> age("1970-01-01T00:00:10.000Z", 70.0), age("1970-01-01T00:01:10.000Z", 10.0)
    ('1 min ago', 'in 1 min')
    """
    if at is None:
        return "–"
    seconds = (datetime.now(UTC).timestamp() if now is None else now) - datetime.fromisoformat(at).timestamp()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def when(at: str | None) -> Markup:
    """An instant, exact in its title."""
    if at is None:
        return Markup("–")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(at, age(at))


def clock(at: str | None) -> str:
    """An instant to the millisecond.

    >>> clock("2026-11-22T09:00:00.123Z")
    '2026-11-22 09:00:00.123'
    """
    return "–" if at is None else at.replace("T", " ").replace("Z", "")


def amount(number: float | None) -> str:
    """A count with thin spaces.

    >>> amount(1234567).replace("\\u202f", "_"), amount(0)
    ('1_234_567', '0')
    """
    return "–" if number is None else f"{number:,.0f}".replace(",", "\u202f")


def rate(number: float) -> str:
    """Jobs a second.

    >>> rate(0.0), rate(0.25), rate(1234.5)
    ('0', '0.25', '1\u202f234')
    """
    return "0" if not number else f"{number:.2f}" if number < 10 else amount(number)


def memory(size: float | None) -> str:
    """Bytes.

    >>> memory(52428800), memory(None)
    ('50.0 MiB', '–')
    """
    if size is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def pretty(value: Any) -> str:
    """A JSON value as indented text, cut where nobody would read on."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= PRETTY_LONGEST:
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= SHOWN_LONGEST else f"{text[:SHOWN_LONGEST]}\n… (there is more: download it)"


def linked(sentence: str, base: str) -> Markup:
    """A sentence of `why`, its jobs as links."""

    def link(match: re.Match[str]) -> str:
        id = next(group for group in match.groups() if group)
        return f'{match[0][: -len(id)]}<a href="{base}/jobs/{id}">{id}</a>'

    return Markup(JOB.sub(link, str(escape(sentence))))  # only digits come into the markup


def status_word(status: str) -> str:
    return STATUS_WORDS.get(status, status)


def who(name: str) -> Markup:
    """Who did something: a core by the beginning of its id.

    >>> print(who("ada@console"), who("ed36c38e-c58f-4457-81af-39697494b43a"))
    ada@console <span title="ed36c38e-c58f-4457-81af-39697494b43a">core ed36c38e</span>
    """
    found = CORE.fullmatch(name)
    return escape(name) if found is None else Markup('<span title="{}">core {}</span>').format(name, found[1])


def in_url(text: str) -> str:
    return quote(text, safe="")


def waited(attempt: Mapping[str, Any]) -> str:
    """How long an attempt waited for a worker, where that was told."""
    return _between(attempt["claimed"], attempt["started"])


def ran(attempt: Mapping[str, Any]) -> str:
    """How long an attempt ran."""
    return _between(attempt["started"] or attempt["claimed"], attempt["ended"])


def _between(start: str | None, end: str | None) -> str:
    if start is None or end is None:
        return ""
    return span(max((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 0.0))


def error_words(error: Any) -> str:
    """An attempt's error: its message, or what there is."""
    if error is None:
        return ""
    if isinstance(error, dict) and "message" in error:
        return f"{error['message']} ({error.get('code')})"
    return pretty(error)


FILTERS: dict[str, Callable[..., Any]] = {
    "age": age,
    "amount": amount,
    "clock": clock,
    "error_words": error_words,
    "in_url": in_url,
    "linked": linked,
    "memory": memory,
    "message": message_of,
    "pretty": pretty,
    "ran": ran,
    "rate": rate,
    "span": span,
    "status_word": status_word,
    "waited": waited,
    "when": when,
    "who": who,
}
