"""Two cores in the same millisecond, on a database server. Numbers: the interleavings of the design.

More rounds than CI has time for: `GEARBOX_TEST_RACES=500 pytest tests/gearbox/store/test_races.py`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import pytest
from mariadb_stage import MariaDb
from mysql_proxy_stage import Proxy
from race_stage import Track, track
from store_stage import NOW

from gearbox.errors import RpcError
from gearbox.job import ACTIVE, Control, Ended, NewJob, Outcome, Reported, Status
from gearbox.rules.recurrence import Missed, Overlap, Schedule
from gearbox.steps import controls, cores, life, orphans, recurring
from gearbox.store import Lock, Moment, Result, Step, Tx
from gearbox.store.address import MysqlAddress

pytestmark = pytest.mark.mariadb

ROUNDS = int(os.environ.get("GEARBOX_TEST_RACES", "8"))
LATER = NOW + 100
NOOPWAIT = "gearbox\\core::noopwait"
TEMPLATE = (
    '{"name":"a::b","args":null,"priority":"normal","dedupe":null,"max_retries":0,"retry_delay":1,'
    '"backoff":"fixed","retry_delay_max":3600,"timeout":null}'
)


@pytest.fixture
def it(mysql: MysqlAddress, mariadb: MariaDb) -> Iterator[Track]:
    with track(mysql) as it:
        yield it
    mariadb.reset(mysql.database)


def queue(**fields: Any) -> Step:
    return partial(life.queue, NewJob(**({"method": "a::b"} | fields)))


def complete(id: int, epoch: int | None = None, data: str = "1") -> Step:
    return partial(life.report, id, epoch, Reported(Status.COMPLETE, data))


def fail(id: int, epoch: int | None = None) -> Step:
    return partial(life.report, id, epoch, Reported(Status.ERRORED, '"no"'))


def look(id: int) -> Step:
    return partial(life.look, id)


def until_somebody_waits(mariadb: MariaDb) -> None:
    """For a lock. The server looks again only when nobody has asked for a tenth of a second."""
    until = time.monotonic() + 10
    while mariadb.sql("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'") != [(1,)]:
        assert time.monotonic() < until, "nobody waits"
        time.sleep(0.15)


def ends(it: Track, id: int) -> int:
    return sum(event.status is Status.COMPLETE and event.was is not Status.COMPLETE for event in it.audit(id))


def test_i1_a_claim_whose_answer_is_lost_is_one_attempt_that_is_sent_once(
    mysql: MysqlAddress, mariadb: MariaDb
) -> None:
    proxy = Proxy(mariadb.port)
    with track(mysql, attrs.evolve(mysql, port=proxy.port, unix_socket=None)) as it:
        for n in range(ROUNDS):
            ids = [it.other.do(queue(after_date=NOW + 50)) for _ in range(4)]
            (proxy.cut_after if n % 2 else proxy.cut_before)(b"COMMIT")
            it.race(life.take_due, life.take_due, LATER)
            it.one.do(life.take_due, LATER)
            for id in ids:
                assert len(it.attempts(id)) == 1
                assert Counter(it.sent)[id, 1] == 1
        assert len(it.sent) == 4 * ROUNDS
    assert proxy.cuts == ROUNDS
    proxy.close()
    mariadb.reset(mysql.database)


def test_i3_the_same_result_to_two_cores_at_once_counts_once(it: Track) -> None:
    for _ in range(ROUNDS):
        id = it.one.do(queue())
        it.race(complete(id, 1), complete(id, 1))
        assert it.status(id) is Status.COMPLETE
        assert ends(it, id) == 1


def test_i3_a_result_and_gearmans_end_at_once_complete_the_job(it: Track) -> None:
    for _ in range(ROUNDS):
        id = it.one.do(queue())
        it.race(partial(life.settle, id, 1, Ended()), complete(id, 1))
        assert it.status(id) is Status.COMPLETE
        assert ends(it, id) == 1


def test_i4_a_late_result_to_one_core_changes_nothing_of_the_next_try(it: Track) -> None:
    for _ in range(ROUNDS):
        id = it.one.do(queue(max_retries=1))
        it.one.do(fail(id, 1))
        it.one.do(look(id), LATER)
        it.race(complete(id, 1, '"late"'), complete(id, 2, '"right"'), LATER)
        assert it.job(id).result_data == '"right"'
        assert [attempt.outcome for attempt in it.attempts(id)] == [Outcome.ERRORED, Outcome.COMPLETE]


def test_i5_a_failure_and_the_loss_of_its_watcher_use_up_one_try(it: Track) -> None:
    for _ in range(ROUNDS):
        id = it.one.do(queue(max_retries=3))
        it.one.do(partial(life.job_start, id, 1, "w"))
        it.race(fail(id, 1), partial(orphans.vanish, id, 1, 15.0))
        assert it.job(id).retries == 1
        assert it.status(id) is Status.WAITING


def test_i6_a_child_that_is_inserted_while_its_parent_ends_runs_once(it: Track) -> None:
    for _ in range(ROUNDS):
        parent = it.one.do(queue())
        _, child = it.race(complete(parent), queue(after_id=parent))
        assert it.status(child) is Status.RUNNING
        assert Counter(it.sent)[child, 1] == 1


def test_i7_a_member_joins_a_pool_before_its_target_is_claimed_or_is_refused(it: Track) -> None:
    for _ in range(ROUNDS):
        target = it.one.do(queue(after_date=NOW + 50))
        _, member = it.race(look(target), queue(before_id=target), LATER)
        if isinstance(member, RpcError):
            assert member.code == 409
            assert it.status(target) is Status.RUNNING
        else:
            assert it.status(target) is Status.WAITING
            assert it.attempts(target) == []
            it.one.do(complete(member), LATER)
            assert it.status(target) is Status.RUNNING


def test_i7_a_call_that_is_made_again_while_its_first_is_stored_is_answered_alike(it: Track, mariadb: MariaDb) -> None:
    target = it.one.do(queue(after_date=NOW + 50))
    has_begun = threading.Event()
    call = queue(before_id=target, method="gearbox\\core::noop", submit_token="again")

    def store(tx: Tx, moment: Moment) -> Result:
        tx.job(target, Lock.EXCLUSIVE)
        has_begun.set()
        until_somebody_waits(mariadb)
        result = call(tx, moment)
        life.look(target, tx, moment)  # its only member has ended, and its date has come
        return result

    def again(tx: Tx, moment: Moment) -> Result:
        has_begun.wait(10)
        return call(tx, moment)

    first, second = it.race(store, again, LATER)
    assert it.status(target) is Status.RUNNING
    assert second == first


@pytest.mark.parametrize("ending", [complete, fail])
def test_i8_the_last_two_members_of_a_pool_decide_its_target_once(it: Track, ending: Any) -> None:
    for _ in range(ROUNDS):
        target = it.one.do(queue(after_date=NOW - 1, method=NOOPWAIT))
        target = it.one.do(queue(after_id=target))
        gate = it.job(target).after_id
        assert gate is not None
        members = [it.one.do(queue(before_id=target)) for _ in range(2)]
        it.one.do(partial(life.go, gate))
        assert it.status(target) is Status.WAITING
        it.race(complete(members[0]), ending(members[1]))
        if ending is complete:
            assert it.status(target) is Status.RUNNING
            assert Counter(it.sent)[target, 1] == 1
        else:
            assert it.status(target) is Status.ERRORED
            assert [event.status for event in it.audit(target)].count(Status.ERRORED) == 1


def test_i9_of_two_jobs_of_a_dedupe_that_become_due_at_once_one_runs(it: Track) -> None:
    for n in range(ROUNDS):
        ids = [it.one.do(queue(dedupe=f"D{n}", after_date=NOW + 50)) for _ in range(2)]
        it.race(look(ids[0]), look(ids[1]), LATER)
        jobs = sorted((it.job(id) for id in ids), key=lambda job: job.status is not Status.RUNNING)
        assert [job.status for job in jobs] == [Status.RUNNING, Status.DUPLICATE]
        assert jobs[1].see_other == jobs[0].id


def test_i9_of_two_jobs_of_a_dedupe_that_are_queued_at_once_one_runs(it: Track) -> None:
    for n in range(ROUNDS):
        ids = it.race(queue(dedupe=f"D{n}"), queue(dedupe=f"D{n}"))
        assert sorted(it.status(id).value for id in ids) == ["duplicate", "running"]


def test_i9_a_job_that_comes_while_its_twin_takes_the_last_place_is_a_duplicate(it: Track, mariadb: MariaDb) -> None:
    it.one.do(partial(controls.control, "a::b", {"concurrency": 1}))
    it.other.do(partial(life.sweep, [], 0))  # so that it knows
    has_begun = threading.Event()

    def claim(tx: Tx, moment: Moment) -> Result:
        tx.active("a::b")
        has_begun.set()
        until_somebody_waits(mariadb)
        return queue(dedupe="D")(tx, moment)

    def come(tx: Tx, moment: Moment) -> Result:
        has_begun.wait(10)
        return queue(dedupe="D")(tx, moment)

    first, second = it.race(claim, come)
    assert it.status(first) is Status.RUNNING
    assert it.status(second) is Status.DUPLICATE


def test_i10_an_original_that_meets_its_own_dedupe_again_passes_its_watchers_on(it: Track) -> None:
    for n in range(ROUNDS):
        original = it.one.do(queue(dedupe=f"D{n}", max_retries=1))
        double = it.one.do(queue(dedupe=f"D{n}"))
        it.one.do(fail(original))
        _, third = it.race(look(original), queue(dedupe=f"D{n}"), LATER)
        statuses = [it.status(id) for id in (original, double, third)]
        assert statuses.count(Status.RUNNING) == 1
        ends = {it.one.do(partial(life.watch, id)).id for id in (original, double, third)}
        assert len(ends) == 1


def test_i11_a_noopwait_is_let_go_by_one_of_two_cores(it: Track) -> None:
    for _ in range(ROUNDS):
        id = it.one.do(queue(method=NOOPWAIT))
        assert sorted(it.race(partial(life.go, id), partial(life.go, id))) == [False, True]
        assert it.status(id) is Status.COMPLETE


def test_i11_a_noopgo_that_comes_while_its_noopwait_begins_is_not_lost(it: Track) -> None:
    for _ in range(ROUNDS):
        id = it.one.do(queue(method=NOOPWAIT, after_date=NOW + 50))
        _, did = it.race(look(id), partial(life.go, id), LATER)
        assert did is True
        it.one.do(look(id), LATER)
        assert it.status(id) is Status.COMPLETE


def test_i14_of_a_cancel_and_a_result_at_once_one_decides(it: Track) -> None:
    for _ in range(ROUNDS):
        id = it.one.do(queue())
        did, _ = it.race(partial(life.cancel, id, "no"), complete(id, 1))
        assert it.status(id) is (Status.INVALID if did else Status.COMPLETE)
        (attempt,) = it.attempts(id)
        assert attempt.outcome is (Outcome.CANCELLED if did else Outcome.COMPLETE)
        assert len(it.audit(id)) == 4  # the loser is noted


def test_i20_of_two_calls_that_close_a_circle_one_is_refused(it: Track) -> None:
    for _ in range(ROUNDS):
        a, b = (it.one.do(queue(after_date=LATER)) for _ in range(2))
        answers = it.race(queue(after_id=a, before_id=b), queue(after_id=b, before_id=a))
        assert [answer.code for answer in answers if isinstance(answer, RpcError)] == [400]


def test_what_is_due_for_both_is_started_once(it: Track) -> None:
    ids = [it.one.do(queue(after_date=NOW + 50)) for _ in range(5 * ROUNDS)]
    it.race(life.take_due, life.take_due, LATER)
    it.race(life.take_due, life.take_due, LATER)
    assert Counter(it.sent) == {(id, 1): 1 for id in ids}


def test_a_recurring_entry_that_is_due_for_both_is_fired_once(it: Track) -> None:
    entry = Schedule("minutely", "* * * * *", "UTC", Overlap.ALLOW, Missed.ONCE, TEMPLATE, 0.0, "", 0.0)
    it.one.do(partial(recurring.schedule, entry))
    for n in range(1, ROUNDS + 1):
        fire = partial(recurring.fire, "minutely")
        it.race(fire, fire, NOW + 60 * n)
        assert len(it.sent) == n


def test_a_run_that_comes_to_wait_while_its_duplicate_ends_is_made(it: Track) -> None:
    template = TEMPLATE.replace('"dedupe":null', '"dedupe":"D"')
    entry = Schedule("minutely", "* * * * *", "UTC", Overlap.QUEUE, Missed.ONCE, template, 0.0, "", 0.0)
    fire = partial(recurring.fire, "minutely")
    for n in range(ROUNDS):
        now = NOW + 300 * n
        other = it.one.do(queue(dedupe="D"), now)
        it.one.do(partial(recurring.schedule, entry), now)
        it.one.do(fire, now + 60)
        it.race(fire, complete(other), now + 120)
        stored = it.one.do(lambda tx, moment: Result(tx.schedule("minutely")))
        assert (stored.waiting, it.status(stored.last_job)) == (0, Status.RUNNING)
        it.one.do(complete(stored.last_job), now + 121)
        it.one.do(partial(recurring.unschedule, "minutely"), now + 121)


def test_a_limit_holds_for_all_cores_together(it: Track) -> None:
    it.one.do(partial(controls.control, "a::b", {"concurrency": 3}))
    ids: list[int] = []
    for _ in range(ROUNDS):
        ids += it.race(queue(), queue())
        active = [id for id in ids if it.status(id) in ACTIVE]
        assert len(active) <= 3
        if len(active) == 3:
            it.race(complete(active[0]), complete(active[1]))
    for _ in range(len(ids)):
        active = [id for id in ids if it.status(id) in ACTIVE]
        assert len(active) <= 3
        if not active:
            break
        it.race(complete(active[0]), complete(active[-1]))
    assert {it.status(id) for id in ids} == {Status.COMPLETE}


def test_a_pause_is_seen_by_the_other_core_at_once(it: Track) -> None:
    for _ in range(ROUNDS):
        it.one.do(partial(controls.control, "a::b", {"is_paused": True}))
        id = it.other.do(queue())
        assert it.status(id) is Status.READY
        it.other.do(partial(controls.control, "a::b", {"is_paused": False}))
        assert it.status(id) is Status.RUNNING
        assert it.status(it.one.do(queue())) is Status.RUNNING


def test_a_job_that_comes_while_the_other_core_resumes_its_method_starts(it: Track, mariadb: MariaDb) -> None:
    resume = partial(controls.control, "a::b", {"is_paused": False})
    has_come = threading.Event()

    def come_after(tx: Tx, moment: Moment) -> Result:
        it.other.do(resume)  # and by what this core has read, it is paused
        return queue()(tx, moment)

    def come_before(tx: Tx, moment: Moment) -> Result:
        result = queue()(tx, moment)
        has_come.set()
        until_somebody_waits(mariadb)
        return result

    def resume_late(tx: Tx, moment: Moment) -> Result:
        has_come.wait(10)
        return resume(tx, moment)

    it.one.do(partial(controls.control, "a::b", {"is_paused": True}))
    assert it.status(it.one.do(come_after)) is Status.RUNNING
    it.one.do(partial(controls.control, "a::b", {"is_paused": True}))
    id, _ = it.race(come_before, resume_late)
    assert it.status(id) is Status.RUNNING


def test_a_limit_that_the_other_core_lowers_meanwhile_holds(it: Track) -> None:
    def come(tx: Tx, moment: Moment) -> Result:
        it.other.do(partial(controls.control, "a::b", {"concurrency": 1}))
        return queue()(tx, moment)

    it.one.do(partial(controls.control, "a::b", {"concurrency": 3}))
    assert it.status(it.one.do(queue())) is Status.RUNNING
    assert it.status(it.one.do(come)) is Status.READY


def test_a_limit_that_is_set_while_the_other_core_pauses_the_method_leaves_it_paused(it: Track) -> None:
    def limit(tx: Tx, moment: Moment) -> Result:
        it.other.do(partial(controls.control, "a::b", {"is_paused": True}))
        return controls.control("a::b", {"concurrency": 5}, tx, moment)

    it.one.do(partial(controls.control, "a::b", {"concurrency": 3}))
    assert it.one.do(limit) == Control(is_paused=True, concurrency=5)


def test_what_a_dead_core_left_is_adopted_once(it: Track) -> None:
    for racer in (it.one, it.other):
        racer.do(partial(cores.join, racer.name))
    ids = [it.one.do(queue()) for _ in range(ROUNDS)]
    for id in ids:
        it.one.do(partial(life.job_start, id, 1, "w"))
    it.one.do(cores.leave)
    it.one.name = "third"
    it.one.do(partial(cores.join, "third"))
    recover = partial(orphans.recover, 60.0, 0)
    it.race(recover, recover)
    for id in ids:
        assert it.job(id).owner in ("third", "other")
        assert [event.why for event in it.audit(id) if event.why.startswith("adopted")] == ["adopted from core one"]


def test_what_a_core_has_adopted_that_joined_meanwhile_is_its_own(it: Track, mariadb: MariaDb) -> None:
    for racer in (it.one, it.other):
        racer.do(partial(cores.join, racer.name))
    id = it.one.do(queue())
    it.one.do(partial(life.job_start, id, 1, "w"))
    it.one.do(cores.leave)
    it.one.name = "third"
    has_adopted = threading.Event()
    recover = partial(orphans.recover, 60.0, 0)

    def join_and_adopt(tx: Tx, moment: Moment) -> Result:
        cores.join("third", tx, moment)
        adopted = recover(tx, moment)
        tx.write()  # type: ignore[attr-defined]
        has_adopted.set()
        until_somebody_waits(mariadb)
        return adopted

    def come(tx: Tx, moment: Moment) -> Result:
        has_adopted.wait(10)
        return recover(tx, moment)

    it.race(join_and_adopt, come)
    assert it.job(id).owner == "third"
    assert [event.why for event in it.audit(id) if event.why.startswith("adopted")] == ["adopted from core one"]


def test_a_core_is_declared_dead_by_one(it: Track) -> None:
    for racer in (it.one, it.other):
        racer.do(partial(cores.join, racer.name))
    for n in range(ROUNDS):
        (victim,) = it.one.do(partial(joined, f"victim {n}"))
        assert sorted(map(len, it.race(partial(cores.bury, [victim]), partial(cores.bury, [victim])))) == [0, 1]


def joined(id: str, tx: Tx, moment: Moment) -> Result:
    tx.add_core(id, id, moment.now)
    return Result([core for core in tx.cores() if core.id == id])
