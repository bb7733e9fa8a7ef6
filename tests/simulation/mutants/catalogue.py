"""Faults that are planted one at a time, to see that they are found: what the predecessors had, and some of our own.

Each is a piece of text in a file and what takes its place. What lies outside the reach of the simulation (processes,
SQL of rows that are deleted, a peer's bytes) names the tests that find it instead.
"""

from __future__ import annotations

import attrs

__all__ = ["CATALOGUE", "Mutant"]


@attrs.frozen
class Mutant:
    """`old` stands exactly once in `file`. `tests` find it, where the simulation cannot."""

    name: str
    what: str
    file: str
    old: str
    new: str
    tests: str = ""


ATTEMPTS = "gearbox/rules/attempts.py"
RULES = "gearbox/rules/__init__.py"
LIFE = "gearbox/steps/life.py"
CLOCK = "gearbox/store/clock.py"
CORE = "gearbox/core.py"
ENGINE = "gearbox/engine.py"
LINK = "gearbox/gearman.py"
STATE = "abraxas_py/broker/state.py"
WAKING = "abraxas_py/broker/waking.py"
BROKER = "abraxas_py/broker/broker.py"
HANDLER = "gearbox/work/handler.py"
LEASE = "gearbox/work/lease.py"

PREDECESSOR = [
    Mutant(
        "K1",
        "an attempt that a worker has begun counts as never run",
        ATTEMPTS,
        "if job.status is Status.RUNNING and not was_started:",
        "if job.status is Status.RUNNING:",
    ),
    Mutant(
        "K2",
        "news changes a job that has ended",
        ATTEMPTS,
        "    if job.status not in ACTIVE:\n        return None\n    match event:",
        "    match event:",
    ),
    Mutant(
        "K3",
        "data of an earlier attempt counts",
        LIFE,
        "if job.status not in ACTIVE or (epoch is not None and epoch != job.epoch):",
        "if job.status not in ACTIVE:",
        tests="tests/gearbox/store/test_contract.py::test_late_and_foreign_results_change_nothing",
    ),
    Mutant(
        "K4",
        "an unknown status from a worker ends nothing",
        "gearbox/methods/__init__.py",
        "return known.get(word, Status.INVALID)",
        'return known.get(word or "")',
    ),
    Mutant(
        "K5",
        "a result for a missing job is ignored",
        ATTEMPTS,
        "        case Reported():\n",
        "        case Reported() if job.status is Status.MISSING:\n            return None\n        case Reported():\n",
        tests="tests/gearbox/test_rules.py::test_settle_moves",
    ),
    Mutant(
        "K6",
        "almost-done has no time limit",
        ATTEMPTS,
        '"ended, data to come", lease_at=now + DATA_GRACE)',
        '"ended, data to come", lease_at=None)',
    ),
    Mutant(
        "K7",
        "dedupe looks at running jobs alone",
        "gearbox/store/reading.py",
        """dedupe = :dedupe AND has_dedupe = 1 AND {one_of("status", ACTIVE)}""",
        """dedupe = :dedupe AND has_dedupe = 1 AND status = 'running'""",
        tests="tests/gearbox/store/test_contract.py::test_a_dedupe_holds_until_the_attempt_has_ended",
    ),
    Mutant(
        "K8",
        "a failed parent that used a retry tells its children nothing",
        "gearbox/store/reading.py",
        "if was is not None and job.status in TERMINAL]",
        "if was is not None and job.status in TERMINAL and not job.retries]",
    ),
    Mutant(
        "K9",
        "the sweep leaves out what waits",
        CORE,
        "(SWEEP, FULL_PAUSE)",
        "(partial(life.sweep, (Status.READY,)), FULL_PAUSE)",
        tests="tests/gearbox/test_sweep.py::test_what_nobody_looked_at_any_more_is_found_by_the_sweep",
    ),
    Mutant(
        "K10",
        "an invalid parent is no failed one",
        RULES,
        "    if facts.after in FAILED:",
        "    if facts.after in FAILED and facts.after.value != 'invalid':",
    ),
    Mutant(
        "K11",
        "a failed dependency uses up retries",
        RULES,
        "        return _errored(Code.AFTER_ERRORED, "
        """"Dependency (after) errored", f"after {job.after_id} errored", now)""",
        """        error = error_text(Code.AFTER_ERRORED, "Dependency (after) errored")
        return attempts.failed(job, NOT_STARTED, Outcome.ERRORED, error, "after errored", now, chance)""",
    ),
    Mutant(
        "K12",
        "Gearman knows a job by its dedupe",
        LINK,
        'return f"gb1.{self._database}.{job.id}.{job.epoch}".encode()',
        "return job.dedupe.encode()[:64]",
        tests="tests/gearbox/test_core.py::test_a_twin_of_a_cancelled_job_runs_although_the_worker_of_that_one_still_does",
    ),
    Mutant(
        "K13",
        "a date that has passed keeps the timer busy while the job waits for others",
        LIFE,
        "if job.status is Status.WAITING and job.opens_at is not None and job.opens_at <= moment.now:",
        "if False:",
    ),
    Mutant(
        "K14",
        "a timer beyond 24.8 days fires at once",
        ENGINE,
        "with trio.move_on_after(max(min(pause, ",
        "with trio.move_on_after(0.001 if pause > 2**31 / 1000 else max(min(pause, ",
    ),
    Mutant(
        "K15",
        "watchers and others share a few places",
        LINK,
        "MANY = 1_000_000",
        "MANY = 4",
    ),
    Mutant(
        "K16",
        "a restart loses a noopwait",
        ATTEMPTS,
        "if job.method == NOOPWAIT or job.status is Status.ALMOST_DONE:",
        "if job.status is Status.ALMOST_DONE:",
    ),
    Mutant(
        "K17",
        "a core that was declared dead goes on",
        "gearbox/steps/cores.py",
        "    if not tx.is_alive(moment.owner):",
        "    if False:",
        tests="tests/gearbox/test_cores.py",
    ),
    Mutant(
        "K18",
        "a worker's error is wrapped on its way",
        "gearbox/rules/answers.py",
        'return RpcError(data["code"], str(data["message"]), data.get("data"))',
        "return RpcError(Code.JOB_ERRORED, str(data))",
    ),
    Mutant(
        "K20",
        "what the database refused is forgotten",
        ENGINE,
        "kept = [work for work in (self._answered(work, error) for work in batch) if work.is_kept]",
        "kept = [work for work in (self._answered(work, error) for work in batch) if False]",
        tests="tests/gearbox/test_hanging_store.py::test_work_goes_on_and_is_delivered_afterwards",
    ),
    Mutant(
        "K21",
        "deleting a parent opens its children",
        "gearbox/store/schema/sqlite/0001_start.sql",
        "after_id INTEGER REFERENCES gearbox_jobs (id) ON DELETE RESTRICT",
        "after_id INTEGER REFERENCES gearbox_jobs (id) ON DELETE SET NULL",
        tests="tests/gearbox/store/test_contract.py::test_a_parent_cannot_be_deleted_under_its_child",
    ),
    Mutant(
        "K22",
        "times are whole seconds",
        "gearbox/store/rows.py",
        "row[place] = round(value * 1e6)",
        "row[place] = round(value) * 1_000_000",
    ),
    Mutant(
        "K23",
        "a long dedupe as Gearman's unique",
        LINK,
        'return f"gb1.{self._database}.{job.id}.{job.epoch}".encode()',
        'return f"gb1.{job.id}.{job.epoch}.{job.dedupe}".encode()',
    ),
    Mutant(
        "K24",
        "arguments are read as shell",
        "gearbox/work/runner.py",
        """f'{command.rstrip()} "$@"', "sh", *arguments)""",
        """command + " " + " ".join(arguments))""",
        tests="tests/gearbox/test_runner.py",
    ),
]

PREDECESSORS_SERVER = [
    Mutant(
        "A1",
        "WORK_FAIL is not heard",
        BROKER,
        "        job = self.held(peer, number, body)\n        if job is not None:\n            self.fail(job, now)",
        "        self.held(peer, number, body)",
        tests="tests/broker/test_work.py",
    ),
    Mutant(
        "A2",
        "anybody may end anybody's job",
        STATE,
        "if job is not None and job.worker is peer:",
        "if job is not None and job.worker is not None:",
        tests="tests/broker",
    ),
    Mutant(
        "A3",
        "an exception ends in the worker",
        BROKER,
        "    Type.WORK_EXCEPTION: Broker._work_exception,\n",
        "",
        tests="tests/broker",
    ),
    Mutant(
        "A4",
        "a handle is used again",
        STATE,
        "        self._submitted += 1\n",
        "        self._submitted = (self._submitted + 1) % 5\n",
    ),
    Mutant(
        "A6",
        "an ended job stays known",
        STATE,
        "        del self.jobs[job.handle]\n",
        "",
        tests="tests/broker",
    ),
    Mutant(
        "A7",
        "a running job is deleted when its client leaves",
        STATE,
        "        if job.state is RUNNING:\n            self._unindex(job)\n            if job.key:\n"
        "                self._abandoned[job.key] = job\n        else:\n            self._forget(job)",
        "        self._forget(job)",
        tests="tests/broker",
    ),
    Mutant(
        "A9",
        "who never could takes a worker away",
        BROKER,
        "if function is not None and function in peer.abilities:",
        "if function is not None:",
        tests="tests/broker",
    ),
    Mutant(
        "A10",
        "a lost worker's job is lost",
        STATE,
        "            if job.row:\n                self._amend(job, 0)\n            self._enqueue(job)",
        "            self._forget(job)",
    ),
    Mutant(
        "A11",
        "a call that was not sent when its connection was lost is nobody's",
        "abraxas_py/lifelines.py",
        "                if call.can_move:\n                    self.put(call)",
        "                if call.can_move:\n                    pass",
        tests="tests/gearbox/test_batches.py::test_calls_whose_connection_is_lost_are_made_again",
    ),
]

OWN = [
    Mutant(
        "unguarded leave",
        "every worker that asks gets leave",
        LIFE,
        "if not tx.start_attempt(id, epoch, moment.now, worker) and not _is_of(worker, tx.attempt(id, epoch)):",
        "if not tx.start_attempt(id, epoch, moment.now, worker) and False:",
    ),
    Mutant(
        "no leave asked",
        "a worker does not ask",
        HANDLER,
        "if ticket is not None and not await self._has_leave(ticket):",
        "if False:",
    ),
    Mutant(
        "stale news",
        "Gearman's word on an earlier attempt counts",
        LIFE,
        "    if job is None or job.epoch != epoch:\n        return Result()\n"
        "    return Result(actions=react(tx, moment, job, event))",
        "    if job is None:\n        return Result()\n    return Result(actions=react(tx, moment, job, event))",
        tests="tests/gearbox/store/test_contract.py::test_late_and_foreign_results_change_nothing",
    ),
    Mutant(
        "patient worker",
        "a worker that is cut off works on",
        LEASE,
        "CUT_PATIENCE = 20.0",
        "CUT_PATIENCE = 300.0",
        tests="tests/gearbox/test_lease.py::test_a_worker_has_stopped_before_the_core_gives_its_job_away",
    ),
    Mutant(
        "hasty core",
        "the next try does not wait for the worker of the last one to stop",
        ATTEMPTS,
        "pause = max(job.updated + STOPPED - now, 0.0) if event.was_started else 0.0",
        "pause = 0.0",
        tests="tests/gearbox/test_rules.py::test_after_a_lost_worker_the_next_try_waits_until_that_one_has_surely_stopped",
    ),
    Mutant(
        "hasty timeout",
        "nor after a timeout",
        ATTEMPTS,
        '"timed out", now, chance, pause=STOPPED)',
        '"timed out", now, chance)',
    ),
    Mutant(
        "hasty clock",
        "nor after a clock that was set forward",
        CLOCK,
        "    if abs(left) <= JUMP:",
        "    if True:",
        tests="tests/gearbox/store/test_clock.py",
    ),
    Mutant(
        "short grace",
        "workers have no time to come back after a restart",
        ENGINE,
        "RESTART_GRACE = 60.0",
        "RESTART_GRACE = 0.5",
        tests="tests/gearbox/test_limits.py::test_alive_keeps_a_job_whose_core_was_restarted",
    ),
    Mutant(
        "token forgotten",
        "a repeated call is another call",
        LIFE,
        "    if new.submit_token is not None:\n        known",
        "    if False:\n        known",
    ),
    Mutant(
        "open pool",
        "a target does not wait for its pool",
        RULES,
        "    if facts.pool.is_unfinished:\n        reasons",
        "    if False:\n        reasons",
    ),
    Mutant(
        "open parent",
        "a child does not wait for its parent",
        RULES,
        "    if facts.after is not None and facts.after is not Status.COMPLETE:",
        "    if False:",
    ),
    Mutant(
        "hasty pool",
        "one failed member ends its target, although others go on",
        RULES,
        "if facts.pool.has_failed and not facts.pool.is_unfinished:",
        "if facts.pool.has_failed:",
    ),
    Mutant(
        "one too many",
        "a limit lets one more run",
        RULES,
        "facts.active + facts.ahead >= control.concurrency",
        "facts.active + facts.ahead > control.concurrency",
    ),
    Mutant(
        "no pause",
        "a paused method goes on",
        RULES,
        "    if control.is_paused:",
        "    if False:",
    ),
    Mutant(
        "one retry more",
        "a job is tried once too often",
        ATTEMPTS,
        "    if job.retries < job.max_retries:\n        set |=",
        "    if job.retries <= job.max_retries:\n        set |=",
    ),
    Mutant(
        "go twice",
        "two calls let a noopwait go",
        RULES,
        "if job.method != NOOPWAIT or job.released or job.status in TERMINAL:",
        "if job.method != NOOPWAIT or job.status in TERMINAL:",
    ),
    Mutant(
        "no recovery",
        "a core that starts looks at nothing",
        CORE,
        "            await self.adopt()\n            self._not_due_before = -inf",
        "            self._not_due_before = -inf",
    ),
    Mutant(
        "one try",
        "a result is sent once",
        "gearbox/work/reporter.py",
        "            if problem is None:\n                break",
        "            if True:\n                break",
        tests="tests/gearbox/cli/test_crew.py::test_a_result_is_repeated_until_the_core_has_it",
    ),
    Mutant(
        "unheard",
        "watchers of what was stored unheard of wait on",
        CORE,
        "            if await self._answer_ended():\n                break",
        "            if True:\n                break",
        tests="tests/gearbox/test_core.py",
    ),
    Mutant(
        "unsettled",
        "a batch whose commit was uncertain is taken for lost",
        ENGINE,
        "        if done is None:\n            self._work.extendleft",
        "        if True:\n            self._work.extendleft",
        tests="tests/gearbox/test_core.py::test_a_commit_of_which_nobody_knows_is_neither_lost_nor_made_twice",
    ),
    Mutant(
        "unsent",
        "claims that were stored unheard of are not looked for",
        CORE,
        "        await self._look_for_unsent()\n",
        "",
        tests="tests/gearbox/test_core.py tests/gearbox/test_interleavings.py",
    ),
    Mutant(
        "unsent although sent",
        "after a failure, attempts that run are sent again",
        CORE,
        "                if not (self._gearman.has_sent(job) or self._has_news(job)):\n",
        "                if True:\n",
    ),
    Mutant(
        "no undo",
        "a step that fails leaves what it did",
        "gearbox/store/running.py",
        "            if savepoint is None and tx.changes.is_mixed:\n                raise Entangled from error\n"
        "            tx.changes.undo()\n",
        "",
        tests="tests/gearbox/store/test_contract.py::test_a_step_that_raises_leaves_no_trace_and_spares_its_neighbours",
    ),
    Mutant(
        "answer first",
        "a duplicate's watchers are told before its original has ended",
        ENGINE,
        "            if job.status is Status.DUPLICATE:\n                assert job.see_other is not None\n"
        "                self.watch(job.see_other, False, watcher, is_kept=True)",
        "            if job.status is Status.DUPLICATE:\n"
        "                watcher.reply(attrs.evolve(job, status=Status.COMPLETE))",
    ),
    Mutant(
        "deaf sleepers",
        "a sleeping worker is not woken",
        WAKING,
        "        while count > 0 and function.sleepers:\n",
        "        while count > 1 and function.sleepers:\n",
    ),
    Mutant(
        "no rechecks",
        "what waits for a job is not looked at when it ends",
        "gearbox/store/reading.py",
        "return [Recheck(tuple(dependents))] if dependents else []",
        "return []",
    ),
    Mutant(
        "no place given on",
        "nobody is told that a place is free",
        LIFE,
        "        actions += _next_held(tx, job.method, control)\n",
        "        pass\n",
        tests="tests/gearbox/store/test_controls.py::test_a_place_that_is_given_back_goes_to_the_next_at_once",
    ),
    Mutant(
        "expiry ignored",
        "a job that has expired is run",
        RULES,
        "if job.is_untried and job.expires is not None and job.expires <= now:",
        "if False:",
    ),
]

CATALOGUE = (*PREDECESSOR, *PREDECESSORS_SERVER, *OWN)
