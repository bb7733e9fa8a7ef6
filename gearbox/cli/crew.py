"""All that works in one process: a Gearman worker for each method, from the first job to a decent end.

Each method has a connection of its own to each server, so that its concurrency is its own. A reload starts new methods,
keeps unchanged ones, and lets changed and removed ones finish what they run; for that time a changed method may run
more jobs than its concurrency.

Stopping takes no more jobs, waits for those that run and for their results to be stored, and after a while kills what
is left: the connection is lost then, by which Gearman and the core know that those jobs have no worker any more.

Signals: TERM and INT stop, once more they kill at once; HUP reopens the log files; USR1 reloads, where there are files
to reload.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import uuid
from collections.abc import Callable, Sequence

import attrs
import trio

from abraxas_py import Worker
from gearbox.cli.console import Console
from gearbox.cli.joblog import JobLog, Log, NoLog
from gearbox.cli.performer import CommandPerformer
from gearbox.client import Gearbox, open_gearbox
from gearbox.config import Config, Method
from gearbox.errors import Code, ConfigError
from gearbox.guard import Guard, open_guard
from gearbox.handler import Assignment, Handler, Performer
from gearbox.job import Status
from gearbox.reporter import Reporter
from gearbox.runner import Report, failure

__all__ = ["Crew", "work"]

logger = logging.getLogger("gearbox.worker")

PATIENCE = 5.0  # seconds without a connection, after which the operator is told


@attrs.define(eq=False)
class _Post:
    """One function and its worker. `method` is None for functions of our own."""

    name: str
    method: Method | None
    worker: Worker
    handler: Handler
    log: Log
    connected: trio.Event = attrs.Factory(trio.Event)
    ended: trio.Event = attrs.Factory(trio.Event)
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)


class Crew:
    """The methods at work; their tasks run in `nursery`."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        gearbox: Gearbox,
        guard: Guard,
        console: Console,
        nursery: trio.Nursery,
        instance: str,
    ) -> None:
        self._servers = servers
        self._gearbox = gearbox
        self._guard = guard
        self._console = console
        self._nursery = nursery
        self._instance = instance
        self._name = f"{socket.gethostname()}:{os.getpid()}"  # for people, in the audit
        self._reporter = Reporter(gearbox, nursery, console)
        self._posts: dict[str, _Post] = {}
        self._retired: set[_Post] = set()
        self._connections = 0
        self._was_lost = False

    def employ(self, methods: Sequence[Method]) -> None:
        """Have these methods at work, and no others."""
        wanted = {method.name: method for method in methods}
        for name, post in list(self._posts.items()):
            if post.method is not None and post.method != wanted.get(name):
                self._retire(self._posts.pop(name))
        for method in methods:
            if method.name not in self._posts:
                log: Log = NoLog()
                if method.log is not None:
                    log = JobLog(method.log, is_timed=not method.log_no_time, complain=self._console.complain)
                performer = CommandPerformer(method, log, self._guard, self._console)
                self._start(method.name, performer, method=method, log=log, max_jobs=method.concurrency)

    def offer(self, name: str, perform: Performer) -> None:
        """Have a function of our own at work, until the end."""
        self._start(name, perform, method=None, log=NoLog(), max_jobs=1)

    def reopen_logs(self) -> None:
        """Go on in new log files: the old ones were moved away."""
        for post in (*self._posts.values(), *self._retired):
            post.log.reopen()

    async def wait_until_connected(self) -> None:
        """Wait until every method has been registered with a server, and say so when that takes long."""
        posts = list(self._posts.values())
        with trio.move_on_after(PATIENCE):
            for post in posts:
                await post.connected.wait()
            return
        self._console.complain(f"cannot reach Gearman at {', '.join(self._servers)}; trying on. Is g-core running?")
        for post in posts:
            await post.connected.wait()

    async def stop(self, timeout: float) -> bool:
        """Take no more jobs and finish, within `timeout` seconds. False if something was left to do then."""
        with trio.move_on_after(timeout) as scope:
            for name in list(self._posts):
                self._retire(self._posts.pop(name))
            for post in list(self._retired):
                await post.ended.wait()
            await self._reporter.wait_until_empty()
        return not scope.cancelled_caught

    def _start(self, name: str, perform: Performer, *, method: Method | None, log: Log, max_jobs: int) -> None:
        self._console.say(f"=== Installing {name}")
        worker = Worker(*self._servers, client_id=self._instance, max_jobs=max_jobs)
        handler = Handler(
            name,
            perform,
            max_jobs=max_jobs,
            gearbox=self._gearbox,
            reporter=self._reporter,
            teller=self._console,
            nursery=self._nursery,
            worker=self._name,
        )
        post = self._posts[name] = _Post(name, method, worker, handler, log)
        worker.on_connect = lambda server: self._connect(post)
        worker.on_disconnect = lambda server: self._disconnect(post, server)
        worker.add(name, handler)
        self._nursery.start_soon(self._run, post)

    async def _run(self, post: _Post) -> None:
        with post.scope:
            await post.worker.run()
        await post.handler.wait_until_idle()  # what runs on although its connection was lost
        post.log.close()
        post.ended.set()
        self._retired.discard(post)

    def _retire(self, post: _Post) -> None:
        logger.debug("retiring method=%s", post.name)
        self._retired.add(post)
        post.worker.stop()
        if not post.connected.is_set():
            post.scope.cancel()  # a worker that never had a server has nothing to finish

    def _connect(self, post: _Post) -> None:
        logger.debug("connected method=%s", post.name)
        post.connected.set()
        self._connections += 1
        if self._was_lost:
            self._was_lost = False
            self._console.announce("Connected to Gearman again")

    def _disconnect(self, post: _Post, server: str) -> None:
        self._connections -= 1
        if self._connections == 0 and post not in self._retired:
            self._was_lost = True
            self._console.complain(f"lost the connection to Gearman at {server}; trying on")


async def work(
    servers: Sequence[str], config: Config, console: Console, *, reload: Callable[[], Config] | None = None
) -> None:
    """Work until a signal ends it. `reload` reads the configuration anew, and may raise ConfigError."""
    instance = str(uuid.uuid4())
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *([signal.SIGUSR1] if reload else [])]
    with trio.open_signal_receiver(*signals) as received:
        async with (
            open_gearbox(servers, client_id=f"{socket.gethostname()}:{instance}") as gearbox,
            open_guard() as guard,
            trio.open_nursery() as nursery,
        ):
            crew = Crew(servers, gearbox=gearbox, guard=guard, console=console, nursery=nursery, instance=instance)
            crew.employ(config.methods)
            shift = _Shift(crew, config, console, reload, nursery.cancel_scope)
            if config.reload_worker and reload is not None:
                crew.offer(f"gearbox\\reloadmw::{instance}", shift.perform_reload)
            nursery.start_soon(shift.begin)
            async for number in received:
                shift.obey(signal.Signals(number), nursery)


class _Shift:
    """What happens to a crew from outside."""

    def __init__(
        self,
        crew: Crew,
        config: Config,
        console: Console,
        reload: Callable[[], Config] | None,
        scope: trio.CancelScope,
    ) -> None:
        self._crew = crew
        self._stop_timeout = config.stop_timeout
        self._console = console
        self._reload = reload
        self._scope = scope
        self._is_stopping = False

    async def begin(self) -> None:
        await self._crew.wait_until_connected()
        self._console.say("=== Waiting for jobs...")

    def obey(self, number: signal.Signals, nursery: trio.Nursery) -> None:
        if number == signal.SIGHUP:
            self._crew.reopen_logs()
        elif number == signal.SIGUSR1:
            nursery.start_soon(self.reload)
        elif self._is_stopping:
            self._console.announce("Killing what still runs")
            self._scope.cancel()
        else:
            self._is_stopping = True
            nursery.start_soon(self._stop)

    async def _stop(self) -> None:
        self._console.announce(f"Finishing what runs, {self._stop_timeout:g} s at most")
        if not await self._crew.stop(self._stop_timeout):
            self._console.complain(f"not finished after {self._stop_timeout:g} s, killing what still runs")
        self._scope.cancel()

    async def reload(self) -> Report:
        """Employ what the files say now; if they cannot be read, all stays as it is."""
        assert self._reload is not None
        if self._is_stopping:
            return failure(Code.UNAVAILABLE, "the multiworker is stopping")
        self._console.announce("Reloading configuration")
        try:
            config = await trio.to_thread.run_sync(self._reload)
        except ConfigError as problem:
            for message in (*problem.messages, "the configuration stays as it was"):
                self._console.complain(message)
            return failure(Code.BAD_REQUEST, str(problem))
        for remark in config.remarks:
            self._console.complain(remark)
        self._stop_timeout = config.stop_timeout
        self._crew.employ(config.methods)
        return Report(Status.COMPLETE)

    async def perform_reload(self, work: Assignment) -> Report:
        return await self.reload()
