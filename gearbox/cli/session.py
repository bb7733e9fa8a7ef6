"""One command of g-client against the servers: a function for each."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from abraxas_py import Admin, ConnectionLost, Priority, ServerError, Unavailable, open_admin
from gearbox import rpc
from gearbox.cli import drawing, tables
from gearbox.cli.dates import iso
from gearbox.cli.lookout import looking_out, nobody_offers
from gearbox.cli.output import Mode
from gearbox.cli.terminal import Terminal, is_terminal
from gearbox.cli.wanted import Complaint, Wanted
from gearbox.client import NAMESPACE, Gearbox
from gearbox.errors import Code, RpcError
from gearbox.shapes import Graph

__all__ = ["Session"]

CORE_PATIENCE = 5.0  # seconds for a core to be there
WATCH_PATIENCE = 60.0  # the same once a job is queued: a core may be restarted
PREVIEWED = 20  # jobs that are shown before something is done to them
FILE_LARGEST = 64 * 2**20  # bytes of JSON; Gearman's largest packet is not larger


class Session:
    """Carries out what is wanted. `queued` is the job that goes on without us."""

    def __init__(self, servers: Sequence[str], gearbox: Gearbox, wanted: Wanted, terminal: Terminal) -> None:
        self._servers = servers
        self._gearbox = gearbox
        self._wanted = wanted
        self._terminal = terminal
        self.queued: int | None = None

    async def perform(self) -> None:
        """Raises RpcError, AbraxasError, NobodyThere, Complaint."""
        steps: Mapping[str, Callable[[], Awaitable[None]]] = {
            "run": self._run,
            "queue": self._queue,
            "queue-many": self._queue_many,
            "watch": self._watch,
            "cancel": self._cancel,
            "retry": self._retry,
            "hurry": self._hurry,
            "reprioritise": self._reprioritise,
            "release": self._release,
            "act": self._act,
            "raw": self._raw,
            "status": self._status,
            "search": self._search,
            "why": self._why,
            "history": self._history,
            "graph": self._graph,
            "top": self._top,
            "audit": self._audit,
            "stats": self._stats,
            "methods": self._methods,
            "pause": self._pause,
            "resume": self._resume,
            "limit": self._limit,
            "schedule": self._schedule,
            "schedules": self._schedules,
            "unschedule": self._unschedule,
            "run-now": self._run_now,
            "dead": self._dead,
        }
        await steps[self._wanted.command]()

    # --- jobs ---

    async def _submit(self) -> int:
        wanted, terminal = self._wanted, self._terminal
        terminal.say(f"==> Queueing {wanted.method} with {wanted.priority} priority")
        terminal.show_arguments()
        if wanted.after_date is not None:
            is_past = wanted.after_date <= datetime.now(UTC)
            terminal.say(f"==> After {iso(wanted.after_date)}{' (past, so at once)' if is_past else ''}")
        async with self._core("queue"):
            id = await self._gearbox.queue(
                wanted.method,
                wanted.arguments,
                priority=wanted.priority,
                dedupe=wanted.dedupe,
                **wanted.gates(),
                **wanted.tries(),
            )
        terminal.took()
        return id

    async def _queue(self) -> None:
        self._show_id(await self._submit())

    def _show_id(self, id: int) -> None:
        """Where standard output cannot be written, on the other: the job is there all the same."""
        if not self._wanted.is_quiet:
            self._terminal.tell("<== Job ID: ", end="")
        try:
            print(id, flush=True)
        except OSError:
            self._terminal.tell(f"job {id} is queued")
            raise

    async def _run(self) -> None:
        self.queued = await self._submit()
        try:
            await self._watch_job(self.queued)
        except RpcError as error:
            if error.code == Code.NO_WORKER:
                async with self._core("methods"):
                    rows = await self._gearbox.methods()
                self._terminal.say(
                    nobody_offers(self._wanted.method, [row["method"] for row in rows if row["workers"]])
                )
            raise

    async def _watch(self) -> None:
        (id,) = self._wanted.ids
        await self._watch_job(id)

    async def _watch_job(self, id: int) -> None:
        self._terminal.say(f"==> Watching job {id}")
        async with self._core("watch", WATCH_PATIENCE if self.queued else CORE_PATIENCE):
            if is_terminal(sys.stderr) and not self._wanted.is_quiet:
                from gearbox.cli.live import watching_bar  # 100 ms for rich, which scripts need not wait for

                async with watching_bar(self._gearbox, id):
                    result = await self._gearbox.watch(id, wait_for_id=self._wanted.is_awaited)
            else:
                result = await self._gearbox.watch(id, wait_for_id=self._wanted.is_awaited)
        self._terminal.took()
        self._terminal.show(result)

    async def _queue_many(self) -> None:
        jobs = await trio.to_thread.run_sync(_read_jobs, self._wanted.file, abandon_on_cancel=True)
        self._terminal.say(f"==> Queueing {len(jobs)} jobs")
        async with self._core("queue_many"):
            ids = await self._gearbox.queue_many(jobs)
        self._terminal.took()
        self._terminal.show(ids, lambda ids: "".join(f"{id}\n" for id in ids))

    async def _cancel(self) -> None:
        for id in self._wanted.ids:
            async with self._core("cancel"):
                has_ended = await self._gearbox.cancel(id, self._wanted.reason)
            self._terminal.tell(f"=== Cancelled job {id}" if has_ended else f"=== Job {id} had ended already")

    async def _retry(self) -> None:
        for id in self._wanted.ids:
            async with self._core("retry"):
                retried = await self._gearbox.retry(
                    id, downstream=not self._wanted.is_alone, reason=self._wanted.reason
                )
            if self._wanted.mode is not Mode.INSPECT:
                self._terminal.show(retried)
                continue
            others = {old: new for old, new in retried["jobs"].items() if int(old) != id}
            for old, new in others.items():
                self._terminal.say(f"=== Job {old} is retried as {new}, too")
            self._show_id(retried["id"])

    async def _hurry(self) -> None:
        for id in self._wanted.ids:
            async with self._core("run_now"):
                is_shorter = await self._gearbox.hurry(id, self._wanted.reason)
            self._terminal.tell(f"=== Job {id} {'runs as early as it may' if is_shorter else 'cannot run any earlier'}")

    async def _reprioritise(self) -> None:
        priority = self._wanted.priority
        for id in self._wanted.ids:
            async with self._core("reprioritise"):
                is_changed = await self._gearbox.reprioritise(id, priority, self._wanted.reason)
            had = f"has started, or had {priority} priority"
            self._terminal.tell(f"=== Job {id} {f'has {priority} priority now' if is_changed else had}")

    async def _release(self) -> None:
        for id in self._wanted.ids:
            async with self._core("noopgo"):
                has_waited = await self._gearbox.noopgo(id)
                if not has_waited:
                    await self._gearbox.why(id)  # raises 404 of a job that there is not; noopgo says false, as ever
            self._terminal.tell(f"=== Job {id} {'goes on' if has_waited else 'did not wait for that'}")

    async def _act(self) -> None:
        """Show to what, ask, and do it to these and no newer ones."""
        wanted, terminal = self._wanted, self._terminal
        priority = wanted.priority if wanted.deed == "reprioritise" else None
        async with self._core("act"):
            seen = await self._gearbox.act(wanted.deed, wanted.query, preview=True)
            ids = seen["ids"][:PREVIEWED]
            shown = await self._gearbox.search(" ".join(map(str, ids)), limit=PREVIEWED) if ids else None
        if shown is None:
            terminal.tell("=== No job matches")
            return
        for line in tables.job_table(shown["jobs"]).splitlines():
            terminal.say(line)
        rest = seen["jobs"] - len(ids)
        more = f", {rest} of them not shown" if rest else ""
        beyond = "; there are more that match, act again for them" if seen["is_cut"] else ""
        match = "1 job matches" if seen["jobs"] == 1 else f"{seen['jobs']} jobs match"
        terminal.say(f"=== {match}{more}{beyond}")
        if not wanted.is_sure and not await terminal.agrees(f"=== {wanted.deed.replace('_', ' ')} them? [y/N] "):
            terminal.tell("=== Nothing was done")
            return
        async with self._core("act"):
            done = await self._gearbox.act(
                wanted.deed, wanted.query, priority=priority, reason=wanted.reason, up_to=ids[0]
            )
        terminal.show(done, lambda done: f"{done['changed']} of {done['jobs']} jobs changed\n")

    async def _raw(self) -> None:
        wanted, terminal = self._wanted, self._terminal
        terminal.say(f"==> Running {wanted.method} with {wanted.priority} priority")
        terminal.show_arguments()
        if wanted.method.startswith(NAMESPACE):
            looking = self._core(wanted.method.removeprefix(NAMESPACE))
        else:
            hint = f"=== No worker offers {wanted.method} now; waiting for one"
            looking = looking_out(self._servers, wanted.method, hint, terminal.tell)
        async with looking:
            result = await self._gearbox.call(
                wanted.method, wanted.arguments, priority=Priority[wanted.priority.upper()]
            )
        terminal.took()
        terminal.show(result)

    # --- looking ---

    async def _status(self) -> None:
        async with self._core("status"):
            rows = await self._gearbox.status(self._wanted.ids)
        self._terminal.show(rows)

    async def _search(self) -> None:
        wanted = self._wanted
        async with self._core("search"):
            found = await self._gearbox.search(wanted.query, below=wanted.below, limit=wanted.limit)
        self._terminal.show(found, lambda found: tables.job_table(found["jobs"]))
        if found["next"] is not None:
            how = "looked at all jobs down to there" if found["is_cut"] else "there are more"
            self._terminal.say(f"=== {how}: --below {found['next']} goes on")

    async def _audit(self) -> None:
        async with self._core("audit"):
            deeds = await self._gearbox.audit(below=self._wanted.below, limit=self._wanted.limit)
        self._terminal.show(deeds, tables.deed_table)

    async def _why(self) -> None:
        (id,) = self._wanted.ids
        async with self._core("why"):
            sentence = await self._gearbox.why(id)
        self._terminal.show(sentence)

    async def _history(self) -> None:
        (id,) = self._wanted.ids
        async with self._core("history"):
            history = await self._gearbox.history(id)
        self._terminal.show(history, tables.timeline)

    async def _graph(self) -> None:
        (id,) = self._wanted.ids
        async with self._core("graph"):
            graph = await self._gearbox.graph(id)

        def draw(graph: Graph) -> str:
            match self._wanted.drawing:
                case "dot":
                    return drawing.dot(graph)
                case "svg":
                    return drawing.svg(graph)
                case _:
                    return drawing.tree(graph, id)

        self._terminal.show(graph, draw)

    async def _top(self) -> None:
        from gearbox.cli.live import show_top

        async with self._core("methods"):
            await self._gearbox.methods()
        await show_top(self._gearbox, ", ".join(self._servers))

    # --- methods ---

    async def _stats(self) -> None:
        async with self._core("stats"):
            stats = await self._gearbox.stats(self._wanted.method)
        self._terminal.show(stats)

    async def _methods(self) -> None:
        async with self._core("methods"):
            rows = await self._gearbox.methods()
        self._terminal.show(rows, tables.method_table)

    async def _pause(self) -> None:
        async with self._core("pause"):
            await self._gearbox.pause(self._wanted.method, self._wanted.reason)
        self._terminal.say(f"=== No more jobs of {self._wanted.method} are started")

    async def _resume(self) -> None:
        async with self._core("resume"):
            await self._gearbox.resume(self._wanted.method, self._wanted.reason)
        self._terminal.say(f"=== Jobs of {self._wanted.method} are started again")

    async def _limit(self) -> None:
        wanted = self._wanted
        async with self._core("limit"):
            await self._gearbox.limit(wanted.method, wanted.concurrency, wanted.reason)
        limit = "any number" if wanted.concurrency is None else f"at most {wanted.concurrency}"
        self._terminal.say(f"=== Of {wanted.method}, {limit} may run at once")

    async def _dead(self) -> None:
        async with open_admin(*self._servers) as admin:
            try:
                if self._wanted.what == "list":
                    rows = [[cell.decode(errors="replace") for cell in row.cells()] for row in await admin.dead()]
                    self._terminal.show(rows, lambda rows: "".join("\t".join(row) + "\n" for row in rows))
                else:
                    await admin.status()
            except ConnectionLost as error:  # of a mere question; of what follows, nobody knows whether it was done
                raise Unavailable(str(error)) from error
            for name in self._wanted.handles:
                await self._end_dead(admin, name)

    async def _end_dead(self, admin: Admin, name: str) -> None:
        is_retry = self._wanted.what == "retry"
        try:
            await (admin.retry_dead if is_retry else admin.drop_dead)(name)
        except ServerError as error:
            if error.code != "UNKNOWN_JOB":
                raise
            unknown = f"no failed job or function is called {name}; g-client dead list shows them"
            raise Complaint(unknown) from error
        self._terminal.say(f"=== {name}: {'runs anew' if is_retry else 'dropped'}")

    # --- recurring jobs ---

    async def _schedule(self) -> None:
        wanted = self._wanted
        async with self._core("schedule"):
            row = await self._gearbox.schedule(
                wanted.name,
                wanted.cron,
                wanted.method,
                wanted.arguments,
                timezone=wanted.timezone,
                overlap=wanted.overlap,
                missed=wanted.missed,
                priority=wanted.priority,
                dedupe=wanted.dedupe,
                reason=wanted.reason,
                **wanted.tries(),
            )
        self._terminal.show([row] if wanted.mode is Mode.INSPECT else row, tables.schedule_table)

    async def _schedules(self) -> None:
        async with self._core("schedules"):
            rows = await self._gearbox.schedules()
        self._terminal.show(rows, tables.schedule_table)

    async def _unschedule(self) -> None:
        async with self._core("unschedule"):
            was_there = await self._gearbox.unschedule(self._wanted.name, self._wanted.reason)
        self._terminal.tell(
            f"=== {self._wanted.name} is forgotten" if was_there else f"=== There is no {self._wanted.name}"
        )

    async def _run_now(self) -> None:
        async with self._core("run_now"):
            id = await self._gearbox.run_now(self._wanted.name, self._wanted.reason)
        self._show_id(id)

    def _core(self, method: str, patience: float = CORE_PATIENCE) -> AbstractAsyncContextManager[None]:
        """For the time of a call: look out for a core that could answer it."""
        hint = (
            f"=== Gearman at {', '.join(self._servers)} has no worker for {NAMESPACE}{method}: "
            "is g-core running and connected to it?"
        )
        slow = "=== No answer from g-core yet; it or its database may hang (--timeout SECONDS gives up)"
        return looking_out(
            self._servers,
            f"{NAMESPACE}{method}",
            hint,
            self._terminal.tell,
            patience=patience,
            slow="" if method == "watch" else slow,
            kin=f"{NAMESPACE}status",
            unknown=f"g-core is there, but it has no method {NAMESPACE}{method}",
        )


def _read_jobs(path: str) -> list[Any]:
    """The array of jobs in a file, which may also stand in an object as `jobs`. Raises Complaint."""
    try:
        if path == "-":
            text = sys.stdin.buffer.read(FILE_LARGEST + 1)
        else:
            with Path(path).open("rb") as file:
                text = file.read(FILE_LARGEST + 1)
    except OSError as problem:
        raise Complaint(f"{path}: {problem.strerror}") from None
    if len(text) > FILE_LARGEST:
        raise Complaint(f"{path}: more than {FILE_LARGEST} bytes")
    try:
        value = rpc.load(text.decode("utf-8-sig"))  # editors on Windows begin a file with a byte order mark
    except ValueError as problem:
        raise Complaint(f"{path} is not JSON: {problem}") from None
    jobs = value.get("jobs") if isinstance(value, dict) else value
    if not isinstance(jobs, list):
        raise Complaint(f"{path} holds no array of jobs")
    return jobs
