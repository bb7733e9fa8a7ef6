"""The functions `gearbox\\core::...` that a core offers: typed params in, a call of the core, a JSON value out.

One function a method. Each takes the core, the params as JSON, and the `Caller`, whose `reply` it or the core calls
once with the value or an RpcError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import structlog
import trio

from abraxas_py.payload import MAX_WHOLE_BYTES
from gearbox import rpc
from gearbox.core import Core, Reply, Watcher
from gearbox.errors import Code, RpcError
from gearbox.gearman import Call
from gearbox.job import Control, Job, NewJob, Reported, Status
from gearbox.methods import objects, params
from gearbox.methods.params import typed
from gearbox.rules.answers import answer
from gearbox.rules.bundle import Item, link
from gearbox.rules.query import parse as parse_query
from gearbox.rules.recurrence import Schedule
from gearbox.steps import bundles, controls, life, operators, recurring, views
from gearbox.store import Step
from gearbox.trace import META, trace_of
from gearbox.vitals import memory_bytes

__all__ = ["METHODS", "call", "dispatch"]

log = structlog.get_logger("gearbox:rpc")

BATCH_ANSWER_LARGEST = 32 << 20  # bytes for the answers to a batch together, most of which are small
WHO_LONGEST = 255  # characters of a caller's name in the audit


@attrs.frozen
class Caller:
    """Who called, and how it gets its answer. A notification's call `is_kept` while the store fails."""

    reply: Reply
    is_kept: bool
    who: str | None
    call: Call
    traceparent: str | None = None


def ask(core: Core, step: Step, caller: Caller, show: Callable[[Any], Any] | None = None) -> None:
    """Run a step for a caller, who gets its value as `show` makes it."""
    core.ask(step, _shown(caller, show), is_kept=caller.is_kept)


def _shown(caller: Caller, show: Callable[[Any], Any] | None) -> Reply:
    """The reply that takes a value and gives the caller what `show` makes of it; an error as it is."""

    def found(value: Any) -> None:
        caller.reply(value if show is None or isinstance(value, RpcError) else show(value))

    return found


# --- queueing ---


def queue(core: Core, given: Any, caller: Caller) -> None:
    new = _new_job(typed(given, params.Queue), caller.traceparent)
    ask(core, partial(life.queue, new, who=caller.who), caller)


def queue_many(core: Core, given: Any, caller: Caller) -> None:
    token = None
    if isinstance(given, dict):
        token = typed(given, params.Token).submit_token or None
        given = given.get("jobs")
    if not isinstance(given, list):
        raise RpcError(Code.BAD_REQUEST, "params must be an array of jobs, or have one as `jobs`")
    if len(given) > bundles.BUNDLE_LIMIT:
        raise RpcError(Code.TOO_LARGE, f"more than {bundles.BUNDLE_LIMIT} jobs")
    wanted = []
    for place, one in enumerate(given):
        try:
            wanted.append(typed(one, params.Queue))
        except RpcError as error:
            raise RpcError(error.code, f"jobs[{place}]: {error.message}") from None
    links = link([one.ref for one in wanted], [one.after_ref for one in wanted], [one.before_ref for one in wanted])
    items = []
    for place, (one, (after, before)) in enumerate(zip(wanted, links, strict=True)):
        if (after is not None and one.after_id is not None) or (before is not None and one.before_id is not None):
            raise RpcError(Code.BAD_REQUEST, f"jobs[{place}]: an id and a ref for the same dependency")
        items.append(Item(attrs.evolve(_new_job(one, caller.traceparent), submit_token=None), after, before))
    ask(core, partial(bundles.queue_many, items, token, who=caller.who), caller)


def _new_job(wanted: params.Queue, traceparent: str | None) -> NewJob:
    return NewJob(
        method=wanted.name,
        arguments=wanted.args,
        priority=wanted.priority,
        dedupe=wanted.dedupe or None,
        after_date=wanted.after_date,
        after_id=wanted.after_id,
        before_id=wanted.before_id,
        max_retries=wanted.max_retries,
        retry_delay=wanted.retry_delay,
        backoff=wanted.backoff,
        retry_delay_max=wanted.retry_delay_max,
        timeout=wanted.timeout,
        expires=wanted.expires,
        submit_token=wanted.submit_token or None,
        traceparent=traceparent,
    )


def cancel(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Cancel)
    step = partial(life.cancel, wanted.id, wanted.reason or None, who=caller.who)
    ask(core, _deed(step, "cancel", wanted.id, wanted.reason, caller), caller)


def retry(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Retry)

    def show(new_ids: dict[int, int]) -> dict[str, Any]:
        return {"id": new_ids[wanted.id], "jobs": {str(old): new for old, new in new_ids.items()}}

    step = partial(bundles.retry, wanted.id, wanted.downstream, who=caller.who)
    ask(core, _deed(step, "retry", wanted.id, wanted.reason, caller), caller, show)


def reprioritise(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Reprioritise)
    step = partial(operators.reprioritise, wanted.id, wanted.priority, wanted.reason, who=caller.who)
    ask(core, _deed(step, f"reprioritise {wanted.priority.value}", wanted.id, wanted.reason, caller), caller)


def act(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Act)
    query = parse_query(wanted.query)
    what = (wanted.action.value, query, wanted.query, wanted.up_to, wanted.reason, wanted.priority, wanted.preview)
    ask(core, partial(operators.act, *what, who=caller.who), caller)


def _deed(step: Step, action: str, target: object, reason: str | None, caller: Caller) -> Step:
    """The step with a record of who asked for it."""
    return partial(operators.recorded, step, action, str(target), reason, who=caller.who)


# --- being a worker ---


def job_data(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.JobData)
    news = Reported(
        status=_reported_status(wanted.status),
        data=wanted.data,
        separator=_separator(wanted.append),
        progress=params.number_of(wanted.progress),
    )
    ask(core, partial(life.report, wanted.id, wanted.attempt, news), caller)


def job_start(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.JobStart)
    ask(core, partial(life.job_start, wanted.id, wanted.attempt, wanted.worker), caller)


def alive(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Alive)
    ask(core, partial(life.alive, wanted.id, wanted.attempt), caller)


# --- looking ---


def watch(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Watch)

    def ended(job: Job | RpcError) -> None:
        caller.reply(job if isinstance(job, RpcError) else _as_answer(answer(job)))

    core.watch(wanted.id, wanted.wait_for_id, Watcher(ended, caller.call.handle, caller.call.is_lost))


def status(core: Core, given: Any, caller: Caller) -> None:
    ids = _ids(given)
    ask(core, partial(views.status, ids), caller, lambda jobs: [objects.status_object(job) for job in jobs])


def history(core: Core, given: Any, caller: Caller) -> None:
    ask(core, partial(views.history, _id(given)), caller, objects.history_object)


def why(core: Core, given: Any, caller: Caller) -> None:
    ask(core, partial(views.explain, _id(given)), caller)


def graph(core: Core, given: Any, caller: Caller) -> None:
    ask(core, partial(views.graph, _id(given)), caller, objects.graph_object)


def stats(core: Core, given: Any, caller: Caller) -> None:
    ask(core, partial(views.stats, typed(given, params.ByMethod).method), caller)


def search(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Search)
    step = partial(views.search, parse_query(wanted.query), wanted.below, wanted.limit)
    ask(core, step, caller, objects.found_object)


def states(core: Core, given: Any, caller: Caller) -> None:
    ask(core, partial(views.states, _ids(given)), caller, objects.states_object)


def running(core: Core, given: Any, caller: Caller) -> None:
    ask(core, partial(views.running, typed(given, params.Size).limit), caller, objects.running_list)


def upcoming(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Upcoming)
    step = partial(views.upcoming, wanted.after or 0.0, wanted.above_id, wanted.limit)
    ask(core, step, caller, objects.brief_list)


def pools(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Page)
    ask(core, partial(views.pools, wanted.below, wanted.limit), caller, objects.pools_list)


def calendar(core: Core, given: Any, caller: Caller) -> None:
    until = typed(given, params.Calendar).until
    ask(core, partial(views.calendar, until), caller, objects.calendar_list)


def overview(core: Core, given: Any, caller: Caller) -> None:
    ask(core, views.overview, caller, objects.overview_object)


def latency(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Latency)
    ask(core, partial(views.latency, wanted.method, wanted.limit), caller, objects.latency_object)


def durations(core: Core, given: Any, caller: Caller) -> None:
    ask(core, views.durations, caller, objects.durations_object)


def audit(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Page)
    ask(core, partial(operators.deeds, wanted.below, wanted.limit), caller, objects.deeds_list)


def gearman(core: Core, given: Any, caller: Caller) -> None:
    core.ask_gearman(lambda link: link.view(), _shown(caller, objects.servers_list))


def system(core: Core, given: Any, caller: Caller) -> None:
    caller.reply(objects.system_object(core.instance, core.vitals, memory_bytes(), core.watchers, core.is_failing))


# --- methods ---


def methods(core: Core, given: Any, caller: Caller) -> None:
    ask(core, controls.methods, caller, lambda found: objects.methods_list(*found))


def pause(core: Core, given: Any, caller: Caller) -> None:
    _control(core, "pause", typed(given, params.ByMethod), {"is_paused": True}, caller)


def resume(core: Core, given: Any, caller: Caller) -> None:
    _control(core, "resume", typed(given, params.ByMethod), {"is_paused": False}, caller)


def limit(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Limit)
    places = "all" if wanted.concurrency is None else wanted.concurrency
    _control(core, f"limit to {places}", wanted, {"concurrency": wanted.concurrency}, caller)


def _control(
    core: Core, action: str, wanted: params.ByMethod | params.Limit, changes: dict[str, Any], caller: Caller
) -> None:
    def show(control: Control) -> dict[str, Any]:
        return {"method": wanted.method, **attrs.asdict(control)}

    step = partial(controls.control, wanted.method, changes, who=caller.who)
    ask(core, _deed(step, action, wanted.method, wanted.reason, caller), caller, show)


# --- recurring jobs ---


def schedule(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.Recurring)
    template = {
        "name": wanted.method,
        "args": None if wanted.args is None else rpc.load(wanted.args),
        "priority": wanted.priority.value,
        "dedupe": wanted.dedupe or None,
        "max_retries": wanted.max_retries,
        "retry_delay": wanted.retry_delay,
        "backoff": wanted.backoff.value,
        "retry_delay_max": wanted.retry_delay_max,
        "timeout": wanted.timeout,
    }
    if not wanted.name:
        raise RpcError(Code.BAD_REQUEST, "missing name")
    entry = Schedule(
        wanted.name, wanted.cron, wanted.timezone, wanted.overlap, wanted.missed, rpc.dump(template), 0.0, "", 0.0
    )
    step = partial(recurring.schedule, entry, who=caller.who)
    ask(core, _deed(step, "schedule", wanted.name, wanted.reason, caller), caller, objects.schedule_object)


def schedules(core: Core, given: Any, caller: Caller) -> None:
    ask(core, recurring.schedules, caller, lambda found: [objects.schedule_object(one) for one in found])


def unschedule(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.ByName)
    ask(
        core,
        _deed(partial(recurring.unschedule, wanted.name), "unschedule", wanted.name, wanted.reason, caller),
        caller,
    )


def run_now(core: Core, given: Any, caller: Caller) -> None:
    wanted = typed(given, params.RunNow)
    if (wanted.name is None) == (wanted.id is None):
        raise RpcError(Code.BAD_REQUEST, "missing name of a recurring entry, or id of a job")
    step: Step
    if wanted.name is not None:
        step = partial(recurring.run_now, wanted.name, who=caller.who)
    else:
        assert wanted.id is not None
        step = partial(operators.hurry, wanted.id, wanted.reason, who=caller.who)
    ask(core, _deed(step, "run now", wanted.id or wanted.name, wanted.reason, caller), caller)


# --- meta jobs ---


def noop(core: Core, given: Any, caller: Caller) -> None:
    caller.reply(None)


def noopwait(core: Core, given: Any, caller: Caller) -> None:
    raise RpcError(Code.BAD_REQUEST, "noopwait waits as a job only: queue it with gearbox\\core::queue")


def noopgo(core: Core, given: Any, caller: Caller) -> None:
    ask(core, partial(life.go, _id(given)), caller)


Method = Callable[[Core, Any, Caller], None]
METHODS: dict[str, Method] = {
    f"gearbox\\core::{method.__name__}": method
    for method in (
        queue, queue_many, cancel, retry, reprioritise, act, watch, job_data, job_start, alive, status, history, why,
        graph, stats, search, states, running, upcoming, pools, calendar,
        overview, latency, durations, audit, gearman, system, methods, pause,
        resume, limit, schedule, schedules, unschedule, run_now, noop, noopwait, noopgo,
    )
}  # fmt: skip


def dispatch(core: Core, call: Call) -> None:
    """Answer a Gearman job for one of `METHODS`, now or once the core has the answer. Never raises."""
    request = rpc.parse_call(call.payload, call.function, rpc.CALL_DEEPEST)
    if isinstance(request, Sequence):
        batch = _Batch(len(request), call.reply)
        for one in request:
            _dispatch(core, one, call, partial(batch.put, one.id))
    else:
        _dispatch(core, request, call, call.reply)


class _Batch:
    """The answers to a batch, which leave together when the last has come."""

    def __init__(self, calls: int, reply: Callable[[bytes], None]) -> None:
        self._left = calls
        self._reply = reply
        self._room = BATCH_ANSWER_LARGEST
        self._answers: list[bytes] = []

    def put(self, id: Any, answer: bytes) -> None:
        """Take the answer to one call; a notification has an empty one."""
        if len(answer) > self._room:  # Gearman could not carry it, and would not say so
            answer = rpc.error(id, RpcError(Code.TOO_LARGE, "too large for the answer to a batch: call by itself"))
        self._room -= len(answer)
        self._answers += [answer] if answer else []
        self._left -= 1
        if not self._left:
            self._reply(rpc.batch(self._answers) if self._answers else b"")


def _dispatch(core: Core, request: rpc.Request | rpc.Refused, call: Call, send: Callable[[bytes], None]) -> None:
    """Perform one request of those that `call` brought; its answer goes to `send`."""
    if isinstance(request, rpc.Refused):
        send(b"" if request.is_notification else rpc.error(request.id, request.error))
        return
    is_notification = request.id is None

    def reply(value: Any) -> None:
        if is_notification:
            if isinstance(value, RpcError):
                log.info("a notification failed", method=request.method, error=str(value))
            send(b"")
            return
        if isinstance(value, RpcError):
            answer = rpc.error(request.id, value)
        elif isinstance(value, _Text):
            answer = rpc.result_text(request.id, value)
        else:
            answer = rpc.result(request.id, value)
        if len(answer) > MAX_WHOLE_BYTES:  # it would be refused, and the call come again
            message = f"an answer of {len(answer)} bytes, more than Gearman can carry: ask for less at once"
            answer = rpc.error(request.id, RpcError(Code.TOO_LARGE, message))
        send(answer)

    meta = request.meta
    try:
        caller = Caller(reply, is_notification, _who(meta), call, trace_of(meta.get(META)))
        METHODS[request.method](core, request.params, caller)
    except RpcError as error:
        reply(error)
    except Exception as error:
        log.error("a call failed", method=request.method, exc_info=error)
        reply(RpcError(Code.INTERNAL, f"internal error: {type(error).__name__}"))


async def call(core: Core, name: str, given: Any, who: str | None = None, traceparent: str | None = None) -> Any:
    """Call a method, by its short name, from within this process. Raises the RpcError that it answers.

    A call that is cancelled is a caller who has left.
    """
    method = METHODS.get(f"gearbox\\core::{name}")
    if method is None:
        raise RpcError(Code.METHOD_NOT_FOUND, "method not found")
    done = trio.Event()
    answers: list[Any] = []

    def reply(value: Any) -> None:
        answers.append(value)
        done.set()

    has_left = trio.Event()
    made = Call(name, b"", lambda answer: None, b"", has_left.is_set)
    method(core, given, Caller(reply, False, who, made, traceparent))
    try:
        await done.wait()
    finally:
        has_left.set()
    if isinstance(answers[0], RpcError):
        raise answers[0]
    return rpc.load(answers[0]) if isinstance(answers[0], _Text) else answers[0]


class _Text(str):
    """A value that is JSON text already."""


def _as_answer(answer: str | RpcError) -> _Text | RpcError:
    return answer if isinstance(answer, RpcError) else _Text(answer)


def _who(meta: dict[str, Any]) -> str | None:
    """Who calls, for the audit, as the caller says."""
    who = meta.get("who")
    return who[:WHO_LONGEST] if isinstance(who, str) and who and who.isprintable() else None


def _ids(given: Any) -> list[int]:
    """The ids of a call that takes an array of them, or the same as `ids`."""
    if isinstance(given, dict):
        given = given.get("ids")
    if given is not None and not isinstance(given, list):
        raise RpcError(Code.BAD_REQUEST, "params must be an array of job ids")
    ids = []
    for value in given or []:
        id = life.id_of(value) if not isinstance(value, list) else None
        if id is None:
            raise RpcError(Code.BAD_REQUEST, f"invalid job id: {rpc.dump(value)[:100]}")
        ids.append(id)
    return ids


def _id(given: Any) -> int:
    """The id of a call that needs nothing else: `{"id": 7}`, or 7 or [7] itself."""
    id = life.id_of(given.get("id") if isinstance(given, dict) else given)
    if id is None:
        raise RpcError(Code.BAD_REQUEST, "invalid job id")
    return id


def _reported_status(word: str | None) -> Status | None:
    """An unknown word ends the job as invalid: a job whose worker speaks nonsense must not wait for ever."""
    known = {None: None, "complete": Status.COMPLETE, "errored": Status.ERRORED}
    return known.get(word, Status.INVALID)


def _separator(append: Any) -> str | None:
    """What to put before appended data; None: it replaces what is there."""
    if append is None or append is False:
        return None
    if not isinstance(append, str):
        return "\n"
    try:
        append.encode()
    except UnicodeEncodeError:
        raise RpcError(Code.BAD_REQUEST, "append: half a surrogate pair, which is no text") from None
    return append
