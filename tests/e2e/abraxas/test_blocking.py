"""The blocking facade, from several threads, on our server and on gearmand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import gearman_servers
import pytest
import trio

from abraxas_py import ConnectionLost, Data, JobRaised, LocalProtocolError, Status, Unavailable, blocking


@pytest.fixture(params=["abraxas", pytest.param("gearmand", marks=pytest.mark.gearmand)])
def address(request: pytest.FixtureRequest, program: Callable[[str, str], str]) -> Iterator[str]:
    """A server in a process of its own."""
    port = gearman_servers.free_port()
    if request.param == "gearmand":
        process = gearman_servers.gearmand(program("gearmand", "gearman-job-server"), port)
    else:
        process = gearman_servers.abraxas(port)
    try:
        trio.run(gearman_servers.answers, f"127.0.0.1:{port}")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def working(
    address: str, max_jobs: int = 4, /, **functions: Callable[[blocking.BlockingJob], object]
) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=lambda: blocking.work(functions, address, max_jobs=max_jobs, stop=stop))  # type: ignore[arg-type]
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=20)
        assert not thread.is_alive()


def busy(job: blocking.BlockingJob) -> str:
    job.status(1, 2)
    job.send_data("piece ")
    if job.text == "fail":
        raise ValueError("no")
    return job.text.upper()


def test_every_call_of_the_client_from_many_threads(address: str) -> None:
    with working(address, busy=busy), blocking.open_client(address, encoding="utf-8") as client:
        with ThreadPoolExecutor(8) as threads:
            results = threads.map(lambda n: client.submit("busy", f"job {n}").result(timeout=30), range(100))
            assert list(results) == [f"piece JOB {n}" for n in range(100)]
        task = client.submit("busy", "x")
        assert list(task) == [Status(b"1", b"2"), Data("piece ")]
        assert task.result() == "X"
        assert task.done
        assert b"".join(client.submit("busy", "x").output()) == b"piece X"
        with pytest.raises(JobRaised, match="ValueError: no"):
            client.submit("busy", "fail").result()
        stream = client.stream("busy")
        stream.write(b"in ")
        stream.write(b"pieces")
        stream.close()
        assert stream.result() == "piece IN PIECES"
        assert client.echo("back") == "back"
        waiting = client.submit("nobody", unique="u")
        assert waiting.created() == waiting.handle
        assert client.get_status(waiting.handle).is_known
        assert client.get_status_unique("u").clients == 1
        with pytest.raises(trio.TooSlowError):
            waiting.result(timeout=0.01)
        assert client.submit_bg("nobody")
        assert client.submit_at("nobody", 4_000_000_000)
        client.set_client_id("me")
        assert client.is_connected
        assert {row.function for row in client.admin.status()} >= {b"busy", b"nobody"}


def test_every_call_of_the_administrator(address: str) -> None:
    with blocking.open_admin(address) as admin, blocking.open_client(address) as client:
        admin.create_function("new")
        admin.max_queue("new", 5)
        handle = client.submit_bg("new", unique="u")
        assert [row.handle for row in admin.jobs()] == [handle]
        assert admin.unique_jobs() == [b"u"]
        assert [row.normal for row in admin.priority_status()] == [1]
        assert admin.workers()
        assert admin.version()
        assert admin.verbose()
        assert [one.getpid() for one in admin.servers] == [admin.getpid()]
        admin.cancel_job(handle)
        admin.create_function("idle")
        admin.drop_function("idle")


def test_as_many_jobs_run_at_once_as_there_are_slots(address: str) -> None:
    together = threading.Barrier(50)

    def meet(job: blocking.BlockingJob) -> None:
        together.wait(timeout=20)

    with working(address, 50, meet=meet), blocking.open_client(address) as client:
        tasks = [client.submit("meet") for _ in range(50)]
        assert [task.result(timeout=30) for task in tasks] == [b""] * 50


def test_work_that_never_had_a_connection_can_be_stopped() -> None:
    with working("127.0.0.1:1", busy=busy):
        pass


def test_errors_are_plain_and_a_closed_client_says_so() -> None:
    with blocking.open_client("127.0.0.1:1", submit_timeout=0.05) as client:
        with pytest.raises(Unavailable):
            client.submit("f").result()
        with pytest.raises(ConnectionLost):
            client.admin.status()
        assert not client.is_connected
    with pytest.raises(LocalProtocolError, match="was closed"):
        client.submit("f")
    with pytest.raises(ValueError, match="no server address"), blocking.open_client("::::"):
        pass
