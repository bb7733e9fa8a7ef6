"""What was seen outside: what clients were told, and what workers did. The checker compares it with the rows."""

from __future__ import annotations

from typing import Any

import attrs

from gearbox.errors import RpcError

__all__ = ["Call", "Execution", "Ledger", "Told", "told"]

Told = tuple[Any, ...]


def told(answer: Any) -> Told:
    """What a watcher was told, in a form that can be compared."""
    if isinstance(answer, RpcError):
        return ("error", answer.code, answer.message, repr(answer.data))
    return ("result", repr(answer))


@attrs.define(eq=False)
class Call:
    """One `queue`, repeated with the same token until its outcome is known."""

    n: int
    token: str
    params: dict[str, Any]
    wanted: dict[str, Any]  # the step's arguments
    id: int | None = None
    refused: RpcError | None = None
    is_unknown: bool = False  # the store may have it although it said no


@attrs.define(eq=False)
class Execution:
    """A worker at work on an attempt."""

    job: int
    epoch: int
    worker: str
    begin: float
    end: float | None = None
    has_leave: bool = True  # the worker asked for leave to start


@attrs.define
class Ledger:
    """All of a run."""

    calls: dict[int, Call] = attrs.Factory(dict)  # by the number of the step
    executions: list[Execution] = attrs.Factory(list)
    reported: dict[tuple[int, int], list[Any]] = attrs.Factory(dict)  # (job, epoch) -> results that a worker sent
    watched: dict[int, dict[Told, None]] = attrs.Factory(dict)  # job -> all that its watchers were told
    waiting: dict[int, str] = attrs.Factory(dict)  # open calls by number: what each asks
    released: dict[int, int] = attrs.Factory(dict)  # noopwait -> how many calls let it go
    asked: int = 0
    answered: int = 0

    @property
    def is_operated(self) -> bool:
        """Whether calls are under way that change what methods may do."""
        return any(what.startswith(("pause", "limit", "end of", "schedule")) for what in self.waiting.values())

    def open(self, what: str) -> int:
        """A call is made."""
        self.asked += 1
        self.waiting[self.asked] = what
        return self.asked

    def close(self, number: int) -> None:
        """It was answered, or its process died."""
        self.waiting.pop(number, None)

    def tell(self, id: int, answer: Any) -> None:
        """A watcher of a job was told this."""
        self.answered += 1
        self.watched.setdefault(id, {})[told(answer)] = None

    def id_of(self, n: int | None) -> int | None:
        """The id of the job that a step queued, as far as anybody was told."""
        call = self.calls.get(n) if n is not None else None
        return None if call is None else call.id
