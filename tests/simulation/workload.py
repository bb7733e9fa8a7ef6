"""What clients do in a run: the steps of a plan that are calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from abraxas_py import AbraxasError
from gearbox.client import Gearbox
from gearbox.errors import Code, RpcError
from tests.simulation.ledger import Call
from tests.simulation.plan import METHODS, RAW

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Workload"]

UNKNOWN = frozenset({Code.UNAVAILABLE, Code.STORAGE_FULL, Code.INTERNAL})  # the row may be there all the same
AGAIN = 0.5  # s before a queue call that failed is made again


class Workload:
    """Performs the calls of a plan through the clients of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ledger = world.ledger
        self.is_calm = False  # nothing keeps jobs waiting for ever
        self._is_calming = False

    def perform(self, kind: str, args: dict[str, Any]) -> None:
        """Start a call; what the client's process is too dead for is left out, but for queueing."""
        getattr(self, f"_{kind}")(args)

    def _do(self, args: dict[str, Any], what: str, call: Callable[[Gearbox], Any], note: bool = True) -> None:
        """A call in the client's process, whose answer is only noted."""

        async def run(gearbox: Gearbox) -> None:
            number = self._ledger.open(what)
            try:
                answer = await call(gearbox)
                self._world.note("answer", what, repr(answer)[:80] if note else "")
            except RpcError as error:
                self._world.note("refused", what, error.code)
                self._check(what, error)
            except AbraxasError as error:
                self._world.note("lost", what, type(error).__name__)
            finally:
                self._ledger.close(number)

        self._world.clients[args["client"]].do(run)

    def _check(self, what: str, error: RpcError) -> None:
        if error.code == Code.INTERNAL:
            self._world.violate("internal error", f"{what}: {error}")

    # --- queueing ---

    def _queue(self, args: dict[str, Any]) -> None:
        n = args["n"]
        ledger = self._ledger
        params: dict[str, Any] = {**args["options"]}
        for key, other in (("after_id", args["after"]), ("before_id", args["before"])):
            id = ledger.id_of(other)
            if id is not None:
                params[key] = id
        now = self._world.now()
        if args["delay"] is not None:
            params["after_date"] = (now + args["delay"]) * 1000
        if args["expires"] is not None:
            params["expires"] = (now + args["expires"]) * 1000
        call = ledger.calls[n] = Call(n, f"token {n}", params, args)
        for _ in range(1 + args["twice"]):
            self.queue(args["client"], call)

    def queue(self, client: str, call: Call) -> None:
        """Queue a job, again and again with the same token, until somebody says yes or no to it."""
        if not self._world.clients[client].do(self._queue_until_known, call):
            self._world.note("down", client)

    async def _queue_until_known(self, gearbox: Gearbox, call: Call) -> None:
        while call.refused is None:
            number = self._ledger.open(f"queue {call.n}")
            try:
                id = await gearbox.queue(**call.params, submit_token=call.token)
            except RpcError as error:
                self._world.note("queue refused", call.n, error.code)
                if error.code not in UNKNOWN:
                    call.refused = error
                call.is_unknown |= error.code in UNKNOWN
                self._check(f"queue {call.n}", error)
            except AbraxasError as error:
                call.is_unknown = True
                self._world.note("queue lost", call.n, type(error).__name__)
            else:
                self._queued(call, id)
                if call.wanted["watch"]:
                    await self.watch(gearbox, id)
                return
            finally:
                self._ledger.close(number)
            await trio.sleep(AGAIN)

    def _queued(self, call: Call, id: int) -> None:
        self._world.note("queued", call.n, id)
        if call.id is not None and call.id != id:
            self._world.violate("S2 token", f"call {call.n} was given the ids {call.id} and {id}")
        if id not in self._world.audit.jobs:
            self._world.violate("S1 ack", f"call {call.n} was given {id}, which is not stored")
        call.id = id

    def _many(self, args: dict[str, Any]) -> None:
        """A chain, or a pool before its first job. The first of those that run may fail."""
        link, first = ("after_ref", 0) if args["shape"] == "chain" else ("before_ref", 1)
        jobs: list[Any] = []
        for place in range(args["size"]):
            job: dict[str, Any] = {"name": METHODS[place % 2], "args": {"do": [["ok", 0.1]]}, "ref": f"job {place}"}
            if args["shape"] == "pool" and place > 1:
                job["args"]["do"] = [["ok", 3.0]]  # it goes on while another member fails
            if place == first and args["failures"]:
                job["args"]["do"] = [*[["fail", 0.1]] * args["failures"], ["ok", 0.1]]
                job |= {"max_retries": 1, "retry_delay": 0.5}
            if place:
                job[link] = f"job {place - 1 if args['shape'] == 'chain' else 0}"
            jobs.append(job)
        self._do(args, "queue_many", lambda gearbox: gearbox.queue_many(jobs))

    # --- waiting ---

    async def watch(self, gearbox: Gearbox, id: int, *, ahead: bool = False) -> None:
        """Wait for a job, and note what was told."""
        while True:
            number = self._ledger.open(f"watch {id}")
            try:
                answer = await gearbox.watch(id, wait_for_id=ahead)
            except RpcError as error:
                if error.code in UNKNOWN:
                    self._world.note("watch failed", id, error.code)
                    self._check(f"watch {id}", error)
                    await trio.sleep(AGAIN)
                    continue
                answer = error
            except AbraxasError as error:
                self._world.note("watch lost", id, type(error).__name__)
                await trio.sleep(AGAIN)
                continue
            finally:
                self._ledger.close(number)
            self._world.told(id, answer)
            return

    def _watch(self, args: dict[str, Any]) -> None:
        id = self._ledger.id_of(args["job"])
        if id is not None:
            self._world.clients[args["client"]].do(self.watch, id)

    def _watch_ahead(self, args: dict[str, Any]) -> None:
        id = max(self._world.audit.jobs, default=0) + args["ahead"]

        async def wait(gearbox: Gearbox) -> None:
            with trio.move_on_after(20):
                await self.watch(gearbox, id, ahead=True)

        self._world.clients[args["client"]].do(wait)

    # --- the rest ---

    def _cancel(self, args: dict[str, Any]) -> None:
        id = self._ledger.id_of(args["job"])
        if id is not None:
            self._do(args, f"cancel {id}", lambda gearbox: gearbox.cancel(id, "as planned"))

    def _go(self, args: dict[str, Any]) -> None:
        id = self._ledger.id_of(args["job"])
        if id is None:
            return

        async def go(gearbox: Gearbox) -> bool:
            is_mine = bool(await gearbox.call("gearbox\\core::noopgo", {"id": id}))
            self._ledger.released[id] = self._ledger.released.get(id, 0) + is_mine
            return is_mine

        self._do(args, f"go {id}", go)

    def _release(self, args: dict[str, Any]) -> None:
        id = self._ledger.id_of(args["job"])
        if id is not None:
            self._do(args, f"release {id}", lambda gearbox: gearbox.queue(args["meta"], {"id": id}))

    def _retry(self, args: dict[str, Any]) -> None:
        id = self._ledger.id_of(args["job"])
        if id is not None:
            self._do(args, f"retry {id}", lambda gearbox: gearbox.retry(id, downstream=args["downstream"]), note=False)

    def _look(self, args: dict[str, Any]) -> None:
        id = self._ledger.id_of(args["job"])
        if id is not None:
            params: Any = [id] if args["what"] == "status" else {"id": id}
            name = f"gearbox\\core::{args['what']}"
            self._do(args, f"{args['what']} {id}", lambda gearbox: gearbox.call(name, params), note=False)

    def _pause(self, args: dict[str, Any]) -> None:
        self._for_a_while(args, "pause", lambda g: g.pause(args["method"]), lambda g: g.resume(args["method"]))

    def _limit(self, args: dict[str, Any]) -> None:
        method = args["method"]
        self._for_a_while(args, "limit", lambda g: g.limit(method, args["most"]), lambda g: g.limit(method, None))

    def _for_a_while(
        self, args: dict[str, Any], what: str, begin: Callable[[Gearbox], Any], end: Callable[[Gearbox], Any]
    ) -> None:
        async def run() -> None:
            self._do(args, what, begin)
            number = self._ledger.open(f"end of {what}, to come")
            await trio.sleep(args["seconds"])
            self._ledger.close(number)
            self._do(args, f"end of {what}", end)

        self._world.spawn(run)

    def _recurring(self, args: dict[str, Any]) -> None:
        self._do(
            args,
            f"schedule {args['name']}",
            lambda gearbox: gearbox.schedule(
                args["name"],
                "* * * * *",
                METHODS[0],
                {"do": args["do"]},
                overlap=args["overlap"],
                missed=args["missed"],
            ),
            note=False,
        )

    async def calm_down(self, gearbox: Gearbox) -> None:
        """Take back what would keep jobs waiting for ever, until the core has taken it."""
        if self._is_calming:
            return
        self._is_calming = True
        asked: list[Callable[[], Any]] = []
        for method in (*METHODS, RAW):
            asked += [lambda method=method: gearbox.resume(method), lambda method=method: gearbox.limit(method, None)]
        asked += [lambda name=name: gearbox.unschedule(name) for name in ("r", "s")]
        for ask in asked:
            await self._insist(ask)
        self.is_calm = True

    async def let_go(self, gearbox: Gearbox, id: int) -> None:
        await self._insist(lambda: gearbox.call("gearbox\\core::noopgo", {"id": id}))

    async def give_up(self, gearbox: Gearbox, id: int) -> None:
        await self._insist(lambda: gearbox.cancel(id, "what it waits for is too far away"))

    async def _insist(self, ask: Callable[[], Any]) -> None:
        while True:
            try:
                await ask()
                return
            except (RpcError, AbraxasError) as error:
                self._world.note("insisting", type(error).__name__)
                await trio.sleep(AGAIN)
