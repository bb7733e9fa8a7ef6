"""What workers report, who hears it, and what becomes of a job whose worker is lost."""

from __future__ import annotations

import pytest
from broker_stage import Stage, to

from abraxas_py.protocol.packets import Type

ONE, TWO = b"H:test:1", b"H:test:2"
CLIENT, OTHER, WORKER, SECOND = 1, 2, 8, 9
NOT_FOUND = (b"JOB_NOT_FOUND", b"Job given in work result not found")


@pytest.fixture
def running(stage: Stage) -> Stage:
    """A foreground job of CLIENT that WORKER runs."""
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"x")
    stage.worker(WORKER, b"f")
    stage.say(WORKER, Type.GRAB_JOB)
    return stage


@pytest.mark.parametrize(
    ("type", "rest"),
    [
        (Type.WORK_DATA, [b"a\0b"]),
        (Type.WORK_WARNING, [b""]),
        (Type.WORK_STATUS, [b"0.25", b"1"]),
        (Type.WORK_COMPLETE, [b"\0\0"]),
    ],
)
def test_reports_reach_the_client_unchanged(running: Stage, type: Type, rest: list[bytes]) -> None:
    assert running.say(WORKER, type, ONE, *rest) == [to(CLIENT, type, ONE, *rest)]


def test_work_fail_reaches_the_client_as_the_bare_handle(running: Stage) -> None:
    assert running.say(WORKER, Type.WORK_FAIL, ONE + b"\0") == [to(CLIENT, Type.WORK_FAIL, ONE)]


def test_work_complete_of_the_bare_handle_is_an_empty_result(running: Stage) -> None:
    assert running.say(WORKER, Type.WORK_COMPLETE, ONE) == [to(CLIENT, Type.WORK_COMPLETE, ONE, b"")]


@pytest.mark.parametrize("type", [Type.WORK_DATA, Type.WORK_WARNING, Type.WORK_STATUS, Type.WORK_EXCEPTION])
def test_other_reports_of_the_bare_handle_are_refused_and_change_nothing(running: Stage, type: Type) -> None:
    (effect,) = running.say(WORKER, type, ONE)
    assert effect.message.body.startswith(b"INVALID_PACKET\0")
    assert running.say(WORKER, Type.WORK_COMPLETE, ONE, b"y") == [to(CLIENT, Type.WORK_COMPLETE, ONE, b"y")]


def test_a_report_after_the_end_is_refused(running: Stage) -> None:
    running.say(WORKER, Type.WORK_COMPLETE, ONE, b"")
    assert running.say(WORKER, Type.WORK_COMPLETE, ONE, b"") == [to(WORKER, Type.ERROR, *NOT_FOUND)]
    assert running.say(WORKER, Type.WORK_FAIL, ONE) == [to(WORKER, Type.ERROR, *NOT_FOUND)]


def test_only_the_worker_that_holds_a_job_may_report_on_it(running: Stage) -> None:
    for peer in (CLIENT, OTHER, SECOND):
        assert running.say(peer, Type.WORK_COMPLETE, ONE, b"forged") == [to(peer, Type.ERROR, *NOT_FOUND)]
    assert running.say(WORKER, Type.WORK_COMPLETE, ONE, b"true") == [to(CLIENT, Type.WORK_COMPLETE, ONE, b"true")]


def test_an_exception_goes_to_those_who_asked_and_is_a_failure_for_the_others(running: Stage) -> None:
    assert running.say(OTHER, Type.OPTION_REQ, b"exceptions") == [to(OTHER, Type.OPTION_RES, b"exceptions")]
    running.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"")
    assert running.say(WORKER, Type.WORK_EXCEPTION, ONE, b"oops") == [
        to(OTHER, Type.WORK_EXCEPTION, ONE, b"oops"),
        to(CLIENT, Type.WORK_FAIL, ONE),
    ]
    assert running.broker.jobs == {}


def test_work_fail_after_an_exception_is_passed_over_once(running: Stage) -> None:
    running.say(WORKER, Type.WORK_EXCEPTION, ONE, b"")
    assert running.say(WORKER, Type.WORK_FAIL, ONE) == []
    assert running.say(WORKER, Type.WORK_FAIL, ONE) == [to(WORKER, Type.ERROR, *NOT_FOUND)]


def test_work_complete_after_an_exception_is_refused(running: Stage) -> None:
    running.say(WORKER, Type.WORK_EXCEPTION, ONE, b"")
    assert running.say(WORKER, Type.WORK_COMPLETE, ONE, b"") == [to(WORKER, Type.ERROR, *NOT_FOUND)]


def test_an_unknown_option_is_refused(stage: Stage) -> None:
    assert stage.say(CLIENT, Type.OPTION_REQ, b"speed") == [
        to(CLIENT, Type.ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")
    ]


# Lost workers


def test_a_lost_workers_job_goes_to_the_tail_of_its_queue_and_wakes_a_sleeper(running: Stage) -> None:
    running.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"second")
    running.say(WORKER, Type.WORK_STATUS, ONE, b"1", b"2")
    running.worker(SECOND, b"f")
    running.leave(WORKER)
    assert running.ask(OTHER, b"show jobs") == b"H:test:1\t1\t0\t0\nH:test:2\t0\t0\t0\n."
    assert running.say(OTHER, Type.GET_STATUS, ONE) == [to(OTHER, Type.STATUS_RES, ONE, b"1", b"0", b"0", b"0")]
    given = [running.say(SECOND, Type.GRAB_JOB)[0].message.split()[0] for _ in range(2)]
    assert given == [TWO, ONE]


def test_a_lost_worker_wakes_a_sleeper_for_its_job(running: Stage) -> None:
    running.sleeper(SECOND, b"f")
    assert running.leave(WORKER) == [to(SECOND, Type.NOOP)]


def test_after_so_many_losses_a_job_fails(make_stage: type[Stage]) -> None:
    stage = make_stage(job_retries=2)
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"")
    for worker, effects in [(WORKER, []), (SECOND, [to(CLIENT, Type.WORK_FAIL, ONE)])]:
        stage.worker(worker, b"f")
        stage.say(worker, Type.GRAB_JOB)
        assert stage.leave(worker) == effects
    assert stage.broker.jobs == {}


def test_client_and_worker_both_gone_drop_a_foreground_job(running: Stage) -> None:
    running.leave(CLIENT)
    running.leave(WORKER)
    assert running.broker.jobs == {}
    assert running.ask(OTHER, b"status") == b"f\t0\t0\t0\n."


def test_a_peer_may_be_client_and_worker_of_one_job(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"")
    stage.worker(CLIENT, b"f")
    stage.say(CLIENT, Type.GRAB_JOB)
    assert stage.leave(CLIENT) == []
    assert stage.broker.jobs == {}


def test_a_worker_may_finish_what_it_runs_of_a_function_that_it_gave_up(running: Stage) -> None:
    running.say(WORKER, Type.RESET_ABILITIES)
    assert running.ask(OTHER, b"status") == b"f\t1\t1\t0\n."
    assert running.say(WORKER, Type.WORK_COMPLETE, ONE, b"") == [to(CLIENT, Type.WORK_COMPLETE, ONE, b"")]


# Time limits


@pytest.fixture
def limited(stage: Stage) -> Stage:
    """A job that WORKER runs with half a second to do it."""
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"x")
    stage.say(WORKER, Type.CAN_DO_TIMEOUT, b"f", b"500")
    stage.say(WORKER, Type.GRAB_JOB)
    return stage


def test_a_time_limit_is_in_milliseconds_and_gives_the_job_to_another(limited: Stage) -> None:
    limited.sleeper(SECOND, b"f")
    assert limited.wait(0.499) == []
    assert limited.wait(0.001) == [to(SECOND, Type.NOOP)]
    assert limited.say(SECOND, Type.GRAB_JOB) == [to(SECOND, Type.JOB_ASSIGN, ONE, b"f", b"x")]


def test_a_late_result_is_passed_over(limited: Stage) -> None:
    limited.wait(1)
    assert limited.say(WORKER, Type.WORK_DATA, ONE, b"late") == []
    assert limited.say(WORKER, Type.WORK_COMPLETE, ONE, b"late") == []
    assert limited.say(WORKER, Type.WORK_COMPLETE, ONE, b"late") == [to(WORKER, Type.ERROR, *NOT_FOUND)]
    assert limited.ask(OTHER, b"status") == b"f\t1\t0\t1\n."


def test_a_time_limit_may_fail_the_job_instead(make_stage: type[Stage]) -> None:
    stage = make_stage(fail_on_timeout=True)
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"x")
    stage.say(WORKER, Type.CAN_DO_TIMEOUT, b"f", b"500")
    stage.say(WORKER, Type.GRAB_JOB)
    assert stage.wait(0.5) == [to(CLIENT, Type.WORK_FAIL, ONE)]


def test_a_time_limit_holds_for_every_job_and_outlives_a_pre_sleep(limited: Stage) -> None:
    limited.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"y")
    limited.say(WORKER, Type.GRAB_JOB)
    limited.say(WORKER, Type.PRE_SLEEP)
    limited.wait(0.5)
    assert limited.broker.functions[b"f"].running == 0
    assert limited.broker.functions[b"f"].queued == 2


def test_no_timer_is_left_behind(limited: Stage) -> None:
    limited.say(WORKER, Type.WORK_COMPLETE, ONE, b"")
    assert limited.broker.deadline == float("inf")
    assert limited.wait(10) == []
    assert limited.broker.functions[b"f"].running == 0


@pytest.mark.parametrize("timeout", [b"0", b"\0\0\0\1", b"soon", b""])
def test_a_time_limit_that_is_none_registers_all_the_same(stage: Stage, timeout: bytes) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"x")
    assert stage.say(WORKER, Type.CAN_DO_TIMEOUT, b"f", timeout) == []
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, ONE, b"f", b"x")]
    assert stage.broker.deadline == float("inf")


# Streaming


def test_a_lost_streaming_worker_fails_foreground_jobs_and_requeues_background_ones(stage: Stage) -> None:
    assert stage.say(WORKER, Type.OPTION_REQ, b"streaming") == [to(WORKER, Type.OPTION_RES, b"streaming")]
    stage.worker(WORKER, b"f")
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"")
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"")
    stage.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.say(WORKER, Type.GRAB_JOB)
    stage.say(WORKER, Type.GRAB_JOB)
    assert stage.leave(WORKER) == [to(CLIENT, Type.WORK_FAIL, ONE), to(OTHER, Type.WORK_FAIL, TWO)]
    assert stage.ask(CLIENT, b"show jobs") == b"H:test:2\t1\t0\t1\n."


def test_a_streaming_worker_that_takes_too_long_fails_foreground_jobs_and_requeues_background_ones(
    limited: Stage,
) -> None:
    limited.say(WORKER, Type.OPTION_REQ, b"streaming")
    limited.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"")
    limited.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"")
    limited.say(WORKER, Type.GRAB_JOB)
    limited.say(WORKER, Type.WORK_DATA, ONE, b"beginning")
    assert limited.wait(0.5) == [to(CLIENT, Type.WORK_FAIL, ONE), to(OTHER, Type.WORK_FAIL, TWO)]
    assert limited.say(WORKER, Type.WORK_COMPLETE, ONE, b"late") == []
    assert limited.ask(CLIENT, b"show jobs") == b"H:test:2\t1\t0\t1\n."


def test_a_streaming_client_may_not_share_a_foreground_job(stage: Stage) -> None:
    stage.say(CLIENT, Type.OPTION_REQ, b"streaming")
    (effect,) = stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    assert effect.message.type is Type.ERROR
    assert stage.broker.jobs == {}
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"") == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"") == [to(CLIENT, Type.JOB_CREATED, TWO)]


# Questions


def test_get_status_of_an_unknown_handle_is_four_zeros(stage: Stage) -> None:
    assert stage.say(CLIENT, Type.GET_STATUS, b"H" * 70) == [
        to(CLIENT, Type.STATUS_RES, b"H" * 70, b"0", b"0", b"0", b"0")
    ]


def test_get_status_tells_progress_as_the_worker_wrote_it(running: Stage) -> None:
    running.say(WORKER, Type.WORK_STATUS, ONE, b"0.25", b"1")
    assert running.say(OTHER, Type.GET_STATUS, ONE) == [to(OTHER, Type.STATUS_RES, ONE, b"1", b"1", b"0.25", b"1")]


def test_get_status_unique_answers_with_the_unique_and_counts_clients(running: Stage) -> None:
    running.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"")
    assert running.say(OTHER, Type.GET_STATUS_UNIQUE, b"u") == [
        to(OTHER, Type.STATUS_RES_UNIQUE, b"u", b"1", b"1", b"0", b"0", b"2")
    ]
    assert running.say(OTHER, Type.GET_STATUS_UNIQUE, b"") == [
        to(OTHER, Type.STATUS_RES_UNIQUE, b"", b"0", b"0", b"0", b"0", b"0")
    ]


def test_a_running_job_that_nobody_waits_for_is_told_of_until_it_ends(running: Stage) -> None:
    def known() -> list[bytes]:
        (effect,) = running.say(OTHER, Type.GET_STATUS_UNIQUE, b"u")
        return effect.message.body.split(b"\0")[1:3]  # type: ignore[union-attr]

    running.leave(CLIENT)
    assert known() == [b"1", b"1"]
    running.say(WORKER, Type.WORK_COMPLETE, ONE, b"")
    assert known() == [b"0", b"0"]


def test_echo(stage: Stage) -> None:
    assert stage.say(CLIENT, Type.ECHO_REQ, b"a\0b") == [to(CLIENT, Type.ECHO_RES, b"a\0b")]


@pytest.mark.parametrize(
    "type", [Type.UNUSED, Type.NOOP, Type.JOB_CREATED, Type.NO_JOB, Type.JOB_ASSIGN, Type.ECHO_RES, Type.ALL_YOURS]
)
def test_what_only_a_server_says_is_refused(stage: Stage, type: Type) -> None:
    assert stage.say(CLIENT, type) == [to(CLIENT, Type.ERROR, b"INVALID_COMMAND", b"Command not expected")]


@pytest.mark.parametrize(("numerator", "denominator"), [(b"1" * 33, b"2"), (b"1", b"2" * 33), (b"1", b"2\x003")])
def test_progress_that_is_no_two_numbers_is_refused_and_changes_nothing(
    stage: Stage, numerator: bytes, denominator: bytes
) -> None:
    stage.worker(WORKER, b"f")
    (created,) = stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"")
    handle = created.message.body
    stage.say(WORKER, Type.GRAB_JOB)
    stage.say(WORKER, Type.WORK_STATUS, handle, b"1" * 32, b"2" * 32)
    refused = stage.say(WORKER, Type.WORK_STATUS, handle, numerator, denominator)
    assert refused == [to(WORKER, Type.ERROR, b"INVALID_ARGUMENT", b"Progress must be two numbers")]
    known = to(CLIENT, Type.STATUS_RES, handle, b"1", b"1", b"1" * 32, b"2" * 32)
    assert stage.say(CLIENT, Type.GET_STATUS, handle) == [known]


def test_a_handle_may_end_in_nul_and_in_nothing_else(stage: Stage) -> None:
    (created,) = stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"")
    handle = created.message.body
    known = to(CLIENT, Type.STATUS_RES, handle, b"1", b"0", b"0", b"0")
    assert stage.say(CLIENT, Type.GET_STATUS, handle + b"\0") == [known]
    unknown = to(CLIENT, Type.STATUS_RES, handle + b" ", b"0", b"0", b"0", b"0")
    assert stage.say(CLIENT, Type.GET_STATUS, handle + b" ") == [unknown]
    assert stage.say(CLIENT, Type.GET_STATUS_UNIQUE, b"u\0")[0].message.body.startswith(b"u\0001\000")
    assert stage.say(CLIENT, Type.GET_STATUS_UNIQUE, b"u ")[0].message.body.startswith(b"u \0000\000")


def test_who_submits_a_reducers_job_in_the_foreground_hears_of_its_end(stage: Stage) -> None:
    stage.worker(WORKER, b"f")
    for type, told in (
        (Type.SUBMIT_REDUCE_JOB, [CLIENT]),
        (Type.SUBMIT_REDUCE_JOB_BACKGROUND, []),
    ):
        (created,) = stage.say(CLIENT, type, b"f", b"", b"r", b"", b"x")
        stage.say(WORKER, Type.GRAB_JOB_ALL)
        ended = stage.say(WORKER, Type.WORK_COMPLETE, created.message.body, b"done")
        assert [peer for effect in ended for peer in effect.to] == told
    refused = stage.say(CLIENT, Type.SUBMIT_REDUCE_JOB, b"f", b"", b"r" * 513, b"", b"x")
    assert refused == [to(CLIENT, Type.ERROR, b"ARGUMENT_TOO_LARGE", b"Reducer name too large")]
