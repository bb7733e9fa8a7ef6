"""All methods at work in one process: a Gearman worker for each, from the first job to a decent end.

Each method has a connection of its own to each server, so that its concurrency is its own.

Stopping takes no more jobs, waits for those that run and for their results to be stored. Whoever waits no longer
cancels the nursery: the connections are lost then, by which Gearman and the core know that those jobs have no worker
any more.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence

import attrs
import trio

from abraxas_py import Worker
from gearbox.client import Gearbox
from gearbox.work.handler import Handler, Performer
from gearbox.work.reporter import Reporter
from gearbox.work.teller import Teller

__all__ = ["Crew"]

logger = logging.getLogger("gearbox.worker")

PATIENCE = 5.0  # seconds without a connection, after which the operator is told


@attrs.define(eq=False)
class _Post:
    """One function and its worker."""

    name: str
    worker: Worker
    handler: Handler
    on_end: Callable[[], object]
    connected: trio.Event = attrs.Factory(trio.Event)
    ended: trio.Event = attrs.Factory(trio.Event)
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)


class Crew:
    """The methods at work; their tasks run in `nursery`. `instance` is this process's id at the Gearman servers."""

    def __init__(
        self, servers: Sequence[str], *, gearbox: Gearbox, teller: Teller, nursery: trio.Nursery, instance: str
    ) -> None:
        self._servers = servers
        self._gearbox = gearbox
        self._teller = teller
        self._nursery = nursery
        self._instance = instance
        # Read by people, in the audit; the core takes it for the process, and a number may be given again.
        self._name = f"{socket.gethostname()}:{os.getpid()}:{instance[-8:]}"
        self._reporter = Reporter(gearbox, teller)
        self._posts: dict[str, _Post] = {}
        self._retired: dict[_Post, None] = {}  # in the order in which they are waited for
        self._connections = 0
        self._was_lost = False

    def offer(
        self, name: str, perform: Performer, *, max_jobs: int = 1, on_end: Callable[[], object] = lambda: None
    ) -> None:
        """Have a method at work, until it is retired; `on_end` is called when its last job is done."""
        self._teller.say(f"=== Installing {name}")
        worker = Worker(*self._servers, client_id=self._instance, max_jobs=max_jobs)
        handler = Handler(
            name,
            perform,
            max_jobs=max_jobs,
            gearbox=self._gearbox,
            reporter=self._reporter,
            teller=self._teller,
            nursery=self._nursery,
            worker=self._name,
        )
        post = self._posts[name] = _Post(name, worker, handler, on_end)
        worker.on_connect = lambda server: self._connect(post)
        worker.on_disconnect = lambda server: self._disconnect(post, server)
        worker.take(name, handler.take)
        self._nursery.start_soon(self._run, post)

    def retire(self, name: str) -> None:
        """Take no more jobs of a method, and let go of it when those that run are done."""
        logger.debug("retiring method=%s", name)
        post = self._posts.pop(name)
        self._retired[post] = None
        post.worker.stop()
        if not post.connected.is_set():
            post.scope.cancel()  # a worker that never had a server has nothing to finish

    async def wait_until_connected(self) -> None:
        """Wait until every method has been registered with a server, and say so when that takes long."""
        posts = list(self._posts.values())
        with trio.move_on_after(PATIENCE):
            for post in posts:
                await post.connected.wait()
            return
        self._teller.complain(f"cannot reach Gearman at {', '.join(self._servers)}; trying on. Is g-core running?")
        for post in posts:
            await post.connected.wait()

    async def stop(self, timeout: float) -> bool:
        """Take no more jobs and finish, within `timeout` seconds. False if something was left to do then."""
        with trio.move_on_after(timeout) as scope:
            for name in list(self._posts):
                self.retire(name)
            for post in list(self._retired):
                await post.ended.wait()
            await self._reporter.wait_until_empty()
        return not scope.cancelled_caught

    async def _run(self, post: _Post) -> None:
        with post.scope:
            await post.worker.run()
        await post.handler.wait_until_idle()  # what runs on although its connection was lost
        post.on_end()
        post.ended.set()
        self._retired.pop(post, None)

    def _connect(self, post: _Post) -> None:
        logger.debug("connected method=%s", post.name)
        post.connected.set()
        self._connections += 1
        if self._was_lost:
            self._was_lost = False
            self._teller.announce("Connected to Gearman again")

    def _disconnect(self, post: _Post, server: str) -> None:
        self._connections -= 1
        if self._connections == 0 and post not in self._retired:
            self._was_lost = True
            self._teller.complain(f"lost the connection to Gearman at {server}; trying on")
