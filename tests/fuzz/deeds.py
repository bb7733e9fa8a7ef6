"""What the function of a job may do that nobody would: return, raise and tell odd things."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from math import inf, nan
from typing import Any, NoReturn

from abraxas_py import Assigned, JobFailed, JobRaised
from gearbox.errors import Code, RpcError
from gearbox.worker import JobLost, current_job

__all__ = ["DEEDS", "HANDLERS"]

LARGE = 2**17  # characters, or items: what an async function returns is read in the loop


class _Unreadable(dict[str, Any]):
    """A result that raises when it is written."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(a=1)
        self._error = error

    def items(self) -> NoReturn:
        raise self._error


class _Mute(Exception):
    """An error without a text."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self._error = error

    def __str__(self) -> NoReturn:
        raise self._error


class _BareRpc(RpcError):
    """An error that was never told its code."""

    def __init__(self) -> None:
        pass


def _nested(levels: int) -> Any:
    value: Any = ()
    for _ in range(levels - 1):
        value = (value,)
    return value


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@types.coroutine  # whose like is awaitable as well, but nobody complains where it is not awaited
def _coroutine() -> Iterator[None]:
    yield


def _recurse() -> Any:
    return _recurse()


def _deep_group() -> Exception:
    group: Exception = ValueError("innermost")
    for _ in range(2000):
        group = ExceptionGroup("around", [group])
    return group


def _long_chain() -> Exception:
    first = last = ValueError("0")
    for number in range(2000):
        last.__cause__ = last = ValueError(str(number))  # type: ignore[assignment]
    return first


def _noted() -> Exception:
    error = ValueError("noted")
    error.__notes__ = [5, _Mute(SystemExit())]  # type: ignore[list-item]
    return error


VALUES: Mapping[str, Any] = {
    "none": None, "surrogate": "\ud800", "control": "\0\x1b[2J\r\n", "nan": nan, "inf": {"a": [-inf]}, "set": {1},
    "bytes": b"\xff\0", "bytearray": bytearray(b"a"), "digits": 10**5000, "digits-inside": [-(10**5000)],
    "large-number": 10**4000, "keys": {1: 1, "1": 2, None: 3, 2.5: 5}, "tuple-key": {(1,): 1},
    "nan-key": {nan: 1}, "surrogate-key": {"\udc80": "\ud800"}, "object": object(), "class": int, "code": Code.TIMEOUT,
    "error": ValueError("no"), "decimal": Decimal(1), "ticket": "\0abraxas-payload\0abraxas.payload.7f 1",
    "answer": {"jsonrpc": "2.0", "id": 1, "error": {"code": "x"}}, "answer-text": '{"jsonrpc":"2.0","id":"i"}',
    **{type(error).__name__: _Unreadable(error)
       for error in (RuntimeError(), SystemExit(), KeyError("\ud800"), RecursionError(), GeneratorExit(), TypeError(),
                     UnicodeEncodeError("a", "b", 0, 1, "c"), RpcError(1, "x"), asyncio.CancelledError())},
}  # fmt: skip
MAKES: Mapping[str, Callable[[], Any]] = {
    "circle": _circle, "coroutine": _coroutine, "generator": lambda: iter(["a", 5]), "wide": lambda: [0] * LARGE,
    "long": lambda: "x" * LARGE, "surrogates": lambda: "\ud800" * LARGE, "controls": lambda: "\0" * LARGE,
    "pieces": lambda: iter(["a", b"\xff", bytearray(b"x")]), "surrogate-piece": lambda: iter(["a", "\ud800"]),
}  # fmt: skip
ERRORS: Mapping[str, Callable[[], BaseException]] = {
    "mute": lambda: _Mute(ValueError()), "mute-exit": lambda: _Mute(SystemExit()),
    "exit": lambda: SystemExit("\ud800"), "asyncio": asyncio.CancelledError, "generator-exit": GeneratorExit,
    "stop": StopIteration, "async-stop": StopAsyncIteration, "memory": MemoryError, "base": lambda: BaseException(5),
    "group": lambda: BaseExceptionGroup("\0", [SystemExit(), _Mute(ValueError())]), "deep-group": _deep_group,
    "chain": _long_chain, "notes": _noted, "surrogate-error": lambda: ValueError("\ud800"),
    "long-error": lambda: ValueError("\0" * LARGE), "syntax": lambda: SyntaxError("a", ("f", 1, "x", 1, 1, 9)),
    "odd-syntax": lambda: SyntaxError("a", (5, "x", 5, "y")), "os": lambda: OSError("a", {}),
    "key": lambda: KeyError(_Mute(ValueError())), "unicode": lambda: UnicodeDecodeError("\ud800", b"", 5, 9, "\0"),
    "rpc": lambda: RpcError(42, "no", {"k": "\ud800"}), "rpc-object": lambda: RpcError(42, "no", object()),
    "rpc-nan": lambda: RpcError(nan, "no"), "rpc-none": lambda: RpcError(None, None),  # type: ignore[arg-type]
    "rpc-list": lambda: RpcError([], ["\ud800"]),  # type: ignore[arg-type]
    "rpc-mute": lambda: RpcError(1, _Mute(ValueError())),  # type: ignore[arg-type]
    "rpc-unreadable": lambda: RpcError(1, "x", _Unreadable(RuntimeError())),
    "rpc-unreadable-exit": lambda: RpcError(1, "x", _Unreadable(SystemExit())),
    "rpc-deep": lambda: RpcError(1, "x", _nested(990)), "rpc-bare": _BareRpc,
    "lost": lambda: JobLost("x"), "failed": JobFailed,
    "raised": lambda: JobRaised(b"\xff\0"), "recursion": lambda: _recurse(),
}  # fmt: skip


NUMBERS: Mapping[str, Any] = {
    "zero": -0.0, "large": 1e308, "huge": 10**400, "inf": -inf, "nan": nan, "text": "5", "surrogate": "\ud800",
    "none": None, "decimal": Decimal("NaN"), "true": True, "half": 50,
}  # fmt: skip


def _tell(number: Any) -> None:
    current_job().progress(number)


def _late_progress() -> str:
    current_job().progress(99)
    return "done"


def _everything() -> list[Any]:
    job = current_job()
    return [job.id, job.attempt, job.method, job.params, job.after, job.pool, job.traceparent]


OF_JOBS: Mapping[str, Callable[[], Any]] = {
    **{f"progress-{name}": partial(_tell, number) for name, number in NUMBERS.items()},
    "late-progress": _late_progress, "everything": _everything,
}  # fmt: skip


def _status(job: Assigned) -> None:
    job.status(nan, -inf)
    job.status("a\0b", "\n")  # type: ignore[arg-type]
    job.status("\ud800")  # type: ignore[arg-type]


def _twice(job: Assigned) -> None:
    job.send_data("a")
    job.complete("b")
    job.complete("c")


def _late(job: Assigned) -> Iterator[str]:
    job.fail()
    yield "more"


ASSIGNED: Mapping[str, Callable[[Assigned], Any]] = {
    "status": _status, "twice": _twice, "late": _late, "warn": lambda job: job.warn("\udc80"),
    "send": lambda job: job.send_data(b"\0" * LARGE), "echo": lambda job: job.data, "text": lambda job: job.text,
    "odd-status": lambda job: job.status("a\0b", "\n"),  # type: ignore[arg-type]
    "complete-number": lambda job: job.complete(5),  # type: ignore[arg-type]
    "raise-number": lambda job: job.exception([]),  # type: ignore[arg-type]
}  # fmt: skip


def _value(value: Any) -> Any:
    return value


def _throw(make: Callable[[], BaseException]) -> NoReturn:
    raise make()


ANYWHERE: Mapping[str, Callable[[], Any]] = {
    **{name: partial(_value, value) for name, value in VALUES.items()},
    **{f"levels-{levels}": partial(_nested, levels) for levels in (480, 481, 500, 540, 960, 990, 20_000)},
    **MAKES,
    **{name: partial(_throw, make) for name, make in ERRORS.items()},
}
DEEDS: Mapping[str, Callable[[], Any]] = {**ANYWHERE, **OF_JOBS, "sleep": lambda: None}
"""What the function of a `gearbox.worker.Worker` does."""
HANDLERS: Mapping[str, Callable[[Assigned], Any]] = {
    **{name: (lambda job, deed=deed: deed()) for name, deed in ANYWHERE.items()},  # type: ignore[misc]
    **ASSIGNED,
}
"""What a handler of an `abraxas_py.Worker` does."""
