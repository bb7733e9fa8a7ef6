"""The command `abraxas` as a process: flags, signals, log, pid file, what systemd hears, errors that name the flag."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, encode

TIMEOUT = 20.0  # seconds
COMMAND = [sys.executable, "-m", "abraxas_py"]


class Abraxas:
    """A running server and what it says."""

    def __init__(self, *flags: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "-L", "127.0.0.1", "-p", "0", *flags],
            env=os.environ | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.said: list[str] = []
        for line in self.process.stderr:
            self.said.append(line)
            if "abraxas serves" in line:
                self.ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", line)]
                self.port = self.ports[0]
                return
        raise AssertionError(f"it did not start: {self.process.wait()}")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def ask(self, line: bytes) -> bytes:
        with self.connect() as connection:
            connection.sendall(line + b"\n")
            return connection.recv(65536)

    def wait(self) -> int:
        return self.process.wait(timeout=TIMEOUT)


@pytest.fixture
def start() -> Iterator[Callable[..., Abraxas]]:
    started: list[Abraxas] = []

    def begin(*flags: str, **environment: str) -> Abraxas:
        started.append(Abraxas(*flags, **environment))
        return started[-1]

    yield begin
    for server in started:
        server.process.kill()
        server.process.wait()
        assert server.process.stderr is not None
        server.process.stderr.close()


def refused(*flags: str) -> tuple[int, str]:
    """The exit code and the message of a start that cannot be."""
    done = subprocess.run(
        [*COMMAND, "-L", "127.0.0.1", "-p", "0", *flags], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    return done.returncode, done.stderr


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


Start = Callable[..., Abraxas]


def test_flags_of_gearmand_are_taken(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    flags = "-j 3 -R -w 2 -b 64 -t 8 --keepalive --keepalive-idle 60 --exceptions --verbose DEBUG --hashtable-buckets 9"
    server = start(*flags.split(), "-l", str(log), "-f", "1000", "-q", "builtin")
    assert server.ask(b"verbose") == b"OK DEBUG\n"
    assert server.ask(b"getpid") == b"OK %d\n" % server.process.pid
    text = log.read_text()
    assert "serving endpoints=127.0.0.1" in text


def test_flags_without_meaning_are_told_of(start: Start) -> None:
    assert start("-t", "8", "--coredump").said[0] == "abraxas: without meaning here: --threads, --coredump\n"


def test_term_waits_for_the_jobs_that_run(start: Start) -> None:
    server = start()
    with server.connect() as worker:
        submit = Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b"")
        worker.sendall(encode(REQUEST, Packet(Type.CAN_DO, b"f"), submit, Packet(Type.GRAB_JOB)))
        received = b""
        while b"\0f\0" not in received:
            received += worker.recv(65536)
        handle = received.split(b"\0\0\0\x0b", 1)[1][4:].split(b"\0")[0]
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not is_listening(server.port))
        assert server.process.poll() is None
        worker.sendall(encode(REQUEST, Packet.of(Type.WORK_COMPLETE, handle, b"")))
        assert server.wait() == 0


@pytest.mark.parametrize("flags", [["--drain-timeout", "0"], []])
def test_a_drain_is_bounded_and_a_second_signal_ends_it(start: Start, flags: list[str]) -> None:
    server = start(*flags)
    with server.connect() as worker:
        submit = Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b"")
        worker.sendall(encode(REQUEST, Packet(Type.CAN_DO, b"f"), submit, Packet(Type.GRAB_JOB)))
        until(lambda: server.ask(b"status") == b"f\t1\t1\t1\n.\n")
        server.process.send_signal(signal.SIGTERM)
        if not flags:
            time.sleep(0.2)
            assert server.process.poll() is None
            server.process.send_signal(signal.SIGINT)
        assert server.wait() == 0


def test_shutdown_stops_it(start: Start) -> None:
    server = start()
    assert server.ask(b"shutdown") == b"OK\r\n"
    assert server.wait() == 0


def test_the_log_is_opened_anew_when_it_was_moved_away(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = start("--verbose", "INFO", "-l", str(log))
    log.rename(tmp_path / "log.1")
    server.process.send_signal(signal.SIGHUP)
    until(log.exists)
    until(lambda: "log reopened" in log.read_text())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_log_that_only_root_may_open_is_written_to_after_root_was_given_up(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    start("--verbose", "INFO", "--user", "nobody", "-l", str(log))
    until(lambda: "serving" in log.read_text())


def test_a_log_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    code, message = refused("-l", str(tmp_path / "link"))
    assert code == 1
    assert "--log-file" in message


def test_the_pid_file_lives_as_long_as_the_server(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    server = start("-P", str(file))
    assert file.read_text() == f"{server.process.pid}\n"
    server.process.terminate()
    assert server.wait() == 0
    assert not file.exists()


def test_in_the_background_it_leaves_its_starter(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = tmp_path / "pid"
    command = [*COMMAND, "-d", "-L", "127.0.0.1", "-p", str(port), "-P", str(file), "-l", str(tmp_path / "log")]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    until(lambda: file.exists() and file.read_text().strip())
    pid = int(file.read_text())
    try:
        until(lambda: is_listening(port))
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not file.exists())


def test_systemd_hears_of_start_watchdog_and_stop(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(TIMEOUT)
        server = start(NOTIFY_SOCKET=path, WATCHDOG_USEC="100000")
        heard = [listener.recv(100) for _ in range(4)]
        assert b"READY=1" in heard
        assert b"WATCHDOG=1" in heard
        server.process.terminate()
        while b"STOPPING=1" not in heard:
            heard.append(listener.recv(100))


@pytest.mark.parametrize(
    ("flags", "environment"),
    [(["-L", "127.0.0.1"], {}), ([], {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "20000"})],
    ids=["two addresses", "a watchdog"],
)
def test_out_of_descriptors_it_waits_for_some(start: Start, flags: list[str], environment: dict[str, str]) -> None:
    server = start("-f", "32", *flags, **environment)
    peers = [socket.create_connection(("127.0.0.1", port), TIMEOUT) for port in server.ports for _ in range(40)]
    assert server.process.stderr is not None
    told = (line for line in server.process.stderr if "cannot accept" in line)
    assert [bool(next(told, "")) for _ in range(2)] == [True, True]
    for peer in peers:
        peer.close()
    assert server.ask(b"verbose") == b"OK ERROR\n"


def test_flags_may_stand_in_a_file_and_the_command_line_comes_first(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "gearmand.conf"
    file.write_text("# as gearmand's\nverbose = INFO\njob-retries=2\nround-robin\n")
    assert start("--config-file", str(file)).ask(b"verbose") == b"OK INFO\n"
    assert start("--config-file", str(file), "--verbose", "DEBUG").ask(b"verbose") == b"OK DEBUG\n"
    assert refused("--config-file", str(tmp_path / "none"))[0] == 2
    file.write_bytes(b"# caf\xe9\n")
    code, message = refused("--config-file", str(file))
    assert code == 2
    assert message.startswith("abraxas: --config-file: ")


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--ssl-allow", "*=submit"], 2, "--ssl-ca-file"),
        (["--job-retries", "many"], 2, "--job-retries"),
        (["--job-retries=--5"], 2, "--job-retries"),
        (["--port", "9" * 5000], 2, "--port"),
        (["-w", "-1"], 2, "--worker-wakeup"),
        (["--job-handle-prefix", "x" * 33], 2, "--job-handle-prefix"),
        (["--job-handle-prefix", "x y"], 2, "--job-handle-prefix"),
        (["--keepalive-idle=32768"], 2, "--keepalive-idle"),
        (["--keepalive-interval=32768"], 2, "--keepalive-interval"),
        (["--keepalive-count=128"], 2, "--keepalive-count"),
        (["--verbose", "LOUD"], 2, "--verbose"),
        (["-q", "libsqlite3"], 2, "--queue-db"),
        (["-q", "redis"], 2, "--queue-type"),
        (["--queue-db=x"], 2, "--queue-type=sqlite"),
        (["--mysql-db=x"], 2, "--queue-type=mysql"),
        (["-q", "mysql"], 2, "--mysql-db"),
        (["-q", "mysql", "--mysql-db=x", "--mysql-table=a b"], 2, "--mysql-table"),
        (["-q", "mysql", "--mysql-db=x", "--mysql-port=0"], 2, "--mysql-port"),
        (["-q", "mysql", "--mysql-db=x", "--mysql-host=/nowhere"], 78, "cannot use the queue"),
        (["--ssl"], 2, "--ssl-certificate"),
        (["--ssl-key", "x"], 2, "--ssl"),
        (["--ssl", "--ssl-certificate", "/nowhere"], 1, "cannot use TLS"),
        (["--ssl-allow", "x=fly"], 2, "fly"),
        (["--listen", "http://x"], 2, "--listen"),
        (["--user", "nobody-of-that-name"], 1, "--user"),
        (["--pid-file", "/nowhere/at/all"], 1, "--pid-file"),
        (["--log-file", "/nowhere/at/all"], 1, "--log-file"),
        (["--colour", "red"], 2, "Usage"),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_flag(flags: list[str], code: int, words: str) -> None:
    got, message = refused(*flags)
    assert words in message
    assert got == code
    assert "Traceback" not in message


def test_a_queue_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "queue").write_bytes(b"no database " * 1000)
    code, message = refused("-q", "sqlite", "--queue-db", str(tmp_path / "queue"))
    assert code == 78
    assert message.startswith("abraxas: the queue ")
    assert message.count("\n") == 1


def test_a_port_in_use_is_named(start: Start) -> None:
    server = start()
    done = subprocess.run(
        [*COMMAND, "-L", "127.0.0.1", "-p", str(server.port)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    assert f"127.0.0.1:{server.port}" in done.stderr
    assert "another port" in done.stderr


def test_help_and_version() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0
    assert "--job-retries" in done.stdout
    done = subprocess.run([*COMMAND, "-V"], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("abraxas ")
