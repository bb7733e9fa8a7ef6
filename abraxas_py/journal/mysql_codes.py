"""What the numbers of MySQL's and MariaDB's errors mean to whoever keeps jobs there."""

from __future__ import annotations

from pymysql.constants import CR, ER

__all__ = ["AWAY", "BUSY", "CUT", "FULL", "READ_ONLY", "code_of"]

# The connection is gone. Those without a name: being shut down, killed, silent for too long.
CUT = {CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, 2055, 0, 1053, 1077, 1927, 3169, 4031}
# No connection now: nobody there, no free place, being shut down or started.
AWAY = CUT | {CR.CR_CONNECTION_ERROR, CR.CR_CONN_HOST_ERROR, ER.CON_COUNT_ERROR, ER.TOO_MANY_USER_CONNECTIONS}
BUSY = {ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT}
FULL = {ER.DISK_FULL, ER.RECORD_FILE_FULL}
READ_ONLY = {ER.OPTION_PREVENTS_STATEMENT, 1792, 1836}


def code_of(error: BaseException) -> int:
    """The server's number for an error; 0: it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
