"""The core: its engine, which does what comes in, and its rounds, which look for what nobody brings.

News can be lost with a process, a connection or a database that fails in the wrong moment. So the core takes over what
earlier processes have left, asks Gearman about attempts that none of its connections watches, looks for running jobs
whose last worker has gone, for watchers that have left and for jobs that other cores have ended, now and then at
everything that waits, and deletes what is kept no longer. Each of it is a loop that calls the engine like anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

import structlog
import trio

from gearbox.engine import PAUSE_LONGEST, RESTART_GRACE, Engine, Hop, Reply, Watcher
from gearbox.errors import Code, RpcError
from gearbox.gearman import Gearman, Presence
from gearbox.job import Job, Status, Unsent
from gearbox.steps import cores, life, orphans, pruning
from gearbox.steps.orphans import Adopted, Orphan
from gearbox.steps.pruning import Retention
from gearbox.store import Result, Step, Store

__all__ = ["Core", "Reply", "Watcher"]

log = structlog.get_logger("gearbox:core")

ORPHAN_SWEEP = 2.0  # s between questions about attempts that no connection of ours watches, while there are any
SILENT_GRACE = 15.0  # s after which the server of such an attempt counts as gone, if it cannot be reached
READY_SWEEP = 1.0  # s between looks at ready jobs while workers are coming back, or are given time to stop
FULL_SWEEP = 60.0  # s between looks at everything that waits; finds nothing unless something went wrong
FULL_PAUSE = 0.5  # s between their transactions: a million jobs that wait for a date must not take a processor
STRANDED_SWEEP = 10.0  # s between looks for running jobs whose last worker has gone
WATCHER_SWEEP = 0.8  # s between looks for watchers that have gone, so that none stays longer than a second
WATCHER_SHARE = 0.02  # of the time, at most, goes into that: with tens of thousands of watchers the looks get rarer
OTHERS_SWEEP = 0.8  # s between looks for watched jobs that other cores have ended
PRUNE_SWEEP = 3600.0  # s between deletions of old jobs
PRUNE_PAUSE = 0.05  # s between their transactions: others come first
SWEEP = partial(life.sweep, (Status.READY, Status.WAITING))  # of all that has not started


class Core(Engine):
    """The scheduler on `store` and `gearman`; `instance` is its id in owner columns and the audit.

    `hop` runs the store's batches where they hold up nobody: in a thread, unless somebody knows better. `name` tells
    people where it runs, if the store is shared with other cores.
    """

    def __init__(
        self,
        store: Store,
        *,
        instance: str,
        retention: Retention | None = None,
        hop: Hop | None = None,
        name: str = "",
    ) -> None:
        super().__init__(store, instance=instance, hop=hop, name=name)
        self._retention = retention or Retention()
        self._orphans: dict[tuple[int, int], tuple[Orphan, float]] = {}  # by (job, epoch), with when each is given up

    async def run(self, gearman: Gearman, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover what an earlier process left, then work on `gearman` until cancelled."""
        self._gearman = gearman
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._loop)
            nursery.start_soon(self._mind_store)
            await self.adopt()
            self._not_due_before = -inf
            self._wake.set()
            task_status.started()
            nursery.start_soon(self._sweep)
            nursery.start_soon(self._sweep_all)
            nursery.start_soon(self._ask_about_orphans)
            nursery.start_soon(self._mind_watchers)
            if self._store.is_shared:
                nursery.start_soon(self._mind_others)
            nursery.start_soon(self._prune_for_ever)

    async def _walk(self, step: Callable[..., Result], pause: float = 0.0) -> None:
        """Run a step that takes `above` over the whole table, a batch at a time."""
        above: int | None = await self._insist(partial(step, 0))
        while above is not None:
            await trio.sleep(pause)
            above = await self._insist(partial(step, above))

    async def _insist(self, step: Step) -> Any:
        """`call`, again and again until the store works."""
        while True:
            try:
                return await self.call(step)
            except RpcError:
                await trio.sleep(PAUSE_LONGEST)

    async def adopt(self) -> None:
        """Take over the jobs of cores that are no more."""
        above: int | None = 0
        while above is not None:
            adopted: Adopted = await self._insist(partial(orphans.recover, RESTART_GRACE, above))
            above = adopted.above
            until = trio.current_time() + SILENT_GRACE
            for orphan in adopted.orphans:
                self._orphans[orphan.job.id, orphan.job.epoch] = orphan, until

    async def look_at_all(self) -> None:
        """At all jobs that have not started, for the news that another core had not passed on: a millisecond each."""
        await self._walk(SWEEP)

    async def _ask_about_orphans(self) -> None:
        while True:
            silent: set[str] = set()  # in this round: one question is enough to know
            for orphan, until in list(self._orphans.values()):
                if orphan.server in silent:
                    presence = Presence.SILENT
                else:
                    presence = await self._gearman.presence(orphan.job, orphan.server)
                if presence is Presence.SILENT:
                    silent.add(orphan.server)
                    if trio.current_time() < until:
                        continue
                self._hear_of(orphan, presence)
            await trio.sleep(ORPHAN_SWEEP)

    def _hear_of(self, orphan: Orphan, presence: Presence) -> None:
        """What the server said, or that it is gone."""
        id, epoch = orphan.job.id, orphan.job.epoch

        def seen(is_open: bool | RpcError) -> None:
            if is_open is False:
                self._orphans.pop((id, epoch), None)

        if presence is Presence.RUNNING:
            self.ask(partial(orphans.see, id, epoch), seen, is_kept=True)
        else:
            del self._orphans[id, epoch]
            self.tell(partial(orphans.vanish, id, epoch, RESTART_GRACE))

    async def _sweep(self) -> None:
        last_since = -inf
        last_stranded = trio.current_time()
        while True:
            is_returning = trio.current_time() < self._since + life.RETURN_GRACE + READY_SWEEP
            if is_returning or self._since != last_since:
                last_since = self._since
                await self._walk(partial(life.sweep, (Status.READY,)))
            now = trio.current_time()
            if now >= last_stranded + STRANDED_SWEEP:
                last_stranded = now
                await self._look_for_stranded()
            await trio.sleep(READY_SWEEP)

    async def _sweep_all(self) -> None:
        """From the start on: an earlier process may have stored an end, and not looked at who waited for it."""
        while True:
            await self._walk(SWEEP, FULL_PAUSE)
            await trio.sleep(FULL_SWEEP)

    async def _look_for_stranded(self) -> None:
        """Running jobs without a worker: tell those that Gearman only queues."""
        above: int | None = 0
        while above is not None:
            try:
                found: life.Stranded = await self.call(partial(life.stranded, above))
            except RpcError:
                return
            above = found.above
            for job in found.without_worker:
                if self._has_news(job):
                    continue
                presence = await self._gearman.presence(job, None)
                if presence is Presence.GONE:
                    self.tell(partial(orphans.desert, job.id, job.epoch))
                elif presence in (Presence.QUEUED, Presence.UNKNOWN):
                    self.ask(partial(orphans.strand, job.id, job.epoch), partial(self._drop, job), is_kept=True)
            for job in found.without_clock:
                if await self._gearman.presence(job, None) is Presence.RUNNING:
                    self.tell(partial(life.begin, job.id, job.epoch))

    def _drop(self, job: Job, is_moved: bool | RpcError) -> None:
        if is_moved is True:
            self._nursery.start_soon(self._gearman.drop, job)

    async def _catch_up(self) -> None:
        """A transaction whose end was not heard of may be stored all the same: do what should have followed it."""
        await self._look_for_unsent()
        while True:
            if await self._answer_ended():
                break
            await trio.sleep(PAUSE_LONGEST)
        await self.look_at_all()

    async def _look_for_unsent(self) -> None:
        """Jobs claimed by a transaction whose end was not heard of: it was stored after all, and nothing was sent."""
        above: int | None = 0
        while above is not None:
            jobs, above = await self._insist(partial(life.claimed, above))
            for job in jobs:
                if not (self._gearman.has_sent(job) or self._has_news(job)):
                    self.news(job.id, job.epoch, Unsent())

    async def _mind_watchers(self) -> None:
        while True:
            began = trio.current_time()
            await self._forget_lost_watchers()
            await trio.sleep(max(WATCHER_SWEEP, (trio.current_time() - began) / WATCHER_SHARE))

    async def _mind_others(self) -> None:
        """Answer the watchers of jobs that ended through other cores."""
        while True:
            await trio.sleep(OTHERS_SWEEP)
            await self._answer_ended()

    async def _answer_ended(self) -> bool:
        """Answer the watchers of jobs that ended without a word to this core; False if the store cannot be asked."""
        ended: Sequence[int] = ()
        if self._watchers:
            try:
                ended = await self.call(partial(cores.ended, tuple(self._watchers)))
            except RpcError:
                return False
        for id in ended:
            for watcher in self._watchers.pop(id, ()):
                self.watch(id, False, watcher, is_kept=True)
        return True

    async def _forget_lost_watchers(self) -> None:
        """End the calls that nobody waits for any more: Gearman keeps them as running jobs. One question for all."""
        if not self._watchers:
            return
        abandoned = await self._gearman.abandoned()
        for id, watchers in list(self._watchers.items()):
            gone: list[Watcher] = []
            there: list[Watcher] = []
            for watcher in watchers:
                (gone if watcher.handle in abandoned or watcher.is_lost() else there).append(watcher)
            if there:
                self._watchers[id] = there
            else:
                del self._watchers[id]
            for watcher in gone:
                watcher.reply(RpcError(Code.TIMEOUT, "nobody waits for this any more"))

    async def _prune_for_ever(self) -> None:
        while True:
            await trio.sleep(PRUNE_SWEEP)
            await self.prune()

    async def prune(self) -> int:
        """Delete the jobs that the retention no longer keeps; how many there were."""
        pruned = 0
        try:
            below = await self.call(partial(pruning.newest, self._retention))
            while below:
                count, below = await self.call(partial(pruning.prune, self._retention, below))
                pruned += count
                await trio.sleep(PRUNE_PAUSE)
        except RpcError as error:
            log.warning("pruning stopped until its next time", error=str(error))
        if pruned:
            log.info("pruned old jobs", jobs=pruned)
        return pruned
