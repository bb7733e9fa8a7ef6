"""The text commands, byte for byte as gearmand 1.1.20 answers them where it is sound."""

from __future__ import annotations

import pytest
from broker_stage import Send, Stage, to

from abraxas_py.broker import Close, Origin, Right, Stop
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import Line

CLIENT, WORKER, ADMIN = 1, 2, 3


@pytest.fixture
def busy(stage: Stage) -> Stage:
    """Two functions, a worker that runs one job, and three that wait."""
    stage.worker(WORKER, b"f", b"g")
    stage.say(WORKER, Type.SET_CLIENT_ID, b"worker one")
    stage.say(CLIENT, Type.SUBMIT_JOB_HIGH, b"g", b"a", b"")
    stage.say(WORKER, Type.GRAB_JOB)
    stage.say(CLIENT, Type.SUBMIT_JOB_HIGH, b"f", b"b\nforged", b"")
    stage.say(CLIENT, Type.SUBMIT_JOB_LOW_BG, b"f", b"", b"")
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"")
    return stage


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"status", b"f\t3\t0\t1\ng\t1\t1\t1\n."),
        (b"STATUS", b"f\t3\t0\t1\ng\t1\t1\t1\n."),
        (b"prioritystatus", b"f\t1\t1\t1\t1\ng\t0\t0\t0\t1\n."),
        (b"workers", b"2 - worker_one : g f\n1 - - :\n3 - - :\n."),
        (b"show jobs", b"H:test:1\t0\t0\t0\nH:test:2\t0\t0\t0\nH:test:3\t0\t0\t1\nH:test:4\t0\t0\t1\n."),
        (b"show unique jobs", b"a\nb\\x0aforged\n\n\n."),
        (b"show", b"ERR UNKNOWN_COMMAND Unknown+server+commandshow\r"),
        (b"show foo", b"ERR UNKNOWN_SHOW_ARGUMENTS\r"),
        (b"version", b"OK 1.1.20"),
        (b"getpid", b"OK 0"),
        (b"verbose", b"OK ERROR"),
        (b"cancel job H:test:9", b"ERR UNKNOWN_JOB\r"),
        (b"cancel foo bar", b"ERR UNKNOWN_ERROR\r"),
        (b"cancel", b"ERR UNKNOWN_COMMAND Unknown+server+commandcancel\r"),
        (b"create function new", b"OK\r"),
        (b"create foo", b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+create\r"),
        (b"drop function nope", b"ERR function not found\r"),
        (b"drop function f", b"ERR there are still connected workers or executing clients\r"),
        (b"drop", b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+drop\r"),
        (b"maxqueue", b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+maxqueue\r"),
        (b"maxqueue f 1 2 3 4", b"ERR INVALID_ARGUMENTS maxqueue+takes+a+function+and+none,+one+or+three+sizes\r"),
        (b"maxqueue f x", b"OK\r"),
        (b"maxqueue " + b"f" * 513, b"ERR ARGUMENT_TOO_LARGE Function+name+too+large\r"),
        (b"create function " + b"f" * 513, b"ERR ARGUMENT_TOO_LARGE Function+name+too+large\r"),
        (b"dead", b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+dead\r"),
        (b"foo bar", b"ERR UNKNOWN_COMMAND Unknown+server+commandfoo\r"),
        (b"", b"ERR UNKNOWN_COMMAND Unknown+server+command\r"),
        (b" ".join([b"word"] * 2000), b"ERR UNKNOWN_COMMAND Unknown+server+commandword\r"),
    ],
)
def test_commands(busy: Stage, command: bytes, answer: bytes) -> None:
    assert busy.ask(ADMIN, command) == answer


def test_nothing_is_left_of_a_dropped_function(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"")
    stage.leave(CLIENT)
    assert stage.ask(ADMIN, b"drop function f") == b"OK\r"
    assert stage.broker._laden == {}


def test_a_function_stays_listed_until_it_is_dropped(stage: Stage) -> None:
    stage.say(CLIENT, Type.SUBMIT_JOB, b"f", b"", b"")
    assert stage.ask(ADMIN, b"drop function f").startswith(b"ERR")
    stage.leave(CLIENT)
    assert stage.ask(ADMIN, b"status") == b"f\t0\t0\t0\n."
    assert stage.ask(ADMIN, b"drop function f") == b"OK\r"
    assert stage.ask(ADMIN, b"status") == b"."


def test_maxqueue_sticks_to_a_function_that_does_not_exist_yet(stage: Stage) -> None:
    stage.ask(ADMIN, b"maxqueue f 1")
    stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"")
    (effect,) = stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", b"", b"")
    assert effect.message.body.startswith(b"QUEUE_ERROR\0")


@pytest.mark.parametrize(
    ("sizes", "limits"),
    [
        (b"", (0, 0, 0)),
        (b" 7", (7, 7, 7)),
        (b" 7 8", (7, 8, 0)),
        (b" 7 8 9", (7, 8, 9)),
        (b" 7 many 9", (7, 0, 9)),
        (b" " + b"9" * 18, (10**18 - 1,) * 3),
        (b" " + b"9" * 19, (0, 0, 0)),
    ],
)
def test_maxqueue_limits_each_priority(stage: Stage, sizes: bytes, limits: tuple[int, ...]) -> None:
    assert stage.ask(ADMIN, b"maxqueue f" + sizes) == b"OK\r"
    assert stage.broker.functions[b"f"].max_queued == limits


def test_cancelling_a_waiting_job_fails_it(busy: Stage) -> None:
    assert busy.hear(ADMIN, Line(b"cancel job H:test:2")) == [
        to(CLIENT, Type.WORK_FAIL, b"H:test:2"),
        Send(Line(b"OK\r"), (ADMIN,)),
    ]
    assert busy.ask(ADMIN, b"status") == b"f\t2\t0\t1\ng\t1\t1\t1\n."


def test_after_cancelling_a_running_job_its_client_hears_no_more_of_it(busy: Stage) -> None:
    assert busy.hear(ADMIN, Line(b"cancel job H:test:1"))[0] == to(CLIENT, Type.WORK_FAIL, b"H:test:1")
    assert busy.say(WORKER, Type.WORK_DATA, b"H:test:1", b"late") == []
    assert busy.say(WORKER, Type.WORK_COMPLETE, b"H:test:1", b"late") == []
    assert busy.broker.functions[b"g"].running == 0


def test_shutdown(stage: Stage) -> None:
    assert stage.hear(ADMIN, Line(b"shutdown")) == [Stop(drain=False), Send(Line(b"OK\r"), (ADMIN,))]
    assert stage.hear(ADMIN, Line(b"shutdown graceful")) == [Stop(drain=True), Send(Line(b"OK\r"), (ADMIN,))]


@pytest.mark.parametrize("command", [b"shutdown", b"maxqueue f 1", b"cancel job H:test:1", b"create function x"])
def test_commands_that_change_something_are_not_taken_from_everyone(stage: Stage, command: bytes) -> None:
    stage.connect(ADMIN, Origin("192.0.2.1", Right.SUBMIT | Right.WORK))
    assert stage.ask(ADMIN, command) == b"ERR NOT_ALLOWED This+command+is+not+taken+from+this+connection\r"
    assert stage.ask(ADMIN, b"version") == b"OK 1.1.20"
    assert stage.broker.functions == {}


@pytest.mark.parametrize(
    "line", [b"POST / HTTP/1.1", b"get /x HTTP/1.0", b"Host: 127.0.0.1:4730", b"OPTIONS * HTTP/1.1"]
)
def test_somebody_elses_protocol_is_closed_at_once(stage: Stage, line: bytes) -> None:
    assert stage.hear(CLIENT, Line(line)) == [Close(CLIENT)]


def test_after_an_unknown_command_no_packet_is_taken(stage: Stage) -> None:
    stage.ask(CLIENT, b"Content-Type: text/plain")
    assert stage.hear(CLIENT, Packet(Type.SUBMIT_JOB_BG, b"f\0\0")) == [Close(CLIENT)]
    assert stage.broker.jobs == {}


def test_packets_and_lines_may_alternate(stage: Stage) -> None:
    assert stage.ask(CLIENT, b"version") == b"OK 1.1.20"
    assert stage.say(CLIENT, Type.ECHO_REQ, b"x") == [to(CLIENT, Type.ECHO_RES, b"x")]
    assert stage.ask(CLIENT, b"status") == b"."


def test_a_unique_that_is_a_period_does_not_end_the_table(stage: Stage) -> None:
    for unique in (b".", b"u"):
        stage.say(CLIENT, Type.SUBMIT_JOB_BG, b"f", unique, b"")
    assert stage.ask(ADMIN, b"show unique jobs") == b"\\x2e\nu\n."
