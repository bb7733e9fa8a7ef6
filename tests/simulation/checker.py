"""The end of a run: faults stop, everything is given time, then what was promised is compared with what was seen."""

from __future__ import annotations

from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import trio

from gearbox import rules
from gearbox.client import Gearbox
from gearbox.errors import RpcError
from gearbox.job import TERMINAL, Job, Outcome, Status
from gearbox.rpc import dump
from gearbox.rules import answers
from gearbox.rules.answers import json_of
from tests.simulation import invariants
from tests.simulation.ledger import Call, told
from tests.simulation.plan import METHODS, RAW
from tests.simulation.processes import deed_of

if TYPE_CHECKING:
    from tests.simulation.workload import Workload
    from tests.simulation.world import World

__all__ = ["check_end", "settle_down"]

PATIENCE = 600.0  # s without faults in which everything must come to its end
STABLE = 65.0  # s after the last fault: keepalive, and every pause between tries, are over
TRIES = 4  # that a job has at most, each of which may take its time
LOST = frozenset({Outcome.MISSING, Outcome.RELEASED, Outcome.WORKER_FAILED, Outcome.REFUSED})
PROBE = 1.0  # s that a job of no length may take then (L1, L5)


async def settle_down(world: World, workload: Workload) -> None:
    """Stop all faults, undo what operators did, and wait for every job and every call."""
    world.note("calm")
    world.forget_aims()
    _mend(world)
    began = world.time()
    await trio.sleep(2.0)
    prober = world.clients["prober"]
    for call in world.ledger.calls.values():
        if call.id is None and call.refused is None:
            workload.queue("prober", call)
    released: set[int] = set()
    while True:
        await trio.sleep(1.0)
        _mend(world)
        if not world.ledger.is_operated and not workload.is_calm:
            prober.do(workload.calm_down)  # now: two calls of one client may be heard in the other order
        for id, job in list(world.audit.jobs.items()):
            if id in released or job.status in TERMINAL:
                continue
            now = world.now() + world.database.skew  # as the cores have it: what a job waits for may have moved away
            if (job.opens_at or 0.0) > now + PATIENCE - TRIES * STABLE:
                released.add(id)
                prober.do(workload.give_up, id)
            elif job.method == rules.NOOPWAIT:
                released.add(id)
                prober.do(workload.let_go, id)
        calm = world.time() - began
        if calm > PATIENCE or (calm > world.plan.quiet and _is_over(world, workload)):
            if await _probe(world, workload):
                return
            if calm > STABLE:
                world.violate("L1 probe", f"a chain of three jobs has not ended after {PROBE} s")
                return


def _is_over(world: World, workload: Workload) -> bool:
    """Nobody waits, nobody works, nothing is left to do."""
    return (
        workload.is_calm
        and not world.ledger.waiting
        and all(job.status in TERMINAL for job in world.audit.jobs.values())
        and all(execution.end is not None for execution in world.ledger.executions)
    )


def _mend(world: World) -> None:
    """No fault is left."""
    world.database.faults.clear()
    world.database.unheard.clear()
    world.database.latency = 0.0005
    world.network.lag = 0.0
    for way in world.network.cuts():
        world.network.heal(*way)
    for node in world.nodes.values():
        node.go_on()
        node.start()


async def _probe(world: World, workload: Workload) -> bool:
    """L1, L5, L6: on a sound system, a chain of three jobs ends at once, and its watcher hears of it."""
    ended = trio.Event()

    async def probe(gearbox: Gearbox) -> None:
        with suppress(RpcError):  # a database that was slow may be at a batch of that time still
            first = await gearbox.queue(METHODS[0], {"do": [["ok", 0.0]]})
            second = await gearbox.queue(METHODS[1], {"do": [["ok", 0.0]]}, after_id=first)
            third = await gearbox.queue(rules.NOOP, after_id=second)
            await workload.watch(gearbox, third)
            ended.set()

    world.clients["prober"].do(probe)
    with trio.move_on_after(PROBE):
        await ended.wait()
    return ended.is_set()


def check_end(world: World) -> None:
    """Everything that the ledger and the table say of each other."""
    _check_liveness(world)
    _check_calls(world)
    _check_answers(world)
    _check_results(world)
    _check_graph(world)
    world.audit.check_all()
    rows = world.database.rows
    for row in rows.execute(invariants.COUNTS).fetchall():
        world.violate("counts", f"{row} is not what the rows say")
    for id, count in world.ledger.released.items():
        if count > 1:
            world.violate("S13 noopgo", f"{id} was let go {count} times")
    for execution in world.ledger.executions:
        if execution.end is None:
            world.violate("L8 worker", f"{execution} has no end")


def _check_liveness(world: World) -> None:
    for id, job in world.audit.jobs.items():
        if job.status not in TERMINAL:
            world.violate("L7 stuck", f"{id} is {job.status.value} {job.method}: {_last_event(world, id)}")
    for what in world.ledger.waiting.values():
        world.violate("L6 call", f"{what} was never answered")


def _last_event(world: World, id: int) -> str:
    rows = world.database.rows.execute(
        "SELECT to_status, why FROM gearbox_events WHERE job_id = ? ORDER BY seq DESC LIMIT 3", (id,)
    )
    return "; ".join(f"{status} ({why})" for status, why in rows)


def _check_calls(world: World) -> None:
    """S1 and S2: what was said about each queue call is what the table says."""
    tokens: dict[str, list[int]] = {}
    for id, token in world.database.rows.execute(
        "SELECT id, submit_token FROM gearbox_jobs WHERE submit_token LIKE 'token %'"
    ):
        tokens.setdefault(token, []).append(id)
    for call in world.ledger.calls.values():
        ids = tokens.get(call.token, [])
        if len(ids) > 1:
            world.violate("S2 token", f"call {call.n} is stored as {ids}")
        if call.id is not None and ids != [call.id]:
            world.violate("S1 ack", f"call {call.n} was acknowledged as {call.id}, stored is {ids}")
        if call.id in world.audit.jobs:
            _check_stored(world, call, world.audit.jobs[call.id])
        if call.refused is not None and call.id is None and ids and not call.is_unknown:
            world.violate("S1 refused", f"call {call.n} was refused with {call.refused}, and is stored as {ids}")
        if call.id is None and call.refused is None:
            world.violate("L8 queue", f"call {call.n} has no answer")


def _check_stored(world: World, call: Call, job: Job) -> None:
    """S1: what is stored is what was asked for, to the last letter and the microsecond."""
    args = call.params["args"]
    if job.arguments != (None if args is None else dump(args)):
        world.violate("S1 stored", f"{job.id} was to have {args!r:.200}, its row has {job.arguments!r:.200}")
    for name, at in (("after_date", job.after_date), ("expires", job.expires)):
        asked = call.params.get(name)
        if (asked is None) != (at is None) or (asked is not None and abs(asked / 1000 - at) > 2e-6):
            world.violate("S1 stored", f"{job.id} was to have {name} {asked} ms, its row has {at} s")


def _check_answers(world: World) -> None:
    """S11: all watchers of a job were told the same, and that is what its row says."""
    for id, said in world.ledger.watched.items():
        if id not in world.audit.jobs:
            continue
        original = world.audit.resolve(id)
        if original.status not in TERMINAL:
            continue
        answer = answers.answer(original)
        right = told(answers.json_of(answer)) if isinstance(answer, str) else told(answer)
        if set(said) != {right}:
            world.violate("S11 watch", f"watchers of {id} were told {list(said)}, its row says {right}")


def _check_results(world: World) -> None:
    """S12: a result is what the accepted attempt reported; and without faults, each job ends as its plan says."""
    is_calm = not world.plan.faults
    for id, job in world.audit.jobs.items():
        if job.method not in (*METHODS, RAW) or job.status is not Status.COMPLETE:
            continue
        seen = world.audit.seen[id]
        accepted = [attempt.epoch for attempt in seen.attempts if attempt.outcome is Outcome.COMPLETE]
        if accepted != [job.epoch]:
            world.violate("S12 accepted", f"{id} is complete at {job.epoch}, its attempts at {accepted}")
        epochs = range(1, job.epoch + 1) if job.method == RAW else [job.epoch]
        reported = [dump(data) for epoch in epochs for data in world.ledger.reported.get((id, epoch), ())]
        if job.result_data not in reported:
            world.violate("S12 result", f"{id} has {str(job.result_data)[:60]}, reported was {reported[:2]}")
    for job in world.audit.jobs.values():
        if is_calm:
            _check_plan(world, job)
        _check_failure(world, job)


def _check_failure(world: World, job: Job) -> None:
    """S11, S12: whoever watches a job whose worker failed hears the worker's own words."""
    if job.status is not Status.ERRORED or job.method not in METHODS or not job.epoch:
        return
    last = world.audit.seen[job.id].attempts[-1]
    deed, _ = deed_of(json_of(job.arguments), job.epoch)
    if last.outcome is Outcome.ERRORED and deed == "fail" and last.ended_at == job.completed:
        wanted = ("error", 7, "as planned", repr({"attempt": job.epoch}))
        for said in world.ledger.watched.get(job.id, ()):
            if said != wanted:
                world.violate("S11 failure", f"watchers of {job.id} were told {said}, its worker said {wanted}")


def _check_plan(world: World, job: Job) -> None:
    """Without faults nothing is lost, and each job ends as its deeds say."""
    is_planned = job.method in (*METHODS, RAW)
    attempts = world.audit.seen[job.id].attempts
    for attempt in attempts:
        if attempt.outcome in LOST and not (is_planned and _planned_end(job, attempt.epoch) is attempt.outcome):
            world.violate("calm", f"{job.id}.{attempt.epoch} ended as {attempt.outcome.value} without a fault")
    ends = [attempt.outcome for attempt in attempts]
    if not is_planned or job.timeout is not None or Outcome.CANCELLED in ends or not ends:
        return
    for epoch, outcome in enumerate(ends, 1):
        if outcome is not _planned_end(job, epoch):
            world.violate("calm", f"{job.id}.{epoch} ended as {outcome}")
    is_retried = ends[-1] is Outcome.ERRORED and job.retries < job.max_retries and job.status is Status.ERRORED
    if is_retried and "Dependency" not in str(job.result_data):
        world.violate("calm", f"{job.id} gave up after {job.retries} of {job.max_retries} retries")


def _planned_end(job: Job, epoch: int) -> Outcome:
    """What becomes of an attempt at which nothing goes wrong."""
    deed, _ = deed_of(json_of(job.arguments), epoch)
    if deed == "fail" or (deed == "nonsense" and job.method == RAW):
        return Outcome.ERRORED
    return Outcome.MISSING if deed == "mute" and job.method == RAW else Outcome.COMPLETE


def _check_graph(world: World) -> None:
    """S10."""
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for id, job in world.audit.jobs.items():
        sorter.add(id, *([job.after_id] if job.after_id else []))
        if job.before_id:
            sorter.add(job.before_id, id)
    try:
        sorter.prepare()
    except CycleError as circle:
        world.violate("S10 cycle", f"{circle.args[1]}")
