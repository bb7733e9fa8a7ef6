"""The environment of g-core."""

from __future__ import annotations

from pathlib import Path

import pytest

from gearbox.errors import ConfigError
from gearbox.job import Status
from gearbox.settings import Settings
from gearbox.store.address import MysqlAddress, Tls
from gearbox.web.access import Address, Http

SERVER = {"MYSQL_HOSTNAME": "db", "MYSQL_DATABASE": "jobs", "MYSQL_USER": "me", "MYSQL_PASSWORD": "secret"}


def test_nothing_set_is_one_self_contained_process_on_loopback() -> None:
    settings = Settings.from_environment({"HOME": "/home/you", "XDG_STATE_HOME": "/state"})
    assert settings == Settings(
        ("127.0.0.1:4730",),
        (),
        Path("/state/gearbox/gearbox.db"),
        http=Http(Address("127.0.0.1", 4780), is_default=True),
    )
    assert settings.is_embedded


def test_everything_set() -> None:
    environment = {"GEARMAN_SERVER": "a:4730, b", "GEARBOX_DATABASE": "/data/jobs.db"}
    settings = Settings.from_environment(environment)
    assert (settings.servers, settings.database) == (("a:4730", "b"), Path("/data/jobs.db"))
    assert not settings.is_embedded
    listen = Settings.from_environment(
        {"GEARBOX_LISTEN": "unix:///run/g.sock,[::1]:4731", "XDG_STATE_HOME": "/s"}
    ).listen
    assert listen == ("unix:///run/g.sock", "[::1]:4731")


def test_retention() -> None:
    settings = Settings.from_environment({"GEARBOX_RETENTION": "complete=30, errored=0.5", "XDG_STATE_HOME": "/s"})
    assert settings.keep_days == {Status.COMPLETE: 30.0, Status.ERRORED: 0.5}
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment({"GEARBOX_RETENTION": "running=1,complete,errored=-1,invalid=nan,duplicate=inf"})
    assert len(caught.value.messages) == 5


def test_all_faults_are_told_at_once() -> None:
    environment = {"GEARMAN_SERVER": "x://y", "GEARBOX_LISTEN": "host:port", "MYSQL_HOSTNAME": "db"}
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment(environment)
    messages = caught.value.messages
    names = ("GEARBOX_LISTEN", "GEARMAN_SERVER", "both", "MYSQL_DATABASE", "MYSQL_USER")
    for name, message in zip(names, messages, strict=True):
        assert name in message


@pytest.mark.parametrize("variable", ["GEARBOX_DATABASE", "XDG_STATE_HOME"])
def test_a_home_directory_that_there_is_not(variable: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment({variable: "~nobody-of-that-name/x"})
    (message,) = caught.value.messages
    assert message.startswith("GEARBOX_DATABASE: ~nobody-of-that-name/x")


def test_a_server_instead_of_a_file() -> None:
    place = Settings.from_environment(SERVER).place
    assert place == MysqlAddress("db", "me", "secret", "jobs", 3306, None, "gearbox_jobs")
    assert "secret" not in f"{place} {place!r}"
    more = {"MYSQL_PORT": "3307", "MYSQL_UNIX_SOCKET": "/run/mysqld.sock", "DB_TABLE_JOBS": "my_jobs"}
    place = Settings.from_environment(SERVER | more).place
    assert place == MysqlAddress("db", "me", "secret", "jobs", 3307, "/run/mysqld.sock", "my_jobs")
    files = {"MYSQL_SSL_CA": "/ca.pem", "MYSQL_SSL_CERT": "/me.pem", "MYSQL_SSL_KEY": "/me.key"}
    place = Settings.from_environment(SERVER | files).place
    assert place == MysqlAddress("db", "me", "secret", "jobs", tls=Tls("/ca.pem", "/me.pem", "/me.key"))


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"MYSQL_DATABASE": "jobs"}, "MYSQL_HOSTNAME"),
        ({"DB_TABLE_JOBS": "jobs"}, "MYSQL_HOSTNAME"),
        (SERVER | {"MYSQL_PORT": "x"}, "MYSQL_PORT"),
        (SERVER | {"DB_TABLE_JOBS": "a;b"}, "DB_TABLE_JOBS"),
        (SERVER | {"GEARBOX_DATABASE": "f"}, "both set"),
        ({"MYSQL_SSL_CA": "/ca.pem"}, "MYSQL_HOSTNAME"),
        (SERVER | {"MYSQL_SSL_CERT": "/me.pem", "MYSQL_SSL_KEY": "/me.key"}, "MYSQL_SSL_CA is not set"),
        (SERVER | {"MYSQL_SSL_CA": "/ca.pem", "MYSQL_SSL_CERT": "/me.pem"}, "MYSQL_SSL_KEY is not set"),
        (SERVER | {"MYSQL_SSL_CA": "/ca.pem", "MYSQL_UNIX_SOCKET": "/run/s"}, "does not use TLS"),
    ],
)
def test_half_of_a_server_is_refused(environment: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Settings.from_environment(environment)
