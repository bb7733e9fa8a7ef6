"""What every test may use: asynchronous tests run on trio, each in a run of its own."""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

# Tests are imported by path, not as a package, so what they share must be found like this.
sys.path.insert(0, str(Path(__file__).parent / "servers"))

from mariadb_stage import MariaDb, program

NAMES = {"server": "localhost", "client": "client.example", "worker": "worker.example"}  # in certificates


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def test_...`` with ``trio.run`` (with the test's `autojump_clock`, where it takes one)."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    clock = pyfuncitem.funcargs.get("autojump_clock")
    timeout = 60 if clock is None else 3600
    trio.run(functools.partial(bounded, pyfuncitem.obj, arguments, timeout), clock=clock)
    return True


async def bounded(test: Any, arguments: dict[str, Any], timeout: float) -> None:
    """No test of ours may hang: a minute of real time, or an hour of a clock that jumps, then it fails."""
    with trio.fail_after(timeout):
        await test(**arguments)


@pytest.fixture(autouse=True)
def nobody_sets_the_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests make up their moments: the machine's own clock, which may be set meanwhile, must not matter there."""
    if not {"test_clock.py", "test_doctests.py", "simulation"} & set(request.path.parts):
        monkeypatch.setattr("gearbox.store.clock.JUMP", inf)


@pytest.fixture
def no_threads() -> Callable[[], AbstractContextManager[None]]:
    """No thread can be started within its block, as none has the stack that it would need."""

    @contextmanager
    def block() -> Iterator[None]:
        end = threading.Event()
        usual = threading.stack_size(2**50)
        try:
            with suppress(RuntimeError):
                while True:  # those that are idle are taken up
                    trio.lowlevel.start_thread_soon(end.wait, lambda outcome: None)
            yield
        finally:
            threading.stack_size(usual)
            end.set()

    return block


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A server for the databases of all tests. Without the program they are skipped; on CI they fail."""
    try:
        program("mariadbd")
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # and a short path, for the socket's name
    with tempfile.TemporaryDirectory(prefix="gearbox", dir=memory) as folder:
        server = MariaDb(Path(folder))
        server.install()
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority (`ca`), another one (`other`), and certificates of the first: NAME.pem, NAME.key."""
    if shutil.which("openssl") is None:
        if os.environ.get("CI"):
            pytest.fail("openssl is missing (Debian: openssl)")
        pytest.skip("openssl is missing (Debian: openssl)")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "other"):
        subject = f"/CN={authority}"
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python 3.13 demands it of an authority
        openssl(
            "req", "-x509", *key, *usage, "-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-subj", subject
        )
    for name, host in NAMES.items():
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host},IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext"),
            *("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        )
    return folder


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """A clock that jumps to the next deadline whenever every task waits: nothing sleeps for real."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def store_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that commits is the one thing that a jumping clock cannot wait for, so the store runs in the loop."""

    async def run_sync(function: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
