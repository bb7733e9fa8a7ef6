"""The workers of a tool: methods that run commands, the operator's signals, and reloads.

A reload starts new methods, keeps unchanged ones, and lets changed and removed ones finish what they run; for that time
a changed method may run more jobs than its concurrency.

Signals: TERM and INT stop, once more they kill at once; USR1 reloads, where there are files to reload; HUP, which
logrotate sends, changes nothing: logs open their files anew by themselves.
"""

from __future__ import annotations

import signal
import socket
import uuid
from collections.abc import Callable, Sequence

import trio

from gearbox.cli.console import Console
from gearbox.cli.joblog import JobLog, Log, NoLog
from gearbox.cli.performer import CommandPerformer
from gearbox.client import Gearbox, open_gearbox
from gearbox.errors import Code, ConfigError
from gearbox.job import Status
from gearbox.work.assignment import Assignment
from gearbox.work.config import Config, Method
from gearbox.work.crew import Crew
from gearbox.work.guard import Guard, open_guard
from gearbox.work.runner import Report, failure

__all__ = ["CommandCrew", "hold_signals", "work"]

STOPPING = failure(Code.UNAVAILABLE, "the multiworker is stopping")


class CommandCrew(Crew):
    """A crew whose methods run commands."""

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
        super().__init__(servers, gearbox=gearbox, teller=console, nursery=nursery, instance=instance)
        self._guard = guard
        self._console = console
        self._methods: dict[str, Method] = {}

    def employ(self, methods: Sequence[Method]) -> None:
        """Have these methods at work, and no others."""
        wanted = {method.name: method for method in methods}
        for name, method in list(self._methods.items()):
            if method != wanted.get(name):
                del self._methods[name]
                self.retire(name)
        for name, method in wanted.items():
            if name not in self._methods:
                self._methods[name] = method
                self._start(method)

    def _start(self, method: Method) -> None:
        log: Log = NoLog()
        if method.log is not None:
            log = JobLog(method.log, is_timed=not method.log_no_time, complain=self._console.complain)
        performer = CommandPerformer(method, log, self._guard, self._console)
        self.offer(method.name, performer, max_jobs=method.concurrency, on_end=log.close)


def hold_signals(*signals: signal.Signals) -> None:
    """Have these wait for `work`, while the tool starts. It has no threads yet, which would take them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)


async def work(
    servers: Sequence[str], config: Config, console: Console, *, reload: Callable[[], Config] | None = None
) -> None:
    """Work until a signal ends it. `reload` reads the configuration anew, and may raise ConfigError."""
    instance = str(uuid.uuid4())
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *([signal.SIGUSR1] if reload else [])]
    with trio.open_signal_receiver(*signals) as received:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        async with (
            open_gearbox(servers, client_id=f"{socket.gethostname()}:{instance}") as gearbox,
            open_guard() as guard,
            trio.open_nursery() as nursery,
        ):
            crew = CommandCrew(
                servers, gearbox=gearbox, guard=guard, console=console, nursery=nursery, instance=instance
            )
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
        crew: CommandCrew,
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
        self._reloading = trio.Lock()

    async def begin(self) -> None:
        await self._crew.wait_until_connected()
        self._console.say("=== Waiting for jobs...")

    def obey(self, number: signal.Signals, nursery: trio.Nursery) -> None:
        if number == signal.SIGHUP:
            return
        if number == signal.SIGUSR1:
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
        async with self._reloading:  # one by one: what was read last is employed last
            config = STOPPING if self._is_stopping else await self._read()
            if isinstance(config, Report):
                return config
            if self._is_stopping:  # since then
                return STOPPING
            self._stop_timeout = config.stop_timeout
            self._crew.employ(config.methods)
            return Report(Status.COMPLETE)

    async def _read(self) -> Config | Report:
        """What the files say; a report, if they cannot be read."""
        assert self._reload is not None
        self._console.announce("Reloading configuration")
        try:
            config = await trio.to_thread.run_sync(self._reload)
        except ConfigError as problem:
            return self._stay(Code.BAD_REQUEST, problem.messages)
        except RuntimeError as problem:  # no thread can be started now
            return self._stay(Code.UNAVAILABLE, [str(problem)])
        for remark in config.remarks:
            self._console.complain(remark)
        return config

    def _stay(self, code: Code, reasons: Sequence[str]) -> Report:
        for message in (*reasons, "the configuration stays as it was"):
            self._console.complain(message)
        return failure(code, "\n".join(reasons))

    async def perform_reload(self, work: Assignment) -> Report:
        return await self.reload()
