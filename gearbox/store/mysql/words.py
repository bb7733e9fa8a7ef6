"""The statements of the store in the words of MySQL and MariaDB; pure.

They are written once, as SQLite understands them. What differs is small and regular, so it is changed by rule: the
parameters, what an insert does when the row is there, a few functions, and the names of columns and tables.

The original has instants as DATETIME. Those names stay for people who read the table; the program's own columns, with
microseconds, end in `_us` (schema/mysql).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from gearbox.store.address import JOBS

__all__ = ["translator"]

RULES = (
    (r"%", "%%"),
    (r"(?<![:\w])(created|updated|after_date|completed|progress_updated)\b", r"\1_us"),
    (r"(?<![:\w]):(\w+)", r"%(\1)s"),
    (r"\?", "%s"),
    (r"\bON CONFLICT \([\w, ]+\)\s+DO UPDATE SET\b", "ON DUPLICATE KEY UPDATE"),
    (r"\bexcluded\.(\w+)", r"VALUES(\1)"),
    (r"\bmin\((\w+), ", r"LEAST(\1, "),
    (r"\bmax\((\w+), ", r"GREATEST(\1, "),
    (r"\bAS INTEGER\)", "AS SIGNED)"),
)


@cache
def translator(table: str) -> Callable[[str], str]:
    """A function from a statement of ours to MySQL's, for jobs in `table`; what it found once, it remembers.

    >>> translate = translator("gearbox_jobs")
    >>> translate("SELECT created FROM gearbox_jobs WHERE id = :id")
    'SELECT created_us FROM gearbox_jobs WHERE id = %(id)s'
    >>> translate("... ON CONFLICT (name) DO UPDATE SET latest = max(latest, excluded.latest)")
    '... ON DUPLICATE KEY UPDATE latest = GREATEST(latest, VALUES(latest))'
    """

    @cache
    def translate(statement: str) -> str:
        for pattern, replacement in RULES:
            statement = re.sub(pattern, replacement, statement)
        return renamed(statement, table)

    return translate


def renamed(text: str, table: str) -> str:
    """Text that names our tables, with the names that they have beside `table`.

    >>> renamed("gearbox_jobs, gearbox_events", "jobs")
    'jobs, jobs_events'
    """
    if table == JOBS:
        return text
    return re.sub(r"\bgearbox_(\w+)", lambda found: table if found[0] == JOBS else f"{table}_{found[1]}", text)
