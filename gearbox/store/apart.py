"""The SQLite store in an interpreter of its own, in the same process, from Python 3.14 on.

A core has two threads: one for the broker, calls and answers, one for the store. In one interpreter they take turns,
for it has one lock. Here each has its own, and they use two processors: up to a third more jobs a second, and 0.2 ms
more for each batch.

Steps go over, and outcomes come back, as pickled bytes that never leave the process. So a step has to be a function of
a module with data, which is what they all are.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Sequence
from time import time
from typing import Any, Protocol

import attrs

from gearbox.errors import GearboxError
from gearbox.store import Batch, Moment, Step, Store, open_store
from gearbox.store.address import MysqlAddress
from gearbox.store.sqlite import SqliteStore

if sys.version_info >= (3, 14):
    from concurrent import interpreters

__all__ = ["Interpreter", "StoreApart", "open_apart"]


def open_apart(place: str | MysqlAddress) -> Store:
    """`open_store`; the store in a file has an interpreter of its own, where Python and processors allow for two."""
    if isinstance(place, str) and sys.version_info >= (3, 14) and (os.process_cpu_count() or 1) > 1:
        return StoreApart(place, interpreters.create())
    return open_store(place)


class Interpreter(Protocol):
    """What is needed of a `concurrent.interpreters.Interpreter`."""

    def exec(self, code: str, /) -> None: ...

    def call(self, callable: Callable[..., Any], /, *args: Any) -> Any: ...

    def close(self) -> None: ...


class StoreApart:
    """`SqliteStore` in an interpreter that is its alone. Raises `StoreError` with what to do, if it cannot be used."""

    is_shared = False

    def __init__(self, path: str, interpreter: Interpreter) -> None:
        self._path = path
        self._interpreter = interpreter
        try:
            interpreter.exec(f"import sys; sys.path[:] = {sys.path!r}")
            self.database: str = self._call(_open)
        except BaseException:
            interpreter.close()
            raise

    def run_batch(self, steps: Sequence[Step], moment: Moment) -> Batch:
        done: Batch = self._call(_run_batch, pickle.dumps((steps, moment)))
        return done

    def settle(self) -> None:
        """SQLite always knows what became of a commit."""

    def now(self) -> float:
        return time()

    def close(self) -> None:
        """Give the file back, as `SqliteStore.close` does: not after `StoreBroken`, and then the interpreter stays."""
        if self._call(_close):
            self._interpreter.close()

    def _call(self, do: Callable[..., Any], *arguments: bytes) -> Any:
        told = pickle.loads(self._interpreter.call(_tell, do, self._path, *arguments))
        if isinstance(told, _Raised):
            raise told.error
        return told


# --- over there ---

_stores: dict[str, SqliteStore] = {}  # by their files: one


@attrs.frozen
class _Raised:
    """Instead of a value, for Python tells nothing of an exception but its text."""

    error: Exception


def _tell(do: Callable[..., Any], path: str, *arguments: bytes) -> bytes:
    """The value of a call, or what it raised."""
    try:
        return pickle.dumps(do(path, *arguments))
    except Exception as error:
        return pickle.dumps(_Raised(_portable(error)))


def _open(path: str) -> str:
    store = _stores[path] = SqliteStore(path)
    return store.database


def _run_batch(path: str, asked: bytes) -> Batch:
    steps, moment = pickle.loads(asked)
    done = _stores[path].run_batch(steps, moment)
    outcomes = [_portable(outcome) if isinstance(outcome, Exception) else outcome for outcome in done.outcomes]
    return attrs.evolve(done, outcomes=outcomes)


def _close(path: str) -> bool:
    """Whether the file was given back."""
    store = _stores[path]
    store.close()
    return not store.is_broken


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same, as it can cross; a fault of ours with a note of where it was."""
    if isinstance(error, GearboxError):
        return error
    where = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # its class is local, or is made from something else than its text
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(where)
    return error
