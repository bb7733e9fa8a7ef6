"""The model of ownership: who may run a job, and whose result counts, with every interleaving looked at.

Two cores, two workers, one Gearman server that loses nothing, one job of at most `EPOCHS` attempts. Between any two
steps of one party any steps of the others may come, so a core that is paused needs no step of its own. Besides: a core
may crash, a worker may be cut off once (its job is queued again while it works on), a result may be lost or arrive
twice, and an attempt that nobody can be seen to work on may be given up at any moment.

`explore` walks all states breadth first and says, for each thing that must not happen, the shortest way to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import attrs

__all__ = ["Design", "Findings", "explore"]

EPOCHS = 3
IDLE = 0


@attrs.frozen
class Design:
    """What keeps attempts apart."""

    unique_per_attempt: bool  # Gearman's key: the attempt's own, or the job's
    fence: bool  # a result counts for its own epoch only
    gate: bool  # a worker asks leave, which is given once, and to the current epoch only
    lease: bool  # a worker that is cut off stops before its attempt is given up
    cuts: int = 1  # how often workers may be cut off


class Worker(NamedTuple):
    """`asked` and `runs` are epochs; 0 is none."""

    asked: int = IDLE
    runs: int = IDLE
    is_cut: bool = False


class State(NamedTuple):
    """One moment. Cores hold the epoch that they have claimed and not submitted yet."""

    status: str = "ready"  # running, done
    epoch: int = 0
    cores: tuple[int, int] = (IDLE, IDLE)
    queue: frozenset[int] = frozenset()  # epochs
    workers: tuple[Worker, ...] = (Worker(), Worker())
    started: frozenset[int] = frozenset()  # epochs that were given leave
    results: frozenset[int] = frozenset()  # epochs, on their way
    cuts: int = 0
    has_run_late: bool = False  # something began that was no current attempt
    took_stale: bool = False  # a result of another epoch was taken


@attrs.frozen
class Findings:
    """Shortest ways, as the names of their steps; None: it cannot happen."""

    states: int
    overlap: tuple[str, ...] | None
    stale: tuple[str, ...] | None
    late_run: tuple[str, ...] | None
    dead_end: tuple[str, ...] | None


def explore(design: Design) -> Findings:
    """All states that can be reached."""
    start = State()
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    layer = [start]
    found: dict[str, State] = {}
    successors: dict[State, list[State]] = {}
    while layer:
        following = []
        for state in layer:
            for name in wrongs(state):
                found.setdefault(name, state)
            steps = [(name, normal(after)) for name, after in moves(state, design)]
            successors[state] = [after for _, after in steps]
            for name, after in steps:
                if after not in came_from:
                    came_from[after] = state, name
                    following.append(after)
        layer = following
    dead = _dead_end(successors)
    if dead is not None:
        found["dead end"] = dead
    ways = {name: _way(came_from, state) for name, state in found.items()}
    return Findings(len(came_from), ways.get("overlap"), ways.get("stale"), ways.get("late run"), ways.get("dead end"))


def wrongs(state: State) -> Iterator[str]:
    """What is wrong with a state."""
    if sum(worker.runs > 0 for worker in state.workers) > 1:
        yield "overlap"
    if state.took_stale:
        yield "stale"
    if state.has_run_late:
        yield "late run"


def normal(state: State) -> State:
    """Workers are alike, so are cores: one order of them stands for all."""
    return state._replace(workers=tuple(sorted(state.workers)), cores=tuple(sorted(state.cores)))  # type: ignore[arg-type]


def moves(state: State, design: Design) -> Iterator[tuple[str, State]]:
    """All that may happen next."""
    yield from _of_cores(state, design)
    yield from _of_results(state, design)
    for place, worker in enumerate(state.workers):
        for name, changed, after in _of_worker(worker, state, design):
            workers = (*after.workers[:place], changed, *after.workers[place + 1 :])
            yield name, after._replace(workers=workers)


def _of_cores(state: State, design: Design) -> Iterator[tuple[str, State]]:
    for place, claimed in enumerate(state.cores):
        others = state.cores[:place] + state.cores[place + 1 :]
        if claimed == IDLE and state.status == "ready" and state.epoch < EPOCHS:
            epoch = state.epoch + 1
            cores = (*others, epoch)
            yield f"claim {epoch}", state._replace(status="running", epoch=epoch, cores=cores)  # type: ignore[arg-type]
        if claimed:
            cores = (*others, IDLE)
            is_known = not design.unique_per_attempt and (state.queue or _on_workers(state))
            queue = state.queue if is_known else state.queue | {claimed}
            yield f"submit {claimed}", state._replace(cores=cores, queue=queue)  # type: ignore[arg-type]
            yield f"crash before submit {claimed}", state._replace(cores=cores)  # type: ignore[arg-type]
    if state.status == "running" and not _is_seen(state, design):
        yield f"give up {state.epoch}", state._replace(status="ready" if state.epoch < EPOCHS else "done")


def _on_workers(state: State) -> set[int]:
    """The epochs that Gearman knows workers to have."""
    return {epoch for worker in state.workers if not worker.is_cut for epoch in (worker.asked, worker.runs) if epoch}


def _is_seen(state: State, design: Design) -> bool:
    """Whether somebody is known to work on the current attempt: Gearman tells, or the worker's lease is not over."""
    known = _on_workers(state)
    if state.epoch in known or (not design.unique_per_attempt and known):
        return True
    return design.lease and any(worker.runs == state.epoch for worker in state.workers)


def _of_worker(worker: Worker, state: State, design: Design) -> Iterator[tuple[str, Worker, State]]:
    if worker == Worker():
        for epoch in state.queue:
            yield f"grab {epoch}", Worker(asked=epoch), state._replace(queue=state.queue - {epoch})
    if worker.asked:
        yield from _leave(worker, state, design)
    if worker.runs:
        results = state.results | {worker.runs}
        yield f"finish {worker.runs}", Worker(), state._replace(results=results)
        if worker.is_cut and design.lease:
            yield f"stop {worker.runs}", Worker(), state
    if (worker.asked or worker.runs) and not worker.is_cut and state.cuts < design.cuts:
        again = state.queue | {worker.asked or worker.runs}
        yield "cut off", worker._replace(is_cut=True), state._replace(queue=again, cuts=state.cuts + 1)


def _leave(worker: Worker, state: State, design: Design) -> Iterator[tuple[str, Worker, State]]:
    epoch = worker.asked
    is_current = state.status == "running" and state.epoch == epoch
    if not design.gate:
        late = state.has_run_late or not is_current
        yield f"run {epoch}", worker._replace(asked=IDLE, runs=epoch), state._replace(has_run_late=late)
    elif is_current and epoch not in state.started:
        started = state.started | {epoch}
        yield f"run {epoch}", worker._replace(asked=IDLE, runs=epoch), state._replace(started=started)
    else:
        yield f"refuse {epoch}", Worker(), state


def _of_results(state: State, design: Design) -> Iterator[tuple[str, State]]:
    for epoch in state.results:
        yield f"lose result {epoch}", state._replace(results=state.results - {epoch})
        is_taken = state.status == "running" and (epoch == state.epoch or not design.fence)
        if is_taken:  # its copy may follow
            stale = state.took_stale or epoch != state.epoch
            yield f"take result {epoch}", state._replace(status="done", took_stale=stale)


def _dead_end(successors: dict[State, list[State]]) -> State | None:
    """A state from which the job cannot end any more."""
    before: dict[State, list[State]] = {}
    for state, afters in successors.items():
        for after in afters:
            before.setdefault(after, []).append(state)
    todo = [state for state in successors if state.status == "done"]
    good = set(todo)
    while todo:
        for state in before.get(todo.pop(), ()):
            if state not in good:
                good.add(state)
                todo.append(state)
    return next((state for state in successors if state not in good), None)


def _way(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps = []
    while (step := came_from[state]) is not None:
        state, name = step
        steps.append(name)
    return tuple(reversed(steps))
