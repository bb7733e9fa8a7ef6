"""Workers in Python, on a real Gearman server and a core that answers as the test wants."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from abraxas_py import JobFailed, open_client
from gearbox import rpc
from gearbox.errors import Code, RpcError
from gearbox.work import attendants, lease
from gearbox.worker import JobLost, Worker, current_job

ACCEPTING: dict[str, Callable[[Any], Any]] = {
    "job_data": lambda params: None,
    "job_start": lambda params: True,
    "alive": lambda params: True,
}


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(worker.work)
        yield
        worker.stop()


async def submit(address: str, function: str, params: Any, **meta: Any) -> Any:
    request = {"jsonrpc": "2.0", "method": function, "params": params, "id": "x", "_meta": meta}
    async with open_client(address) as client:
        return json.loads(await client.submit(function, json.dumps(request).encode()))


async def do(gearman: Any, function: str, params: Any) -> Any:
    """The last report on a scheduled job, without what every report has."""
    await submit(gearman.address, function, params, gearbox_id=7, gearbox_attempt=1)
    with trio.fail_after(10):
        while not any("status" in report for report in gearman.params_of("job_data")):  # noqa: ASYNC110
            await trio.sleep(0.01)
    report = gearman.params_of("job_data")[-1]
    gearman.calls.clear()
    assert (report.pop("id"), report.pop("attempt")) == (7, 1)
    return report


async def test_params_become_arguments_and_the_return_value_the_result(open_gearman: Any) -> None:
    async with open_gearman(ACCEPTING) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::plain")
        def plain(*args: Any, **kwargs: Any) -> Any:
            assert threading.current_thread() is not threading.main_thread()
            return [list(args), kwargs]

        @worker.method("a::async")
        async def asynchronous(x: int = 0) -> int:
            await trio.lowlevel.checkpoint()
            return x + 1

        async with working(worker):
            for params, expected in [
                (None, [[], {}]),
                ([1, "a"], [[1, "a"], {}]),
                ({"b": None}, [[], {"b": None}]),
                ("text", [["text"], {}]),
            ]:
                assert await do(gearman, "a::plain", params) == {"status": "complete", "data": expected}
            assert await do(gearman, "a::async", [41]) == {"status": "complete", "data": 42}
            assert (await submit(gearman.address, "a::async", {"x": 1}))["result"] == 2


async def test_what_a_function_raises_fails_its_job(open_gearman: Any) -> None:
    async with open_gearman(ACCEPTING) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::fail")
        def fail(how: str) -> Any:
            if how == "rpc":
                raise RpcError(42, "no", {"k": 1})
            if how == "rpc without JSON":
                raise RpcError(42, "no", object())
            if how == "set":
                return {1, 2}
            raise ValueError("bad\nvalue")

        async with working(worker):
            report = await do(gearman, "a::fail", ["rpc"])
            assert report == {"status": "errored", "data": {"code": 42, "message": "no", "data": {"k": 1}}}
            report = await do(gearman, "a::fail", ["any"])
            assert (report["data"]["code"], report["data"]["message"]) == (-28500, "ValueError: bad\nvalue")
            assert "in fail" in report["data"]["data"]["traceback"]
            report = await do(gearman, "a::fail", ["set"])
            assert report["data"]["code"] == 422
            assert (await do(gearman, "a::fail", ["rpc without JSON"]))["data"]["code"] == -28500
            report = await do(gearman, "a::fail", [1, 2, 3])
            assert report["data"] == {"code": 400, "message": "the arguments do not fit: too many positional arguments"}


async def test_a_function_that_has_no_signature_is_called_unchecked(open_gearman: Any) -> None:
    async with open_gearman(ACCEPTING) as gearman:
        worker = Worker([gearman.address])
        worker.method("a::max")(max)
        async with working(worker):
            assert await do(gearman, "a::max", [1, 3, 2]) == {"status": "complete", "data": 3}
            report = await do(gearman, "a::max", None)
            assert report["data"]["message"].startswith("TypeError: ")


async def test_a_function_that_exits_fails_its_job_alone(open_gearman: Any) -> None:
    async with open_gearman(ACCEPTING) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::plain")
        def plain() -> None:
            sys.exit(3)

        @worker.method("a::async")
        async def asynchronous() -> None:
            raise SystemExit("enough")

        async with working(worker):
            for method, message in (("a::plain", "SystemExit: 3"), ("a::async", "SystemExit: enough")):
                report = await do(gearman, method, None)
                assert (report["data"]["code"], report["data"]["message"]) == (-28500, message)


async def test_what_is_no_exception_elsewhere_fails_its_job_alone(open_gearman: Any) -> None:
    async with open_gearman(ACCEPTING) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::asyncio")
        def uses_asyncio() -> None:
            async def give_up() -> None:
                raise asyncio.CancelledError

            asyncio.run(give_up())

        @worker.method("a::generator")
        def generator() -> None:
            raise GeneratorExit

        @worker.method("a::group")
        async def group() -> None:
            raise BaseExceptionGroup("several", [SystemExit(3), ValueError("no")])

        async with working(worker):
            for method, message in (
                ("a::asyncio", "asyncio.exceptions.CancelledError"),
                ("a::generator", "GeneratorExit"),
                ("a::group", "BaseExceptionGroup: several (2 sub-exceptions)"),
            ):
                report = await do(gearman, method, None)
                assert (report["data"]["code"], report["data"]["message"]) == (-28500, message)


async def test_an_exception_that_cannot_tell_of_itself_fails_its_job_alone(open_gearman: Any) -> None:
    class Bare(RpcError):
        def __init__(self) -> None:
            pass

    class Mute:
        def __str__(self) -> str:
            raise SystemExit

    def groups() -> Exception:
        error: Exception = ValueError("innermost")
        for _ in range(2000):
            error = ExceptionGroup("around", [error])
        return error

    errors: list[Callable[[], Exception]] = [
        Bare,
        groups,
        lambda: SyntaxError("no", ("file", 1, "column", 5)),  # type: ignore[arg-type]
        lambda: RpcError(1, Mute()),  # type: ignore[arg-type]
    ]
    async with open_gearman(ACCEPTING) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::plain")
        def plain(number: int) -> None:
            raise errors[number]()

        @worker.method("a::async")
        async def asynchronous(number: int) -> None:
            raise errors[number]()

        async with working(worker):
            for method in ("a::plain", "a::async"):
                messages = [(await do(gearman, method, [number]))["data"]["message"] for number in range(4)]
                for name, message in zip(
                    ("Bare,", "ExceptionGroup", "SyntaxError,", "RpcError,"), messages, strict=True
                ):
                    assert message.startswith(name)


def nested(levels: int) -> Any:
    value: Any = ()
    for _ in range(levels - 1):
        value = (value,)
    return value


async def test_a_result_deeper_than_the_core_takes_fails_its_job_alone(open_gearman: Any) -> None:
    async with open_gearman(ACCEPTING) as gearman:
        worker = Worker([gearman.address])
        worker.method("a::nested")(nested)

        @worker.method("a::refused")
        def refused(levels: int) -> None:
            raise RpcError(42, "no", nested(levels))

        async with working(worker):
            assert (await do(gearman, "a::nested", [rpc.OUTPUT_DEEPEST]))["status"] == "complete"
            assert (await do(gearman, "a::refused", [rpc.OUTPUT_DEEPEST - 1]))["data"]["code"] == 42
            for levels in (rpc.OUTPUT_DEEPEST + 1, 960, 980, 100_000):
                report = await do(gearman, "a::nested", [levels])
                assert report["data"] == {"code": 422, "message": "the result is not JSON: nested too deeply"}
                assert (await do(gearman, "a::refused", [levels]))["data"] == {"code": -28500, "message": "no (42)"}


async def test_a_plain_function_s_result_is_read_in_its_thread_and_may_fail_its_job_there(open_gearman: Any) -> None:
    readers = []

    class Result(dict[str, Any]):
        def items(self) -> Any:
            readers.append(threading.current_thread())
            if "bad" in self:
                raise RuntimeError("changed meanwhile")
            return super().items()

    async with open_gearman(ACCEPTING) as gearman:
        worker = Worker([gearman.address])
        worker.method("a::b")(lambda **params: Result(params))
        async with working(worker):
            assert (await do(gearman, "a::b", {"good": 1}))["data"] == {"good": 1}
            report = await do(gearman, "a::b", {"bad": 1})
            assert (report["data"]["code"], report["data"]["message"]) == (-28500, "RuntimeError: changed meanwhile")
    assert len(readers) == 2
    assert threading.main_thread() not in readers


async def test_a_result_is_what_it_was_when_the_function_returned_it(open_gearman: Any) -> None:
    result: list[Any] = [1]

    def refuse_once(params: Any) -> Any:
        result.append(object())
        return RpcError(Code.UNAVAILABLE, "not now") if len(result) == 2 else None

    async with open_gearman({**ACCEPTING, "job_data": refuse_once}) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::changed")
        async def changed() -> list[Any]:
            return result

        async with working(worker):
            await submit(gearman.address, "a::changed", None, gearbox_id=7, gearbox_attempt=1)
    assert [report["data"] for report in gearman.params_of("job_data")] == [[1], [1]]


async def test_progress_and_the_results_of_earlier_jobs(open_gearman: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendants, "PROGRESS_INTERVAL", 0.01)
    told = threading.Event()

    def job_data(params: Any) -> None:
        if "progress" in params:
            told.set()

    async with open_gearman({**ACCEPTING, "job_data": job_data}) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::sum")
        def total() -> int:
            job = current_job()
            job.progress(50)
            assert told.wait(10)
            assert (job.id, job.attempt, job.method, job.params) == (7, 2, "a::sum", None)
            return int(job.after["result"]) + sum(one["result"] for one in job.pool)

        async with working(worker):
            meta = {"gearbox_after": {"id": 1, "result": 1}, "gearbox_pool": [{"id": 2, "result": 10}]}
            await submit(gearman.address, "a::sum", None, gearbox_id=7, gearbox_attempt=2, **meta)
    progress, end = gearman.params_of("job_data")
    assert progress == {"id": 7, "attempt": 2, "progress": 50}
    assert end == {"id": 7, "attempt": 2, "status": "complete", "data": 11}


async def test_progress_may_be_a_number_of_any_kind_and_what_is_none_fails_its_job_alone(open_gearman: Any) -> None:
    told = trio.Event()

    def job_data(params: Any) -> None:
        if "progress" in params:
            told.set()

    async with open_gearman({**ACCEPTING, "job_data": job_data}) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::tell")
        async def tell(number: str) -> None:
            current_job().progress(Decimal(number))
            await told.wait()

        async with working(worker):
            for number in ("nan", "-inf"):
                report = await do(gearman, "a::tell", number)
                assert report["data"]["message"] == f"ValueError: progress is not a finite number: {number}"
            await submit(gearman.address, "a::tell", "42.5", gearbox_id=7, gearbox_attempt=1)
            assert gearman.params_of("job_data")[0] == {"id": 7, "attempt": 1, "progress": 42.5}


async def test_progress_that_comes_to_light_after_the_job_s_end_is_not_told(open_gearman: Any) -> None:
    """And nobody waits for more of it."""
    async with open_gearman(ACCEPTING) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::tell")
        async def tell() -> None:
            current_job().progress(99)

        async with working(worker):
            await do(gearman, "a::tell", None)
            await trio.testing.wait_all_tasks_blocked(0.01)
            tasks = trio.lowlevel.current_statistics().tasks_living
            for _ in range(3):
                await submit(gearman.address, "a::tell", None, gearbox_id=7, gearbox_attempt=1)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert not any("progress" in report for report in gearman.params_of("job_data"))


async def test_a_notification_without_leave_is_answered_with_nothing(open_gearman: Any) -> None:
    async with open_gearman({**ACCEPTING, "job_start": lambda params: False}) as gearman:
        worker = Worker([gearman.address])
        worker.method("a::b")(lambda: None)
        request = rpc.request("a::b", None, meta={"gearbox_id": 7, "gearbox_attempt": 1})
        async with working(worker), open_client(gearman.address) as client:
            assert await client.submit("a::b", request) == b""


async def test_a_job_that_is_not_wanted_any_more_is_stopped_and_not_reported(
    open_gearman: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (attendants, lease):
        monkeypatch.setattr(module, "FIRST_QUESTION", 0.01)
    ends: list[str] = []
    stopped = threading.Event()
    async with open_gearman({**ACCEPTING, "alive": lambda params: False}) as gearman:
        worker = Worker([gearman.address])

        @worker.method("a::async")
        async def asynchronous() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ends.append("cancelled")

        @worker.method("a::plain")
        def plain() -> None:
            job = current_job()
            try:
                while True:
                    job.progress(1)
                    stopped.wait(0.01)
            except JobLost:
                ends.append("lost")
                stopped.set()

        async with working(worker):
            for method in ("a::async", "a::plain"):
                with pytest.raises(JobFailed):
                    await submit(gearman.address, method, None, gearbox_id=7, gearbox_attempt=1)
            assert await trio.to_thread.run_sync(stopped.wait, 10)
    assert sorted(ends) == ["cancelled", "lost"]
    assert not any("status" in report for report in gearman.params_of("job_data"))


async def test_a_job_that_is_stopped_may_raise_what_it_likes(
    open_gearman: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (attendants, lease):
        monkeypatch.setattr(module, "FIRST_QUESTION", 0.01)
    async with open_gearman({**ACCEPTING, "alive": lambda params: False}) as gearman:
        worker = Worker([gearman.address])

        async def clean_up() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("nothing to clean up")

        @worker.method("a::several")
        async def several() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(clean_up)

        async with working(worker):
            for _ in range(2):  # the worker is there for more
                with pytest.raises(JobFailed):
                    await submit(gearman.address, "a::several", None, gearbox_id=7, gearbox_attempt=1)
    assert not gearman.params_of("job_data")


def test_a_method_has_one_function_and_outside_of_a_job_there_is_none() -> None:
    worker = Worker(["127.0.0.1:1"])
    worker.method("a::b")(print)
    with pytest.raises(ValueError, match="a::b has a function already"):
        worker.method("a::b")(print)
    with pytest.raises(LookupError):
        current_job()
