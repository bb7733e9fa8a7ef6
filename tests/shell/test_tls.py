"""TLS and mTLS over real sockets, with certificates made for the test."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from abraxas_py import ConnectionLost, ListenError, Server, ServerError, open_admin, open_client, serve
from abraxas_py.access import parse_rule


def listening(folder: Path, *, ca: bool = False, crl: Path | None = None) -> str:
    authority = (f"&ca={folder}/ca.pem" if ca else "") + (f"&crl={crl}" if crl else "")
    return f"tls://127.0.0.1:0?cert={folder}/server.pem&key={folder}/server.key{authority}"


def reaching(server: Server, folder: Path, name: str = "", ca: str = "ca") -> str:
    own = f"&cert={folder}/{name}.pem&key={folder}/{name}.key" if name else ""
    return f"{server.endpoints[0]}?ca={folder}/{ca}.pem{own}"


async def test_a_client_talks_through_tls(certificates: Path) -> None:
    async with serve(listening(certificates)) as server:
        async with open_client(reaching(server, certificates)) as client:
            data = bytes(range(256)) * 8_000
            assert await client.echo(data) == data
        async with open_admin(reaching(server, certificates)) as admin:
            assert await admin.version() == "1.1.20"


async def test_a_client_does_not_talk_to_a_server_that_it_cannot_trust(certificates: Path) -> None:
    async with (
        serve(listening(certificates)) as server,
        open_admin(reaching(server, certificates, ca="other")) as admin,
    ):
        with pytest.raises(ConnectionLost, match="certificate verify failed"):
            await admin.version()


async def test_without_a_certificate_of_the_authority_nobody_is_served_where_one_is_asked_for(
    certificates: Path,
) -> None:
    async with serve(listening(certificates, ca=True)) as server:
        async with open_admin(reaching(server, certificates)) as admin:
            with pytest.raises(ConnectionLost):
                await admin.version()
        async with open_admin(reaching(server, certificates, "client")) as admin:
            assert await admin.version() == "1.1.20"
        assert server.broker.functions == {}


async def test_the_name_in_the_certificate_decides_what_may_be_done(certificates: Path) -> None:
    rules = [parse_rule("worker.*=work"), parse_rule("client.*=submit")]
    async with serve(listening(certificates, ca=True), rules=rules) as server:
        async with open_client(reaching(server, certificates, "client")) as client:
            await client.submit_bg("f")
        async with open_client(reaching(server, certificates, "worker")) as client:
            with pytest.raises(ServerError, match="NOT_ALLOWED"):
                await client.submit_bg("f")
        async with open_admin(reaching(server, certificates, "client")) as admin:
            with pytest.raises(ServerError, match="NOT_ALLOWED"):
                await admin.shutdown()


async def test_plain_text_to_a_tls_port_is_closed_without_a_word_of_gearman(certificates: Path) -> None:
    async with serve(listening(certificates)) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", int(server.endpoints[0].rpartition(":")[2]))
        await stream.send_all(b"status\n" + b"\0REQ" + bytes(8))
        received = b""
        try:
            while data := await stream.receive_some():
                received += data
        except trio.BrokenResourceError:
            pass
        assert b"\n" not in received
        assert len(received) < 20  # at most TLS's own alert
        await stream.aclose()
        assert server.broker.peers == {}


async def test_a_handshake_that_does_not_go_on_is_given_up(
    certificates: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serve(listening(certificates)) as server:
        with socket.create_connection(("127.0.0.1", int(server.endpoints[0].rpartition(":")[2]))):
            while not server._links:
                await trio.lowlevel.checkpoint()
            await trio.sleep(12)
            assert server._links == {}
            assert server.counters.stalled == 1


async def test_handshakes_that_do_not_go_on_hold_up_nobody(certificates: Path) -> None:
    async with serve(listening(certificates)) as server:
        port = int(server.endpoints[0].rpartition(":")[2])
        with ExitStack() as silent:
            for _ in range(100):
                silent.enter_context(socket.create_connection(("127.0.0.1", port)))
            with trio.fail_after(5):  # half of what a handshake may take
                async with open_client(reaching(server, certificates)) as client:
                    await client.submit_bg("f")


async def test_certificates_that_cannot_be_used_stop_the_start(certificates: Path) -> None:
    with pytest.raises(ListenError, match="cannot use TLS on"):
        await Server().serve([f"tls://127.0.0.1:0?cert={certificates}/server.pem&key={certificates}/client.key"])


AUTHORITY = """[ca]
default_ca = it
[it]
database = index
default_md = sha256
default_crl_days = 30
"""


@pytest.fixture(scope="module")
def refused(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates that must not be taken, NAME.pem with NAME.key, and the authority's list of the revoked ones."""
    folder = tmp_path_factory.mktemp("refused")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    (folder / "names").write_bytes(b"subjectAltName=DNS:b\xfccher.example\n")  # no UTF-8
    for name, authority, *how in (
        ("revoked", "ca"),
        ("expired", "ca", "-days", "-1"),
        ("sha1", "ca", "-sha1"),
        ("stranger", "other"),
        ("garbled", "ca", "-extfile", "names"),
        ("good", "ca"),
    ):
        signed_by = ("-CA", f"{certificates}/{authority}.pem", "-CAkey", f"{certificates}/{authority}.key")
        shutil.copy(certificates / "client.key", folder / f"{name}.key")
        openssl("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}.example")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed_by, "-CAcreateserial", *how)
    list_revoked(certificates, folder, "revoked.pem")
    return folder


def list_revoked(certificates: Path, folder: Path, *files: str) -> None:
    """The authority's list, `crl.pem`, of these certificates."""
    (folder / "authority").write_text(AUTHORITY)
    (folder / "index").touch()
    own = ("ca", "-config", "authority", "-keyfile", f"{certificates}/ca.key", "-cert", f"{certificates}/ca.pem")
    for command in (*(("-revoke", file) for file in files), ("-gencrl", "-out", "crl.pem")):
        subprocess.run(["openssl", *own, *command], cwd=folder, check=True, capture_output=True, timeout=60)


def ask(port: int, folder: Path, name: str) -> bytes:
    """What a client hears that does not look at certificates itself, its own included."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw, context.wrap_socket(raw) as secured:
            secured.sendall(b"version\n")
            return secured.recv(100)
    except (ssl.SSLError, ConnectionError) as error:
        return type(error).__name__.encode()


@pytest.mark.parametrize("name", ["revoked", "expired", "sha1", "stranger"])
async def test_certificates_that_must_not_be_taken_are_not(certificates: Path, refused: Path, name: str) -> None:
    async with serve(listening(certificates, ca=True, crl=refused / "crl.pem")) as server:
        port = int(server.endpoints[0].rpartition(":")[2])
        assert await trio.to_thread.run_sync(partial(ask, port, refused, "good")) == b"OK 1.1.20\n"
        heard = await trio.to_thread.run_sync(partial(ask, port, refused, name))
        assert heard in (b"", b"SSLError", b"ConnectionResetError", b"BrokenPipeError")


async def test_a_certificate_with_a_name_that_is_no_text_ends_its_connection_alone(
    certificates: Path, refused: Path
) -> None:
    async with serve(listening(certificates, ca=True)) as server:
        port = int(server.endpoints[0].rpartition(":")[2])
        heard = await trio.to_thread.run_sync(partial(ask, port, refused, "garbled"))
        assert heard in (b"", b"SSLError", b"ConnectionResetError", b"BrokenPipeError")
        assert await trio.to_thread.run_sync(partial(ask, port, refused, "good")) == b"OK 1.1.20\n"


async def test_without_a_list_nobody_is_revoked(certificates: Path, refused: Path) -> None:
    async with serve(listening(certificates, ca=True)) as server:
        port = int(server.endpoints[0].rpartition(":")[2])
        assert await trio.to_thread.run_sync(partial(ask, port, refused, "revoked")) == b"OK 1.1.20\n"


async def test_a_list_that_cannot_be_read_stops_the_start(certificates: Path) -> None:
    with pytest.raises(ListenError, match="cannot use TLS on"):
        await Server().serve([listening(certificates, ca=True, crl=certificates / "none.pem")])


async def test_renewed_files_are_used_and_unusable_ones_are_not(
    certificates: Path, refused: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("server.pem", "server.key", "ca.pem"):
        shutil.copy(certificates / name, tmp_path)
    list_revoked(certificates, tmp_path)  # none
    async with serve(listening(tmp_path, ca=True, crl=tmp_path / "crl.pem")) as server:
        port = int(server.endpoints[0].rpartition(":")[2])
        hear = partial(trio.to_thread.run_sync, partial(ask, port, refused, "revoked"))
        assert await hear() == b"OK 1.1.20\n"
        shutil.copy(certificates / "client.pem", tmp_path / "server.pem")  # with whose key it does not go together
        assert await hear() == b"OK 1.1.20\n"
        assert await hear() == b"OK 1.1.20\n"
        assert ["the former ones stay" in record.message for record in caplog.records] == [True]
        shutil.copy(certificates / "client.key", tmp_path / "server.key")
        shutil.copy(refused / "crl.pem", tmp_path)
        assert await hear() != b"OK 1.1.20\n"
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.check_hostname = False
        context.load_cert_chain(refused / "good.pem", refused / "good.key")

        def shown() -> str:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw, context.wrap_socket(raw) as secured:
                return str(dict(pair for (pair,) in secured.getpeercert()["subject"])["commonName"])  # type: ignore

        assert await trio.to_thread.run_sync(shown) == "client.example"
