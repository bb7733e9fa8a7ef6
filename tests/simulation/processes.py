"""What the nodes run: the project's own programs, put together as their command lines do, on simulated surroundings."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from abraxas_py import AbraxasError, Assigned, Options, Server, Worker, open_client
from abraxas_py.nursery import open_nursery
from gearbox import cores
from gearbox.client import NAMESPACE, Gearbox, open_gearbox
from gearbox.core import Core
from gearbox.daemon import Census, census_of, link_of
from gearbox.errors import StoreError
from gearbox.job import Status
from gearbox.store import Store
from gearbox.work.assignment import Assignment
from gearbox.work.crew import Crew
from gearbox.work.runner import Report, failure
from tests.simulation.ledger import Execution
from tests.simulation.network import End
from tests.simulation.node import SUPERVISOR_PAUSE, Node
from tests.simulation.plan import METHODS, RAW

__all__ = ["Client", "broker", "core", "raw_worker", "worker"]

SLOTS = 2  # jobs of a method that a worker runs at once
STOP_TIMEOUT = 5.0  # s that a worker has to finish when it is asked to stop
GUARD_LAG = 0.02  # s until the guard has killed what its worker left


# --- the server's side ---


def serve(node: Node, nursery: trio.Nursery, server: Server) -> Callable[[End], None]:
    """What accepts connections for a server of this node."""
    start = trio.lowlevel.current_task().context.run

    async def relay(end: End) -> None:
        stream: Any = server.attach()
        stream.wake = partial(_pass_on, stream, end)
        async with end, stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while data := await end.receive_some(65536):
                    await stream.send_all(data)

    def accept(end: End) -> None:
        if nursery.cancel_scope.cancel_called:  # the process ends: its kernel refuses what it does not take any more
            end.connection.reset()
        else:
            start(nursery.start_soon, relay, end)

    return accept


def _pass_on(stream: Any, end: End) -> None:
    """What a server says leaves its process at once."""
    data, stream.arrived = bytes(stream.arrived), bytearray()
    if data:
        end.put(data)
    if stream.is_ended:
        end.close()


def make_server(node: Node) -> Server:
    return Server(
        Options(pid=1, reserved=(NAMESPACE.encode(),)),
        handle_prefix=f"H:{node.name}:{node.boot}",
        clock=node.wall,
    )


async def broker(node: Node, nursery: trio.Nursery) -> None:
    """`abraxas`."""
    server = make_server(node)
    await nursery.start(server.serve)
    node.world.network.listen("gearman", node, serve(node, nursery, server))
    await trio.sleep_forever()


async def core(node: Node, nursery: trio.Nursery) -> None:
    """`g-core`: its broker, where it has one, lives as long as the process; the core anew when it was fenced."""
    world = node.world
    store = await _open(node)
    if world.plan.is_embedded:
        server = make_server(node)
        await nursery.start(server.serve)
        world.network.listen("gearman", node, serve(node, nursery, server))
        servers: dict[str | None, Any] = {None: server.dial}
        census: Census | None = partial(census_of, server)
    else:
        census = None
        servers = {"gearman": world.network.dialer(node, "gearman")}
    for life in itertools.count(1):
        await _live(node, store, servers, census, f"{node!r}.{life}")


async def _live(node: Node, store: Store, servers: dict[str | None, Any], census: Census | None, instance: str) -> None:
    """As `daemon._live`."""
    core = Core(store, instance=instance, hop=node.world.database.hop(node), name=node.name)
    link = link_of(core, store, servers, census)
    node.stop_gently = core.drain
    async with open_nursery() as nursery:
        if store.is_shared:
            nursery.start_soon(cores.keep, core, trio.current_time)
        await nursery.start(core.run, link)
        await nursery.start(link.run)
        await core.fenced.wait()
        node.world.note("fenced", node.name)
        nursery.cancel_scope.cancel()


async def _open(node: Node) -> Store:
    """The program ends when it cannot open its database, and its supervisor starts it again."""
    while True:
        try:
            return node.world.database.open(node)
        except StoreError:
            await trio.sleep(SUPERVISOR_PAUSE)


# --- workers ---


class Silent:
    """Nobody reads what a simulated worker says."""

    def say(self, line: str) -> None: ...

    def complain(self, line: str) -> None: ...

    def announce(self, line: str) -> None: ...


async def worker(node: Node, nursery: trio.Nursery) -> None:
    """`g-worker`: its commands are processes of their own, watched by its guard."""
    dial: Any = node.world.network.dialer(node, "gearman")
    async with open_gearbox([dial], client_id=repr(node)) as gearbox:
        crew = Crew([dial], gearbox=gearbox, teller=Silent(), nursery=nursery, instance=repr(node))
        for name in METHODS:
            crew.offer(name, partial(perform, node), max_jobs=SLOTS)
        node.stop_gently = partial(crew.stop, STOP_TIMEOUT)
        await trio.sleep_forever()


async def perform(node: Node, work: Assignment) -> Report:
    """Run a job's command, and wait for it. The lease tells the guard until when it may run."""
    ticket = work.ticket
    if ticket is None or ticket.attempt is None:
        return Report(Status.COMPLETE, None)
    deed, seconds = deed_of(work.params, ticket.attempt)
    command = Command(node, ticket.id, ticket.attempt, seconds)
    if work.lease is not None:
        work.lease.listen(command.hold, trio.current_time())
    if deed == "progress":
        work.tell_progress(50.0)
    try:
        await command.ended.wait()
    finally:
        command.kill()
    report = report_of(deed, ticket.id, ticket.attempt, work.params) if command.is_done else failure(137, "killed")
    node.world.ledger.reported.setdefault((ticket.id, ticket.attempt), []).append(report.data)
    return report


class Command:
    """A child process of a worker, which does not stop with it. It is killed by its worker, or by the guard."""

    def __init__(self, node: Node, job: int, epoch: int, seconds: float, has_leave: bool = True) -> None:
        self.world = node.world
        self.ended = trio.Event()
        self.is_done = False
        self._scope = trio.CancelScope()
        self._execution = Execution(job, epoch, repr(node), self.world.time(), has_leave=has_leave)
        self.world.begin(self._execution)
        node.on_kill.append(self._orphan)
        self.world.spawn(self._run, seconds)

    async def _run(self, seconds: float) -> None:
        with self._scope:
            await trio.sleep(seconds)
            self.is_done = True
        self._execution.end = self.world.time()
        self.world.note("end", self._execution.job, self._execution.epoch, self.is_done)
        self.ended.set()

    def hold(self, seconds: float) -> None:
        """The guard kills it after that time, unless it is told again."""
        self._scope.deadline = self.world.time() + max(seconds, 0.0)

    def kill(self) -> None:
        self._scope.cancel()

    def _orphan(self) -> None:
        self._scope.deadline = min(self._scope.deadline, self.world.time() + GUARD_LAG)


def deed_of(params: Any, attempt: int) -> tuple[str, float]:
    """What a job's plan has for this attempt."""
    deeds = params["do"]
    deed, seconds = deeds[min(attempt, len(deeds)) - 1]
    return deed, seconds


def report_of(deed: str, job: int, attempt: int, params: Any) -> Report:
    """What comes out of a deed that was done."""
    if deed == "fail":
        return failure(7, "as planned", {"attempt": attempt})
    if deed == "big":
        return Report(Status.COMPLETE, {"job": job, "attempt": attempt, "text": "é\n\u2028" * 500})
    return Report(Status.COMPLETE, {"job": job, "attempt": attempt, "odd": params.get("odd")})


async def raw_worker(node: Node, nursery: trio.Nursery) -> None:
    """A worker of another maker: it asks no leave, knows no attempt, and says once what came out."""
    dial: Any = node.world.network.dialer(node, "gearman")
    async with open_client(dial, client_id=repr(node)) as client:

        async def run(job: Assigned) -> bytes:
            request = json.loads(job.data)
            id, attempt = request["_meta"]["gearbox_id"], request["_meta"]["gearbox_attempt"]
            deed, seconds = deed_of(request["params"], attempt)
            command = Command(node, id, attempt, seconds, has_leave=False)
            try:
                await command.ended.wait()
            finally:
                command.kill()
            report = report_of(deed, id, attempt, request["params"])
            answer = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": None}).encode()
            if deed == "mute":  # it never says what came out
                return answer
            node.world.ledger.reported.setdefault((id, attempt), []).append(report.data)
            status = "perfect" if deed == "nonsense" else report.status.value
            params = {"id": id, "data": report.data, "status": status}
            envelope = {"jsonrpc": "2.0", "method": "gearbox\\core::job_data", "params": params}
            nursery.start_soon(_tell_once, client, json.dumps(envelope).encode())
            return answer

        raw = Worker(dial, client_id=repr(node), max_jobs=SLOTS)
        raw.add(RAW, run)
        node.stop_gently = raw.finish
        await raw.run()
        await trio.sleep_forever()


async def _tell_once(client: Any, envelope: bytes) -> None:
    with suppress(AbraxasError):  # as the original's: lost is lost
        await client.submit_bg("gearbox\\core::job_data", envelope)


# --- clients ---


class Client:
    """A program that queues jobs and waits for them."""

    def __init__(self) -> None:
        self.gearbox: Gearbox | None = None
        self._start: Callable[..., Any] | None = None

    async def main(self, node: Node, nursery: trio.Nursery) -> None:
        dial: Any = node.world.network.dialer(node, "gearman")
        context = trio.lowlevel.current_task().context
        async with open_gearbox([dial], client_id=repr(node), who=node.name) as gearbox:
            self.gearbox = gearbox
            self._start = partial(context.run, nursery.start_soon)
            node.on_kill.append(self._forget)
            await trio.sleep_forever()

    def _forget(self) -> None:
        self.gearbox = self._start = None

    def do(self, job: Callable[..., Any], *args: Any) -> bool:
        """Have something done in this process; False if it is down."""
        if self._start is None:
            return False
        self._start(job, self.gearbox, *args)
        return True
