"""The simulated world: its nodes, network, database and time, and one run in it from a plan to a verdict."""

from __future__ import annotations

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import structlog
import trio

from tests.simulation import determinism, processes
from tests.simulation.audit import Audit
from tests.simulation.checker import check_end, settle_down
from tests.simulation.database import Database
from tests.simulation.faults import Faults
from tests.simulation.ledger import Execution, Ledger
from tests.simulation.network import Network
from tests.simulation.node import Freezer, Node
from tests.simulation.plan import CLIENTS, FAULTS, WORKERS, Plan
from tests.simulation.workload import Workload

__all__ = ["Outcome", "World", "simulate"]

START = 1_800_000_000.0  # when every run begins, in Unix seconds
EVENTS_MOST = 60_000  # of one run; more is something that turns round and round
WARM_UP = 2.0  # s until the nodes know each other
DRAIN = 5.0  # s that a core has at its end
SWEEP = 10.0  # s between looks of keepalive


@attrs.frozen
class Outcome:
    """What became of a run. `digest` is the hash of its trace: equal for equal runs."""

    seed: int
    digest: str
    events: int
    seconds: float  # virtual
    violations: tuple[str, ...]
    moves: Counter[str]
    faults: Counter[str]
    statuses: Counter[str]


class World:
    """All there is, but for the plan."""

    def __init__(self, plan: Plan, nursery: trio.Nursery, trace: Callable[[str], object] | None) -> None:
        self.plan = plan
        self.nursery = nursery
        self.chance = random.Random(f"{plan.seed} world")
        self.violations: dict[str, None] = {}
        self.faults: Counter[str] = Counter()
        self.events = 0
        self._aims: list[tuple[str, int, Callable[[], object]]] = []  # event, how many more, what then
        self._digest = hashlib.blake2b(digest_size=16)
        self._trace = trace
        self.ledger = Ledger()
        self.freezer = Freezer()
        self.network = Network(self, random.Random(f"{plan.seed} network"))
        self.database = Database(self)
        self.audit = Audit(self, self.database.rows)
        self.clients = {name: processes.Client() for name in (*CLIENTS, "prober")}
        self.nodes = self._make_nodes()

    def _make_nodes(self) -> dict[str, Node]:
        nodes = {f"core{n}": Node(self, f"core{n}", processes.core) for n in range(1, self.plan.cores + 1)}
        if not self.plan.is_embedded:
            nodes = {"broker": Node(self, "broker", processes.broker)} | nodes
        *gated, raw = WORKERS
        nodes |= {name: Node(self, name, processes.worker) for name in gated}
        nodes[raw] = Node(self, raw, processes.raw_worker)
        nodes |= {name: Node(self, name, client.main) for name, client in self.clients.items()}
        return nodes

    # --- time, and what happened ---

    def time(self) -> float:
        """Seconds since the run began."""
        return trio.current_time()

    def now(self) -> float:
        """Unix seconds, where no clock was set."""
        return START + trio.current_time()

    def note(self, *event: Any) -> None:
        """One event of the trace."""
        self.events += 1
        text = f"{trio.current_time():.6f} {event}"
        self._digest.update(text.encode())
        if self._trace is not None:
            self._trace(text)
        if self._aims:
            self._take_aim(event)
        if self.events == EVENTS_MOST:
            self.give_up(f"more than {EVENTS_MOST} events")

    def aim(self, event: str, after: int, then: Callable[[], object]) -> None:
        """Do something right after the so-manieth event of a kind from now on; of commits those that changed jobs."""
        self._aims.append((event, after, then))

    def _take_aim(self, event: tuple[Any, ...]) -> None:
        kind = event[0]
        if kind == "commit" and len(event) == 1:
            return
        aims, self._aims = self._aims, []
        for wanted, after, then in aims:
            if wanted != kind:
                self._aims.append((wanted, after, then))
            elif after > 0:
                self._aims.append((wanted, after - 1, then))
            else:
                then()

    def forget_aims(self) -> None:
        """What has not happened by now does not happen."""
        self._aims.clear()

    def violate(self, name: str, what: str) -> None:
        """A promise was broken."""
        text = f"{name}: {what}"
        self.violations[text] = None
        self.note("VIOLATION", text)

    def give_up(self, why: str) -> None:
        """This run has no end."""
        self.violate("L7 hot loop", why)
        self.nursery.cancel_scope.cancel()

    def spawn(self, task: Callable[..., Any], *args: Any) -> None:
        """Run something outside of all nodes."""
        self._outside.run(self.nursery.start_soon, task, *args)

    # --- what the nodes tell ---

    def begin(self, execution: Execution) -> None:
        """A worker begins with an attempt: S3, its row is there; S5, nobody else is at work on the job."""
        self.note("begin", execution.job, execution.epoch, execution.worker)
        attempt = self.audit.attempt(execution.job, execution.epoch)
        if attempt is None:
            self.violate("S3 recorded first", f"{execution.job}.{execution.epoch} runs, and is not stored")
        elif execution.has_leave and attempt.started_at is None:
            self.violate("S5 leave", f"{execution.job}.{execution.epoch} runs without leave")
        for other in self.ledger.executions:
            if other.job == execution.job and other.end is None and execution.has_leave:
                self.violate("S5 overlap", f"{execution} begins during {other}")
        self.ledger.executions.append(execution)

    def told(self, id: int, answer: Any) -> None:
        """A watcher was told: S11, not before it is so in the table."""
        self.note("told", id)
        job = self.audit.jobs.get(id)
        self.ledger.tell(id, answer)
        if job is not None and job.completed is None:
            self.violate("S11 early", f"{id} is {job.status.value}, its watcher was told {answer!r}")

    # --- the course of a run ---

    async def terminate(self, name: str) -> None:
        """SIGTERM: a graceful end, as the program does it, or the kill that follows."""
        node = self.nodes[name]
        gently = node.stop_gently
        self.note("term", name)
        if node.is_up and gently is not None:
            with trio.move_on_after(DRAIN):
                await gently()
        await node.kill()

    async def run(self) -> None:
        """From the start of all nodes to the verdict."""
        self._outside = trio.lowlevel.current_task().context.copy()
        for node in self.nodes.values():
            node.start()
        self.spawn(self._keep_alive)
        await trio.sleep(WARM_UP)
        workload, faults = Workload(self), Faults(self)
        for step in self.plan.steps:
            await trio.sleep_until(WARM_UP + step.at)
            self.note("step", step.kind)
            (faults if step.kind in FAULTS else workload).perform(step.kind, dict(step.args))
        await trio.sleep_until(WARM_UP + self.plan.until)
        await settle_down(self, workload)
        check_end(self)

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(SWEEP)
            self.network.expire()

    def outcome(self) -> Outcome:
        statuses = Counter(job.status.value for job in self.audit.jobs.values())
        return Outcome(
            self.plan.seed,
            self._digest.hexdigest(),
            self.events,
            self.time(),
            tuple(self.violations),
            self.audit.moves,
            self.faults,
            statuses,
        )


def simulate(plan: Plan, trace: Callable[[str], object] | None = None) -> Outcome:
    """Run a plan. The same plan gives the same outcome."""

    async def main() -> Outcome:
        async with trio.open_nursery() as nursery:
            world = World(plan, nursery, trace)
            with listening(world):
                await world.run()
                nursery.cancel_scope.cancel()
        return world.outcome()

    return determinism.run(main, plan.seed)


class _Ear(logging.Handler):
    """Hears what the programs log as errors: whatever they did not expect."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        problem = record.exc_info[1] if record.exc_info else None
        self._world.violate("logged", f"{record.getMessage()} {problem!r}")

    def hear(self, _logger: Any, method: str, event: dict[str, Any]) -> Any:
        """The same for structlog."""
        problem = event.get("exc_info")
        if method == "error" and problem is not None:
            self._world.violate("logged", f"{event['event']} {event.get('step', '')} {problem!r}")
        raise structlog.DropEvent

    def __enter__(self) -> _Ear:
        logging.getLogger().addHandler(self)
        structlog.configure(processors=[self.hear])
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        structlog.reset_defaults()


def listening(world: World) -> _Ear:
    """While this lasts, errors in logs are violations."""
    return _Ear(world)
