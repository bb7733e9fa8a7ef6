"""Where a MySQL or MariaDB database is, and by which name the table of jobs goes there."""

from __future__ import annotations

import attrs

__all__ = ["JOBS", "MysqlAddress", "Tls"]

JOBS = "gearbox_jobs"


@attrs.frozen
class Tls:
    """Files in PEM: the authority that has to have signed the server's certificate, and a certificate of our own with
    its key, where the server wants one."""

    ca: str
    cert: str | None = None
    key: str | None = None


@attrs.frozen
class MysqlAddress:
    """Through `unix_socket` where it is given, else by TCP.

    With `tls` the server has to prove who it is; without, TCP is encrypted if the server can, whoever that is.
    """

    host: str
    user: str
    password: str = attrs.field(repr=False)
    database: str
    port: int = 3306
    unix_socket: str | None = None
    table: str = JOBS
    tls: Tls | None = None

    def __str__(self) -> str:
        """For people: without the password.

        >>> str(MysqlAddress("db", "gearbox", "secret", "jobs"))
        'mysql://gearbox@db:3306/jobs'
        """
        place = f"unix:{self.unix_socket}" if self.unix_socket else f"{self.host}:{self.port}"
        return f"mysql://{self.user}@{place}/{self.database}"
