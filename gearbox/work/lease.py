"""How long a worker may go on with an attempt: while the core says so, and for a while without word from it.

While a job runs, its worker asks `gearbox\\core::alive`: first after 5 s, then every 10 s, and at once when the
connection was lost from which the job came. The answer no (cancelled, timed out, given to somebody else) ends the work,
and nothing is reported: the core has decided already. Silence ends it as well, in time for the core's own patience:

- Until contact was lost for the first time, silence may last 50 s since the last question that was answered with yes.
  The core sees the Gearman connection of such a job and does not give it away while that stands; a core that was
  restarted waits 60 s for its workers. So a restart that takes half a minute costs a running job nothing.
- Afterwards no connection of the core's tells of the worker. The job then has a lease of 30 s, of which a yes leaves
  20 s at least, and goes missing for 5 s more: silence may last 20 s.

A core that answers that its database fails (503, 507) gives no job away either, and counts as a yes. Results of work
that has ended are not subject to any of this: `reporter` keeps them until the core takes them.

Who wants to hear of each new span (a guard, in a process of its own, that works also while the worker is stopped) is
in `listeners`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from abraxas_py import AbraxasError
from gearbox.client import Gearbox
from gearbox.errors import Code, RpcError

__all__ = ["Lease", "keep"]

log = logging.getLogger("gearbox.worker")

FIRST_QUESTION = 5.0  # seconds after the start
INTERVAL = 10.0  # seconds between questions
PAUSE = 0.5  # seconds after one that failed
LATE = 5.0  # seconds for an answer, beyond which the core may have been restarted meanwhile
QUESTION_TIMEOUT = 10.0  # seconds for an answer, after which another server is asked, if there are several
PATIENCE = 50.0  # of the 60 s that a restarted core waits; the rest is for killing
CUT_PATIENCE = 20.0  # what is left at least of the lease of 30 s after a yes
STANDING = frozenset({Code.UNAVAILABLE, Code.STORAGE_FULL})  # answers of a core that cannot give a job away now


class Lease:
    """One attempt's leave to go on. `lost` says why there is none any more."""

    def __init__(self, now: float) -> None:
        self.lost: str | None = None
        self.listeners: list[Callable[[float], object]] = []
        self.on_cut: Callable[[], object] = bool  # which does nothing
        self._since = now
        self._patience = PATIENCE
        self._was_cut = False
        self._wake = trio.Event()

    @property
    def ends_at(self) -> float:
        """When silence has lasted too long."""
        return self._since + self._patience

    def renew(self, asked_at: float, now: float) -> None:
        """The core said yes to a question of that time; the span counts from the question on."""
        if now - asked_at > LATE:
            self._was_cut = True
        self._since = asked_at
        if self._was_cut:
            self._patience = CUT_PATIENCE
        for tell in self.listeners:
            tell(self.ends_at - now)

    def doubt(self) -> None:
        """A question was not answered: from the next yes on there is less patience."""
        self._was_cut = True

    def cut(self) -> None:
        """The connection was lost: the same, and it is time to ask."""
        self._was_cut = True
        self._wake.set()
        self.on_cut()

    def listen(self, tell: Callable[[float], object], now: float) -> None:
        """Have `tell` called with the span that is left, now and at each renewal."""
        self.listeners.append(tell)
        tell(self.ends_at - now)

    def check(self, now: float) -> bool:
        """Whether it holds. Whoever was stopped for too long finds out here."""
        if self.lost is None and now >= self.ends_at:
            self.lost = f"no word from the core for {now - self._since:.0f} s"
        return self.lost is None

    async def _rest(self, until: float) -> None:
        with trio.move_on_at(until):
            await self._wake.wait()
        self._wake = trio.Event()


async def keep(lease: Lease, gearbox: Gearbox, id: int, attempt: int, work: trio.CancelScope) -> None:
    """Ask the core as long as the attempt runs; cancels `work` when the lease is lost."""
    await lease._rest(lease._since + FIRST_QUESTION)
    while True:
        asked_at = trio.current_time()
        answer: bool | Exception | None = None
        with trio.move_on_at(min(lease.ends_at, asked_at + QUESTION_TIMEOUT)):
            try:
                answer = await gearbox.alive(id, attempt)
            except RpcError as error:
                answer = True if error.code in STANDING else error
            except AbraxasError as error:
                answer = error
        now = trio.current_time()
        log.debug("asked whether to go on id=%d attempt=%d answer=%r", id, attempt, answer)
        if answer is True:
            lease.renew(asked_at, now)
        elif answer is False:
            lease.lost = "it was cancelled, timed out, or given to somebody else"
        else:
            lease.doubt()
        if not lease.check(now):
            work.cancel()
            return
        await lease._rest(asked_at + INTERVAL if answer is True else now + PAUSE)
