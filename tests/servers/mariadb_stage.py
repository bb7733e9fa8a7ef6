"""A MariaDB server of the tests' own: its data in a folder of theirs, its socket beside it, loopback only."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

import pymysql.err

from abraxas_py.journal.mysql_connection import open_connection
from gearbox.store.address import MysqlAddress

DUMPS = Path(__file__).parent / "dumps"
START_TIMEOUT = 30.0  # s
QUICK = ("--innodb-flush-log-at-trx-commit=0", "--skip-log-bin")  # no disk to wait for: what is tested is not the disk
DURABLE = ("--innodb-flush-log-at-trx-commit=1",)

_numbers = count(1)


class MariaDb:
    """One server, which can be stopped, killed, frozen and started again on the same data and port."""

    def __init__(self, folder: Path, options: Sequence[str] = QUICK) -> None:
        self.folder = folder
        self.options = options
        self.port = _free_port()
        self.socket = str(folder / "s")
        self._process: subprocess.Popen[bytes] | None = None
        self._common = [
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            f"--socket={self.socket}",
            f"--pid-file={folder / 'pid'}",
            f"--tmpdir={folder}",  # in one that is shared, a server that starts deletes what others have there
            "--user=root" if os.getuid() == 0 else f"--user={os.environ.get('USER', '')}",
        ]

    def install(self, like: MariaDb | None = None) -> None:
        """Make the system tables, or copy those of another one that has just been installed."""
        if like is not None:
            shutil.copytree(like.folder / "new", self.folder / "data")
            return
        done = subprocess.run(
            [
                program("mariadb-install-db"),
                *self._common,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=16M",
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.copytree(self.folder / "data", self.folder / "new")

    def start(self, *options: str) -> None:
        with open(self.folder / "log", "ab") as log:
            already = log.tell()
            self._process = subprocess.Popen(
                [
                    program("mariadbd"),
                    *self._common,
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    "--skip-name-resolve",
                    "--innodb-buffer-pool-size=32M",
                    "--innodb-log-file-size=16M",
                    "--performance-schema=OFF",
                    *self.options,
                    *options,
                ],
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + START_TIMEOUT
        while True:
            text = (self.folder / "log").read_text(errors="replace")[already:]
            if "ready for connections" in text:
                return
            assert self._process.poll() is None, text
            assert time.monotonic() < until, text
            time.sleep(0.02)

    def signal(self, number: Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: Signals = SIGTERM) -> None:
        """End it; SIGKILL is the crash."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout=START_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def connect(self, database: str | None = None) -> Any:
        return open_connection(
            unix_socket=self.socket,
            connect_timeout=START_TIMEOUT,
            user="root",
            database=database,
            autocommit=True,
            charset="utf8mb4",
            ssl_disabled=True,  # a tenth of a second goes into reading certificates
        )

    def sql(self, statement: str, database: str | None = None) -> list[Any]:
        """The rows of one statement, on a connection of its own."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def load_original(self, database: str, table: str = "gearbox_jobs") -> None:
        """Load a table as the original Gearbox left it."""
        dump = (DUMPS / "original.sql").read_text()
        text = re.sub(r"^--.*", "", dump, flags=re.M).replace("gearbox_jobs", table)
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in filter(None, (part.strip() for part in text.split(";\n"))):
                cursor.execute(statement.removesuffix(";"))

    def load(self, database: str, dump: Path) -> None:
        """Load what mariadb-dump wrote into an empty database."""
        command = [program("mariadb"), "--no-defaults", "--user=root", f"--socket={self.socket}", database]
        with open(dump, "rb") as text:
            done = subprocess.run(command, stdin=text, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def reset(self, database: str) -> None:
        """Empty the tables, which takes a tenth of the time that new ones do."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            cursor.execute("SHOW TABLES")
            for (table,) in cursor.fetchall():
                if table == "gearbox_meta":
                    cursor.execute("DELETE FROM gearbox_meta WHERE name = 'controls'")
                else:
                    cursor.execute(f"DELETE FROM {table}")
            cursor.execute("ALTER TABLE gearbox_ids AUTO_INCREMENT = 1")

    @contextmanager
    def database(self) -> Iterator[MysqlAddress]:
        """An empty database, dropped at the end."""
        name = f"gearbox_test_{next(_numbers)}"
        self.sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield self.address(name)
        finally:
            with suppress(pymysql.err.Error):
                self.sql(f"DROP DATABASE {name}")

    def address(self, database: str) -> MysqlAddress:
        return MysqlAddress("127.0.0.1", "root", "", database, self.port, self.socket)

    @staticmethod
    def environment(address: MysqlAddress) -> dict[str, str]:
        """What makes `g-core` use it."""
        return {
            "MYSQL_HOSTNAME": address.host,
            "MYSQL_PORT": str(address.port),
            "MYSQL_UNIX_SOCKET": address.unix_socket or "",
            "MYSQL_DATABASE": address.database,
            "MYSQL_USER": address.user,
            "MYSQL_PASSWORD": address.password,
        }


def program(name: str) -> str:
    """Where one of the server's programs is; raises FileNotFoundError."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise FileNotFoundError(f"{name} is missing (Debian: mariadb-server)")
    return path


def _free_port() -> int:
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
