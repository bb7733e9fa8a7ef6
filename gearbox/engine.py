"""The core's engine: runs steps in batches, and performs what they ask for once it is durable. It decides nothing.

Work comes in from three sides, all of them plain calls without waiting: questions that somebody wants an answer to
(`ask`, `watch`), news that must not be lost (`tell`), and ids of jobs to look at again. One loop takes all that has
gathered, asks Gearman once who can work, runs the steps in the store's thread as one transaction, and then answers and
acts. While a batch commits, the next one gathers: that is the group commit, and why no job needs a task of its own.

Timers live in rows. The loop sleeps until the store's earliest `next_at`, so a restart loses none.

When the store fails, news and ids are kept and tried again with a pause that grows; it works again when it has taken
them, and something more that is written to find that out. Questions that come meanwhile are tried within a tenth of a
second, in batches of their own: those that only read may be answered, all others get an error. A store that does not
answer counts as one that fails, whose batch may still come to something. When its disk is broken
(`StoreBroken`) or its tables are of a newer program (`StoreOutdated`), nobody is answered, and the loop raises: the
process has to end. When Gearman cannot be reached, ready jobs wait in their rows.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from math import inf
from time import perf_counter
from typing import Any

import attrs
import structlog
import trio

from abraxas_py.hang import HangWatch
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
from gearbox.gearman import Failed, Gearman, Lost
from gearbox.job import TERMINAL, Action, Ended, Event, Fire, Job, Recheck, Release, Start, Status, Tell
from gearbox.steps import controls, cores, life, orphans, recurring
from gearbox.store import Batch, Moment, Result, Step, Store, Tx
from gearbox.vitals import Vitals

__all__ = ["LOST_GRACE", "PAUSE_LONGEST", "RESTART_GRACE", "Engine", "Hop", "Reply", "Watcher"]

log = structlog.get_logger("gearbox:core")

BATCH_LIMIT = 512  # steps in one transaction: enough to share an fsync, short enough not to be waited for
LOOKS_LEAST = 128  # jobs that are looked at in each, and timers, however many calls there are
BUSY_TRIES = 5
PAUSE_FIRST, PAUSE_LONGEST = 0.1, 2.0  # s between tries while the store fails
PAUSE_FAULT = 1.0  # s without timers after a step that failed by a fault of ours
SLEEP_LONGEST = 30.0  # s; the machine's clock may have been set meanwhile
RESTART_GRACE = 60.0  # s in which workers may come back with results after the restart of a server or of a core
LOST_GRACE = 15.0  # s the same, after a worker's lost connection: its longest pause between tries is 11.5 s
UNHURRIED = 0.5  # s in which what nobody waits for mostly becomes needless; no other core finds a row locked for it

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


class Engine:
    """What `Core` runs on. `fenced` is set when other cores have declared it dead: then it has stopped for good."""

    def __init__(
        self,
        store: Store,
        *,
        instance: str,
        hop: Hop | None = None,
        name: str = "",
    ) -> None:
        self._store = store
        self._gearman: Gearman  # both given when it runs
        self._nursery: trio.Nursery
        self.instance = instance
        self.fenced = trio.Event()
        self._guard: Step | None = partial(cores.join, name) if store.is_shared else None  # first in every batch
        self._work: deque[_Work] = deque()
        self._asked: deque[_Work] = deque()  # questions that came while the store fails
        self._pause = PAUSE_FIRST
        self._try_at = -inf  # of trio's clock: while the store fails, all else is tried from then on
        self._is_proving = False  # next, since what was kept could be stored
        self._hang_watch = HangWatch()
        self._uncertain: list[_Work] = []  # a batch that was stored or not: `Store.settle` will tell
        self._late: dict[tuple[int, int], _Work] = {}  # by attempt, what nobody waits for and the data makes needless
        self._late_at = inf  # of trio's clock: its time has come from then on
        self._at_work: set[int] = set()  # jobs sent to Gearman, of which nothing was heard or told since
        self._dirty: dict[int, None] = {}  # ids to look at, in order, each once
        self._watchers: defaultdict[int, list[Watcher]] = defaultdict(list)
        self.vitals = Vitals()
        self._wake = trio.Event()
        self._since = trio.current_time()  # when Gearman was last reached anew
        self._next_at = -inf  # of the store; unknown until the first batch
        self.is_failing = False  # the store has refused a batch, and not taken what is written for a proof since
        self._is_stopping = False
        self._is_broken = False  # the store is, and nothing more may be promised
        self._not_due_before = inf  # of trio's clock: a row that cannot be handled must not become a hot loop
        self._hop: Hop = hop or partial(trio.to_thread.run_sync, limiter=trio.CapacityLimiter(1))

    # --- coming in ---

    def ask(self, step: Step, reply: Reply, *, is_kept: bool = False) -> None:
        """Run the step; `reply` gets its value once it is durable, or an RpcError.

        While the store fails that is an error at once, or, for what `is_kept`, the answer once it works again.
        """
        work = self._asked if self.is_failing and not is_kept else self._work
        work.append(_Work(step, reply, is_kept))
        self._wake.set()

    def tell(self, step: Step) -> None:
        """Run the step, however long the store takes to be well again."""
        self._work.append(_Work(step))
        self._wake.set()

    def _tell_late(self, id: int, epoch: int, step: Step) -> None:
        """`tell`, unless the job has ended by then."""
        if not self._late:
            self._late_at = trio.current_time() + UNHURRIED
            self._wake.set()
        self._late[id, epoch] = _Work(step)

    def _has_news(self, job: Job) -> bool:
        """Whether Gearman has said that the job's current attempt ended, and that is not stored yet."""
        return (job.id, job.epoch) in self._late

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
            try:
                answer = await question(self._gearman)
            except Exception as error:
                log.error("a question to Gearman failed", exc_info=error)
                answer = _internal(error)
            _reply(reply, answer)

        self._nursery.start_soon(ask)

    @property
    def watchers(self) -> int:
        """How many calls wait for a job to end."""
        return sum(map(len, self._watchers.values()))

    def watch(self, id: int, wait_for_id: bool, watcher: Watcher, *, is_kept: bool = False) -> None:
        """Its reply gets the ended job that answers for `id`, now or when it ends; RpcError 404 if there is none.

        While the store fails that is an error at once, but for a watcher that `is_kept`: it has waited for long.
        """
        if id in self._at_work:  # the store could say no more, and whoever works for the job would wait for that
            self._watchers[id].append(watcher)
            return

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
        self._at_work.discard(id)
        if isinstance(event, Lost):
            grace = RESTART_GRACE if event.with_server else LOST_GRACE
            self.tell(partial(orphans.vanish, id, epoch, grace))
        elif isinstance(event, Failed):
            self.tell(partial(orphans.fail, id, epoch, LOST_GRACE))
        elif event == Ended():  # the worker's data follows, or has come
            self._tell_late(id, epoch, partial(life.settle, id, epoch, event))
        else:
            self.tell(partial(life.settle, id, epoch, event))

    def gearman_is_back(self, server: str) -> None:
        """A server was reached anew: workers will follow, and what waited for it may go on."""
        log.debug("connected", server=server)
        self._since = trio.current_time()
        self._wake.set()

    # --- the loop ---

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
        while True:
            if not (self._asked if self._is_resting else self._work or self._dirty or self.is_failing):
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
                self._failed(error)
                self._uncertain = [self._answered(work, error) for work in batch]
                continue
            except StoreFenced as error:
                log.error("this core stops", error=str(error), core=self.instance)
                self.fenced.set()
                await trio.sleep_forever()
            except StoreError as error:
                self._failed(error)
                self._put_back(batch, error)
                await trio.sleep(PAUSE_FIRST)  # many may ask, and ask again: they are tried together
                continue
            except Exception as error:  # a fault of ours that no single step could be blamed for
                for work in batch:
                    self._finish(work, error)
                continue
            if done.set_by:
                log.warning("the clock was set: dates go by it, pauses and leases do not", by=round(done.set_by, 3))
            self._next_at = done.next_at
            for work, result in zip(batch, done.outcomes, strict=True):
                self._finish(work, result)
            self._perform(done.actions)

    async def _catch_up(self) -> None:
        """What is to be looked for when the store works again; `Core` knows."""

    async def _sleep(self) -> None:
        """Until there is work, or the earliest timer of the store has come."""
        self._wake = trio.Event()
        if self.is_failing:
            pause = self._try_at - trio.current_time()
        else:
            pause = max(self._next_at - self._store.now(), self._not_due_before - trio.current_time())
            pause = min(pause, self._late_at - trio.current_time())
        with trio.move_on_after(max(min(pause, SLEEP_LONGEST), 0.0)):
            await self._wake.wait()

    def _take(self) -> list[_Work]:
        if self._is_resting:
            return [self._asked.popleft() for _ in range(min(len(self._asked), BATCH_LIMIT))]
        batch = [] if self._is_proving else self._gather()
        if self.is_failing:
            self._is_proving = bool(batch)
            return batch or [_Work(cores.prove, self._proved, is_kept=False)]
        return batch

    def _gather(self) -> list[_Work]:
        if self._late_at <= trio.current_time():
            self._work.extendleft(reversed(self._late.values()))
            self._late.clear()
            self._late_at = inf
        batch = [self._work.popleft() for _ in range(min(len(self._work), BATCH_LIMIT))]
        for _ in range(min(len(self._dirty), max(BATCH_LIMIT - len(batch), LOOKS_LEAST))):
            id = next(iter(self._dirty))
            del self._dirty[id]
            batch.append(_Work(partial(life.look, id)))
        if self._next_at <= self._store.now() and self._not_due_before <= trio.current_time():
            batch.append(_Work(life.take_due if self._store.is_shared else life.due))
        return batch

    async def _run(self, batch: Sequence[_Work]) -> Batch:
        workers = await self._gearman.workers()
        now = self._store.now()
        since = now - (trio.current_time() - self._since)
        moment = Moment(now, self.instance, since, workers, random.random(), self._gearman.servers)
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
                done: Batch = await self._in_store(partial(self._store.run_batch, steps, moment))
                self.vitals.committed(perf_counter() - began, len(steps))
                return done
            except StoreBusy:
                if not tries_left:
                    raise
                await trio.sleep(random.uniform(0.01, 0.1))
        raise AssertionError("unreachable")

    async def _in_store(self, call: Callable[[], Any]) -> Any:
        with self._hang_watch:
            return await self._hop(call)

    async def _mind_store(self) -> None:
        await self._hang_watch.keep(lambda: self.is_failing, self._refuse_waiting)

    def _refuse_waiting(self, seconds: float) -> None:
        """The store has not ended a batch for so long: answer the questions that wait behind it."""
        error = StoreError(f"no answer from the database for {seconds:.0f} s")
        self._begin_to_fail(error)
        self._asked, asked = deque(), self._asked
        self._work, work = deque(), self._work
        self._put_back([*work, *asked], error)

    async def _settle(self) -> None:
        """Learn what became of the uncertain batch, and act as if that had been known at once."""
        done: Batch | None = await self._in_store(self._store.settle)
        batch, self._uncertain = self._uncertain, []
        if done is None:
            self._work.extendleft(reversed([work for work in batch if work.is_kept]))
            return
        if self._guard is not None:  # which was the first step of the batch, so this core has joined
            self._guard = cores.stand
        for work, result in zip(batch, done.outcomes[-len(batch) :], strict=True):  # behind the guard's
            self._finish(work, result)
        self._perform(done.actions)

    def _put_back(self, batch: Iterable[_Work], error: StoreError) -> None:
        """The batch was not stored: say so to those who asked, keep the rest."""
        kept = [work for work in (self._answered(work, error) for work in batch) if work.is_kept]
        self._work.extendleft(reversed(kept))

    def _answered(self, work: _Work, error: StoreError) -> _Work:
        """The same, when those who do not want to wait for the store to be well again have been told."""
        if work.is_kept or work.reply is None:
            return work
        code = Code.STORAGE_FULL if isinstance(error, StoreFull) else Code.UNAVAILABLE
        work.reply(RpcError(code, str(error)))
        return _Work(work.step, is_kept=False)

    @property
    def _is_resting(self) -> bool:
        """Whether only questions are to be tried now."""
        return self.is_failing and trio.current_time() < self._try_at

    def _failed(self, error: StoreError) -> None:
        """A batch was not stored."""
        self._at_work.clear()  # what was stored unheard is told to nobody who asks from now on
        self._is_proving = False
        self._begin_to_fail(error)
        if not self._is_resting:
            self._try_at = trio.current_time() + self._pause * random.uniform(0.8, 1.2)
            self._pause = min(self._pause * 2, PAUSE_LONGEST)

    def _begin_to_fail(self, error: StoreError) -> None:
        if not self.is_failing:
            log.error("the database fails; jobs go on when it works again", error=str(error))
            self.is_failing = True
            self._pause = PAUSE_FIRST

    def _proved(self, error: RpcError | None) -> None:
        """What `cores.prove` came to: whether the store takes what is written again."""
        if error is not None:
            return
        log.warning("the database works again")
        self.is_failing = False
        self._work.extend(self._asked)
        self._asked.clear()
        self._nursery.start_soon(self._catch_up)

    # --- going out ---

    def _finish(self, work: _Work, result: Result | Exception) -> None:
        if isinstance(result, Result):
            if work.reply is not None:
                _reply(work.reply, result.value)
            self._perform(result.actions)
            return
        if not isinstance(result, RpcError):
            log.error("a step failed", step=repr(work.step), exc_info=result)
            result = _internal(result)
        elif work.reply is None:
            log.error("a step was refused", step=repr(work.step), error=str(result))
        if work.reply is None:
            self._not_due_before = trio.current_time() + PAUSE_FAULT
        else:
            _reply(work.reply, result)

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Start(job, inputs, server):
                    self._at_work.add(job.id)
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
        self._late.pop((job.id, job.epoch), None)
        self._at_work.discard(job.id)
        for watcher in self._watchers.pop(job.id, ()):
            if job.status is Status.DUPLICATE:
                assert job.see_other is not None
                self.watch(job.see_other, False, watcher, is_kept=True)
            else:
                _reply(watcher.reply, job)


def _reply(reply: Reply, value: Any) -> None:
    """Give an answer; one that cannot be made is a fault of ours that costs nobody else anything."""
    try:
        reply(value)
    except Exception as error:
        log.error("an answer failed", exc_info=error)
        reply(_internal(error))


def _internal(fault: Exception) -> RpcError:
    return RpcError(Code.INTERNAL, f"internal error: {type(fault).__name__}")


def _nothing(tx: Tx, moment: Moment) -> Result:
    """The step whose turn comes when all before it are stored."""
    return Result()
