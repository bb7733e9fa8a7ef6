"""Who may come in by HTTP, and to do what; pure.

Four walls, each enough against something: the host's name (a page of another site whose name was made to resolve to us
cannot speak it), the origin (that page's forms and scripts carry their own), the form's token (nobody else can read
ours), and, beyond this machine, the caller's token.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from enum import IntEnum
from hashlib import sha256
from urllib.parse import urlsplit

import attrs

__all__ = ["Access", "Address", "Http", "Identity", "Role", "Token", "parse_http"]

DEFAULT = "127.0.0.1:4780"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SECRET_SHORTEST = 16  # characters: nobody guesses 16 random ones over a network


class Role(IntEnum):
    """What a caller may do; each includes those before it."""

    NOBODY = 0
    READER = 1
    OPERATOR = 2


@attrs.frozen
class Address:
    """Where to listen; `base` is the path under which all pages are, "" or "/gearbox"."""

    host: str
    port: int
    base: str = ""

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.base}"


@attrs.frozen
class Token:
    """A secret, whose it is, and what it allows."""

    secret: str = attrs.field(repr=False)
    name: str
    role: Role


@attrs.frozen
class Http:
    """What the settings say of HTTP. `hosts` are names under which a browser may call us, beside those we know.

    `is_default`: nobody named the address, so where it is taken the core does without.
    """

    address: Address
    tokens: tuple[Token, ...] = ()
    hosts: tuple[str, ...] = ()
    is_default: bool = False


@attrs.frozen
class Identity:
    """Who somebody is."""

    name: str
    role: Role


NOBODY = Identity("", Role.NOBODY)


def parse_http(address: str, tokens: str, hosts: str) -> tuple[Http | None, list[str]]:
    """GEARBOX_HTTP, GEARBOX_HTTP_TOKEN and GEARBOX_HTTP_HOSTS; None is `off`. With the faults, if there are any.

    >>> parse_http("off", "", "")
    (None, [])
    >>> str(parse_http("[::1]:80/gearbox/", "", "")[0].address)
    '[::1]:80/gearbox'
    >>> parse_http("0.0.0.0:4780", "", "")[1]
    ['GEARBOX_HTTP: 0.0.0.0:4780 can be reached from other machines: set GEARBOX_HTTP_TOKEN, or use 127.0.0.1']
    """
    if address.strip().lower() == "off":
        return None, []
    faults: list[str] = []
    found = _tokens(tokens, faults)
    parts, port = urlsplit("//"), None
    try:
        parts = urlsplit(f"//{(address or DEFAULT).removeprefix('http://').removeprefix('//')}")
        port = parts.port
    except ValueError:  # brackets that do not match, a port that is none
        pass
    is_plain = not (parts.query or parts.fragment or parts.username) and re.fullmatch(r"[\w/.~-]*", parts.path)
    if port is None or not parts.hostname or not is_plain:
        faults.append(f"GEARBOX_HTTP: {address!r} is not host:port, host:port/path or off")
        return None, faults
    where = Address(parts.hostname, port, parts.path.rstrip("/"))
    if not where.is_loopback and not found:
        faults.append(
            f"GEARBOX_HTTP: {where} can be reached from other machines: set GEARBOX_HTTP_TOKEN, or use 127.0.0.1"
        )
    return Http(where, found, _hosts(hosts, faults), is_default=not address), faults


def _hosts(text: str, faults: list[str]) -> tuple[str, ...]:
    """Names, several with commas. A port may stand behind them: it says nothing of who we are."""
    names = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name = _name(f"[{entry}]" if entry.count(":") > 1 and "[" not in entry else entry)
        if name:
            names.append(name)
        else:
            faults.append(f"GEARBOX_HTTP_HOSTS: {entry!r} is not a host's name")
    return tuple(names)


def _tokens(text: str, faults: list[str]) -> tuple[Token, ...]:
    """`secret`, `name:secret` or `name:secret:read`, several with commas."""
    tokens: list[Token] = []
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        parts = entry.split(":")
        name = parts[0] if len(parts) > 1 else "operator"
        secret = parts[1] if len(parts) > 1 else parts[0]
        if len(parts) > 3 or (len(parts) == 3 and parts[2] != "read") or not name or not name.isprintable():
            faults.append(f"GEARBOX_HTTP_TOKEN: entry {number} is not SECRET, NAME:SECRET or NAME:SECRET:read")
        elif len(secret) < SECRET_SHORTEST or not secret.isascii():
            faults.append(f"GEARBOX_HTTP_TOKEN: entry {number} has less than {SECRET_SHORTEST} ASCII characters")
        elif any(secret == token.secret for token in tokens):
            faults.append(f"GEARBOX_HTTP_TOKEN: entry {number} has the secret of another one: whose would it be?")
        else:
            tokens.append(Token(secret, name, Role.READER if len(parts) == 3 else Role.OPERATOR))
    return tuple(tokens)


class Access:
    """The decisions. `key` is drawn at random for each start; cookies and form tokens are made with it."""

    def __init__(self, http: Http, key: bytes, machine: str = "") -> None:
        self._http = http
        self._key = key
        self._hosts = {*http.hosts, http.address.host.lower()}
        if http.address.is_loopback:
            self._hosts |= set(LOOPBACK)
        elif machine:
            self._hosts.add(machine.lower())

    @property
    def needs_token(self) -> bool:
        return bool(self._http.tokens)

    def is_host_known(self, host: str) -> bool:
        """Whether the `Host` of a request names us. On an address for other machines, any IP address does: a name
        that was made to resolve to us is not one."""
        name = _name(host)
        if name in self._hosts:
            return True
        if self._http.address.is_loopback:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_origin_ours(self, origin: str | None, site: str | None, host: str) -> bool:
        """Whether a request that changes something comes from a page of ours, or from no browser at all."""
        if site is not None and site not in ("same-origin", "none"):
            return False
        return origin is None or origin.lower().partition("://")[2] == host.lower()

    def identify(self, authorization: str | None, cookie: str | None) -> Identity:
        """Who calls: by the header `Authorization: Bearer SECRET`, or by the cookie that the login gave."""
        if not self._http.tokens:
            return Identity("dashboard", Role.OPERATOR)
        scheme, _, secret = (authorization or "").partition(" ")
        found = self.holder(secret.strip()) if scheme.lower() == "bearer" else None
        if found is None and cookie:
            for token in self._http.tokens:  # all of them, whatever matches: the time tells nothing
                if hmac.compare_digest(self.cookie(token).encode(), cookie.encode(errors="replace")):
                    found = token
        return NOBODY if found is None else Identity(f"{found.name}@dashboard", found.role)

    def holder(self, secret: str) -> Token | None:
        """Whose secret it is."""
        found = None
        given = self._mac("compare", secret)
        for token in self._http.tokens:
            if hmac.compare_digest(given, self._mac("compare", token.secret)):
                found = token
        return found

    def cookie(self, token: Token) -> str:
        """What a browser keeps in the token's place; worth nothing after the next start."""
        return self._mac("session", token.secret)

    def form_token(self, identity: Identity) -> str:
        """What every form of ours carries."""
        return self._mac("form", f"{identity.role.name} {identity.name}")

    def is_form_ours(self, given: str, identity: Identity) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.form_token(identity).encode())

    def _mac(self, use: str, text: str) -> str:
        return hmac.new(self._key, f"{use}\0{text}".encode(), sha256).hexdigest()


def _name(host: str) -> str:
    """The name in a `Host` header, without port and brackets.

    >>> _name("[::1]:4780"), _name("LocalHost."), _name("a@b")
    ('::1', 'localhost', '')
    """
    if any(sign in host for sign in "@/\\?# "):
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
