"""Connections that cannot be made leave nothing open."""

from __future__ import annotations

import socket
from pathlib import Path

import pymysql
import pytest
from mariadb_stage import MariaDb

from abraxas_py.journal.mysql_connection import open_connection


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The sockets that are made."""
    opened: list[socket.socket] = []

    class Noted(socket.socket):
        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            opened.append(self)

    monkeypatch.setattr(socket, "socket", Noted)
    return opened


@pytest.mark.parametrize("name", ["nobody", "\0", "\ud800", "long" * 50])
def test_a_socket_that_nobody_answers_at_is_closed_at_once(
    opened: list[socket.socket], tmp_path: Path, name: str
) -> None:
    with pytest.raises(pymysql.err.OperationalError) as raised:
        open_connection(unix_socket=f"{tmp_path}/{name}", connect_timeout=1, user="root")
    assert raised.value.args[0] == 2003
    assert [one.fileno() for one in opened] == [-1]


@pytest.mark.mariadb
def test_a_connection_that_cannot_be_set_up_is_closed_at_once(opened: list[socket.socket], mariadb: MariaDb) -> None:
    with pytest.raises(pymysql.err.ProgrammingError):
        open_connection("SELECT 1", "NONSENSE", unix_socket=mariadb.socket, connect_timeout=1, user="root")
    assert [one.fileno() for one in opened] == [-1]


@pytest.mark.mariadb
def test_it_is_set_up_before_it_is_given_out(mariadb: MariaDb) -> None:
    connection = open_connection(
        "SET @a = 1", "SET @a = @a + 1", unix_socket=mariadb.socket, connect_timeout=1, user="root"
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT @a")
        assert cursor.fetchone() == (2,)
