"""The Gearman servers that can be measured, as far as they are on this machine: ours, and those of others.

Python's `gear` is looked for in `$GEARMAN_CLIENTS/gear` (`pip install --target`), npm's `abraxas` where `NODE_PATH`
says, Perl's Gearman::Server where `PERL5LIB` says: as the tests with foreign clients do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench.machine import free_port, running, wait_for_port

__all__ = ["OURS", "REFERENCE", "Broker", "Serving", "found", "pythons"]

OURS = "abraxas_py"
REFERENCE = "gearmand"

_GEAR = "import sys, gear; gear.Server(int(sys.argv[1]), host='127.0.0.1')\nimport threading; threading.Event().wait()"
_PERL = (
    "use IO::Socket::INET; use Gearman::Server; use Gearman::Util; use Danga::Socket; $SIG{PIPE} = 'IGNORE';"
    " my $s = Gearman::Server->new; $s->create_listening_sock($ARGV[0], local_addr => '127.0.0.1');"
    " Danga::Socket->EventLoop();"
)
_NODE = "require('abraxas').Server.listen({host: '127.0.0.1', port: +process.argv[1]})"


@dataclass(frozen=True, slots=True)
class Serving:
    """A broker that runs."""

    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Broker:
    """A Gearman server that is installed here."""

    name: str
    command: Callable[[int], Sequence[str]]  # for a port
    environment: Mapping[str, str] = field(default_factory=dict)
    slowness: int = 1  # what counted loads are divided by, so that it gets done in time, too
    knows_grab_job: bool = True  # the plain one, which the load's workers speak

    @contextmanager
    def serving(self, *flags: str) -> Iterator[Serving]:
        """The server on an empty queue, for the time of a block."""
        port = free_port()
        with running([*self.command(port), *flags], self.environment) as pid:
            wait_for_port(port)
            yield Serving(pid, port)


def pythons() -> dict[str, str]:
    """Ours by the interpreters that it is run by; `BENCH_PYTHONS` (`name=path name=path`) adds others to this one."""
    words = (word.partition("=") for word in os.environ.get("BENCH_PYTHONS", "").split())
    return {OURS: sys.executable} | {f"{OURS} ({name})": path for name, _, path in words}


@cache
def found() -> tuple[Broker, ...]:
    """All that are here, ours first."""
    return (*_ours(), *_gearmand(), *_perl(), *_gear(), *_node())


def _ours() -> Iterator[Broker]:
    for name, python in pythons().items():
        yield _under(name, python)


def _under(name: str, python: str) -> Broker:
    return Broker(name, lambda port: [python, "-m", "abraxas_py", f"--port={port}"])


def _gearmand() -> Iterator[Broker]:
    path = shutil.which("gearmand", path="/usr/sbin:/usr/local/sbin") or shutil.which("gearmand")
    if path is not None and _works(path, "--version"):
        user = ["-u", "root"] if os.geteuid() == 0 else []
        flags = [*user, "-L", "127.0.0.1", "--log-file=none"]
        yield Broker(REFERENCE, lambda port: [path, *flags, "-p", str(port)])


def _perl() -> Iterator[Broker]:
    if _works("perl", "-MGearman::Server", "-e1"):
        yield Broker("Perl Gearman::Server", lambda port: ["perl", "-e", _PERL, str(port)], slowness=50)


def _gear() -> Iterator[Broker]:
    folder = Path(os.environ.get("GEARMAN_CLIENTS", "/nowhere")) / "gear"
    environment = {"PYTHONPATH": str(folder)}
    if folder.exists():
        command = [sys.executable, "-W", "ignore", "-c", _GEAR]
        yield Broker("gear", lambda port: [*command, str(port)], environment, slowness=10, knows_grab_job=False)


def _node() -> Iterator[Broker]:
    if _works("node", "-e", "require('abraxas')"):
        yield Broker("abraxas (Node)", lambda port: ["node", "-e", _NODE, str(port)], slowness=50)


def _works(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
