"""Running the steps of a transaction, each as if it were alone, over any DB-API connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gearbox.errors import StoreError
from gearbox.store import Moment, Result, Step
from gearbox.store.sql import SqlTx

__all__ = ["Entangled", "run_steps"]


class Entangled(Exception):
    """A step failed of which something is written already, together with what others did."""


def run_steps(
    steps: Sequence[Step],
    tx: SqlTx,
    moment: Moment,
    is_failure: Callable[[Exception], bool],
    savepoint: Callable[[str], Any] | None = None,
) -> list[Result | Exception]:
    """The outcome of each. What `is_failure`, of the database, is raised; all other errors are the step's own.

    A step that fails is undone in memory, or `Entangled` is raised. After that, and when what the steps did cannot be
    written, run all again with a function for `savepoint` that executes a statement: then each is written by itself.
    """
    outcomes = []
    for step in steps:
        tx.changes.begin()
        if savepoint is not None:
            savepoint("SAVEPOINT step")
        try:
            outcome: Result | Exception = step(tx, moment)
            if savepoint is not None:
                tx.write()
                savepoint("RELEASE SAVEPOINT step")
        except StoreError:
            raise
        except Exception as error:
            if is_failure(error):
                raise
            if savepoint is None and tx.changes.is_mixed:
                raise Entangled from error
            tx.changes.undo()
            if savepoint is not None:
                savepoint("ROLLBACK TO SAVEPOINT step")
                savepoint("RELEASE SAVEPOINT step")
                tx.changes.forget()
                if tx.is_control_changed:
                    tx.load_controls()
            outcome = error
        outcomes.append(outcome)
    return outcomes
