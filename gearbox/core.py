"""The core: runs steps in batches, and performs what they ask for once it is durable. It decides nothing.

Work comes in from three sides, all of them plain calls without waiting: questions that somebody wants an answer to
(`ask`, `watch`), news that must not be lost (`tell`), and ids of jobs to look at again. One loop takes all that has
gathered, asks Gearman once who can work, runs the steps in the store's thread as one transaction, and then answers and
acts. While a batch commits, the next one gathers: that is the group commit, and why no job needs a task of its own.

Timers live in rows. The loop sleeps until the store's earliest `next_at`, so a restart loses none.

When the store fails, questions are answered with an error at once; news and ids are kept and tried again with a pause
that grows. When its disk is broken (`StoreBroken`) or its tables are of a newer program (`StoreOutdated`), nobody is
answered, and `run` raises: the process has to end. When Gearman cannot be reached, ready jobs wait in their rows.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from math import inf
from time import perf_counter, time
from typing import Any

import attrs
import structlog
import trio

from gearbox.errors import (
    Code,
    RpcError,
    StoreBroken,
    StoreBusy,
    StoreError,
    StoreFenced,
    StoreFull,
    StoreOutdated,
    StoreUncertain,
)
from gearbox.gearman import Failed, Gearman, Lost, Presence
from gearbox.job import TERMINAL, Action, Ended, Event, Fire, Job, Recheck, Release, Start, Status, Tell, Unsent
from gearbox.rules.jumps import Jumps
from gearbox.steps import controls, cores, life, orphans, pruning, recurring
from gearbox.steps.orphans import Adopted, Orphan
from gearbox.steps.pruning import Retention
from gearbox.store import Batch, Moment, Result, Step, Store, Tx
from gearbox.vitals import Vitals

__all__ = ["Core", "Reply", "Watcher"]

log = structlog.get_logger("gearbox:core")

BATCH_LIMIT = 256  # steps in one transaction: enough to share an fsync, short enough not to be waited for
BUSY_TRIES = 5
PAUSE_FIRST, PAUSE_LONGEST = 0.1, 5.0  # s between tries while the store fails
PAUSE_FAULT = 1.0  # s without timers after a step that failed by a fault of ours
SLEEP_LONGEST = 30.0  # s; the machine's clock may have been set meanwhile
RESTART_GRACE = 60.0  # s in which workers may come back with results after the restart of a server or of a core
LOST_GRACE = 15.0  # s the same, after a worker's lost connection: its longest pause between tries is 11.5 s
ORPHAN_SWEEP = 2.0  # s between questions about attempts that no connection of ours watches, while there are any
SILENT_GRACE = 15.0  # s after which the server of such an attempt counts as gone, if it cannot be reached
READY_SWEEP = 1.0  # s between looks at ready jobs while workers are coming back, or are given time to stop
FULL_SWEEP = 60.0  # s between looks at everything that waits; finds nothing unless something went wrong
STRANDED_SWEEP = 10.0  # s between looks for running jobs whose last worker has gone
WATCHER_SWEEP = 0.8  # s between looks for watchers that have gone, so that none stays longer than a second
WATCHER_SHARE = 0.02  # of the time, at most, goes into that: with tens of thousands of watchers the looks get rarer
OTHERS_SWEEP = 0.8  # s between looks for watched jobs that other cores have ended
UNHURRIED = 0.02  # s in which what nobody waits for may find other work to be stored with
UNHURRIED_SHARED = 0.5  # s in which another core makes it needless, and must not find the row locked for it
PRUNE_SWEEP = 3600.0  # s between deletions of old jobs
PRUNE_PAUSE = 0.05  # s between their transactions: others come first

Reply = Callable[[Any], None]  # a step's value, or an RpcError
Hop = Callable[[Callable[[], Any]], Awaitable[Any]]  # runs a call of the store where it blocks nobody


@attrs.frozen
class Watcher:
    """Who waits for a job: by which Gearman job, and whether the connection that brought it is gone."""

    reply: Reply
    handle: bytes = b""
    is_lost: Callable[[], bool] = bool  # which gives False


@attrs.define
class _Work:
    """One step, and who wants its value. What is `kept` is tried until the store takes it."""

    step: Step
    reply: Reply | None = None
    is_kept: bool = True


class Core:
    """The scheduler on `store` and `gearman`; `instance` is its id in owner columns and the audit.

    `hop` runs the store's batches where they hold up nobody: in a thread, unless somebody knows better.

    `name` tells people where it runs, if the store is shared with other cores. `fenced` is set when those have declared
    this one dead: then it has stopped for good.
    """

    def __init__(
        self,
        store: Store,
        *,
        instance: str,
        clock: Callable[[], float] = time,
        retention: Retention | None = None,
        hop: Hop | None = None,
        name: str = "",
    ) -> None:
        self._store = store
        self._gearman: Gearman  # given to `run`
        self._nursery: trio.Nursery  # of `run`
        self._moment_at = -inf  # of the last batch
        self.instance = instance
        self.fenced = trio.Event()
        self._guard: Step | None = partial(cores.join, name) if store.is_shared else None  # first in every batch
        self._clock = clock
        self._work: deque[_Work] = deque()
        self._uncertain: list[_Work] = []  # a batch that was stored or not: `Store.settle` will tell
        self._late: dict[int, _Work] = {}  # by job, what nobody waits for: it goes along with other work
        self._late_at = inf  # of trio's clock: or alone, from then on
        self._dirty: dict[int, None] = {}  # ids to look at, in order, each once
        self._orphans: dict[tuple[int, int], tuple[Orphan, float]] = {}  # by (job, epoch), with when each is given up
        self._watchers: defaultdict[int, list[Watcher]] = defaultdict(list)
        self._retention = retention or Retention()
        self.vitals = Vitals()
        self._wake = trio.Event()
        self._since = clock()
        self._jumps = Jumps()  # of that clock
        self._next_at = -inf  # of the store; unknown until the first batch
        self._failing_since: float | None = None  # the moment of the first batch that was not stored
        self._is_stopping = False
        self._is_broken = False  # the store is, and nothing more may be promised
        self._not_due_before = inf  # of trio's clock: a row that cannot be handled must not become a hot loop
        self._hop: Hop = hop or partial(trio.to_thread.run_sync, limiter=trio.CapacityLimiter(1))

    # --- coming in ---

    def ask(self, step: Step, reply: Reply, *, is_kept: bool = False) -> None:
        """Run the step; `reply` gets its value once it is durable, or an RpcError.

        While the store fails that is an error at once, or, for what `is_kept`, the answer once it works again.
        """
        self._work.append(_Work(step, reply, is_kept))
        self._wake.set()

    def tell(self, step: Step) -> None:
        """Run the step, however long the store takes to be well again."""
        self._work.append(_Work(step))
        self._wake.set()

    def _tell_along(self, id: int, step: Step) -> None:
        """`tell`, with the next other work, which is expected at once; of several cores it mostly is another one's."""
        if not self._late:
            self._late_at = trio.current_time() + (UNHURRIED_SHARED if self._store.is_shared else UNHURRIED)
            self._wake.set()
        self._late[id] = _Work(step)

    async def call(self, step: Step) -> Any:
        """`ask` for a caller that waits. Raises the RpcError."""
        done = trio.Event()
        answers: list[Any] = []

        def reply(value: Any) -> None:
            answers.append(value)
            done.set()

        self.ask(step, reply)
        await done.wait()
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    def ask_gearman(self, question: Callable[[Gearman], Awaitable[Any]], reply: Reply) -> None:
        """Ask Gearman something beside the loop, which does not wait for the answer."""

        async def ask() -> None:
            reply(await question(self._gearman))

        self._nursery.start_soon(ask)

    @property
    def watchers(self) -> int:
        """How many calls wait for a job to end."""
        return sum(map(len, self._watchers.values()))

    @property
    def is_failing(self) -> bool:
        """Whether the store did not take the last batch."""
        return self._failing_since is not None

    def watch(self, id: int, wait_for_id: bool, watcher: Watcher, *, is_kept: bool = False) -> None:
        """Its reply gets the ended job that answers for `id`, now or when it ends; RpcError 404 if there is none.

        While the store fails that is an error at once, but for a watcher that `is_kept`: it has waited for long.
        """

        def found(job: Job | RpcError | None) -> None:
            if isinstance(job, RpcError):
                watcher.reply(job)
            elif job is None and not wait_for_id:
                watcher.reply(RpcError(Code.NOT_FOUND, "no such job"))
            elif job is not None and job.status in TERMINAL:
                watcher.reply(job)
            else:
                self._watchers[id if job is None else job.id].append(watcher)

        self.ask(partial(life.watch, id), found, is_kept=is_kept)

    def news(self, id: int, epoch: int, event: Event | Lost | Failed) -> None:
        """What Gearman says of an attempt."""
        if self._is_stopping:  # we are leaving, not the attempt; the next start finds its row
            return
        if isinstance(event, Lost):
            grace = RESTART_GRACE if event.with_server else LOST_GRACE
            self.tell(partial(orphans.vanish, id, epoch, grace))
        elif isinstance(event, Failed):
            self.tell(partial(orphans.fail, id, epoch, LOST_GRACE))
        elif event == Ended():  # the worker's data follows, or has come
            self._tell_along(id, partial(life.settle, id, epoch, event))
        else:
            self.tell(partial(life.settle, id, epoch, event))

    def gearman_is_back(self, server: str) -> None:
        """A server was reached anew: workers will follow, and what waited for it may go on."""
        log.debug("connected", server=server)
        self._since = self._clock()
        self._wake.set()

    # --- the loop ---

    async def run(self, gearman: Gearman, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover what an earlier process left, then work on `gearman` until cancelled."""
        self._gearman = gearman
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._loop)
            await self.take_over()
            self._not_due_before = -inf
            self._wake.set()
            task_status.started()
            nursery.start_soon(self._sweep)
            nursery.start_soon(self._ask_about_orphans)
            nursery.start_soon(self._mind_watchers)
            if self._store.is_shared:
                nursery.start_soon(self._mind_others)
            nursery.start_soon(self._prune_for_ever)

    async def drain(self) -> None:
        """Before the end: store what has come in, and take no more news from Gearman.

        It waits for a store that fails to be well again, and it is the caller's to give up.
        """
        self._is_stopping = True
        if self._is_broken:
            return
        self._late_at = -inf
        stored = trio.Event()
        self.ask(cores.leave if self._store.is_shared else _nothing, lambda _: stored.set(), is_kept=True)
        await stored.wait()

    async def _loop(self) -> None:
        pause = PAUSE_FIRST
        while True:
            if not self._work and not self._dirty:
                await self._sleep()
            batch = self._take()
            if not batch:
                continue
            try:
                if self._uncertain:
                    await self._settle()
                done = await self._run(batch)
            except (StoreBroken, StoreOutdated):
                self._is_stopping = self._is_broken = True
                raise
            except StoreUncertain as error:
                self._uncertain = [self._answered(work, error) for work in batch]
                continue
            except StoreFenced as error:
                log.error("this core stops", error=str(error), core=self.instance)
                self.fenced.set()
                await trio.sleep_forever()
            except StoreError as error:
                self._put_back(batch, error)
                await trio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, PAUSE_LONGEST)
                continue
            pause = PAUSE_FIRST
            if self._failing_since is not None:
                log.warning("the database works again")
                self._nursery.start_soon(self._catch_up, self._failing_since, self._clock())
                self._failing_since = None
            self._next_at = done.next_at
            for work, result in zip(batch, done.outcomes, strict=True):
                self._finish(work, result)
            self._perform(done.actions)

    async def _sleep(self) -> None:
        """Until there is work, or the earliest timer of the store has come."""
        self._wake = trio.Event()
        pause = max(self._next_at - self._clock(), self._not_due_before - trio.current_time())
        with trio.move_on_after(max(min(pause, self._late_at - trio.current_time(), SLEEP_LONGEST), 0.0)):
            await self._wake.wait()

    def _take(self) -> list[_Work]:
        if self._late_at <= trio.current_time() or (not self._store.is_shared and (self._work or self._dirty)):
            self._work.extendleft(reversed(self._late.values()))
            self._late.clear()
            self._late_at = inf
        batch = [self._work.popleft() for _ in range(min(len(self._work), BATCH_LIMIT))]
        while self._dirty and len(batch) < BATCH_LIMIT:
            id = next(iter(self._dirty))
            del self._dirty[id]
            batch.append(_Work(partial(life.look, id)))
        is_due = self._next_at <= self._clock() and self._not_due_before <= trio.current_time()
        if is_due and len(batch) < BATCH_LIMIT:
            batch.append(_Work(life.take_due if self._store.is_shared else life.due))
        return batch

    async def _run(self, batch: Sequence[_Work]) -> Batch:
        workers = await self._gearman.workers()
        now = self._moment_at = self._clock()
        jumped = self._jumps.look(now, trio.current_time())
        moment = Moment(now, self.instance, self._since, workers, random.random(), self._gearman.servers, jumped)
        steps = [work.step for work in batch]
        if self._guard is None:
            return await self._commit(steps, moment)
        done = await self._commit([self._guard, *steps], moment)
        guarded, *outcomes = done.outcomes
        if isinstance(guarded, Exception):
            raise guarded
        self._guard = cores.stand
        return attrs.evolve(done, outcomes=outcomes)

    async def _commit(self, steps: Sequence[Step], moment: Moment) -> Batch:
        for tries_left in reversed(range(BUSY_TRIES)):
            began = perf_counter()
            try:
                done: Batch = await self._hop(partial(self._store.run_batch, steps, moment))
                self.vitals.committed(perf_counter() - began, len(steps))
                return done
            except StoreBusy:
                if not tries_left:
                    raise
                await trio.sleep(random.uniform(0.01, 0.1))
        raise AssertionError("unreachable")

    async def _settle(self) -> None:
        """Learn what became of the uncertain batch, and act as if that had been known at once."""
        done: Batch | None = await self._hop(self._store.settle)
        batch, self._uncertain = self._uncertain, []
        if done is None:
            self._work.extendleft(reversed([work for work in batch if work.is_kept]))
            return
        for work, result in zip(batch, done.outcomes[-len(batch) :], strict=True):  # behind the guard's
            self._finish(work, result)
        self._perform(done.actions)

    def _put_back(self, batch: Iterable[_Work], error: StoreError) -> None:
        """The batch was not stored: say so to those who asked, keep the rest."""
        kept = [work for work in (self._answered(work, error) for work in batch) if work.is_kept]
        self._work.extendleft(reversed(kept))

    def _answered(self, work: _Work, error: StoreError) -> _Work:
        """The same, when those who do not want to wait for the store to be well again have been told."""
        if self._failing_since is None:
            self._failing_since = self._moment_at
            log.error("the database fails; jobs go on when it works again", error=str(error))
        if work.is_kept or work.reply is None:
            return work
        code = Code.STORAGE_FULL if isinstance(error, StoreFull) else Code.UNAVAILABLE
        work.reply(RpcError(code, str(error)))
        return _Work(work.step, is_kept=False)

    # --- going out ---

    def _finish(self, work: _Work, result: Result | Exception) -> None:
        if isinstance(result, Result):
            if work.reply is not None:
                work.reply(result.value)
            self._perform(result.actions)
        elif isinstance(result, RpcError):
            if work.reply is not None:
                work.reply(result)
        else:
            log.error("a step failed", step=repr(work.step), exc_info=result)
            self._not_due_before = trio.current_time() + PAUSE_FAULT
            if work.reply is not None:
                work.reply(RpcError(Code.INTERNAL, f"internal error: {type(result).__name__}"))

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Start(job, inputs, server):
                    self._gearman.start(job, inputs, server)
                case Recheck(ids):
                    self._dirty.update(dict.fromkeys(ids))
                case Release(method, above):
                    self.tell(partial(controls.release, method, above))
                case Fire(name):
                    self.tell(partial(recurring.fire, name))
                case Tell(job):
                    self._answer(job)

    def _answer(self, job: Job) -> None:
        self._late.pop(job.id, None)
        for watcher in self._watchers.pop(job.id, ()):
            if job.status is Status.DUPLICATE:
                assert job.see_other is not None
                self.watch(job.see_other, False, watcher, is_kept=True)
            else:
                watcher.reply(job)

    # --- looking for what was missed ---

    async def _walk(self, step: Callable[..., Result]) -> None:
        """Run a step that takes `above` over the whole table, a batch at a time."""
        above: int | None = 0
        while above is not None:
            above = await self._insist(partial(step, above))

    async def _insist(self, step: Step) -> Any:
        """`call`, again and again until the store works."""
        while True:
            try:
                return await self.call(step)
            except RpcError:
                await trio.sleep(PAUSE_LONGEST)

    async def take_over(self) -> None:
        """What cores that are no more left: their jobs, and the news that they had not passed on."""
        above: int | None = 0
        while above is not None:
            adopted: Adopted = await self._insist(partial(orphans.recover, RESTART_GRACE, above))
            above = adopted.above
            until = trio.current_time() + SILENT_GRACE
            for orphan in adopted.orphans:
                self._orphans[orphan.job.id, orphan.job.epoch] = orphan, until
        if self._store.is_shared:
            await self._walk(partial(life.sweep, (Status.READY, Status.WAITING)))

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
        last_full = last_stranded = trio.current_time()
        last_since = -inf
        while True:
            is_returning = self._clock() < self._since + life.RETURN_GRACE + READY_SWEEP
            if is_returning or self._jumps.is_fresh(trio.current_time() - 2 * READY_SWEEP) or self._since != last_since:
                last_since = self._since
                await self._walk(partial(life.sweep, (Status.READY,)))
            now = trio.current_time()
            if now >= last_full + FULL_SWEEP:
                last_full = now
                await self._walk(partial(life.sweep, (Status.READY, Status.WAITING)))
            if now >= last_stranded + STRANDED_SWEEP:
                last_stranded = now
                await self._look_for_stranded()
            await trio.sleep(READY_SWEEP)

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

    async def _catch_up(self, since: float, until: float) -> None:
        """A transaction whose end was not heard of may be stored all the same: do what should have followed it."""
        await self._look_for_unsent(since, until)
        while True:
            if await self._answer_ended():
                break
            await trio.sleep(PAUSE_LONGEST)
        await self._walk(partial(life.sweep, (Status.READY, Status.WAITING)))

    async def _look_for_unsent(self, since: float, until: float) -> None:
        """Jobs claimed by a transaction whose end was not heard of: it was stored after all, and nothing was sent."""
        above: int | None = 0
        while above is not None:
            jobs, above = await self._insist(partial(life.claimed, since, until, above))
            for job in jobs:
                if not self._gearman.has_sent(job):
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


def _nothing(tx: Tx, moment: Moment) -> Result:
    """The step whose turn comes when all before it are stored."""
    return Result()
