"""The decoder: whole, byte by byte, with a tail, and against what is no message."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.wire import REQUEST, RESPONSE, Decoder, Line, encode

packets = st.builds(Packet, st.sampled_from(list(Type)), st.binary(max_size=100))
lines = st.builds(Line, st.binary(max_size=50).filter(lambda t: t[:1] != b"\0" and b"\n" not in t and t[-1:] != b"\r"))
messages = st.lists(packets | lines, max_size=8)

# The example at the end of PROTOCOL, byte for byte.
EXAMPLE = [
    (Packet(Type.CAN_DO, b"reverse"), "00524551 00000001 00000007 72657665727365"),
    (Packet(Type.GRAB_JOB), "00524551 00000009 00000000"),
    (Packet(Type.PRE_SLEEP), "00524551 00000004 00000000"),
    (Packet.of(Type.SUBMIT_JOB, b"reverse", b"", b"test"), "00524551 00000007 0000000d 72657665727365000074657374"),
    (
        Packet.of(Type.WORK_COMPLETE, b"H:lap:1", b"tset"),
        "00524551 0000000d 0000000c 483a6c61703a310074736574",
    ),
]


@pytest.mark.parametrize(("packet", "octets"), EXAMPLE)
def test_the_example_of_the_protocol_text(packet: Packet, octets: str) -> None:
    assert encode(REQUEST, packet) == bytes.fromhex(octets)
    assert Decoder(REQUEST).feed(bytes.fromhex(octets)) == [packet]


@given(messages, st.data())
def test_any_split_of_the_bytes_gives_the_same_messages(sent: list[Packet | Line], data: st.DataObject) -> None:
    octets = encode(REQUEST, *sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    decoder = Decoder(REQUEST)
    received = []
    for start, stop in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        received += decoder.feed(octets[start:stop])
    assert received == sent
    assert decoder.partial_bytes == 0


@given(messages)
def test_byte_by_byte(sent: list[Packet | Line]) -> None:
    decoder = Decoder(REQUEST)
    received = []
    for octet in encode(REQUEST, *sent):
        received += decoder.feed(bytes([octet]))
    assert received == sent


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_nothing_makes_it_raise(chunks: list[bytes]) -> None:
    decoder = Decoder(REQUEST)
    for chunk in chunks:
        for message in decoder.feed(chunk):
            assert isinstance(message, Packet | Line | RemoteProtocolError)


def test_lines_end_in_lf_or_crlf() -> None:
    assert Decoder(REQUEST).feed(b"status\r\nversion\nworkers") == [Line(b"status"), Line(b"version")]


def test_the_other_magic_is_an_error_in_its_place_and_the_connection_goes_on() -> None:
    echo = Packet(Type.ECHO_REQ, b"x")
    first, error, last = Decoder(REQUEST).feed(encode(REQUEST, echo) + encode(RESPONSE, echo) + encode(REQUEST, echo))
    assert first == last == echo
    assert isinstance(error, RemoteProtocolError)
    assert (error.code, error.text, error.is_fatal) == ("INVALID_MAGIC", "Request magic expected", False)


@pytest.mark.parametrize(
    "octets",
    [
        b"\0FOO" + struct.pack(">II", 16, 0),
        b"\0REQ" + struct.pack(">II", 0, 0),
        b"\0REQ" + struct.pack(">II", 43, 0),
        b"\0REQ" + struct.pack(">II", 0xFFFFFFFF, 0),
        b"\0REQ" + struct.pack(">II", 7, 0xFFFFFFFF),
        b"x" * 10_000,
    ],
)
def test_what_is_no_message_ends_the_conversation_after_the_good_ones(octets: bytes) -> None:
    decoder = Decoder(REQUEST)
    good, error = decoder.feed(encode(REQUEST, Packet(Type.PRE_SLEEP)) + octets)
    assert good == Packet(Type.PRE_SLEEP)
    assert isinstance(error, RemoteProtocolError)
    assert error.is_fatal
    assert decoder.feed(encode(REQUEST, Packet(Type.PRE_SLEEP))) == []


def test_memory_follows_what_has_arrived_not_what_a_header_announces() -> None:
    decoder = Decoder(REQUEST)
    tracemalloc.start()
    assert decoder.feed(b"\0REQ" + struct.pack(">II", 7, 60_000_000) + b"x" * 1000) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024
    assert decoder.partial_bytes == 1012


def test_tiny_pieces_weigh_no_more_than_their_bytes() -> None:
    decoder = Decoder(REQUEST)
    tracemalloc.start()
    decoder.feed(b"\0REQ" + struct.pack(">II", 16, 100_000))
    for _ in range(99_999):
        decoder.feed(b"x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 100_000 + 64 * 1024
    assert decoder.feed(b"y") == [Packet(Type.ECHO_REQ, b"x" * 99_999 + b"y")]
