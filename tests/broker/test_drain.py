"""A drain: the jobs that run end, and what they need is done; nothing else begins."""

from __future__ import annotations

from broker_stage import Send, Stage, to

from abraxas_py.protocol.packets import Packet, Type

ONE, TWO, THREE, FOUR = (b"H:test:%d" % number for number in (1, 2, 3, 4))
CLIENT, WAITING, WORKER, SECOND = 1, 2, 8, 9


def draining(stage: Stage) -> Stage:
    """WORKER runs a background job, another one waits, and SECOND sleeps."""
    stage.worker(WORKER, b"f")
    for _ in range(2):
        stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"")
    stage.say(WORKER, Type.GRAB_JOB)
    stage.sleeper(SECOND, b"g")
    assert not stage.broker.is_drained
    stage.broker.drain()
    assert not stage.broker.is_drained
    return stage


def test_no_background_job_is_given_out_and_nobody_is_woken_for_one(stage: Stage) -> None:
    draining(stage)
    assert stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"g", b"", b"") == [to(CLIENT, Type.JOB_CREATED, THREE)]
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.NO_JOB)]
    assert stage.say(SECOND, Type.PRE_SLEEP) == []
    assert stage.say(WORKER, Type.WORK_COMPLETE, ONE, b"") == []
    assert stage.broker.is_drained
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.NO_JOB)]
    assert stage.ask(CLIENT, b"status") == b"f\t1\t0\t1\ng\t1\t0\t1\n."


def test_what_a_client_waits_for_is_done_for_it_may_be_doing_a_job_that_runs(stage: Stage) -> None:
    draining(stage)
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"g", b"", b"")
    assert stage.say(WORKER, Type.SUBMIT_JOB, b"g", b"", b"x") == [
        to(WORKER, Type.JOB_CREATED, FOUR),
        to(SECOND, Type.NOOP),
    ]
    assert stage.say(SECOND, Type.PRE_SLEEP) == [to(SECOND, Type.NOOP)]
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.JOB_ASSIGN, FOUR, b"g", b"x")]
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.NO_JOB)]
    assert stage.say(SECOND, Type.WORK_COMPLETE, FOUR, b"y") == [to(WORKER, Type.WORK_COMPLETE, FOUR, b"y")]


def test_however_many_background_jobs_stand_before_it(stage: Stage) -> None:
    stage.worker(WORKER, b"f")
    stage.say(WORKER, Type.SUBMIT_JOB_BG, b"f", b"", b"")
    stage.say(WORKER, Type.GRAB_JOB)
    background = Packet(Type.SUBMIT_JOB_BG, b"f\0\0")
    stage.connect(CLIENT)
    stage.hear_all(CLIENT, *[background] * 2000)
    stage.say(WORKER, Type.SUBMIT_JOB, b"f", b"", b"1")
    stage.broker.drain()
    stage.hear_all(CLIENT, *[background] * 2000)
    stage.say(WORKER, Type.SUBMIT_JOB, b"f", b"", b"2")
    assert stage.ask(CLIENT, b"status") == b"f\t4003\t1\t1\n."
    assert stage.ask(CLIENT, b"prioritystatus") == b"f\t0\t4002\t0\t1\n."
    stage.worker(SECOND, b"f")
    assert [assigned(stage), assigned(stage)] == [(Type.JOB_ASSIGN, b"1"), (Type.JOB_ASSIGN, b"2")]
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.NO_JOB)]


def assigned(stage: Stage) -> tuple[Type, bytes]:
    """SECOND grabs: what it gets, with what data."""
    (sent,) = stage.say(SECOND, Type.GRAB_JOB)
    assert isinstance(sent, Send)
    assert isinstance(sent.message, Packet)
    return sent.message.type, sent.message.split()[-1]


def test_a_background_job_that_a_client_joins_is_done_and_not_where_that_client_leaves(stage: Stage) -> None:
    draining(stage)
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"g", b"", b"")
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"g", b"unique", b"x")
    joined = [to(WAITING, Type.JOB_CREATED, FOUR), to(SECOND, Type.NOOP)]
    assert stage.say(WAITING, Type.SUBMIT_JOB, b"g", b"unique", b"") == joined
    stage.leave(WAITING)
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.NO_JOB)]
    assert stage.say(SECOND, Type.PRE_SLEEP) == []
    assert stage.say(WAITING, Type.SUBMIT_JOB, b"g", b"unique", b"") == joined
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.JOB_ASSIGN, FOUR, b"g", b"x")]
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.NO_JOB)]


def test_all_that_a_client_leaves_is_withheld_and_what_others_wait_for_keeps_its_turn(stage: Stage) -> None:
    stage.worker(WORKER, b"f")
    submitted = ((WAITING, b"f", b"1"), (CLIENT, b"f", b"2"), (CLIENT, b"g", b"3"), (WAITING, b"f", b"4"))
    for client, function, unique in (*submitted, (CLIENT, b"f", b"5")):
        stage.say(client, Type.SUBMIT_JOB_BG, function, unique, unique)
        stage.say(client, Type.SUBMIT_JOB, function, unique, b"")
    stage.broker.drain()
    stage.leave(CLIENT)
    stage.worker(SECOND, b"f", b"g")
    assert [assigned(stage), assigned(stage)] == [(Type.JOB_ASSIGN, b"1"), (Type.JOB_ASSIGN, b"4")]
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.NO_JOB)]
    stage.say(WAITING, Type.SUBMIT_JOB, b"f", b"5", b"")
    assert assigned(stage) == (Type.JOB_ASSIGN, b"5")
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.NO_JOB)]


def test_a_withheld_job_can_be_cancelled(stage: Stage) -> None:
    draining(stage)
    assert stage.ask(CLIENT, b"cancel job " + TWO) == b"OK\r"
    assert stage.ask(CLIENT, b"status") == b"f\t1\t1\t1\ng\t0\t0\t1\n."
    stage.resume()
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.NO_JOB)]


def test_jobs_that_begin_during_a_drain_are_not_waited_for(stage: Stage) -> None:
    draining(stage)
    stage.say(CLIENT, Type.SUBMIT_JOB, b"g", b"", b"")
    stage.say(SECOND, Type.GRAB_JOB)
    stage.broker.drain()
    stage.say(WORKER, Type.WORK_COMPLETE, ONE, b"")
    assert stage.broker.is_drained


def test_a_server_that_is_served_again_gives_out_all_jobs(stage: Stage) -> None:
    draining(stage)
    stage.resume()
    assert not stage.broker.is_drained
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, TWO, b"f", b"")]


def test_and_wakes_those_who_can_do_them(stage: Stage) -> None:
    draining(stage)
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"g", b"", b"")
    assert stage.resume() == [to(SECOND, Type.NOOP)]
    assert stage.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.JOB_ASSIGN, THREE, b"g", b"")]
