"""Shell completion: every shell that is here reads its script, and bash completes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gearbox.cli.completion import abouts, options, script
from gearbox.cli.manual import COMMANDS


def test_every_option_of_the_manual_is_known() -> None:
    known = {option.long: option for option in options()}
    assert known["--priority"].choices == ("high", "normal", "low")
    assert known["--output"].short == "-O"
    assert known["--output"].choices == ("inspect", "json", "nl-json", "plain", "dot", "svg")
    assert known["--after"].is_valued
    assert not known["--quiet"].is_valued
    assert abouts().keys() == set(COMMANDS)


@pytest.mark.parametrize(("shell", "check"), [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"])])
def test_the_shell_reads_its_script(shell: str, check: list[str], tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is missing (Debian: {shell})")
    file = tmp_path / "script"
    file.write_text(script(shell))
    subprocess.run([program, *check, str(file)], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["g-client", "hi"], ["history"]),
        (["g-client", "queue", "-P", "h"], ["high"]),
        (["g-client", "queue", "--retry"], ["--retry-delay"]),
        (["g-client", "completion", "z"], ["zsh"]),
    ],
)
def test_bash_completes(words: list[str], expected: list[str]) -> None:
    program = shutil.which("bash")
    if program is None:
        pytest.skip("bash is missing (Debian: bash)")
    line = " ".join(words)
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _g_client; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run([program, "-c", f"{script('bash')}\n{ask}"], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == expected
