"""TLS to a database server, with certificates made for the test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from doctor_stage import examined
from mariadb_stage import QUICK, MariaDb
from store_stage import queue, status

from gearbox.cli import ExitCode
from gearbox.cli.doctor import Finding
from gearbox.errors import StoreError
from gearbox.job import Status
from gearbox.store import open_store
from gearbox.store.address import MysqlAddress, Tls
from gearbox.store.mysql.link import encryption

pytestmark = pytest.mark.mariadb


@pytest.fixture(scope="module")
def server(mariadb: MariaDb, certificates: Path) -> Iterator[MariaDb]:
    """A server of the name worker.example and the address 127.0.0.1; `me` may come with a certificate only."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="gearbox", dir=memory) as folder:
        own = (f"--ssl-cert={certificates}/worker.pem", f"--ssl-key={certificates}/worker.key")
        server = MariaDb(Path(folder), (*QUICK, f"--ssl-ca={certificates}/ca.pem", *own))
        server.install(like=mariadb)
        server.start()
        server.sql("CREATE DATABASE jobs")
        server.sql("CREATE USER me IDENTIFIED BY 'secret' REQUIRE X509")
        server.sql("GRANT ALL ON jobs.* TO me")
        yield server
        server.stop()


def reaching(server: MariaDb, tls: Tls | None, host: str = "127.0.0.1", user: str = "root") -> MysqlAddress:
    password = "" if user == "root" else "secret"
    return MysqlAddress(host, user, password, "jobs", server.port, tls=tls)


def of(certificates: Path, ca: str = "ca", own: str = "") -> Tls:
    files = (f"{certificates}/{own}.pem", f"{certificates}/{own}.key") if own else ()
    return Tls(f"{certificates}/{ca}.pem", *files)


def test_jobs_are_kept_through_tls_also_after_the_connection_was_lost(server: MariaDb, certificates: Path) -> None:
    address = reaching(server, of(certificates))
    assert encryption(address).startswith("TLS")
    store = open_store(address)
    first = queue(store).value
    server.sql(f"KILL {store._session.id}")  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="lost"):
        queue(store)
    assert status(store, queue(store).value) is status(store, first) is Status.RUNNING
    store.close()


@pytest.mark.parametrize(
    ("ca", "host", "why"),
    [("other", "127.0.0.1", "certificate verify failed"), ("ca", "localhost", "[Hh]ostname mismatch")],
)
def test_a_server_that_cannot_prove_who_it_is_gets_no_password(
    server: MariaDb, certificates: Path, ca: str, host: str, why: str
) -> None:
    with pytest.raises(StoreError, match=why):
        open_store(reaching(server, of(certificates, ca), host))


def test_a_server_without_tls_is_refused_where_it_is_asked_for(mariadb: MariaDb, certificates: Path) -> None:
    with mariadb.database() as address:
        address = attrs.evolve(address, unix_socket=None)
        assert encryption(address) == ""
        with pytest.raises(StoreError, match="SSL is required"):
            open_store(attrs.evolve(address, tls=of(certificates)))


def test_a_server_that_wants_a_certificate_is_shown_ours(server: MariaDb, certificates: Path) -> None:
    with pytest.raises(StoreError, match="Access denied"):
        open_store(reaching(server, of(certificates), user="me"))
    open_store(reaching(server, of(certificates, own="client"), user="me")).close()


@pytest.mark.parametrize("variable", ["MYSQL_SSL_CA", "MYSQL_SSL_CERT"])
@pytest.mark.parametrize("content", [None, "this is no certificate"])
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, certificates: Path, variable: str, content: str | None
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    files = {"MYSQL_SSL_CA": f"{certificates}/ca.pem", "MYSQL_SSL_CERT": str(path), "MYSQL_SSL_KEY": str(path)}
    files |= {variable: str(path)}
    tls = Tls(*(files[name] for name in ("MYSQL_SSL_CA", "MYSQL_SSL_CERT", "MYSQL_SSL_KEY")))
    with pytest.raises(StoreError, match=f"{path}.*{variable}"):
        open_store(MysqlAddress("127.0.0.1", "root", "", "jobs", 1, tls=tls))


def test_the_doctor_says_how_rows_travel(server: MariaDb, certificates: Path) -> None:
    def found(host: str, **more: str) -> list[Finding]:
        given = {
            "MYSQL_HOSTNAME": host,
            "MYSQL_PORT": str(server.port),
            "MYSQL_DATABASE": "jobs",
            "MYSQL_USER": "root",
            "GEARBOX_LISTEN": "127.0.0.1:0",
            "GEARBOX_HTTP": "off",
        } | more
        findings = examined(given)
        return [finding for finding in findings if "database" in finding.text]

    verified = found("127.0.0.1", MYSQL_SSL_CA=f"{certificates}/ca.pem")
    assert [finding.level for finding in verified] == ["ok", "ok"]
    assert verified[1].text.endswith("and the server is who it should be")
    assert found("127.0.0.1")[1].text.endswith("on this machine")
    (refused,) = found("127.0.0.1", MYSQL_SSL_CA=f"{certificates}/other.pem")
    assert (refused.level, refused.code) == ("fail", ExitCode.CONFIG)
    assert "certificate verify failed" in refused.text
