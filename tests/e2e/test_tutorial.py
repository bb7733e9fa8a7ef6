"""The tutorial does what it says: every command of it is typed into one shell, and prints what the page shows."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
COMMAND_TIMEOUT = 30.0  # s
END = "--- end of the command ---"


def commands(text: str) -> list[tuple[str, str]]:
    """(command, what it prints) of all `console` blocks; a here-document belongs to its command."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = piece.splitlines(keepends=True)
            last = lines.index("END\n") if "<<'END'" in lines[0] else 0
            found.append(("".join(lines[: last + 1]).rstrip("\n"), "".join(lines[last + 1 :])))
    return found


def pattern(shown: str) -> re.Pattern[str]:
    """`...` stands for anything, also for several lines."""
    return re.compile(".*".join(re.escape(part.strip()) for part in shown.split("...")), re.DOTALL)


def test_a_page_is_read_as_commands_with_their_output() -> None:
    text = "```console\n$ a\nx ... y\n$ cat <<'END'\n1\nEND\n$ b &\n```\n"
    assert commands(text) == [("a", "x ... y\n"), ("cat <<'END'\n1\nEND", ""), ("b &", "")]
    assert pattern("x ... y\n").fullmatch("x 1\n2 y")
    assert not pattern("x ... y\n").fullmatch("x 1")


class Terminal:
    """A shell into which commands are typed; `read` is all that it and what it started have printed since."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["sh"],
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def type(self, command: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{command}\n".encode())
        self._shell.stdin.flush()

    def read_until(self, text: str) -> str:
        assert self._shell.stdout is not None
        output = ""
        while text not in output:
            ready, _, _ = select.select([self._shell.stdout], [], [], COMMAND_TIMEOUT)
            piece = os.read(self._shell.stdout.fileno(), 65536) if ready else b""
            assert piece, f"no {text!r} in {output!r}"
            output += piece.decode()
        return output

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGTERM)
        self._shell.communicate(timeout=COMMAND_TIMEOUT)


def test_the_tutorial_prints_what_it_shows(gearbox: Any, tmp_path: Path) -> None:
    addresses = {"GEARBOX_LISTEN": gearbox.address, "GEARBOX_HTTP": "off"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    terminal = Terminal(tmp_path, gearbox.environment | addresses | {"PATH": path})
    ran = 0
    try:
        for command, shown in commands(PAGE.read_text()):
            if command.startswith("g-core"):
                terminal.type(f"{command}\nexport GEARMAN_SERVER={gearbox.address}")
                output = terminal.read_until("Gearbox serves")
                shown = "=== Gearbox serves..."
            else:
                terminal.type(f"{command}\necho '{END}'")
                output = terminal.read_until(END).split(END)[0]
            method = re.search(r"\w+::\w+", command)
            if command.startswith("g-worker") and method is not None:
                gearbox.wait_for(partial(is_offered, gearbox, method[0]))
            assert pattern(shown).fullmatch(output.strip()), f"$ {command}\n{output}"
            ran += 1
    finally:
        terminal.close()
    assert ran > 15


def is_offered(gearbox: Any, method: str) -> bool:
    return any(row[0] == method and row[3] != "0" for row in gearbox.functions())
