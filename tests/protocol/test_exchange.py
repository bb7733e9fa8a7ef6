"""Which call a packet belongs to."""

from __future__ import annotations

import pytest

from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.exchange import Exchange
from abraxas_py.protocol.packets import Packet, Type


def work(type: Type, handle: bytes = b"H:1") -> Packet:
    return Packet(type, handle if type is Type.WORK_FAIL else handle + b"\0data")


def test_answers_belong_to_the_oldest_question_whatever_it_asked() -> None:
    exchange: Exchange[str] = Exchange()
    exchange.ask("job", Type.JOB_CREATED)
    exchange.ask("echo", Type.ECHO_RES)
    exchange.ask("refused", Type.JOB_CREATED)
    assert exchange.receive(Packet(Type.JOB_CREATED, b"H:1")) == "job"
    assert exchange.receive(Packet(Type.ECHO_RES)) == "echo"
    assert exchange.receive(Packet(Type.ERROR, b"QUEUE_ERROR\0full")) == "refused"
    assert len(exchange) == 0


@pytest.mark.parametrize("type", [Type.ECHO_RES, Type.ERROR, Type.NOOP, Type.JOB_ASSIGN])
def test_an_answer_that_nobody_asked_for_is_the_servers_fault(type: Type) -> None:
    with pytest.raises(RemoteProtocolError, match="was not expected"):
        Exchange().receive(Packet(type))


def test_a_wrong_answer_is_the_servers_fault() -> None:
    exchange: Exchange[str] = Exchange()
    exchange.ask("echo", Type.ECHO_RES)
    with pytest.raises(RemoteProtocolError, match="in place of ECHO_RES"):
        exchange.receive(Packet(Type.JOB_CREATED, b"H:1"))
    assert exchange.lose() == ["echo"]  # or it would wait for ever


@pytest.mark.parametrize("type", [Type.WORK_COMPLETE, Type.WORK_EXCEPTION])
def test_an_end_without_its_data_is_the_servers_fault(type: Type) -> None:
    exchange: Exchange[str] = Exchange()
    exchange.follow("job", b"H:1")
    with pytest.raises(RemoteProtocolError, match="nothing but a handle"):
        exchange.receive(Packet(type, b"H:1"))
    assert exchange.lose() == ["job"]


def test_a_jobs_packets_follow_its_handle_to_its_end() -> None:
    exchange: Exchange[str] = Exchange()
    exchange.follow("a", b"H:1")
    assert exchange.receive(work(Type.WORK_DATA)) == "a"
    assert exchange.receive(work(Type.WORK_FAIL)) == "a"
    assert exchange.receive(work(Type.WORK_FAIL)) is None


def test_two_submissions_of_one_job_are_dealt_its_packets_in_turn() -> None:
    exchange: Exchange[str] = Exchange()
    exchange.follow("a", b"H:1")
    assert exchange.receive(work(Type.WORK_DATA)) == "a"
    exchange.follow("b", b"H:1")
    assert [exchange.receive(work(Type.WORK_STATUS)) for _ in range(2)] == ["a", "b"]
    assert [exchange.receive(work(Type.WORK_DATA)) for _ in range(2)] == ["a", "b"]
    assert [exchange.receive(work(Type.WORK_COMPLETE)) for _ in range(2)] == ["a", "b"]
    assert exchange.receive(work(Type.WORK_COMPLETE)) is None


def test_a_lost_connection_names_all_that_will_hear_no_more() -> None:
    exchange: Exchange[str] = Exchange()
    exchange.follow("job", b"H:1")
    exchange.ask("echo", Type.ECHO_RES)
    assert exchange.lose() == ["echo", "job"]
    assert exchange.lose() == []
