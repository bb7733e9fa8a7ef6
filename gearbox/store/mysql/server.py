"""What a server says about itself: why it cannot be used, and what of its settings may lose data; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["ASKED", "kind_of", "refusal", "warnings"]

OLDEST = {"MariaDB": (10, 6, 0), "MySQL": (8, 0, 17)}  # SKIP LOCKED; and MySQL's first collation that pads nothing
ASKED = (
    "version",
    "read_only",
    "super_read_only",
    "innodb_read_only",
    "innodb_flush_log_at_trx_commit",
    "sync_binlog",
    "log_bin",
    "binlog_format",
    "wsrep_on",
    "sql_mode",
    "max_allowed_packet",
)


def kind_of(version: str) -> str:
    return "MariaDB" if "mariadb" in version.lower() else "MySQL"


def is_on(variables: Mapping[str, str], name: str) -> bool:
    return variables.get(name, "OFF").upper() in ("ON", "1", "YES")


def refusal(variables: Mapping[str, str]) -> str | None:
    """Why the server cannot keep jobs, and what to do; None if it can.

    >>> refusal({"version": "5.7.44-log"})
    'MySQL 5.7.44-log is too old: it takes MySQL 8.0.17 or MariaDB 10.6'
    >>> refusal({"version": "10.11.6-MariaDB", "read_only": "ON"})
    'the server is read-only, perhaps a replica: name the primary (MYSQL_HOSTNAME)'
    """
    version = variables["version"]
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    known = tuple(int(part) for part in numbers.groups()) if numbers else (0, 0, 0)
    if known < OLDEST[kind_of(version)]:
        return f"{kind_of(version)} {version} is too old: it takes MySQL 8.0.17 or MariaDB 10.6"
    if any(is_on(variables, name) for name in ("read_only", "super_read_only", "innodb_read_only")):
        return "the server is read-only, perhaps a replica: name the primary (MYSQL_HOSTNAME)"
    if is_on(variables, "log_bin") and variables.get("binlog_format", "").upper() == "STATEMENT":
        return "binlog_format is STATEMENT, which cannot log what several writers do: set it to ROW on the server"
    return None


def warnings(variables: Mapping[str, str]) -> list[str]:
    """A sentence for each setting by which jobs that were acknowledged may get lost.

    >>> warnings({"innodb_flush_log_at_trx_commit": "2"})
    ['innodb_flush_log_at_trx_commit is 2: a crash of the host may lose acknowledged jobs; set it to 1']
    """
    found = []
    flush = variables.get("innodb_flush_log_at_trx_commit", "1")
    if flush != "1":
        who = "the server" if flush == "0" else "the host"
        found.append(
            f"innodb_flush_log_at_trx_commit is {flush}: a crash of {who} may lose acknowledged jobs; set it to 1"
        )
    if is_on(variables, "log_bin") and variables.get("sync_binlog", "1") != "1":
        sync = variables["sync_binlog"]
        found.append(f"sync_binlog is {sync}: after a crash, replicas may differ from the primary; set it to 1")
    if is_on(variables, "wsrep_on"):
        found.append(
            "the server is part of a Galera cluster: let all cores use the same node, for row locks hold on one"
        )
    if not {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"} & set(
        variables.get("sql_mode", "STRICT_ALL_TABLES").split(",")
    ):
        found.append(
            "sql_mode is not strict: Gearbox is on its own connections, but other programs may cut what they write"
        )
    return found
