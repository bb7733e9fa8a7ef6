"""The tables: made and brought to the newest version by one core at a time, while the others wait.

MySQL commits before and after every statement that changes a table, so a migration may be cut off anywhere. Each is
written so that it can be run again: its number is recorded when all of it is done.

Gearbox itself never rewrites the audit. A trigger guards it against others, where the server lets us make one; that is
looked for at each start, for what is allowed may change.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from importlib import resources
from typing import Any

import pymysql
import structlog
from pymysql.constants import ER

from gearbox.errors import StoreError, StoreOutdated
from gearbox.store.address import MysqlAddress
from gearbox.store.mysql.adoption import adopt, set_aside
from gearbox.store.mysql.link import connect, translated
from gearbox.store.mysql.words import renamed

__all__ = ["check", "is_guarded", "migrate"]

log = structlog.get_logger("gearbox:core")

OLDEST = 1  # version that a program may know and still work with these tables: since then, migrations have only added
LOCK_WAIT = 600  # s; another core may be copying a large table
CHARSETS = {"MariaDB": "utf8mb4_nopad_bin", "MySQL": "utf8mb4_0900_bin"}  # "a" and "a " are two names
TABLE_WAIT = 3  # s; cores that work wait behind the statement that waits for a table

TRIGGER = """
CREATE TRIGGER gearbox_events_are_final BEFORE UPDATE ON gearbox_events FOR EACH ROW
SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is append-only'
"""
SELECT_TRIGGER = "SHOW TRIGGERS WHERE `Trigger` = 'gearbox_events_are_final'"
DENIED = (ER.TABLEACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR)
WANTED = {
    **dict.fromkeys(DENIED, "it takes the TRIGGER privilege"),
    1419: "it takes SUPER, or log_bin_trust_function_creators=1 on the server",  # it keeps a binary log
}


def migrate(connection: Any, address: MysqlAddress, kind: str) -> int:
    """Bring the schema to the newest version that this program knows, which is returned.

    Tables that are newer do, as long as their migrations have only added something: cores of two versions may work
    side by side while one after the other is upgraded. Raises `StoreError` with what to do, if they do not.
    """
    with connection.cursor() as cursor:
        name = f"gearbox {address.database}.{address.table}"[:64]
        cursor.execute("SELECT GET_LOCK(%s, %s)", (name, LOCK_WAIT))
        if cursor.fetchone()[0] != 1:
            raise StoreError(f"another core has been changing the tables of {address} for {LOCK_WAIT} s: wait for it")
        try:
            newest = _migrate(cursor, address, kind)
            problem = _guard(cursor, address.table)
        finally:
            cursor.execute("SELECT RELEASE_LOCK(%s)", (name,))
        connection.commit()
    if problem is not None:
        log.warning(problem)
    return newest


def is_guarded(address: MysqlAddress) -> bool:
    """Whether the trigger is seen to keep others from rewriting the audit. Raises `StoreError`."""
    connection = connect(address)
    try:
        with connection.cursor() as cursor:
            return _is_guarded(cursor, address.table)
    except pymysql.Error as error:
        raise translated(error, address) from error
    finally:
        connection.close()


def _is_guarded(cursor: Any, table: str) -> bool:
    cursor.execute(renamed(SELECT_TRIGGER, table))
    return cursor.fetchone() is not None


def _guard(cursor: Any, table: str) -> str | None:
    """Make the trigger if it is not there; if that cannot be, why."""
    if _is_guarded(cursor, table):
        return None
    try:
        cursor.execute(f"SET lock_wait_timeout = {TABLE_WAIT}")
        cursor.execute(renamed(TRIGGER, table))
    except pymysql.MySQLError as error:
        code, text = error.args[0], error.args[-1]
        if code != ER.TRG_ALREADY_EXISTS:  # another core was faster
            return f"no trigger is seen to guard the audit: {WANTED.get(code, text)}"
    return None


def _migrate(cursor: Any, address: MysqlAddress, kind: str) -> int:
    meta = renamed("gearbox_meta", address.table)
    version = _number(cursor, meta, "schema")
    files = sorted(resources.files("gearbox.store").joinpath("schema", "mysql").iterdir(), key=lambda file: file.name)
    migrations = {
        int(re.match(r"\d+", file.name).group()): renamed(file.read_text(), address.table)  # type: ignore[union-attr]
        for file in files
    }
    newest = max(migrations)
    check(address, newest, _number(cursor, meta, "oldest"))
    if _is_a_part(cursor, address.table, [text for number, text in migrations.items() if number <= version]):
        raise StoreError(f"the tables of {address} are half restored: restore the whole backup into an empty database")
    if version >= newest:
        return newest
    if not version:
        set_aside(cursor, address.table)
    for number in sorted(migrations):
        if number > version:
            _run(cursor, migrations[number].replace("{charset}", f"CHARSET = utf8mb4 COLLATE = {CHARSETS[kind]}"))
    if not version:
        cursor.execute(f"INSERT IGNORE INTO {meta} (name, value) VALUES ('database', %s)", (secrets.token_hex(4),))
        jobs = adopt(cursor, address.table)
        if jobs:
            log.warning("adopted the original's table", jobs=jobs, kept_as=f"{address.table}_original")
    cursor.execute(
        f"INSERT INTO {meta} (name, value) VALUES ('oldest', %s), ('schema', %s) "
        "ON DUPLICATE KEY UPDATE value = VALUES(value)",
        (str(OLDEST), str(newest)),
    )
    cursor.connection.commit()
    return newest


def check(address: MysqlAddress, known: int, oldest: int) -> None:
    """Whether a program that knows the tables up to version `known` may work with them.

    Raises `StoreOutdated` if they need a newer one.
    """
    if known < oldest:
        raise StoreOutdated(
            f"the tables of {address} need a program that knows schema version {oldest}, this one knows {known}: "
            "upgrade it, or use another database (MYSQL_DATABASE)"
        )


def _is_a_part(cursor: Any, table: str, done: Sequence[str]) -> bool:
    """Whether a backup was restored up to somewhere: ids of jobs that are lacking would be given again.

    After the migrations that are done, all their tables are there. Before the first one none has rows: an original's
    are copied in the transaction that records the version.
    """
    if done:
        made = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", "".join(done))
        return any(_first(cursor, f"SELECT COUNT(*) FROM {one} WHERE FALSE") is None for one in made)
    with_rows = (renamed(name, table) for name in ("gearbox_attempts", "gearbox_events"))
    return any(_first(cursor, f"SELECT 1 FROM {one} LIMIT 1") is not None for one in with_rows)


def _number(cursor: Any, meta: str, name: str) -> int:
    """0: there is nothing of ours, or it was not finished."""
    row = _first(cursor, f"SELECT value FROM {meta} WHERE name = %s", name)
    return 0 if row is None else int(row[0])


def _first(cursor: Any, statement: str, *values: str) -> Any:
    """The first row; None if there is none, or no such table."""
    try:
        cursor.execute(statement, values)
    except pymysql.err.ProgrammingError as error:
        if error.args[0] != ER.NO_SUCH_TABLE:
            raise
        return None
    return cursor.fetchone()


def _run(cursor: Any, text: str) -> None:
    """The statements of a file, one after the other."""
    text = re.sub(r"--.*", "", text)
    for statement in filter(None, (part.strip() for part in text.split(";\n"))):
        try:
            cursor.execute(statement.removesuffix(";"))
        except pymysql.MySQLError as error:
            if error.args[0] != ER.DUP_FIELDNAME:  # by a migration that was cut off
                raise
