"""Background jobs that fail, with a policy for their function: tried again later, and at last on the dead list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from broker_stage import Stage, to
from keeping_stage import Kept

from abraxas_py.broker import Origin, Policy, Right
from abraxas_py.policies import PolicyError, read_policies
from abraxas_py.protocol.packets import Type
from abraxas_py.protocol.wire import Line

CLIENT, OTHER, WORKER = 1, 2, 8
ONE = b"H:test:1"
POLICY = Policy("f*", retries=2, retry_delay=10, backoff=3, max_delay=100)


@pytest.fixture
def stage() -> Stage:
    return Stage(policies=(POLICY,))


def grab(stage: Stage) -> None:
    """The worker, a new one where the last is gone, is given the job."""
    stage.worker(WORKER, b"f")
    effects = stage.say(WORKER, Type.GRAB_JOB)
    if not effects:
        assert isinstance(stage, Kept)
        effects = stage.read()
    assert [effect.message.type for effect in effects] == [Type.JOB_ASSIGN]


def report_failure(stage: Stage) -> None:
    stage.say(WORKER, Type.WORK_FAIL, ONE)


def report_exception(stage: Stage) -> None:
    stage.say(WORKER, Type.WORK_EXCEPTION, ONE, b"why")


def be_lost(stage: Stage) -> None:
    stage.leave(WORKER)


@pytest.mark.parametrize("fail", [report_failure, report_exception, be_lost])
def test_a_job_that_fails_is_tried_again_later_and_later_and_then_is_dead(
    stage: Stage, fail: Callable[[Stage], None]
) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"x")
    for delay in (10, 30):
        grab(stage)
        fail(stage)
        stage.worker(WORKER, b"f")
        assert stage.wait(delay - 1) == []
        assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.NO_JOB)]
        stage.wait(2)
    grab(stage)
    fail(stage)
    assert stage.ask(CLIENT, b"dead list") == ONE + b"\tf\t2\tu\n."
    assert stage.ask(CLIENT, b"show unique jobs") == b"."
    assert stage.say(CLIENT, Type.GET_STATUS, ONE) == [to(CLIENT, Type.STATUS_RES, ONE, b"0", b"0", b"0", b"0")]


@pytest.mark.parametrize(
    ("policy", "delay"),
    [
        (Policy("f", 5000, backoff=2, max_delay=60), 60),  # in whole numbers, as a file has them
        (Policy("f", 5000, 1.5, 2.0, 60.0), 60),
        (Policy("f", 5000, 0), 0),
        (Policy("f", 5000, 7, 1), 7),
    ],
)
def test_a_delay_stays_one_however_often_a_job_is_tried(policy: Policy, delay: float) -> None:
    assert [policy.delay(retry) for retry in (1_025, 5_000)] == [delay, delay]


def test_clients_that_joined_hear_of_the_last_failure_alone(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"x")
    stage.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"")
    for _ in range(2):
        grab(stage)
        assert stage.say(WORKER, Type.WORK_FAIL, ONE) == []
        stage.wait(100)
    grab(stage)
    assert stage.say(WORKER, Type.WORK_FAIL, ONE) == [to(OTHER, Type.WORK_FAIL, ONE)]


def test_foreground_jobs_and_functions_without_a_policy_fail_as_ever(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"x")
    grab(stage)
    assert stage.say(WORKER, Type.WORK_FAIL, ONE) == [to(CLIENT, Type.WORK_FAIL, ONE)]
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"g", b"", b"x")
    stage.worker(WORKER, b"g")
    stage.say(WORKER, Type.GRAB_JOB)
    stage.say(WORKER, Type.WORK_FAIL, b"H:test:2")
    assert stage.ask(CLIENT, b"show jobs") == b"."
    assert stage.ask(CLIENT, b"dead list") == b"."


def dead(stage: Stage) -> Stage:
    """A dead job."""
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"x")
    if isinstance(stage, Kept):
        stage.commit()
    for _ in range(3):
        grab(stage)
        report_failure(stage)
        stage.wait(100)
    if isinstance(stage, Kept):
        stage.commit()
    return stage


@pytest.mark.parametrize("name", [ONE, b"f"])
def test_a_dead_job_runs_anew_on_request(stage: Stage, name: bytes) -> None:
    dead(stage)
    assert stage.ask(CLIENT, b"dead retry " + name) == b"OK 1\r"
    assert stage.ask(CLIENT, b"dead list") == b"."
    grab(stage)
    report_failure(stage)
    assert stage.ask(CLIENT, b"dead list") == b".", "all its retries are there again"


def test_a_dead_job_is_dropped_on_request(stage: Stage) -> None:
    dead(stage)
    assert stage.ask(CLIENT, b"dead drop " + ONE) == b"OK 1\r"
    assert stage.ask(CLIENT, b"dead list") == b"."
    assert stage.ask(CLIENT, b"dead drop " + ONE) == b"ERR UNKNOWN_JOB\r"
    assert stage.broker._payload_bytes == 0


def test_the_dead_list_is_for_all_to_see_and_for_administrators_to_change(stage: Stage) -> None:
    dead(stage)
    stage.connect(OTHER, Origin("10.0.0.1", Right.SUBMIT))
    assert stage.ask(OTHER, b"dead list f").startswith(ONE)
    assert stage.ask(OTHER, b"dead drop f").startswith(b"ERR NOT_ALLOWED")
    assert stage.ask(OTHER, b"dead").startswith(b"ERR INVALID_ARGUMENTS")


def test_retries_and_the_dead_list_survive_a_crash() -> None:
    kept = Kept(policies=(POLICY,))
    kept.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"x")
    kept.commit()
    grab(kept)
    report_failure(kept)
    kept.commit()
    kept.crash()
    kept.worker(WORKER, b"f")
    assert kept.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.NO_JOB)]
    for seconds in (11, 31):
        kept.wait(seconds)
        grab(kept)
        report_failure(kept)
    kept.commit()
    kept.crash()
    assert kept.ask(CLIENT, b"dead list") == ONE + b"\tf\t2\tu\n."
    kept.ask(CLIENT, b"dead retry f")
    kept.commit()
    kept.crash()
    grab(kept)
    kept.say(WORKER, Type.WORK_COMPLETE, ONE, b"")
    kept.commit()
    assert kept.disk == {}


def test_a_dropped_dead_job_is_kept_no_more() -> None:
    kept = dead(Kept(policies=(POLICY,)))
    assert isinstance(kept, Kept)
    assert len(kept.disk) == 1
    assert kept.hear(CLIENT, Line(b"dead drop f"))
    kept.commit()
    assert kept.disk == {}


def test_a_file_says_what_the_policies_are(tmp_path: Path) -> None:
    path = tmp_path / "policies.toml"
    path.write_text('[functions."mail.*"]\nretries = 5\nretry_delay = 10\n[functions."*"]\nretries = 1\n')
    assert read_policies(path) == (Policy("mail.*", 5, 10), Policy("*", 1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("retries = 5", "retries is not known"),
        ("functions = 5", "functions must be tables"),
        ("[functions.f]\nretry = 5", "functions.f.retry is not known"),
        ("[functions.f]\nretries = 1.5", "functions.f.retries must be a whole number"),
        ("[functions.f]\nmax_delay = -1", "functions.f.max_delay must be a number from 0 to 4294967295"),
        ("[functions.f]\nbackoff = 0.5", "functions.f.backoff must be a number from 1 to 4294967295"),
        ("[functions.f]\nretries = 1" + "0" * 400, "functions.f.retries must be a number from 0 to 4294967295"),
        ("[functions.f]\nretry_delay = nan", "functions.f.retry_delay must be a number from 0 to 4294967295"),
        ("[functions", "Expected"),
    ],
)
def test_a_fault_in_the_file_is_told(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "policies.toml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=says):
        read_policies(path)
    with pytest.raises(PolicyError, match="No such file"):
        read_policies(tmp_path / "none")
