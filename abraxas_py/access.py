"""Who may do what: rules by the names in a client's certificate.

A rule is written `NAME=RIGHT,RIGHT`, where NAME may hold `*` and the rights are `submit`, `work`, `administrate`;
nothing after the `=` means none of them. The first rule that fits one of the names decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from abraxas_py.broker.model import Right
from abraxas_py.errors import LocalProtocolError

__all__ = ["Rule", "parse_rule", "rights_of"]

_RIGHTS = {"submit": Right.SUBMIT, "work": Right.WORK, "administrate": Right.ADMINISTRATE}


class Rule(NamedTuple):
    """What the holder of a certificate may do."""

    name: str  # a pattern, `*` for any
    rights: Right


def parse_rule(text: str) -> Rule:
    """Understand the written form.

    Raises LocalProtocolError.

    >>> parse_rule("*.workers.example=work,submit")
    Rule(name='*.workers.example', rights=<Right.SUBMIT|WORK: 3>)
    """
    name, equals, words = text.partition("=")
    rights = Right(0)
    for word in filter(None, words.split(",")):
        if word not in _RIGHTS:
            raise LocalProtocolError(f"{word!r} is no right: write submit, work or administrate")
        rights |= _RIGHTS[word]
    if not name or not equals:
        raise LocalProtocolError(f"{text!r} is no rule: write NAME=submit,work,administrate")
    return Rule(name, rights)


def rights_of(names: Iterable[str], rules: Iterable[Rule], otherwise: Right) -> Right:
    """The rights of a peer whose certificate has these names; `otherwise` where there are no rules at all.

    >>> rights_of({"a.example"}, [Rule("b.*", Right.WORK), Rule("a.*", Right.SUBMIT)], Right(0))
    <Right.SUBMIT: 1>
    """
    names = list(names)
    nothing_said = True
    for rule in rules:
        nothing_said = False
        if any(fnmatchcase(name.lower(), rule.name.lower()) for name in names):
            return rule.rights
    return otherwise if nothing_said else Right(0)
