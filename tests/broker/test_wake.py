"""Sleeping and waking: as many sleepers as there is work, and never one too few."""

from __future__ import annotations

from broker_stage import Stage, to

from abraxas_py.protocol.packets import Type

CLIENT, W1, W2, W3 = 1, 7, 8, 9


def noops(effects: list) -> list[int]:
    return [effect.to[0] for effect in effects if effect.message.type is Type.NOOP]


def submit(stage: Stage, function: bytes = b"f") -> list[int]:
    return noops(stage.say(CLIENT, Type.SUBMIT_JOB_BG, function, b"", b""))


def test_one_job_wakes_one_sleeper_the_one_that_sleeps_longest(stage: Stage) -> None:
    for worker in (W1, W2, W3):
        stage.sleeper(worker, b"f")
    assert submit(stage) == [W1]
    assert submit(stage) == [W2]


def test_a_sleeper_gets_one_noop_until_it_grabs(stage: Stage) -> None:
    stage.sleeper(W1, b"f")
    assert submit(stage) == [W1]
    assert submit(stage) == []
    stage.say(W1, Type.GRAB_JOB)
    stage.say(W1, Type.GRAB_JOB)
    assert stage.say(W1, Type.GRAB_JOB) == [to(W1, Type.NO_JOB)]
    assert stage.say(W1, Type.PRE_SLEEP) == []
    assert submit(stage) == [W1]


def test_pre_sleep_while_a_job_waits_is_answered_at_once(stage: Stage) -> None:
    stage.worker(W1, b"f")
    submit(stage)
    assert stage.say(W1, Type.PRE_SLEEP) == [to(W1, Type.NOOP)]


def test_a_sleeper_that_went_to_sleep_again_without_grabbing_is_woken_again(stage: Stage) -> None:
    stage.sleeper(W1, b"f")
    assert submit(stage) == [W1]
    assert stage.say(W1, Type.PRE_SLEEP) == [to(W1, Type.NOOP)]


def test_a_worker_that_does_not_answer_its_noop_costs_nobody_a_job(stage: Stage) -> None:
    stage.sleeper(W1, b"f")
    stage.sleeper(W2, b"f")
    assert submit(stage) == [W1]
    assert stage.broker.deadline == stage.now + 0.1
    assert stage.wait(0.1) == [to(W2, Type.NOOP)]
    assert stage.wait(0.1) == []
    assert stage.broker.deadline == float("inf")


def test_a_worker_that_never_grabs_is_counted_as_on_its_way_for_a_short_time_only(stage: Stage) -> None:
    stage.sleeper(W1, b"f")
    assert submit(stage) == [W1]
    stage.wait(0.1)
    stage.worker(W2, b"f")
    assert stage.say(W2, Type.PRE_SLEEP) == [to(W2, Type.NOOP)]
    assert submit(stage) == []


def test_a_late_worker_that_grabs_after_all_leaves_the_rest_to_those_who_learnt_of_it_meanwhile(stage: Stage) -> None:
    submit(stage)
    submit(stage)
    stage.worker(W1, b"f")
    assert stage.say(W1, Type.PRE_SLEEP) == [to(W1, Type.NOOP)]
    stage.wait(0.1)
    stage.sleeper(W2, b"g")
    assert stage.say(W2, Type.CAN_DO, b"f") == []
    assert stage.say(W1, Type.GRAB_JOB) == [to(W1, Type.JOB_ASSIGN, b"H:test:1", b"f", b""), to(W2, Type.NOOP)]


def test_a_woken_worker_that_takes_another_functions_job_passes_the_wake_on(stage: Stage) -> None:
    stage.sleeper(W1, b"f", b"g")
    stage.sleeper(W2, b"f", b"g")
    assert submit(stage, b"f") == [W1]
    assert submit(stage, b"g") == []
    assert stage.say(W1, Type.GRAB_JOB) == [to(W1, Type.JOB_ASSIGN, b"H:test:2", b"g", b""), to(W2, Type.NOOP)]


def test_a_woken_worker_that_leaves_passes_the_wake_on(stage: Stage) -> None:
    stage.sleeper(W1, b"f")
    stage.sleeper(W2, b"f")
    submit(stage)
    assert stage.leave(W1) == [to(W2, Type.NOOP)]


def test_a_woken_worker_that_gives_up_the_function_passes_the_wake_on(stage: Stage) -> None:
    stage.sleeper(W1, b"f")
    stage.sleeper(W2, b"f")
    submit(stage)
    assert stage.say(W1, Type.CANT_DO, b"f") == [to(W2, Type.NOOP)]


def test_a_sleeper_is_not_woken_for_a_function_that_it_gave_up(stage: Stage) -> None:
    stage.sleeper(W1, b"f", b"g")
    stage.say(W1, Type.CANT_DO, b"f")
    assert submit(stage, b"f") == []
    assert submit(stage, b"g") == [W1]


def test_can_do_while_asleep_wakes_nobody_but_the_next_job_does(stage: Stage) -> None:
    """As gearmand does."""
    submit(stage, b"g")
    stage.sleeper(W1, b"f")
    assert stage.say(W1, Type.CAN_DO, b"g") == []
    assert submit(stage, b"g") == [W1]


def test_a_worker_that_grabs_while_asleep_is_awake(stage: Stage) -> None:
    stage.sleeper(W1, b"f")
    assert stage.say(W1, Type.GRAB_JOB) == [to(W1, Type.NO_JOB)]
    assert submit(stage) == []


def test_the_stampede_of_gearmand_can_be_had(make_stage: type[Stage]) -> None:
    stage = make_stage(worker_wakeup=0)
    for worker in (W1, W2, W3):
        stage.sleeper(worker, b"f")
    assert submit(stage) == [W1, W2, W3]


def test_so_many_sleepers_may_be_woken_for_a_job(make_stage: type[Stage]) -> None:
    stage = make_stage(worker_wakeup=2)
    for worker in (W1, W2, W3):
        stage.sleeper(worker, b"f")
    assert submit(stage) == [W1, W2]


def test_grab_without_abilities_gets_no_job(stage: Stage) -> None:
    submit(stage)
    assert stage.say(W1, Type.GRAB_JOB) == [to(W1, Type.NO_JOB)]
