"""Where servers are, how to reach them, and how to listen there.

An endpoint is written `host:port`, `host`, `tcp://host:port`, `tls://host:port?ca=FILE&cert=FILE&key=FILE&name=HOST`,
or `unix:///path`. An IPv6 address stands in brackets. A TLS client checks the server against `ca` (default: the
system's authorities) under `name` (default: the host); a TLS server needs `cert` and `key`, and with `ca` it demands a
certificate of every client. With `crl` too, those that `ca` has revoked are refused, on either side. The files may be
renewed while a server runs.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl, urlsplit

import trio

from abraxas_py.errors import ConnectionLost, InvalidEndpoint, ListenError, TlsUnusable

__all__ = ["DEFAULT_PORT", "Dialer", "Endpoint", "ServerTls", "connect", "dialer", "listen", "parse_endpoint"]

log = logging.getLogger("abraxas.server")

DEFAULT_PORT = 4730  # IANA's for Gearman

# How many connections may wait for `accept`; gearmand's 32 overflows when a fleet of workers comes back at once.
BACKLOG = 1024

Dialer = Callable[[], Awaitable[trio.abc.Stream]]
"""Whoever can open a stream to a server; may raise ConnectionLost, or OSError, which becomes one."""

CONNECT_TIMEOUT = 10.0  # seconds: an address that swallows packets would take the system two minutes to give up

NO_THREAD = "can't start new thread"  # how Python says it: other RuntimeErrors are faults of the program


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a server; see the module's docstring for its written form, which `str` gives back."""

    scheme: str  # tcp, tls or unix
    host: str = ""
    port: int = 0
    path: str = ""  # of a unix socket
    ca: str = ""  # PEM files, for tls
    cert: str = ""
    key: str = ""
    crl: str = ""  # certificates of the `ca` that it has revoked: its list (PEM)
    name: str = ""  # the name that the server's certificate must have, where it is not the host

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        address = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return address if self.scheme == "tcp" else f"{self.scheme}://{address}"


def parse_endpoint(text: str, *, default_port: int = DEFAULT_PORT) -> Endpoint:
    """Understand the written form of an address.

    Raises InvalidEndpoint (a ValueError).

    >>> parse_endpoint("127.0.0.1:4731")
    Endpoint(scheme='tcp', host='127.0.0.1', port=4731, path='', ca='', cert='', key='', crl='', name='')
    >>> str(parse_endpoint("tcp://[::1]")), str(parse_endpoint("unix:///run/gearman.sock"))
    ('[::1]:4730', 'unix:///run/gearman.sock')
    """
    wanted = f"{text!r} is no server address: write host:port, tls://host:port or unix:///path"
    written = text.strip()
    if not re.match(r"[a-z]+://", written):
        written = f"tcp://{written}"
    try:
        parts = urlsplit(written)
        port = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=True, errors="surrogateescape")) if parts.query else {}
        for name in (parts.hostname or "", options.get("name", "")):
            name.encode("idna")  # as it will be looked up and checked
    except ValueError as error:
        raise InvalidEndpoint(f"{wanted} ({error})") from error
    if parts.scheme == "unix":
        if parts.netloc or not parts.path or parts.query:
            raise InvalidEndpoint(wanted)
        return Endpoint("unix", path=parts.path)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or parts.path not in ("", "/") or parts.username:
        raise InvalidEndpoint(wanted)
    if (parts.scheme == "tcp" and options) or options.keys() - {"ca", "cert", "key", "crl", "name"}:
        raise InvalidEndpoint(f"{wanted}; only tls:// takes options: ca, cert, key, crl, name")
    if "crl" in options and "ca" not in options:
        raise InvalidEndpoint(f"{wanted}; crl is the list of a ca, and needs it")
    return Endpoint(parts.scheme, parts.hostname, default_port if port is None else port, **options)


def dialer(server: str | Endpoint | Dialer) -> tuple[str, Dialer]:
    """A server's name for messages, and how to reach it, or raise ConnectionLost, within CONNECT_TIMEOUT."""
    if isinstance(server, str):
        server = parse_endpoint(server)
    dial: Dialer = partial(connect, server) if isinstance(server, Endpoint) else server
    name = str(server) if isinstance(server, Endpoint) else getattr(server, "__qualname__", None) or repr(server)

    async def dial_in_time() -> trio.abc.Stream:
        try:
            with trio.move_on_after(CONNECT_TIMEOUT):
                return await dial()
        except OSError as error:
            raise ConnectionLost(f"cannot connect to {name}: {_plain(error)}") from error
        raise ConnectionLost(f"cannot connect to {name}: no answer within {CONNECT_TIMEOUT:g} s")

    return name, dial_in_time


async def connect(endpoint: str | Endpoint) -> trio.abc.Stream:
    """Open a stream to a server; no time limit of its own. Raises ConnectionLost with the address in its text."""
    if isinstance(endpoint, str):
        endpoint = parse_endpoint(endpoint)
    try:
        if endpoint.scheme == "unix":
            return await trio.open_unix_socket(endpoint.path)
        stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
        keep_alive(stream.socket)
        if endpoint.scheme == "tcp":
            return stream
        try:
            secured = trio.SSLStream(stream, client_context(endpoint), server_hostname=endpoint.name or endpoint.host)
            await secured.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secured
    # RuntimeError: no thread can be started to look the name up in; ValueError: no name can be written so.
    except (OSError, trio.BrokenResourceError, RuntimeError, ValueError) as error:
        if isinstance(error, RuntimeError) and str(error) != NO_THREAD:
            raise
        reason = error.__cause__ or error
        raise ConnectionLost(f"cannot connect to {endpoint}: {_plain(reason)}") from error


def keep_alive(sock: trio.socket.SocketType) -> None:
    """Have it found out within a minute (30 s + 3 x 10 s) when the other side is gone without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # not everywhere
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _plain(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):  # trio's: one for each address of the host
        return "; ".join(dict.fromkeys(map(_plain, error.exceptions)))
    if isinstance(error, ssl.SSLError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__


def client_context(endpoint: Endpoint) -> ssl.SSLContext:
    """The TLS settings to connect with. Raises OSError for files that cannot be used."""
    context = ssl.create_default_context(cafile=endpoint.ca or None)
    if endpoint.cert:
        context.load_cert_chain(endpoint.cert, endpoint.key or None)
    _refuse_revoked(context, endpoint)
    return context


class ServerTls:
    """The TLS settings to listen with on an endpoint, as its files are now.

    Raises TlsUnusable at the start: it must never become plain text instead (G16). Files that are changed later and
    cannot be used are told of, and the former settings stay.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        if not endpoint.cert:
            raise TlsUnusable(f"{endpoint} needs a certificate: tls://host:port?cert=FILE&key=FILE")
        self._endpoint = endpoint
        self._files = [file for file in (endpoint.cert, endpoint.key, endpoint.ca, endpoint.crl) if file]
        self._seen = self._look()
        self._context = self._read()

    @property
    def context(self) -> ssl.SSLContext:
        """For a connection that begins now."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._context = self._read()
                log.info("certificates read again endpoint=%s", self._endpoint)
            except TlsUnusable as error:
                log.error("certificates were changed, the former ones stay error=%s", error)
        return self._context

    def _look(self) -> list[tuple[int, int, int] | None]:
        """What is different when a file was."""
        looks: list[tuple[int, int, int] | None] = []
        for file in self._files:
            try:
                status = os.stat(file)
                looks.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError:
                looks.append(None)
        return looks

    def _read(self) -> ssl.SSLContext:
        endpoint = self._endpoint
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(endpoint.cert, endpoint.key or None)
            if endpoint.ca:
                context.load_verify_locations(endpoint.ca)
                context.verify_mode = ssl.CERT_REQUIRED
            _refuse_revoked(context, endpoint)
        except OSError as error:
            raise TlsUnusable(f"cannot use TLS on {endpoint}: {_plain(error)} ({', '.join(self._files)})") from error
        return context


def _refuse_revoked(context: ssl.SSLContext, endpoint: Endpoint) -> None:
    if endpoint.crl:
        context.load_verify_locations(endpoint.crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def listen(endpoint: Endpoint) -> list[tuple[socket.socket, str]]:
    """Bind to an endpoint: non-blocking listening sockets, each with its endpoint as bound (port 0 becomes a port).

    An empty host or `*` is every address of the machine. Raises ListenError.
    """
    if endpoint.scheme == "unix":
        return [(_listen_unix(endpoint), str(endpoint))]
    host = None if endpoint.host == "*" else endpoint.host
    listeners: list[tuple[socket.socket, str]] = []
    try:
        found = socket.getaddrinfo(host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listeners.append((listener, ""))
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
            bound = Endpoint(endpoint.scheme, *listener.getsockname()[:2])
            listeners[-1] = (listener, str(bound))
    except (OSError, ValueError) as error:  # the last: no name can be written so
        for listener, _ in listeners:
            listener.close()
        raise ListenError(f"cannot listen on {endpoint}: {_plain(error)}{_advice(error)}") from error
    return listeners


def _advice(error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return "; is another server running there? Stop it, or choose another port"
    if number == errno.EACCES:
        return "; choose a port above 1023, or a path that may be written"
    return ""


def _listen_unix(endpoint: Endpoint) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(endpoint.path).st_mode) and _is_dead(endpoint.path):
                os.unlink(endpoint.path)  # left behind by a server that was killed
        listener.bind(endpoint.path)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except (OSError, ValueError) as error:
        listener.close()
        raise ListenError(f"cannot listen on {endpoint}: {_plain(error)}{_advice(error)}") from error
    return listener


def _is_dead(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED
