"""Opening a connection to MySQL or MariaDB so that nothing stays open where that fails."""

from __future__ import annotations

import socket
from typing import Any

import pymysql
from pymysql.constants import CR

__all__ = ["open_connection"]


def open_connection(*setup: str, unix_socket: str | None, connect_timeout: float, **options: Any) -> Any:
    """`pymysql.connect`, and `setup`'s statements. Raises `pymysql.Error`.

    PyMySQL (1.2.4) leaves a Unix socket that nobody answers at to the garbage collector, so it gets one that is
    connected.
    """
    connection: Any = pymysql.connect(
        unix_socket=unix_socket, connect_timeout=connect_timeout, defer_connect=True, **options
    )
    if unix_socket is None:
        connection.connect()
    else:
        connection._secure = True  # as it says of a Unix socket of its own: a password needs no encryption there
        connection.connect(_reach(unix_socket, connect_timeout))
    try:
        for statement in setup:
            connection.query(statement)
    except BaseException:
        connection._force_close()
        raise
    return connection


def _reach(path: str, timeout: float) -> socket.socket:
    reached = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        reached.settimeout(timeout)
        reached.connect(path)
    except (OSError, ValueError) as error:  # the last: no path can be written so
        reached.close()
        raise pymysql.err.OperationalError(CR.CR_CONN_HOST_ERROR, f"{path}: {error}") from error
    return reached
