"""What `g-core` is told by its environment; all faults of it at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf
from pathlib import Path

import attrs

from abraxas_py import InvalidEndpoint, parse_endpoint
from gearbox.errors import ConfigError
from gearbox.job import TERMINAL, Status
from gearbox.store.address import JOBS, MysqlAddress, Tls
from gearbox.web.access import Http, parse_http

__all__ = ["DEFAULT_LISTEN", "Settings"]

DEFAULT_LISTEN = "127.0.0.1:4730"  # loopback only: whoever reaches the port may run jobs
WITH_HOSTNAME = ("MYSQL_DATABASE", "MYSQL_PORT", "DB_TABLE_JOBS", "MYSQL_SSL_CA", "MYSQL_SSL_CERT", "MYSQL_SSL_KEY")


@attrs.frozen
class Settings:
    """`servers` are Gearman servers to use; without any, a broker of our own listens on `listen`."""

    listen: tuple[str, ...]
    servers: tuple[str, ...]
    database: Path | MysqlAddress
    keep_days: Mapping[Status, float] = attrs.field(factory=dict)  # of jobs that ended; the others are kept for ever
    http: Http | None = None  # the dashboard, unless it is off

    @property
    def is_embedded(self) -> bool:
        """Whether the broker runs in this process."""
        return not self.servers

    @property
    def place(self) -> str | MysqlAddress:
        """Where jobs are kept, for `open_store`."""
        return str(self.database) if isinstance(self.database, Path) else self.database

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raises `ConfigError` with every fault."""
        faults: list[str] = []
        listen = _addresses(environment, "GEARBOX_LISTEN", faults) or (DEFAULT_LISTEN,)
        servers = _addresses(environment, "GEARMAN_SERVER", faults)
        if servers and environment.get("GEARBOX_LISTEN"):
            faults.append(
                "GEARMAN_SERVER and GEARBOX_LISTEN are both set: unset the first for a broker in this process, "
                "the second to use the servers that it names"
            )
        keep_days = _keep_days(environment.get("GEARBOX_RETENTION", ""), faults)
        http, wrong = parse_http(
            environment.get("GEARBOX_HTTP", ""),
            environment.get("GEARBOX_HTTP_TOKEN", ""),
            environment.get("GEARBOX_HTTP_HOSTS", ""),
        )
        faults += wrong
        database = _mysql(environment, faults) or _file(environment, faults)
        if faults:
            raise ConfigError(faults)
        return cls(listen, servers, database, keep_days, http)


def _addresses(environment: Mapping[str, str], name: str, faults: list[str]) -> tuple[str, ...]:
    addresses = [part.strip() for part in environment.get(name, "").split(",") if part.strip()]
    for address in addresses:
        try:
            parse_endpoint(address)
        except InvalidEndpoint as error:
            faults.append(f"{name}: {error}")
    return tuple(addresses)


def _keep_days(text: str, faults: list[str]) -> dict[Status, float]:
    """`complete=30,errored=90`: how many days jobs of a status are kept after their end."""
    days = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        word, _, number = part.partition("=")
        status = next((status for status in TERMINAL if status.value == word.strip()), None)
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if status is None or not 0 <= value < inf:
            faults.append(
                f"GEARBOX_RETENTION: {part!r} is not STATUS=DAYS, with complete, errored, invalid or duplicate"
            )
        else:
            days[status] = value
    return days


def _mysql(environment: Mapping[str, str], faults: list[str]) -> MysqlAddress | None:
    """The server to use instead of a file; None if none is named."""
    host, unix_socket = environment.get("MYSQL_HOSTNAME", ""), environment.get("MYSQL_UNIX_SOCKET") or None
    others = [name for name in WITH_HOSTNAME if environment.get(name)]
    if not host and not unix_socket:
        if others:
            faults.append(f"{others[0]} is set without MYSQL_HOSTNAME: set that too, or unset it to use SQLite")
        return None
    if environment.get("GEARBOX_DATABASE"):
        faults.append("MYSQL_HOSTNAME and GEARBOX_DATABASE are both set: unset the one that is not to be used")
    for name in ("MYSQL_DATABASE", "MYSQL_USER"):
        if not environment.get(name):
            faults.append(f"{name} is not set, but MYSQL_HOSTNAME is: name the {name[6:].lower()} too")
    port, table = environment.get("MYSQL_PORT") or "3306", environment.get("DB_TABLE_JOBS") or JOBS
    if not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        faults.append(f"MYSQL_PORT: {port!r} is no port")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,47}", table):
        faults.append(f"DB_TABLE_JOBS: {table!r} is no name of at most 48 letters, digits and _")
    tls = _tls(environment, faults)
    if faults:
        return None
    return MysqlAddress(
        host or "localhost",
        environment["MYSQL_USER"],
        environment.get("MYSQL_PASSWORD", ""),
        environment["MYSQL_DATABASE"],
        int(port),
        unix_socket,
        table,
        tls,
    )


def _tls(environment: Mapping[str, str], faults: list[str]) -> Tls | None:
    """How the server has to prove who it is, and we to it; None if nobody has to."""
    ca, cert, key = (environment.get(name) or None for name in ("MYSQL_SSL_CA", "MYSQL_SSL_CERT", "MYSQL_SSL_KEY"))
    if (cert is None) != (key is None):
        missing = "MYSQL_SSL_CERT" if cert is None else "MYSQL_SSL_KEY"
        faults.append(f"{missing} is not set: a certificate and its key go together")
    if ca is None:
        if cert or key:
            faults.append("MYSQL_SSL_CA is not set: name the authority of the server's certificate too")
        return None
    if environment.get("MYSQL_UNIX_SOCKET"):
        faults.append("MYSQL_SSL_CA and MYSQL_UNIX_SOCKET are both set: what goes through a socket does not use TLS")
    return Tls(ca, cert, key)


def _file(environment: Mapping[str, str], faults: list[str]) -> Path:
    named = environment.get("GEARBOX_DATABASE")
    state = environment.get("XDG_STATE_HOME") or "~/.local/state"
    path = Path(named) if named else Path(state) / "gearbox" / "gearbox.db"
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # `~` of nobody, or without HOME of a user that the machine does not know
        faults.append(f"GEARBOX_DATABASE: {path} is in no home directory that can be found: name a whole path")
        return path
