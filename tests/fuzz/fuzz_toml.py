"""Configuration files of g-multiworker: a configuration with remarks, or ConfigError; each remark says where."""

from __future__ import annotations

import re
from random import Random

from fuzz_campaign import Case

from gearbox.errors import ConfigError
from gearbox.work.config import METHOD_SETTINGS, parse

__all__ = ["Toml"]

KEYS = [*METHOD_SETTINGS, "reload_worker", "stop_timeout", "nonsense", '"quoted key"', "a.b", "''", '"\\u0000"']
TABLES = [
    "[config]",
    "[a.b]",
    "[a]",
    "[a.b.c]",
    "[[a.b]]",
    '["x y".z]',
    "[config.x]",
    "[]",
    "[a",
    '[a."\\ud800"]',
    "['']",
]
VALUES = [
    '"sleep"', '["sh", "-c", "x"]', "true", "false", "1", "0", "-1", "9" * 30, "1e400", "nan", "inf", '""', "[]", "{}",
    '"append"', '"stdin"', '"prepend"', '"json"', '"echo #"', '"echo ;"', '"a\\u0000b"', '["a", 1]', "1979-05-27",
    '"""\nlong\n"""', "{ x = { y = 1 } }", "[[[[]]]]", "'", '"', "=", "07:32:00", '"\\ud800"', "[" * 200, "{a=" * 200,
]  # fmt: skip


class Toml:
    """A case is the lines of a file."""

    name = "toml"
    cases = 800

    def make(self, chance: Random) -> Case:
        lines = []
        for _ in range(chance.randint(1, 15)):
            match chance.random():
                case roll if roll < 0.35:
                    lines.append(chance.choice(TABLES))
                case roll if roll < 0.9:
                    lines.append(f"{chance.choice(KEYS)} = {chance.choice(VALUES)}")
                case _:
                    lines.append("".join(chance.choices("[]{}\"'\\=.,#\n\r\t \0a1é\u2028", k=chance.randint(1, 12))))
        return lines

    def check(self, case: Case) -> None:
        try:
            config = parse([("x.toml", "\n".join(case))])
        except ConfigError:
            return
        for remark in config.remarks:
            assert re.search(r"x\.toml|concurrency < 1", remark), remark
        for method in config.methods:
            assert method.concurrency >= 1
            assert method.output_limit >= 1
            assert re.fullmatch(r"[^\s\0:/]*::[^\s\0:/]+", method.name), method.name

    def close(self) -> None:
        pass
