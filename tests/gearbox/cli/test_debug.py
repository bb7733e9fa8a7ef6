"""DEBUG: which loggers are shown, and how."""

from __future__ import annotations

from datetime import datetime

import pytest
import structlog

from gearbox.cli.debug import configure_logging, format_event, is_debugged

NOW = datetime(2026, 11, 21, 16, 26, 39, 1500)


@pytest.mark.parametrize(
    ("name", "debug", "expected"),
    [
        ("gearbox:core", "", False),
        ("gearbox:core", "gearbox:*", True),
        ("gearbox:core", "*", True),
        ("gearbox:core", "gearbox:core", True),
        ("gearbox:core", "gearbox:sql, gearbox:core", True),
        ("gearbox:core", "gearbox:sql", False),
        ("gearbox:core", "gearbox:*,-gearbox:core", False),
        ("gearbox:core", "gearbox.core", False),
    ],
)
def test_patterns(name: str, debug: str, expected: bool) -> None:
    assert is_debugged(name, debug) is expected


def test_an_event_is_one_line_whatever_it_holds() -> None:
    event = {"event": "job\nended", "id": 5, "text": "a b", "forged": "x\nERROR y=1", "quote": 'a"b'}
    assert format_event(NOW, "gearbox:core", "info", event) == (
        "2026-11-21 16:26:39.001 gearbox:core info: job\\nended id=5 text='a b' forged='x\\nERROR y=1' quote='a\"b'"
    )


def test_configured_loggers_write_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        configure_logging("gearbox:core")
        for name in ("gearbox:core", "gearbox:sql"):
            log = structlog.get_logger(name)
            log.debug("fine", id=1)
            log.info("told")
        try:
            raise ValueError("oops")
        except ValueError:
            log.exception("broken")
    finally:
        structlog.reset_defaults()
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line.split(" ", 2)[2] for line in captured.err.splitlines()[:4]]
    assert lines == [
        "gearbox:core debug: fine id=1",
        "gearbox:core info: told",
        "gearbox:sql info: told",
        "gearbox:sql error: broken",
    ]
    assert captured.err.endswith("ValueError: oops\n")
