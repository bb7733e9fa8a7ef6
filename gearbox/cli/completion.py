"""Completion of g-client's command lines by the shells, read from the manual; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs

from gearbox.cli.manual import COMMANDS, MANUAL

__all__ = ["script"]

OPTION = re.compile(r"^  (--[a-z-]+)(?:, (-\w))?( [A-Z]+)?  +(.*)$")
CHOICES = re.compile(r'\[choices: ("[^\]]*)\]')


@attrs.frozen
class Option:
    """One option of the manual. `choices` are empty where anything may follow, `is_valued` if nothing may."""

    long: str
    short: str
    is_valued: bool
    about: str
    choices: tuple[str, ...]


def options(manual: str = MANUAL) -> list[Option]:
    """What stands in the manual under "Options:"."""
    section = manual[manual.index("\nOptions:\n") :].split("\n\n")[0]
    found: list[Option] = []
    for part in re.split(r"\n(?=  --)", section)[1:]:
        match = OPTION.match(part.split("\n")[0])
        assert match is not None, part
        choices = CHOICES.search(part)
        words = tuple(re.findall(r'"([^"]+)"', choices[1])) if choices else ()
        about = re.split(r"  |\s*\[", match[4])[0].rstrip(":;,")
        found.append(Option(match[1], match[2] or "", match[3] is not None, about, words))
    return found


def abouts(manual: str = MANUAL) -> dict[str, str]:
    """The commands, with the beginning of what the manual says about them."""
    found = {}
    for command in COMMANDS:
        match = re.search(rf"^  {command}  +(\S.*)$", manual, re.MULTILINE)
        assert match is not None, command
        found[command] = re.split(r"[;:,]", match[1])[0]
    return found


def script(shell: str) -> str:
    """A script that teaches the shell."""
    return SCRIPTS[shell]()


def _bash() -> str:
    cases = "\n".join(
        f"        {'|'.join(filter(None, (one.long, one.short)))}) "
        f'COMPREPLY=($(compgen -W "{" ".join(one.choices)}" -- "$word")); return ;;'
        for one in options()
        if one.is_valued
    )
    names = " ".join(name for one in options() for name in (one.long, one.short) if name)
    return f"""\
# bash completion for g-client
_g_client() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    COMPREPLY=()
    case "$before" in
{cases}
        completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$word")); return ;;
        queue-many) COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
    if [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "{names}" -- "$word"))
    elif [[ "$COMP_CWORD" == 1 ]]; then
        COMPREPLY=($(compgen -W "{" ".join(COMMANDS)}" -- "$word"))
    fi
}}
complete -F _g_client g-client
"""


def _zsh() -> str:
    commands = "\n".join(f"        {_single(f'{name}:{about}')}" for name, about in abouts().items())
    arguments = " \\\n".join(f"        {spec}" for one in options() for spec in _zsh_specs(one))
    return f"""\
#compdef g-client
_g_client() {{
    local -a commands=(
{commands}
    )
    _arguments \\
{arguments} \\
        '1:command:{{_describe command commands}}' \\
        '*::arguments:_files'
}}
compdef _g_client g-client
"""


def _zsh_specs(one: Option) -> list[str]:
    about = re.sub(r"[\[\]:]", " ", one.about)
    value = f":value:({' '.join(one.choices)})" if one.choices else ":value:" if one.is_valued else ""
    return [_single(f"{name}[{about}]{value}") for name in (one.long, one.short) if name]


def _fish() -> str:
    lines = ["# fish completion for g-client", "complete -c g-client -f"]
    for name, about in abouts().items():
        lines.append(f"complete -c g-client -n __fish_use_subcommand -a {name} -d {_single(about)}")
    for one in options():
        short = f" -s {one.short[1:]}" if one.short else ""
        value = f" -x -a {_single(' '.join(one.choices))}" if one.is_valued else ""
        lines.append(f"complete -c g-client -l {one.long[2:]}{short}{value} -d {_single(one.about)}")
    lines.append("complete -c g-client -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'")
    lines.append("complete -c g-client -n '__fish_seen_subcommand_from queue-many' -F")
    return "\n".join(lines) + "\n"


def _single(text: str) -> str:
    """The text in single quotes, as these shells read them."""
    return "'" + text.replace("'", "'\\''") + "'"


SCRIPTS: Mapping[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
