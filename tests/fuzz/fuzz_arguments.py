"""Arguments that mean something to a shell: every command gets them letter by letter, and nothing else is run."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from random import Random

from fuzz_campaign import Case

from gearbox.work.runner import Command, Input, Invocation, prepare, words

__all__ = ["Arguments"]

# `touch` shows whether anything was run: the folder must stay as it is.
PIECES = [
    "; touch ran", "$(touch ran)", "`touch ran`", "| touch ran", "&& touch ran", "& touch ran", "\ntouch ran\n", "#",
    "'", '"', "\\", "$IFS", "${x:=$(touch ran)}", "<(touch ran)", "> ran", "-n", "--", "-c", "*", "?", "~", "!!", "é",
    "%s", "%n", "\\x00", "a b", "", "=", "$@", '"$@"', "\r", "\t", "{a,b}", "[", "(", ")", "\x1b[2J", "\udc80", "\0",
]  # fmt: skip
SCRIPT = """#!/bin/sh
for word in "$@"; do printf '%s\\0' "$word"; done
cat
"""


class Arguments:
    """A case is the job's arguments; they go through every input mode, as text for a shell and as an array."""

    name = "arguments"
    cases = 500

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._program = Path(self._folder.name) / "print-arguments"
        self._program.write_text(SCRIPT)
        self._program.chmod(0o755)

    def make(self, chance: Random) -> Case:
        return ["".join(chance.choices(PIECES, k=chance.randint(1, 4))) for _ in range(chance.randint(1, 3))]

    def check(self, case: Case) -> None:
        program = str(self._program)
        modes: list[tuple[Command, Input]] = [
            (program, Input.APPEND),
            ((program,), Input.PREPEND),
            ((program,), Input.STDIN),
            ((program,), Input.IGNORE),
        ]
        for command, input in modes:
            invocation = prepare(command, input, case)
            if isinstance(invocation, Invocation):
                self._run(invocation, case, input)
            else:
                assert any("\0" in word or "\udc80" in word for word in case)
        assert [path.name for path in Path(self._folder.name).iterdir()] == ["print-arguments"]

    def _run(self, invocation: Invocation, case: Case, input: Input) -> None:
        done = subprocess.run(
            invocation.argv, input=invocation.stdin, capture_output=True, cwd=self._folder.name, timeout=10, check=True
        )
        if input is Input.STDIN:
            assert json.loads(done.stdout) == case
        elif input is Input.IGNORE:
            assert done.stdout == b""
        else:
            assert done.stdout == b"".join(word.encode() + b"\0" for word in words(case))

    def close(self) -> None:
        self._folder.cleanup()
