"""Background jobs with a journal: when they are answered, given out and removed, and what a crash leaves."""

from __future__ import annotations

import pytest
from broker_stage import Send, Stage, to
from keeping_stage import Kept, refusal

from abraxas_py.broker import Close
from abraxas_py.broker.policy import Policy
from abraxas_py.protocol.packets import Type
from abraxas_py.protocol.wire import Line

CLIENT, OTHER, WORKER, SECOND = 1, 2, 8, 9
ONE, TWO, THREE = b"H:test:1", b"H:test:2", b"H:test:3"


@pytest.fixture
def kept() -> Kept:
    return Kept()


def given(stage: Kept, peer: int = WORKER) -> bytes:
    """The payload of the job that a worker is given; empty where it gets none."""
    effects = stage.say(peer, Type.GRAB_JOB)
    if not effects:
        effects = stage.read()
    (answer,) = effects
    return answer.message.split()[2] if answer.message.type is Type.JOB_ASSIGN else b""


# Submissions


def test_a_background_job_is_answered_and_given_out_once_it_is_durable(kept: Kept) -> None:
    kept.sleeper(WORKER, b"f")
    assert kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x") == []
    assert kept.say(SECOND, Type.CAN_DO, b"f") == []
    assert kept.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.NO_JOB)]
    assert kept.ask(OTHER, b"status") == b"f\t1\t0\t2\n."
    assert kept.commit() == [to(CLIENT, Type.JOB_CREATED, ONE), to(WORKER, Type.NOOP)]
    assert given(kept) == b"x"


def test_a_foreground_job_waits_for_no_disk(kept: Kept) -> None:
    assert kept.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"x") == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert kept.pending == []


def test_a_client_that_pipelines_is_answered_in_its_order_and_others_do_not_wait(kept: Kept) -> None:
    assert kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x") == []
    assert kept.say(CLIENT, Type.ECHO_REQ, b"1") == []
    assert kept.say(OTHER, Type.ECHO_REQ, b"2") == [to(OTHER, Type.ECHO_RES, b"2")]
    first = kept.write()
    assert kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"y") == []
    assert kept.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"z") == []
    assert kept.take(kept.broker.persisted(first, kept.now)) == [
        to(CLIENT, Type.JOB_CREATED, ONE),
        to(CLIENT, Type.ECHO_RES, b"1"),
    ]
    assert kept.commit() == [to(CLIENT, Type.JOB_CREATED, TWO), to(CLIENT, Type.JOB_CREATED, THREE)]
    assert kept.say(CLIENT, Type.ECHO_REQ, b"3") == [to(CLIENT, Type.ECHO_RES, b"3")]


def test_a_connection_is_closed_behind_the_replies_that_wait(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    assert kept.hear(CLIENT, Line(b"GET / HTTP/1.1")) == []
    assert kept.commit() == [to(CLIENT, Type.JOB_CREATED, ONE), Close(CLIENT)]


def test_of_clients_that_share_an_answer_only_those_wait_that_have_to(kept: Kept) -> None:
    for client in (CLIENT, OTHER):
        kept.say(client, Type.SUBMIT_JOB, b"f", b"u", b"x")
    kept.worker(WORKER, b"f")
    kept.say(WORKER, Type.GRAB_JOB)
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"y")
    assert kept.say(WORKER, Type.WORK_DATA, ONE, b"d") == [to(OTHER, Type.WORK_DATA, ONE, b"d")]
    assert kept.commit() == [to(CLIENT, Type.JOB_CREATED, TWO), to(CLIENT, Type.WORK_DATA, ONE, b"d")]


def test_the_job_of_a_client_that_left_before_the_answer_runs(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    assert kept.leave(CLIENT) == []
    assert kept.commit() == []
    kept.worker(WORKER, b"f")
    assert given(kept) == b"x"


def test_a_refused_job_leaves_nothing_behind(kept: Kept) -> None:
    kept.sleeper(WORKER, b"f")
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"x")
    kept.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"y")
    assert kept.refuse() == [refusal(CLIENT), refusal(OTHER)]
    assert kept.ask(OTHER, b"status") == b"f\t0\t0\t1\n."
    assert kept.ask(OTHER, b"show unique jobs") == b"."
    assert kept.disk == {}
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"z")
    assert kept.commit() == [to(CLIENT, Type.JOB_CREATED, TWO), to(WORKER, Type.NOOP)]


def test_jobs_wait_for_the_disk_within_maxqueue(kept: Kept) -> None:
    kept.ask(CLIENT, b"maxqueue f 1")
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    assert kept.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"", b"y") == [
        to(OTHER, Type.ERROR, b"QUEUE_ERROR", b"Job queue is full")
    ]


def test_a_job_for_later_is_kept_with_its_instant(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (kept.now + 60), b"x")
    kept.commit()
    kept.crash()
    kept.sleeper(WORKER, b"f")
    kept.wait(59)
    assert kept.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.NO_JOB)]
    assert kept.say(WORKER, Type.PRE_SLEEP) == []
    assert kept.wait(2) == [to(WORKER, Type.NOOP)]
    assert given(kept) == b"x"


# A foreground client that joins, and a background one (B2)


def test_a_foreground_client_that_joins_and_leaves_does_not_weaken_a_background_job(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"x")
    kept.commit()
    assert kept.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"y") == [to(OTHER, Type.JOB_CREATED, ONE)]
    kept.leave(OTHER)
    assert kept.pending == []
    kept.worker(WORKER, b"f")
    assert given(kept) == b"x"


def test_a_background_submission_makes_a_foreground_job_durable(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"x")
    assert kept.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"u", b"y") == []
    assert kept.say(SECOND, Type.SUBMIT_JOB_BG, b"f", b"u", b"z") == []
    kept.leave(CLIENT)
    assert kept.commit() == [to(OTHER, Type.JOB_CREATED, ONE), to(SECOND, Type.JOB_CREATED, ONE)]
    kept.crash()
    kept.worker(WORKER, b"f")
    assert given(kept) == b"x"


def test_a_foreground_job_that_cannot_be_made_durable_stays_what_it_was(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"x")
    kept.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"u", b"y")
    assert kept.refuse() == [refusal(OTHER)]
    kept.worker(WORKER, b"f")
    assert given(kept) == b"x"
    assert kept.say(WORKER, Type.WORK_COMPLETE, ONE, b"r") == [to(CLIENT, Type.WORK_COMPLETE, ONE, b"r")]


def test_who_joins_a_foreground_job_in_the_foreground_waits_for_no_disk(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"x")
    kept.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"u", b"y")
    assert kept.say(SECOND, Type.SUBMIT_JOB, b"f", b"u", b"z") == [to(SECOND, Type.JOB_CREATED, ONE)]
    assert kept.refuse() == [refusal(OTHER)]
    kept.worker(WORKER, b"f")
    assert given(kept) == b"x"
    assert kept.say(WORKER, Type.WORK_COMPLETE, ONE, b"r") == [to((CLIENT, SECOND), Type.WORK_COMPLETE, ONE, b"r")]


def test_a_foreground_job_that_cannot_be_made_durable_and_that_nobody_waits_for_is_dropped(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"x")
    kept.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"u", b"y")
    kept.leave(CLIENT)
    assert kept.refuse() == [refusal(OTHER)]
    assert kept.ask(OTHER, b"show unique jobs") == b"."


def test_a_job_that_ends_while_it_is_made_durable_is_answered_and_not_kept(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"x")
    kept.worker(WORKER, b"f")
    kept.say(WORKER, Type.GRAB_JOB)
    kept.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"u", b"y")
    assert kept.say(WORKER, Type.WORK_COMPLETE, ONE, b"r") == []
    assert kept.commit() == [to(OTHER, Type.JOB_CREATED, ONE), to(CLIENT, Type.WORK_COMPLETE, ONE, b"r")]
    assert kept.disk == {}


# Ends


def test_the_end_is_told_when_the_job_can_run_no_more(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"x")
    kept.commit()
    kept.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"")
    kept.worker(WORKER, b"f")
    given(kept)
    assert kept.say(WORKER, Type.WORK_COMPLETE, ONE, b"r") == []
    assert kept.say(WORKER, Type.ECHO_REQ, b"e") == []
    assert kept.say(CLIENT, Type.GET_STATUS, ONE) == []
    assert kept.say(SECOND, Type.GET_STATUS_UNIQUE, b"u") == []
    assert kept.commit() == [
        to(OTHER, Type.WORK_COMPLETE, ONE, b"r"),
        to(WORKER, Type.ECHO_RES, b"e"),
        to(CLIENT, Type.STATUS_RES, ONE, b"0", b"0", b"0", b"0"),
        to(SECOND, Type.STATUS_RES_UNIQUE, b"u", b"0", b"0", b"0", b"0", b"0"),
    ]
    assert kept.disk == {}


def test_a_worker_goes_on_without_waiting_for_the_disk(kept: Kept) -> None:
    for data in (b"x", b"y"):
        kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", data)
    kept.commit()
    kept.worker(WORKER, b"f")
    assert given(kept) == b"x"
    kept.say(WORKER, Type.WORK_COMPLETE, ONE, b"")
    assert given(kept) == b"y"


@pytest.mark.parametrize("end", [Type.WORK_FAIL, Type.WORK_EXCEPTION])
def test_a_failed_job_is_kept_no_more(kept: Kept, end: Type) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    kept.commit()
    kept.worker(WORKER, b"f")
    given(kept)
    kept.say(WORKER, end, ONE, *[b"why"][: end is Type.WORK_EXCEPTION])
    kept.commit()
    assert kept.disk == {}


def test_a_cancelled_job_is_kept_no_more(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    kept.commit()
    kept.ask(OTHER, b"cancel job " + ONE)
    kept.commit()
    assert kept.disk == {}


def test_a_job_cancelled_before_it_is_durable_is_answered_and_not_kept(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    kept.ask(OTHER, b"cancel job " + ONE)
    assert kept.commit() == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert kept.disk == {}


def test_a_recurring_job_stays_and_has_its_next_instant_kept(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_SCHED, b"f", b"", b"*", b"*", b"*", b"*", b"*", b"x")
    kept.commit()
    kept.sleeper(WORKER, b"f")
    kept.wait(61)
    assert given(kept) == b"x"
    kept.say(WORKER, Type.WORK_COMPLETE, ONE, b"")
    kept.commit()
    (record,) = kept.disk.values()
    assert record.due_at > kept.now
    kept.crash()
    kept.sleeper(WORKER, b"f")
    assert kept.wait(61) == [to(WORKER, Type.NOOP)]
    assert given(kept) == b"x"


# Crashes


def test_after_a_crash_jobs_are_there_in_their_order_with_their_handles(kept: Kept) -> None:
    for type, data in [(Type.SUBMIT_JOB_BG, b"x"), (Type.SUBMIT_JOB_BG, b"y"), (Type.SUBMIT_JOB_HIGH_BG, b"z")]:
        kept.say(CLIENT, type, b"f", b"", data)
    kept.commit()
    kept.crash()
    assert kept.say(CLIENT, Type.GET_STATUS, ONE) == [to(CLIENT, Type.STATUS_RES, ONE, b"1", b"0", b"0", b"0")]
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"new")
    assert kept.commit() == [to(CLIENT, Type.JOB_CREATED, b"H:test2:1")]
    kept.worker(WORKER, b"f")
    assert [given(kept) for _ in range(4)] == [b"z", b"x", b"y", b"new"]
    assert len(kept.disk) == 4


def test_a_submission_joins_a_job_from_before_the_crash(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"x")
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"-", b"y")
    kept.commit()
    kept.crash()
    assert kept.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"") == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"-", b"y") == [to(CLIENT, Type.JOB_CREATED, TWO)]


def test_a_job_that_ran_at_the_crash_runs_again_with_its_losses_counted(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    kept.commit()
    kept.worker(WORKER, b"f")
    given(kept)
    kept.leave(WORKER)
    kept.commit()
    kept.crash()
    assert kept.ask(CLIENT, b"show jobs") == b"H:test:1\t1\t0\t1\n."
    kept.worker(WORKER, b"f")
    assert given(kept) == b"x"


def test_a_reducer_survives(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_REDUCE_JOB_BACKGROUND, b"f", b"u", b"r", b"", b"x")
    kept.commit()
    kept.crash()
    kept.worker(WORKER, b"f")
    kept.say(WORKER, Type.GRAB_JOB_ALL)
    assert kept.read() == [to(WORKER, Type.JOB_ASSIGN_ALL, ONE, b"f", b"u", b"r", b"x")]


# Payloads on disk


def test_payloads_over_the_limit_stay_on_disk_until_a_worker_wants_them() -> None:
    kept = Kept(resident_bytes=10)
    for n in range(3):
        kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"%d" % n * 8)
        kept.commit()
    kept.worker(WORKER, b"f")
    (first,) = kept.say(WORKER, Type.GRAB_JOB)
    assert first == to(WORKER, Type.JOB_ASSIGN, ONE, b"f", b"0" * 8)
    assert kept.say(WORKER, Type.GRAB_JOB) == []
    assert kept.say(WORKER, Type.ECHO_REQ, b"e") == []
    assert kept.read() == [to(WORKER, Type.JOB_ASSIGN, TWO, b"f", b"1" * 8), to(WORKER, Type.ECHO_RES, b"e")]
    assert kept.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, THREE, b"f", b"2" * 8)]


def test_payloads_are_asked_for_before_they_are_wanted(kept: Kept) -> None:
    for n in range(2000):
        kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"%d" % n)
    kept.commit()
    kept.crash()
    kept.worker(WORKER, b"f")
    waits = 0
    for n in range(2000):
        answer = kept.say(WORKER, Type.GRAB_JOB)
        if not answer:
            waits += 1
            answer = kept.read()
        elif kept.wanted:
            kept.read()
        assert answer[0].message.split()[2] == b"%d" % n
    assert waits == 1


def test_a_payload_that_did_not_come_with_the_others_is_asked_for_again(kept: Kept) -> None:
    for data in (b"x", b"y"):
        kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", data)
    kept.commit()
    kept.crash()
    for peer in (WORKER, SECOND):
        kept.worker(peer, b"f")
        assert kept.say(peer, Type.GRAB_JOB) == []
    assert kept.read(limit=1) == [to(WORKER, Type.JOB_ASSIGN, ONE, b"f", b"x")]
    assert kept.read(limit=1) == [to(SECOND, Type.JOB_ASSIGN, TWO, b"f", b"y")]


def test_a_payload_that_cannot_be_read_is_given_out_later(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    kept.commit()
    kept.crash()
    kept.worker(WORKER, b"f")
    kept.say(WORKER, Type.GRAB_JOB)
    rows, kept.wanted = kept.wanted, []
    assert kept.take(kept.broker.unreadable(rows, kept.now)) == [to(WORKER, Type.NO_JOB)]
    assert kept.say(WORKER, Type.PRE_SLEEP) == []
    assert kept.wait(6) == [to(WORKER, Type.NOOP)]
    assert given(kept) == b"x"


def test_a_worker_lost_while_its_payload_is_read_leaves_the_job_to_others(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    kept.commit()
    kept.crash()
    kept.worker(WORKER, b"f")
    kept.worker(SECOND, b"f")
    kept.say(WORKER, Type.GRAB_JOB)
    kept.leave(WORKER)
    assert kept.read() == []
    assert kept.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.JOB_ASSIGN, ONE, b"f", b"x")]


def test_a_job_cancelled_while_its_payload_is_read_is_no_job(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    kept.commit()
    kept.crash()
    kept.worker(WORKER, b"f")
    kept.say(WORKER, Type.GRAB_JOB)
    assert kept.hear(CLIENT, Line(b"cancel job " + ONE)) == [
        to(WORKER, Type.NO_JOB),
        Send(Line(b"OK\r"), (CLIENT,)),
    ]
    assert kept.read() == []


def test_without_a_journal_nothing_is_asked_of_one(stage: Stage) -> None:
    assert stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x") == [to(CLIENT, Type.JOB_CREATED, ONE)]


# Several servers


def test_a_server_that_was_declared_dead_goes_on_with_what_is_its_own(kept: Kept) -> None:
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"x")
    kept.commit()
    kept.say(CLIENT, Type.SUBMIT_JOB, b"g", b"", b"y")
    kept.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"", b"z")
    assert kept.fence() == [refusal(OTHER)]
    kept.worker(WORKER, b"f", b"g")
    assert kept.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, TWO, b"g", b"y")]
    assert kept.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.NO_JOB)]
    assert kept.say(WORKER, Type.WORK_COMPLETE, TWO, b"r") == [to(CLIENT, Type.WORK_COMPLETE, TWO, b"r")]
    kept.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"", b"z")
    assert kept.commit() == [to(OTHER, Type.JOB_CREATED, b"H:test:4")]
    assert given(kept) == b"z"


def test_whoever_has_to_do_with_a_job_that_is_given_up_is_cut_off_and_hears_nothing(kept: Kept) -> None:
    for number in (b"1", b"2"):
        kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u" + number, number)
    kept.commit()
    assert kept.say(OTHER, Type.SUBMIT_JOB, b"f", b"u1", b"") == [to(OTHER, Type.JOB_CREATED, ONE)]
    for worker in (WORKER, SECOND):
        kept.worker(worker, b"f")
        kept.say(worker, Type.GRAB_JOB)
    kept.say(SECOND, Type.WORK_COMPLETE, TWO, b"r")
    asking = 3
    kept.say(asking, Type.GET_STATUS, TWO)
    assert set(kept.fence()) == {Close(OTHER), Close(WORKER), Close(SECOND), Close(asking)}
    for peer in (OTHER, WORKER, SECOND, asking):
        assert kept.leave(peer) == []
    assert kept.take_over() == []
    kept.worker(WORKER, b"f")
    assert [given(kept), given(kept)] == [b"1", b"2"]


def test_what_another_server_has_left_wakes_workers_and_keeps_its_handles_and_its_dead(kept: Kept) -> None:
    other = Kept(policies=(Policy("bad"),))
    other.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"x")
    other.say(CLIENT, Type.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (other.now + 50), b"later")
    other.say(CLIENT, Type.SUBMIT_JOB_BG, b"bad", b"", b"y")
    other.commit()
    other.worker(WORKER, b"bad")
    other.say(WORKER, Type.GRAB_JOB)
    other.say(WORKER, Type.WORK_FAIL, THREE)
    other.commit()
    kept.disk = other.disk
    kept.sleeper(WORKER, b"f")
    assert kept.take_over() == [to(WORKER, Type.NOOP)]
    assert list(kept.broker.dead) == [THREE]
    assert kept.say(CLIENT, Type.GET_STATUS, ONE)[0].message.split()[1] == b"1"
    assert kept.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"") == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert given(kept) == b"x"
    kept.say(WORKER, Type.WORK_COMPLETE, ONE, b"r")
    assert kept.commit() == [to(CLIENT, Type.WORK_COMPLETE, ONE, b"r")]
    assert len(kept.disk) == 2
    kept.wait(50)
    assert given(kept) == b"later"
