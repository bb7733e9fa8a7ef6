"""The command `abraxas`: a bare Gearman server with gearmand's flags. The text below is manual and parser at once."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import trio
from docopt import DocoptExit, docopt

import abraxas_py
from abraxas_py import process, stdio
from abraxas_py.access import Rule, parse_rule
from abraxas_py.broker import Options
from abraxas_py.errors import AbraxasError, InvalidEndpoint, JournalBroken, JournalError, LocalProtocolError
from abraxas_py.journal.gearmand import read_queue
from abraxas_py.journal.sqlite import SqliteJournal
from abraxas_py.nursery import open_nursery
from abraxas_py.policies import PolicyError, read_policies
from abraxas_py.process import ProcessError
from abraxas_py.server import Keepalive, Limits, Server
from abraxas_py.transport import parse_endpoint

if TYPE_CHECKING:
    from abraxas_py.journal.mysql import MysqlJournal

__all__ = ["main", "run"]

MANUAL = """Abraxas, a Gearman server in pure Python; takes gearmand's flags.

Usage:
  abraxas [options] [--listen=ADDRESS]... [--ssl-allow=RULE]...
  abraxas import [options] <source>
  abraxas -h | --help
  abraxas -V | --version

Where:
  -p PORT --port=PORT           Port to listen on; 0 chooses a free one [default: 4730].
  -L ADDRESS --listen=ADDRESS   Address to listen on: a host, host:port, tls://host:port or unix:///path. May be given
                                several times; * is all addresses of this machine, as gearmand without the flag.
                                Without it: 127.0.0.1, for whoever reaches the port may run jobs.
  -b N --backlog=N              (no meaning here: always 1024)
  --keepalive                   (always on; found out about are peers that are gone without a word)
  --keepalive-idle=SECONDS      When to begin to ask whether a silent peer is still there [default: 30].
  --keepalive-interval=SECONDS  How often then [default: 10].
  --keepalive-count=N           How often without an answer before it counts as gone [default: 3].
  -f N --file-descriptors=N     How many descriptors the process may have: connections, and a few more.

Jobs:
  -j N --job-retries=N          A job whose worker was lost so often fails; 0: never [default: 0].
  -R --round-robin              A worker's functions take turns; otherwise the last one registered comes first.
  -w N --worker-wakeup=N        Sleeping workers that are woken for a job: 0 all of them (as gearmand does), or this
                                many. Without it: as many as there is work.
  --exceptions                  Forward exceptions to all clients, not only to those that ask for it.
  --timeout-fails               A job over its worker's time limit fails; otherwise it goes to another worker.
  --job-handle-prefix=PREFIX    What job handles begin with, before the number of the start [default: H:<host>].
  --maximum-payload=MIB         Largest packet [default: 64].
  --maximum-memory=MIB          Payloads of all waiting jobs together; beyond it jobs are refused [default: 512].
  --policies=FILE               How often background jobs that fail are tried again, by function (TOML; docs/server.md).
  --legacy-names                Take function names with spaces and control characters.

Queue:
  -q TYPE --queue-type=TYPE     Where background jobs are kept: `builtin` is memory, `sqlite` (or `libsqlite3`) a file,
                                from which they come back after a crash, `mysql` a table on MySQL or MariaDB, which
                                several servers may share: if one dies, another takes its jobs over [default: builtin].
  --queue-db=FILE               The file for `sqlite`; made where there is none.
  --libsqlite3-db=FILE          The same, as gearmand calls it.
  --mysql-host=HOST             The database server for `mysql`, or the path of its socket [default: localhost].
  --mysql-port=PORT             Its port [default: 3306].
  --mysql-user=USER             Whom to be there [default: abraxas].
  --mysql-password=PASSWORD     That user's password. Others can see what stands here: better put it into the
                                variable MYSQL_PASSWORD, or into a configuration file.
  --mysql-db=NAME               The database.
  --mysql-table=NAME            The table, made where there is none; gearmand's cannot be used [default: abraxas_jobs].
  --store-queue-on-shutdown     (always on: jobs are stored when they are submitted)
  --libsqlite3-table=NAME       gearmand's table, for `import` [default: gearman_queue].

`abraxas import --queue-db=FILE <source>` takes over the jobs that gearmand has left in a file of its sqlite queue, or
in its table at mysql://USER:PASSWORD@HOST:PORT/DATABASE (or with the password in MYSQL_PASSWORD), while neither server
runs. With `-q mysql` and its flags they go into a table, also while servers use it. Doing it again takes nothing twice.

Security:
  --ssl                         TLS on every address that is not a unix socket. It cannot be had in part: what is
                                missing or unusable stops the start. Files that are renewed while it runs, and that its
                                user can read, are used from the next connection on.
  --ssl-certificate=FILE        The server's certificate (PEM).
  --ssl-key=FILE                Its key.
  --ssl-ca-file=FILE            Whose certificates clients must show.
  --ssl-crl=FILE                The authority's list of those that it has revoked (PEM). Once it has run out, no
                                certificate is taken.
  --ssl-allow=RULE              NAME=submit,work,administrate: what the holders of certificates of that name may do;
                                NAME may hold *. May be given several times, the first that fits decides.
  --remote-administration       Take commands that change the server (shutdown, maxqueue, cancel job, create and drop
                                function) from other machines; otherwise only from this one.

Process:
  -d --daemon                   Go into the background.
  -u USER --user=USER           Give up root for this user, once listening.
  -P FILE --pid-file=FILE       Where to write the process id.
  -l FILE --log-file=FILE       `stderr`, `none` or a file, opened anew when it was moved [default: stderr].
  --syslog                      Log to syslog.
  --verbose=LEVEL               FATAL, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO or DEBUG [default: ERROR].
  --config-file=FILE            Read flags from a file, a line each: `name = value`. # at the beginning of a line or
                                after a blank begins a comment. The command line comes first.
  --drain-timeout=SECONDS       How long SIGTERM waits for the jobs that run, and for peers that still read what they
                                were sent; a second one does not [default: 30].
  -t N --threads=N              (no meaning here)
  -r NAME --protocol=NAME       (no meaning here)
  --hashtable-buckets=N         (no meaning here)
  --http-port=PORT              (no meaning here)
  --coredump                    (no meaning here)
  -h --help                     Show this text.
  -V --version                  Show the version.

Exit codes: 0 stopped as asked, 1 cannot start (the message says what to do), 2 wrong usage, 74 the queue's disk failed
(a new start finds out what is on it), 78 the queue cannot be used.
"""

LEVELS = {
    "FATAL": logging.CRITICAL,
    "ALERT": logging.CRITICAL,
    "CRITICAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "NOTICE": logging.INFO,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
}
MEANINGLESS = (
    "--backlog",
    "--threads",
    "--protocol",
    "--hashtable-buckets",
    "--http-port",
    "--coredump",
)
MIB = 1024 * 1024
SSL_FILES = {"cert": "certificate", "key": "key", "ca": "ca-file", "crl": "crl"}  # an endpoint's option: our flag
HANDLE_PREFIX = "[!-~]{0,32}"  # with the number of the start and 19 digits for the job's: 63 bytes
LINGER = 0.001  # seconds; nothing else of importance runs in this process

Flags = dict[str, str | bool | list[str] | None]

log = logging.getLogger("abraxas.cli")


class UsageError(AbraxasError):
    """A flag has a value that it cannot have."""


def parse(argv: Sequence[str]) -> Flags:
    """The flags of a command line, with those of its configuration file behind them. Raises UsageError."""
    version = f"abraxas {abraxas_py.__version__}"
    flags: Flags = docopt(MANUAL, list(argv), version=version)
    path = flags["--config-file"]
    if not isinstance(path, str):
        return flags
    given: Flags = docopt(re.sub(r" \[default: .*\]", "", MANUAL), list(argv), version=version)
    from_file: Flags = docopt(MANUAL, _config_words(Path(path)), version=version)
    return from_file | {name: value for name, value in given.items() if value}


def _config_words(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--config-file: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--config-file: {path} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    return [word for line in text.splitlines() if (word := _word(line))]


def _word(line: str) -> str:
    """What a line of a configuration file is on the command line; nothing, where it is empty or a comment.

    >>> [_word(line) for line in ("# as gearmand's", "verbose = INFO # or DEBUG", "mysql-password = a#b", "syslog")]
    ['', '--verbose=INFO', '--mysql-password=a#b', '--syslog']
    """
    name, equals, value = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].partition("=")
    return f"--{name.strip()}{equals}{value.strip()}" if name.strip() else ""


def _number(flags: Flags, name: str, low: int, high: float = inf) -> int:
    text = flags[name]
    assert isinstance(text, str)
    if not re.fullmatch("-?[0-9]{1,18}", text) or not low <= int(text) <= high:
        bounds = f"from {low} to {high}" if high < inf else f"of at least {low}"
        raise UsageError(f"{name}: {text!r} is no number {bounds}")
    return int(text)


def options(flags: Flags) -> Options:
    """What the flags say about the broker. Raises UsageError."""
    level = str(flags["--verbose"]).upper()
    if level not in LEVELS:
        raise UsageError(f"--verbose: {flags['--verbose']!r} is none of {', '.join(LEVELS)}")
    return Options(
        job_retries=_number(flags, "--job-retries", 0),
        round_robin=bool(flags["--round-robin"]),
        worker_wakeup=inf if flags["--worker-wakeup"] is None else _number(flags, "--worker-wakeup", 0),
        has_exceptions=bool(flags["--exceptions"]),
        fail_on_timeout=bool(flags["--timeout-fails"]),
        max_payload_bytes=_number(flags, "--maximum-memory", 1) * MIB,
        policies=read_policies(Path(str(flags["--policies"]))) if flags["--policies"] else (),
        legacy_names=bool(flags["--legacy-names"]),
        verbose=level,
        pid=os.getpid(),
    )


def endpoints(flags: Flags) -> list[str]:
    """Where to listen. Raises UsageError for TLS that is asked for in part."""
    found = _endpoints(flags)
    if flags["--ssl-allow"] and not any(parse_endpoint(address).ca for address in found):
        raise UsageError("--ssl-allow is about the names in certificates: it needs --ssl and --ssl-ca-file")
    return found


def _endpoints(flags: Flags) -> list[str]:
    port = _number(flags, "--port", 0, 65535)
    wanted = flags["--listen"]
    assert isinstance(wanted, list)
    found = [_endpoint(address, port) for address in wanted or ["127.0.0.1"]]
    try:
        for address in found:
            parse_endpoint(address)
    except InvalidEndpoint as error:
        raise UsageError(f"--listen: {error}") from error
    files = {name: flags[f"--ssl-{flag}"] for name, flag in SSL_FILES.items()}
    if not flags["--ssl"]:
        if any(files.values()):
            raise UsageError("--ssl-certificate and the other files need --ssl: nothing would be encrypted")
        return found
    if not files["cert"]:
        raise UsageError("--ssl needs --ssl-certificate")
    if files["crl"] and not files["ca"]:
        raise UsageError("--ssl-crl is the list of an authority: it needs --ssl-ca-file")
    given = {name: str(path) for name, path in files.items() if path}
    return [_secured(address, given) for address in found]


def _secured(endpoint: str, files: dict[str, str]) -> str:
    """The same over TLS, where it is one of TCP.

    >>> _secured("tcp://[::1]:4730", {"cert": "/etc/c++/a.pem", "key": "/50%41 & b.pem"})
    'tls://[::1]:4730?cert=/etc/c%2B%2B/a.pem&key=/50%2541%20%26%20b.pem'
    """
    if not endpoint.startswith("tcp:"):
        return endpoint
    query = urlencode(files, safe="/", errors="surrogateescape", quote_via=quote)
    return f"tls:{endpoint.removeprefix('tcp:')}?{query}"


def _endpoint(address: str, port: int) -> str:
    """An address as gearmand takes it (a bare host, an IPv6 one too), or in the form of an endpoint."""
    if "://" in address:
        return address
    host = f"[{address}]" if address.count(":") > 1 and not address.startswith("[") else address
    has_port = ":" in host.rpartition("]")[2]
    return f"tcp://{host}" if has_port else f"tcp://{host}:{port}"


def rules(flags: Flags) -> list[Rule]:
    """Who may do what. Raises LocalProtocolError."""
    wanted = flags["--ssl-allow"]
    assert isinstance(wanted, list)
    return [parse_rule(text) for text in wanted]


def journal(flags: Flags) -> SqliteJournal | MysqlJournal | None:
    """Where background jobs are kept. Raises UsageError."""
    type, path = flags["--queue-type"], flags["--queue-db"] or flags["--libsqlite3-db"]
    if path and type not in ("sqlite", "libsqlite3"):
        raise UsageError("--queue-db needs --queue-type=sqlite: nothing would be kept in it")
    if flags["--mysql-db"] and type != "mysql":
        raise UsageError("--mysql-db needs --queue-type=mysql: nothing would be kept in it")
    if type == "builtin":
        return None
    if type == "mysql":
        return _mysql(flags)
    if type not in ("sqlite", "libsqlite3"):
        raise UsageError(f"--queue-type: {type!r} is not here; jobs would not survive, as you expect")
    if not path:
        raise UsageError(f"--queue-type={type} needs --queue-db")
    return SqliteJournal(str(path))


def _mysql(flags: Flags) -> MysqlJournal:
    from abraxas_py.journal.mysql import MysqlJournal  # takes longer to import than all others together
    from abraxas_py.journal.mysql_link import MysqlPlace

    if not flags["--mysql-db"]:
        raise UsageError("--queue-type=mysql needs --mysql-db")
    table = str(flags["--mysql-table"])
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,47}", table):
        raise UsageError(f"--mysql-table: {table!r} is no name of at most 48 letters, digits and _")
    place = MysqlPlace(
        str(flags["--mysql-host"]),
        str(flags["--mysql-user"]),
        str(flags["--mysql-db"]),
        str(flags["--mysql-password"] or os.environ.get("MYSQL_PASSWORD", "")),
        _number(flags, "--mysql-port", 1, 65535),
        table,
    )
    return MysqlJournal(place)


def server(flags: Flags) -> Server:
    """The server that the flags ask for. Raises UsageError."""
    return Server(
        options(flags),
        Limits(packet_bytes=_number(flags, "--maximum-payload", 1, 4095) * MIB),
        rules=rules(flags),
        remote_administration=bool(flags["--remote-administration"]),
        keepalive=Keepalive(
            _number(flags, "--keepalive-idle", 1, 32767),  # these are the most that Linux takes
            _number(flags, "--keepalive-interval", 1, 32767),
            _number(flags, "--keepalive-count", 1, 127),
        ),
        linger=LINGER,
        handle_prefix=_handle_prefix(flags),
        journal=journal(flags),
    )


def _handle_prefix(flags: Flags) -> str:
    prefix = str(flags["--job-handle-prefix"])
    if prefix == "H:<host>":
        return ""  # the server knows it
    if not re.fullmatch(HANDLE_PREFIX, prefix):
        raise UsageError(f"--job-handle-prefix: {prefix!r} is not of at most 32 visible ASCII characters")
    return prefix


def take_over(flags: Flags) -> None:
    """`abraxas import`. Raises UsageError or JournalError."""
    if flags["--queue-type"] == "builtin" and not flags["--mysql-db"]:
        flags = flags | {"--queue-type": "sqlite"}
    into = journal(flags)
    if into is None:
        raise UsageError("import needs --queue-db, or --queue-type=mysql")
    taken, known = into.adopt(read_queue(str(flags["<source>"]), str(flags["--libsqlite3-table"])))
    print(f"{taken} jobs taken over" + (f", {known} had been before" if known else ""))


async def serve(serving: Server, flags: Flags) -> None:
    """Run the server until a signal or `shutdown` stops it. Raises AbraxasError."""
    async with open_nursery() as nursery:
        timeout = _number(flags, "--drain-timeout", 0)
        await nursery.start(partial(process.obey_signals, serving, timeout))
        with process.pid_file(str(flags["--pid-file"] or "")):
            nursery.start_soon(process.watchdog)
            async with open_nursery() as inner:
                bound = await inner.start(serving.serve, endpoints(flags))
                if flags["--user"]:
                    process.switch_user(str(flags["--user"]))
                if bound:  # otherwise it was told to stop while its queue was restored
                    log.info("serving endpoints=%s", ",".join(bound))
                    print(f"abraxas serves {', '.join(bound)}", file=sys.stderr, flush=True)
                    process.notify("READY=1")
        nursery.cancel_scope.cancel()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    try:
        flags = parse(sys.argv[1:] if argv is None else argv)
        if flags["import"]:
            take_over(flags)
            return 0
        if flags["--file-descriptors"]:
            process.allow_descriptors(_number(flags, "--file-descriptors", 16))
        server(flags)  # what is wrong with the flags is told before anything happens
        endpoints(flags)
        if unused := ", ".join(name for name in MEANINGLESS if flags[name]):
            with suppress(OSError):  # see `never_block`, which is not to be forked after
                print(f"abraxas: without meaning here: {unused}", file=sys.stderr)
        if flags["--daemon"]:
            process.daemonise()
        stdio.never_block()
        level = LEVELS[str(flags["--verbose"]).upper()]
        process.log_to(str(flags["--log-file"]), level, has_syslog=bool(flags["--syslog"]))
        process.spare_collector()
        trio.run(serve, server(flags), flags)
    except DocoptExit as error:
        print(error, file=sys.stderr)
        return 2
    except (UsageError, LocalProtocolError, PolicyError) as error:
        print(f"abraxas: {error}", file=sys.stderr)
        return 2
    except JournalBroken as error:
        print(f"abraxas: {error}", file=sys.stderr)
        stdio.settle()
        os._exit(74)  # an orderly end would close the file, and that would sync it
    except JournalError as error:
        print(f"abraxas: {error}", file=sys.stderr)
        return 78
    except ProcessError as error:
        print(f"abraxas: {error}", file=sys.stderr)
        return 1
    except AbraxasError as error:
        print(f"abraxas: --listen or --port: {error}", file=sys.stderr)
        return 1
    return 0


def run() -> None:
    """The entry point of the installed command."""
    sys.exit(main())
