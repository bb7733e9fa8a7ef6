"""What a core does as one of several: it joins, shows that it lives, finds others dead, and leaves."""

from __future__ import annotations

from collections.abc import Sequence

from gearbox.errors import StoreFenced
from gearbox.store import CoreRow, Moment, Result, Tx

__all__ = ["beat", "bury", "ended", "join", "leave", "prove", "stand"]

REMEMBERED = 86400.0  # s for which the row of a dead core is kept, for people


def join(name: str, tx: Tx, moment: Moment) -> Result:
    """Be one of the cores from now on."""
    tx.add_core(moment.owner, name, moment.now)
    return Result()


def stand(tx: Tx, moment: Moment) -> Result:
    """The first step of every batch: whoever was declared dead changes nothing any more.

    It holds the row until the commit. So whoever declares this core dead waits for it, and then finds what the batch
    has claimed. Raises `StoreFenced`.
    """
    if not tx.is_alive(moment.owner):
        raise StoreFenced("the other cores have declared this one dead")
    return Result()


def beat(tx: Tx, moment: Moment) -> Result:
    """Show that this core lives. The value: (the rows of all cores, the time)."""
    tx.beat(moment.owner, moment.now)
    return Result((tx.cores(), moment.now))


def bury(cores: Sequence[CoreRow], tx: Tx, moment: Moment) -> Result:
    """Declare cores dead that have not stirred since they were seen. The value is those that this call did it for."""
    tx.forget_cores(moment.now - REMEMBERED)
    return Result([core for core in cores if tx.bury(core.id, core.beats, moment.now)])


def leave(tx: Tx, moment: Moment) -> Result:
    """Let the others take over at once, without waiting for a lease to end."""
    for core in tx.cores():
        if core.id == moment.owner:
            tx.bury(core.id, core.beats, moment.now)
    return Result()


def prove(tx: Tx, moment: Moment) -> Result:
    """Write something: a store that failed may be able to read, and not to write."""
    tx.prove(moment.now)
    return Result()


def ended(ids: Sequence[int], tx: Tx, moment: Moment) -> Result:
    """Which of these jobs have ended, through whatever core."""
    return Result(tx.ended(ids))
