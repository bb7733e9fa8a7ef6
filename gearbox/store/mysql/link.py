"""A connection to the server, and its errors in our words."""

from __future__ import annotations

import ssl
from typing import Any, TypeGuard

import pymysql
from pymysql.constants import CLIENT, ER

from abraxas_py.journal.mysql_codes import AWAY, BUSY, CUT, FULL, READ_ONLY, code_of
from abraxas_py.journal.mysql_connection import open_connection
from gearbox.errors import StoreAway, StoreBusy, StoreError, StoreFull
from gearbox.store.address import MysqlAddress

__all__ = ["CONTENDED", "connect", "encryption", "is_failure", "is_lost", "tls_context", "translated"]

CONNECT_TIMEOUT = 5  # s
ANSWER_TIMEOUT = 5  # s for one statement; a lock is not waited for as long
LOCK_WAIT = 3  # s
# s without a word from us, after which the server ends the connection and lets go of what the transaction has locked. A
# core that is stopped in the middle of one would hold up all others for as long as it is, and they could not even
# declare it dead. One that works says something every three seconds (`rules.leases.HEARTBEAT`).
SILENCE = 10
MODE = "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
SESSION = (
    f"SET time_zone = '+00:00', sql_mode = '{MODE}', innodb_lock_wait_timeout = {LOCK_WAIT}, wait_timeout = {SILENCE}"
)
# Locks are taken where they are wanted. REPEATABLE READ would add locks on gaps, and show rows of the past.
ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

CONTENDED = {ER.DUP_ENTRY, ER.ROW_IS_REFERENCED_2, ER.NO_REFERENCED_ROW_2}  # another core was faster: look again


def connect(address: MysqlAddress, answer_timeout: float | None = ANSWER_TIMEOUT) -> Any:
    """A connection that is set up for us. Raises `StoreAway`; or another `StoreError`, where waiting does not help."""
    try:
        return open_connection(
            SESSION,
            ISOLATION,
            host=address.host,
            port=address.port,
            unix_socket=address.unix_socket,
            user=address.user,
            password=address.password,
            database=address.database,
            charset="utf8mb4",
            # an UPDATE counts the rows that it found, as SQLite does, not those that it made different
            client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=answer_timeout,
            write_timeout=answer_timeout,
            autocommit=False,
            ssl=tls_context(address),  # None: TLS wherever the server offers it
            ssl_disabled=address.unix_socket is not None,
        )
    except (pymysql.Error, OSError) as error:
        kind = StoreAway if code_of(error) in AWAY and not _is_mistrust(error) else StoreError
        raise kind(f"cannot use the database {address}: {_reason(error)}") from error


def _is_mistrust(error: BaseException) -> bool:
    """Whether a server is there, and not the one that it has to be."""
    return isinstance(getattr(error, "original_exception", None), ssl.SSLError)


def tls_context(address: MysqlAddress) -> ssl.SSLContext | None:
    """What the server's certificate is held against. The files are read for each connection: they may be renewed.

    Raises `StoreError`.
    """
    tls = address.tls
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except OSError as error:  # ssl.SSLError is one
        raise StoreError(f"cannot use the authority {tls.ca} (MYSQL_SSL_CA): {_reason(error)}") from error
    if tls.cert is not None:
        try:
            context.load_cert_chain(tls.cert, tls.key)
        except OSError as error:
            raise StoreError(
                f"cannot use the certificate {tls.cert} with the key {tls.key} (MYSQL_SSL_CERT, MYSQL_SSL_KEY): "
                f"{_reason(error)}"
            ) from error
    return context


def encryption(address: MysqlAddress) -> str:
    """The version of TLS that a connection uses; "" if it is in the clear. Raises `StoreError`."""
    connection = connect(address)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_version'")
            return str(cursor.fetchone()[1])
    except pymysql.Error as error:
        raise translated(error, address) from error
    finally:
        connection.close()


def is_lost(error: pymysql.Error) -> bool:
    """Whether the connection is gone, so that nobody can tell what became of the last statement."""
    return isinstance(error, pymysql.err.InterfaceError) or code_of(error) in CUT


def is_failure(error: BaseException) -> TypeGuard[pymysql.Error]:
    """Whether it says something of the database, and not of what was to be stored."""
    return isinstance(error, pymysql.Error) and not isinstance(error, pymysql.DataError)


def translated(error: pymysql.Error, address: MysqlAddress) -> StoreError:
    """The error of a transaction that was rolled back."""
    if code_of(error) in BUSY or code_of(error) in CONTENDED:
        return StoreBusy(f"the database {address} is busy: {_reason(error)}")
    if is_lost(error):
        return StoreBusy(f"the connection to the database {address} was lost")
    if code_of(error) in FULL:
        return StoreFull(f"no room left for the database {address}")
    if code_of(error) in READ_ONLY:
        return StoreError(f"the database {address} has become read-only: is it a replica now?")
    return StoreError(f"the database {address} failed: {_reason(error)}")


def _reason(error: BaseException) -> str:
    return str(error.args[1] if len(error.args) > 1 else error)
