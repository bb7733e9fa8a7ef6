"""Packets and their arguments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abraxas_py.errors import LocalProtocolError, RemoteProtocolError
from abraxas_py.protocol.packets import SHAPES, Packet, Sender, Type


def test_every_type_of_the_protocol_has_a_shape() -> None:
    assert list(SHAPES) == list(Type) == list(range(1, 43))


def test_only_type_5_has_no_sender() -> None:
    assert [type for type, shape in SHAPES.items() if not shape.senders] == [Type.UNUSED]
    assert Sender.SERVER in SHAPES[Type.WORK_FAIL].senders


@given(st.data())
def test_arguments_survive_the_wire(data: st.DataObject) -> None:
    type = data.draw(st.sampled_from(list(Type)))
    count = len(SHAPES[type].arguments)
    plain = st.binary(max_size=20).filter(lambda argument: b"\0" not in argument)
    arguments = [data.draw(plain) for _ in range(count - 1)] + [data.draw(st.binary()) for _ in range(min(count, 1))]
    assert Packet.of(type, *arguments).split() == arguments


def test_a_packet_cannot_be_built_wrong() -> None:
    with pytest.raises(LocalProtocolError, match="SUBMIT_JOB takes 3 arguments \\(function, unique, data\\), not 1"):
        Packet.of(Type.SUBMIT_JOB, b"f")
    with pytest.raises(LocalProtocolError, match="NUL"):
        Packet.of(Type.SUBMIT_JOB, b"f\0", b"", b"")


def test_missing_separators_are_the_peers_fault() -> None:
    with pytest.raises(RemoteProtocolError, match="SUBMIT_JOB takes 3 arguments"):
        Packet(Type.SUBMIT_JOB, b"f\0u").split()


def test_a_body_where_none_belongs_is_passed_over() -> None:
    assert Packet(Type.GRAB_JOB, b"body").split() == []
