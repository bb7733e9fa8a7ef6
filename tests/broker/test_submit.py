"""Submitting, coalescing, and what becomes of a job when its clients leave."""

from __future__ import annotations

import pytest
from broker_stage import Stage, to

from abraxas_py.broker import Close, Origin, Right
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import Line

ONE, TWO, THREE = b"H:test:1", b"H:test:2", b"H:test:3"
CLIENT, OTHER, WORKER = 1, 2, 9


@pytest.mark.parametrize(
    "type",
    [
        Type.SUBMIT_JOB,
        Type.SUBMIT_JOB_BG,
        Type.SUBMIT_JOB_HIGH,
        Type.SUBMIT_JOB_HIGH_BG,
        Type.SUBMIT_JOB_LOW,
        Type.SUBMIT_JOB_LOW_BG,
    ],
)
def test_each_submission_is_answered_by_the_handle(stage: Stage, type: Type) -> None:
    assert stage.say(CLIENT, type, b"f", b"", b"x\0y") == [to(CLIENT, Type.JOB_CREATED, ONE)]


def test_the_answer_comes_before_the_wake_up(stage: Stage) -> None:
    stage.sleeper(WORKER, b"f")
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"") == [
        to(CLIENT, Type.JOB_CREATED, ONE),
        to(WORKER, Type.NOOP),
    ]


def test_priorities_are_served_in_order_and_first_come_first_served_within_one(stage: Stage) -> None:
    for type, data in [
        (Type.SUBMIT_JOB_LOW_BG, b"low"),
        (Type.SUBMIT_JOB_BG, b"normal"),
        (Type.SUBMIT_JOB_HIGH_BG, b"high"),
        (Type.SUBMIT_JOB_HIGH_BG, b"high 2"),
    ]:
        stage.say(CLIENT, type, b"f", b"", data)
    stage.worker(WORKER, b"f")
    given = [stage.say(WORKER, Type.GRAB_JOB)[0].message.split()[2] for _ in range(4)]
    assert given == [b"high", b"high 2", b"normal", b"low"]
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.NO_JOB)]


def test_priority_is_global_across_functions_and_the_last_registered_comes_first_among_equals(stage: Stage) -> None:
    stage.worker(WORKER, b"a", b"b")
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"a", b"", b"a")
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"b", b"", b"b")
    stage.say(CLIENT, Type.SUBMIT_JOB_HIGH_BG, b"a", b"", b"a high")
    given = [stage.say(WORKER, Type.GRAB_JOB)[0].message.split()[2] for _ in range(3)]
    assert given == [b"a high", b"b", b"a"]


def test_round_robin_lets_functions_take_turns(make_stage: type[Stage]) -> None:
    stage = make_stage(round_robin=True)
    stage.worker(WORKER, b"a", b"b")
    for _ in range(2):
        stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"a", b"", b"a")
        stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"b", b"", b"b")
    given = [stage.say(WORKER, Type.GRAB_JOB)[0].message.split()[2] for _ in range(4)]
    assert given == [b"b", b"a", b"b", b"a"]


# Coalescing


def test_second_submit_with_same_unique_joins_the_first_job(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"first")
    assert stage.say(OTHER, Type.SUBMIT_JOB_HIGH, b"f", b"u", b"second") == [to(OTHER, Type.JOB_CREATED, ONE)]
    stage.worker(WORKER, b"f")
    assert stage.say(WORKER, Type.GRAB_JOB_UNIQ) == [to(WORKER, Type.JOB_ASSIGN_UNIQ, ONE, b"f", b"u", b"first")]
    assert stage.say(WORKER, Type.WORK_COMPLETE, ONE, b"done") == [
        to((CLIENT, OTHER), Type.WORK_COMPLETE, ONE, b"done")
    ]


def test_the_same_client_twice_gets_everything_twice(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.worker(WORKER, b"f")
    stage.say(WORKER, Type.GRAB_JOB)
    assert stage.say(WORKER, Type.WORK_COMPLETE, ONE, b"") == [to((CLIENT, CLIENT), Type.WORK_COMPLETE, ONE, b"")]


def test_a_unique_coalesces_within_its_function_only(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"g", b"u", b"") == [to(CLIENT, Type.JOB_CREATED, TWO)]


def test_an_empty_unique_never_coalesces(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"")
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"") == [to(CLIENT, Type.JOB_CREATED, TWO)]


def test_a_dash_as_unique_means_the_payload_is_the_key(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"-", b"payload")
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"-", b"payload") == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"-", b"other") == [to(CLIENT, Type.JOB_CREATED, TWO)]
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"payload", b"") == [to(CLIENT, Type.JOB_CREATED, THREE)]


def test_a_dash_with_an_empty_payload_means_no_key(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"-", b"")
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"-", b"") == [to(CLIENT, Type.JOB_CREATED, TWO)]


@pytest.mark.parametrize("payload", [b"payload", b""])
def test_nobody_can_ask_for_an_abandoned_job_by_a_dash(stage: Stage, payload: bytes) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"-", payload)
    stage.worker(WORKER, b"f")
    stage.say(WORKER, Type.GRAB_JOB)
    stage.leave(CLIENT)
    unknown = to(WORKER, Type.STATUS_RES_UNIQUE, b"-", b"0", b"0", b"0", b"0", b"0")
    assert stage.say(WORKER, Type.GET_STATUS_UNIQUE, b"-") == [unknown]


def test_after_the_end_a_unique_starts_a_new_job(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.worker(WORKER, b"f")
    stage.say(WORKER, Type.GRAB_JOB)
    stage.say(WORKER, Type.WORK_COMPLETE, ONE, b"")
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"") == [to(CLIENT, Type.JOB_CREATED, TWO)]


def test_a_unique_of_64_bytes_arrives_whole_and_one_of_65_is_refused(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u" * 64, b"")
    stage.worker(WORKER, b"f")
    assert stage.say(WORKER, Type.GRAB_JOB_UNIQ) == [to(WORKER, Type.JOB_ASSIGN_UNIQ, ONE, b"f", b"u" * 64, b"")]
    assert stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u" * 65, b"") == [
        to(CLIENT, Type.ERROR, b"ARGUMENT_TOO_LARGE", b"Unique value too large")
    ]


# Leaving


def test_a_foreground_job_whose_last_client_leaves_is_gone_at_once(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    assert stage.leave(CLIENT) == []
    assert stage.ask(OTHER, b"status") == b"f\t0\t0\t0\n."
    assert stage.broker.jobs == {}


def test_a_foreground_job_stays_while_one_client_waits(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.leave(CLIENT)
    stage.worker(WORKER, b"f")
    stage.say(WORKER, Type.GRAB_JOB)
    assert stage.say(WORKER, Type.WORK_COMPLETE, ONE, b"") == [to(OTHER, Type.WORK_COMPLETE, ONE, b"")]


def test_a_running_job_without_clients_may_be_finished_in_peace(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.worker(WORKER, b"f")
    stage.say(WORKER, Type.GRAB_JOB)
    stage.leave(CLIENT)
    assert stage.say(WORKER, Type.WORK_DATA, ONE, b"x") == []
    assert stage.say(WORKER, Type.WORK_COMPLETE, ONE, b"") == []
    assert stage.broker.jobs == {}


def test_nobody_joins_an_abandoned_job_that_still_runs(stage: Stage) -> None:
    """Defect G7: with gearmand the second client waits for ever if the worker dies."""
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.worker(WORKER, b"f")
    stage.say(WORKER, Type.GRAB_JOB)
    stage.leave(CLIENT)
    assert stage.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"") == [to(OTHER, Type.JOB_CREATED, TWO)]
    stage.leave(WORKER)
    assert list(stage.broker.jobs) == [TWO]


def test_a_background_job_runs_whoever_leaves(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"")
    stage.leave(CLIENT)
    stage.worker(WORKER, b"f")
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, ONE, b"f", b"")]


def test_a_background_job_that_a_foreground_client_joined_and_left_still_runs(stage: Stage) -> None:
    """Defect G2."""
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"u", b"")
    stage.say(OTHER, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.leave(OTHER)
    stage.worker(WORKER, b"f")
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, ONE, b"f", b"")]


def test_a_background_submission_keeps_a_foreground_job_alive(stage: Stage) -> None:
    """Defect G3."""
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"")
    stage.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"u", b"")
    stage.leave(CLIENT)
    assert list(stage.broker.jobs) == [ONE]


def test_queues_do_not_grow_by_clients_that_come_and_go(stage: Stage) -> None:
    for peer in range(100, 1_100):
        stage.say(peer, Type.SUBMIT_JOB, b"f", b"", b"")
        stage.leave(peer)
    assert len(stage.broker.functions[b"f"].queues[1]._jobs) <= 65


# Limits


def test_maxqueue_counts_running_jobs_and_refuses_by_priority(stage: Stage) -> None:
    assert stage.ask(CLIENT, b"maxqueue f 3 2 1") == b"OK\r"
    refused = [to(CLIENT, Type.ERROR, b"QUEUE_ERROR", b"Job queue is full")]
    stage.say(CLIENT, Type.SUBMIT_JOB_LOW_BG, b"f", b"low", b"")
    stage.worker(WORKER, b"f")
    stage.say(WORKER, Type.GRAB_JOB)
    assert stage.say(CLIENT, Type.SUBMIT_JOB_LOW_BG, b"f", b"", b"") == refused
    assert stage.say(CLIENT, Type.SUBMIT_JOB_LOW_BG, b"f", b"low", b"") == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"") == [to(CLIENT, Type.JOB_CREATED, TWO)]
    assert stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"") == refused
    assert stage.say(CLIENT, Type.SUBMIT_JOB_HIGH_BG, b"f", b"", b"") == [to(CLIENT, Type.JOB_CREATED, THREE)]
    assert stage.ask(CLIENT, b"maxqueue f 0") == b"OK\r"
    assert stage.say(CLIENT, Type.SUBMIT_JOB_LOW_BG, b"f", b"", b"") == [to(CLIENT, Type.JOB_CREATED, b"H:test:4")]


@pytest.mark.parametrize("name", [b"a b", b"a\nb", b"a\tb", b"\x7f", b"f\r"])
def test_names_that_could_forge_a_listing_are_refused(stage: Stage, name: bytes) -> None:
    (effect,) = stage.say(CLIENT, Type.SUBMIT_JOB_BG, name, b"", b"")
    assert effect.message.body.startswith(b"INVALID_FUNCTION_NAME\0")
    (effect,) = stage.say(CLIENT, Type.CAN_DO, name)
    assert effect.message.body.startswith(b"INVALID_FUNCTION_NAME\0")
    assert stage.broker.functions == {}


def test_names_may_be_taken_as_they_come_for_old_clients(make_stage: type[Stage]) -> None:
    stage = make_stage(legacy_names=True)
    assert stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"a\nb c", b"", b"") == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert stage.ask(CLIENT, b"status") == b"a\\x0ab c\t1\t0\t0\n."


def test_an_empty_and_a_too_long_name_are_refused(stage: Stage) -> None:
    (effect,) = stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"", b"", b"")
    assert effect.message.type is Type.ERROR
    (effect,) = stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f" * 513, b"", b"")
    assert effect.message.body.startswith(b"ARGUMENT_TOO_LARGE\0")


def test_missing_separators_are_refused(stage: Stage) -> None:
    (effect,) = stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u")
    assert effect.message.body.startswith(b"INVALID_PACKET\0")
    assert stage.broker.jobs == {}


# Later


def test_an_epoch_job_is_known_at_once_and_wakes_a_sleeper_in_its_second(stage: Stage) -> None:
    """Defect G11: gearmand wakes nobody for it."""
    stage.sleeper(WORKER, b"f")
    when = b"%d" % (stage.now + 10)
    assert stage.say(CLIENT, Type.SUBMIT_JOB_EPOCH, b"f", b"u", when, b"x") == [to(CLIENT, Type.JOB_CREATED, ONE)]
    assert stage.ask(CLIENT, b"status") == b"f\t1\t0\t1\n."
    assert stage.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"u", b"") == [to(OTHER, Type.JOB_CREATED, ONE)]
    assert stage.broker.deadline == stage.now + 10
    assert stage.wait(9.9) == []
    assert stage.wait(0.1) == [to(WORKER, Type.NOOP)]
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, ONE, b"f", b"x")]


@pytest.mark.parametrize("epoch", [b"0", b"-1", b"999999"])
def test_an_epoch_in_the_past_runs_at_once(stage: Stage, epoch: bytes) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB_EPOCH, b"f", b"", epoch, b"x")
    stage.worker(WORKER, b"f")
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, ONE, b"f", b"x")]


@pytest.mark.parametrize("epoch", [b"", b"soon", b"1e9", b"1.5", b"253402300800", b"1700000000000000", b"9" * 23])
def test_an_epoch_that_is_no_second_before_the_year_10000_is_refused(stage: Stage, epoch: bytes) -> None:
    (effect,) = stage.say(CLIENT, Type.SUBMIT_JOB_EPOCH, b"f", b"", epoch, b"")
    assert effect.message.type is Type.ERROR
    assert stage.broker.jobs == {}


def test_other_jobs_pass_an_epoch_job(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB_EPOCH, b"f", b"", b"2000000", b"later")
    stage.say(CLIENT, Type.SUBMIT_JOB_LOW_BG, b"f", b"", b"now")
    stage.worker(WORKER, b"f")
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, TWO, b"f", b"now")]


def test_a_reducer_comes_with_grab_job_all_only(stage: Stage) -> None:
    for type in (Type.SUBMIT_REDUCE_JOB, Type.SUBMIT_REDUCE_JOB_BACKGROUND):
        stage.say(CLIENT, type, b"f", b"", b"reduce", b"", b"x")
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"plain")
    stage.worker(WORKER, b"f")
    assert stage.say(WORKER, Type.GRAB_JOB_ALL) == [to(WORKER, Type.JOB_ASSIGN_ALL, ONE, b"f", b"", b"reduce", b"x")]
    assert stage.say(WORKER, Type.GRAB_JOB_UNIQ) == [to(WORKER, Type.JOB_ASSIGN_UNIQ, TWO, b"f", b"", b"x")]
    assert stage.say(WORKER, Type.GRAB_JOB_ALL) == [to(WORKER, Type.JOB_ASSIGN_UNIQ, THREE, b"f", b"", b"plain")]


def test_a_reducer_that_is_empty_is_none(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_REDUCE_JOB, b"f", b"", b"", b"", b"x")
    stage.worker(WORKER, b"f")
    assert stage.say(WORKER, Type.GRAB_JOB_ALL) == [to(WORKER, Type.JOB_ASSIGN_UNIQ, ONE, b"f", b"", b"x")]


def test_jobs_may_not_take_more_memory_than_allowed(make_stage: type[Stage]) -> None:
    stage = make_stage(max_payload_bytes=10)
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"u", b"12345678")
    (effect,) = stage.say(OTHER, Type.SUBMIT_JOB, b"f", b"", b"123")
    assert effect.message.body.startswith(b"QUEUE_ERROR\0")
    assert stage.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"", b"12") == [to(OTHER, Type.JOB_CREATED, TWO)]
    stage.leave(CLIENT)
    assert stage.say(OTHER, Type.SUBMIT_JOB_BG, b"f", b"", b"12345678") == [to(OTHER, Type.JOB_CREATED, THREE)]


# Rights


def test_rights_are_those_of_the_connection(stage: Stage) -> None:
    not_allowed = (b"NOT_ALLOWED", b"This is not taken from this connection")
    stage.connect(CLIENT, Origin("client", Right.SUBMIT))
    stage.connect(WORKER, Origin("worker", Right.WORK))
    assert stage.say(CLIENT, Type.CAN_DO, b"f") == [to(CLIENT, Type.ERROR, *not_allowed)]
    assert stage.say(WORKER, Type.SUBMIT_JOB_BG, b"f", b"", b"") == [to(WORKER, Type.ERROR, *not_allowed)]
    assert stage.say(WORKER, Type.CAN_DO, b"f") == []
    assert stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"") == [to(CLIENT, Type.JOB_CREATED, ONE)]


def test_reserved_functions_can_be_registered_by_the_servers_own_program_only(make_stage: type[Stage]) -> None:
    stage = make_stage(reserved=(b"own::",))
    stage.connect(WORKER, Origin(is_own=True))
    stage.worker(WORKER, b"own::f", b"f")
    (effect,) = stage.say(OTHER, Type.CAN_DO, b"own::f")
    assert effect.message.body.startswith(b"NOT_ALLOWED\0")
    stage.say(OTHER, Type.SUBMIT_JOB_BG, b"own::f", b"", b"x")
    assert stage.say(OTHER, Type.GRAB_JOB) == [to(OTHER, Type.NO_JOB)]
    assert stage.say(WORKER, Type.GRAB_JOB) == [to(WORKER, Type.JOB_ASSIGN, ONE, b"own::f", b"x")]


def test_functions_cannot_fill_the_memory(make_stage: type[Stage]) -> None:
    stage = make_stage(max_functions=2)
    stage.worker(WORKER, b"f", b"g")
    (effect,) = stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"h", b"", b"")
    assert effect.message.body.startswith(b"NOT_ALLOWED\0")
    assert stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"g", b"", b"") == [to(CLIENT, Type.JOB_CREATED, ONE)]


def test_messages_that_came_together_wake_once_at_the_end(stage: Stage) -> None:
    stage.sleeper(WORKER, b"f")
    stage.connect(CLIENT)
    submit = Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b"")
    assert stage.hear_all(CLIENT, submit, submit) == [
        to(CLIENT, Type.JOB_CREATED, ONE),
        to(CLIENT, Type.JOB_CREATED, TWO),
        to(WORKER, Type.NOOP),
    ]


def test_after_a_message_that_closes_the_connection_the_others_are_passed_over(stage: Stage) -> None:
    stage.connect(CLIENT)
    submit = Packet.of(Type.SUBMIT_JOB_BG, b"f", b"", b"")
    assert stage.hear_all(CLIENT, Line(b"GET / HTTP/1.1"), submit) == [Close(CLIENT)]
    assert stage.broker.jobs == {}


@pytest.mark.parametrize("epoch", [b"", b"soon", b"1.5", b"253402300800", b"-" + b"1" * 20, b"9" * 19])
def test_an_epoch_that_is_none_is_refused(stage: Stage, epoch: bytes) -> None:
    text = b"The epoch must be in seconds, up to the year 9999"
    refused = stage.say(CLIENT, Type.SUBMIT_JOB_EPOCH, b"f", b"", epoch, b"x")
    assert refused == [to(CLIENT, Type.ERROR, b"INVALID_ARGUMENT", text)]
    assert stage.broker.jobs == {}


def test_the_last_second_of_the_year_9999_is_an_epoch(stage: Stage) -> None:
    created = stage.say(CLIENT, Type.SUBMIT_JOB_EPOCH, b"f", b"", b"253402300799", b"x")
    assert created == [to(CLIENT, Type.JOB_CREATED, ONE)]


def test_names_of_reducers_are_as_long_as_those_of_functions(stage: Stage) -> None:
    longest = b"r" * 512
    assert stage.say(CLIENT, Type.SUBMIT_REDUCE_JOB, b"f", b"", longest, longest, b"") == [
        to(CLIENT, Type.JOB_CREATED, ONE)
    ]
    for names in ((longest + b"r", b""), (b"", longest + b"r")):
        assert stage.say(CLIENT, Type.SUBMIT_REDUCE_JOB, b"f", b"", *names, b"") == [
            to(CLIENT, Type.ERROR, b"ARGUMENT_TOO_LARGE", b"Reducer name too large")
        ]
