"""`g-core --check`: what must work is tried, one line each as it is found, with what to do where it does not.

Nothing is served and no job is touched. A `warn` is no reason not to start.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import stat
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from abraxas_py import AbraxasError, ConnectionLost, TlsUnusable, open_admin
from abraxas_py.transport import ServerTls, listen, parse_endpoint
from gearbox.cli import ExitCode
from gearbox.errors import StoreAway, StoreError
from gearbox.rules.query import Query
from gearbox.settings import Settings
from gearbox.steps import views
from gearbox.store import Moment, Store, open_store
from gearbox.store.address import MysqlAddress

__all__ = ["Finding", "examine"]

ROOM_LEAST, ROOM_WANTED = 64 << 20, 1 << 30  # bytes free on the disk of the database
FILES_WANTED = 4096  # open files: each worker and client is one
CLOCK_AHEAD = 5.0  # s that the newest row may be ahead of the clock
CLOCK_EARLIEST = 1_700_000_000  # Unix seconds; before this was written
ANSWER_TIMEOUT = 5.0  # s
STORE_TIMEOUT = 30.0  # s, in which the tables of an earlier version may be brought up to date
HERE = ("localhost", "127.0.0.1", "::1")
WEB_MODULES = ("hypercorn", "starlette", "jinja2", "prometheus_client")


@attrs.frozen
class Finding:
    """One line: how it is (`ok`, `warn` or `fail`), and with what code to exit for it."""

    level: str
    text: str
    code: ExitCode = ExitCode.OK

    def __str__(self) -> str:
        return f"{self.level:<5} {self.text}"


def _fail(text: str, code: ExitCode) -> Finding:
    return Finding("fail", text, code)


async def examine(settings: Settings, environment: Mapping[str, str]) -> AsyncGenerator[Finding, None]:
    """All findings, in the order in which they matter."""
    names = [name for name in environment if name.startswith(("GEARBOX_", "GEARMAN_", "MYSQL_")) and environment[name]]
    yield Finding("ok", f"settings: {', '.join(sorted(names)) or 'none, all defaults'}")
    for one in await _in_time(settings, _database):
        yield one
    if isinstance(settings.database, Path):
        for one in await _in_time(settings, _file):
            yield one
    if settings.is_embedded:
        for one in _gearman_of_its_own(settings):
            yield one
    for server in () if settings.is_embedded else settings.servers:
        yield await _server(server)
    for one in _dashboard(settings):
        yield one
    yield _limits()


async def _in_time(settings: Settings, look: Callable[[Settings], Iterable[Finding]]) -> Sequence[Finding]:
    """What is found where a disk or a server may hang."""
    with trio.move_on_after(STORE_TIMEOUT):
        return await trio.to_thread.run_sync(lambda: list(look(settings)), abandon_on_cancel=True)
    text = f"no answer from the database {settings.database} within {STORE_TIMEOUT:.0f} s: its disk or server hangs"
    return [_fail(text, ExitCode.UNAVAILABLE)]


def _database(settings: Settings) -> Iterator[Finding]:
    now = time.time()
    try:
        store = open_store(settings.place)
    except StoreError as error:
        yield _fail(str(error), ExitCode.UNAVAILABLE if isinstance(error, StoreAway) else ExitCode.CONFIG)
        yield _clock(now, 0.0)
        return
    try:
        newest = _newest(store, now)
    except StoreError as error:
        yield _fail(str(error), ExitCode.CONFIG)
        return
    finally:
        store.close()
    yield Finding("ok", f"database {settings.database}")
    if isinstance(settings.database, MysqlAddress):
        if settings.database.unix_socket is None:
            yield _encryption(settings.database)
        yield _audit(settings.database)
    yield _clock(now, newest)


def _newest(store: Store, now: float) -> float:
    """When the last job was queued; 0 if there is none."""
    step = partial(views.search, Query(), None, 1)
    (outcome,) = store.run_batch([step], Moment(now, "check", 0.0, None)).outcomes
    if isinstance(outcome, Exception):
        raise StoreError(f"the database cannot be read: {outcome}")
    jobs = outcome.value.jobs
    return float(jobs[0].created) if jobs else 0.0


def _clock(now: float, newest: float) -> Finding:
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < CLOCK_EARLIEST:
        return _fail(f"clock: it is not {told}; set it (timedatectl set-ntp true)", ExitCode.CONFIG)
    if newest > now + CLOCK_AHEAD:
        ahead = newest - now
        return Finding("warn", f"clock: {told}, but a job was queued {ahead:.0f} s later than that; was it set back?")
    return Finding("ok", f"clock {told}")


def _file(settings: Settings) -> Iterator[Finding]:
    path = settings.database
    assert isinstance(path, Path)
    folder = next((parent for parent in path.parents if parent.exists()), Path("/"))
    free = shutil.disk_usage(folder).free
    room = f"disk: {free / (1 << 20):,.0f} MiB free in {folder}"
    if free < ROOM_LEAST:
        yield _fail(f"{room}; make room, or name another file (GEARBOX_DATABASE)", ExitCode.CONFIG)
    elif free < ROOM_WANTED:
        yield Finding("warn", f"{room}, less than 1 GiB; GEARBOX_RETENTION deletes old jobs")
    else:
        yield Finding("ok", room)
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    is_reachable = bool(stat.S_IMODE(path.parent.stat().st_mode) & stat.S_IXOTH)
    if mode & stat.S_IRWXO and is_reachable:
        yield Finding("warn", f"permissions: everybody here may read jobs in {path}; chmod o= {path}")
    else:
        yield Finding("ok", f"permissions of {path}: {mode:o}")


def _encryption(address: MysqlAddress) -> Finding:
    from gearbox.store.mysql.link import encryption

    try:
        version = encryption(address)
    except StoreError as error:
        return _fail(str(error), ExitCode.CONFIG)
    if address.tls is not None:
        return Finding("ok", f"connection to the database: {version}, and the server is who it should be")
    told = version or "in the clear"
    if address.host in HERE:
        return Finding("ok", f"connection to the database: {told}, on this machine")
    return Finding("warn", f"connection to the database: {told}, to whoever answers there; set MYSQL_SSL_CA")


def _audit(address: MysqlAddress) -> Finding:
    from gearbox.store.mysql.schema import is_guarded

    try:
        if is_guarded(address):
            return Finding("ok", "audit: a trigger keeps it from being rewritten")
    except StoreError as error:
        return _fail(str(error), ExitCode.CONFIG)
    return Finding("warn", "audit: it may be rewritten; what a trigger takes has just been logged")


def _gearman_of_its_own(settings: Settings) -> Iterator[Finding]:
    for address in settings.listen:
        try:
            endpoint = parse_endpoint(address)
            if endpoint.scheme == "tls":
                ServerTls(endpoint)
            for socket, bound in listen(endpoint):
                socket.close()
                if endpoint.scheme == "unix":
                    Path(endpoint.path).unlink(missing_ok=True)
                yield Finding("ok", f"Gearman: {bound} is free to listen on")
        except TlsUnusable as error:
            yield _fail(f"Gearman: {error} (GEARBOX_LISTEN)", ExitCode.CONFIG)
        except AbraxasError as error:
            yield _fail(str(error), ExitCode.UNAVAILABLE)


async def _server(address: str) -> Finding:
    try:
        with trio.fail_after(ANSWER_TIMEOUT):
            async with open_admin(address) as admin:
                return Finding("ok", f"Gearman server {address}, version {await admin.version()}")
    except (ConnectionLost, AbraxasError, trio.TooSlowError) as error:
        text = str(error) or f"no answer within {ANSWER_TIMEOUT:.0f} s"
        return _fail(f"Gearman server {address}: {text}; start it, or change GEARMAN_SERVER", ExitCode.UNAVAILABLE)


def _dashboard(settings: Settings) -> Iterator[Finding]:
    http = settings.http
    if http is None:
        yield Finding("ok", "dashboard: off")
        return
    missing = [name for name in WEB_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("warn", f"dashboard: {', '.join(missing)} missing; pip install 'abraxas-gearbox[web]'")
        return
    address = http.address
    host = f"[{address.host}]" if ":" in address.host else address.host
    try:
        for socket, bound in listen(parse_endpoint(f"tcp://{host}:{address.port}")):
            socket.close()
            yield Finding("ok", f"dashboard: {bound} is free to listen on")
    except AbraxasError as error:
        text = f"dashboard: {error} (GEARBOX_HTTP)"
        yield Finding("warn", text) if http.is_default else _fail(text, ExitCode.UNAVAILABLE)


def _limits() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES_WANTED:
        return Finding("warn", f"open files: {soft}, one for each connection; ulimit -n {min(hard, 65536)}")
    return Finding("ok", f"open files: up to {soft}, process {os.getpid()}")
