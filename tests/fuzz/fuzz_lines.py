"""Text commands beside packets with hostile names: one answer a line, and no row in a table that is not a row."""

from __future__ import annotations

from random import Random
from typing import Any

import octets
from broker_stage import Effect, Heard, Send
from fuzz_campaign import Case

from abraxas_py.broker import Broker, Close, Options, Origin, Stop
from abraxas_py.broker.model import Right
from abraxas_py.protocol import text
from abraxas_py.protocol.packets import Packet, Type
from abraxas_py.protocol.text import ConnectionStatus, FunctionStatus, JobRow, PriorityStatus, is_http
from abraxas_py.protocol.wire import MAX_LINE_BYTES, REQUEST, Decoder, Line

__all__ = ["Lines"]

ASKER = 1
PEERS = 4
ROWS: dict[bytes, Any] = {
    b"status": FunctionStatus,
    b"prioritystatus": PriorityStatus,
    b"workers": ConnectionStatus,
    b"show jobs": JobRow,
    b"show unique jobs": None,  # a word a line
}
WORDS = [
    b"status", b"prioritystatus", b"workers", b"show", b"jobs", b"unique", b"job", b"function", b"maxqueue", b"create",
    b"drop", b"cancel", b"version", b"getpid", b"verbose", b"shutdown", b"graceful", b"f", b"H:test:1", b"0", b"-1",
]  # fmt: skip


class Lines:
    """A case is options, then (peer, packet type, arguments) and lines (bytes without their LF)."""

    name = "lines"
    cases = 4000

    def make(self, chance: Random) -> Case:
        rights = chance.choice([Right.SUBMIT | Right.WORK, Right.SUBMIT | Right.WORK | Right.ADMINISTRATE])
        options = {"legacy_names": chance.random() < 0.3, "rights": rights.value}
        return [options, *(_event(chance) for _ in range(chance.randint(1, 20)))]

    def check(self, case: Case) -> None:
        options = case[0] if isinstance(case[0], dict) else {}
        broker = Heard(b"H:test", Options(legacy_names=options.get("legacy_names", False)))
        rights = Right(options.get("rights", 7))
        for peer in range(1, PEERS + 1):
            broker.connect(peer, origin=Origin("127.0.0.1", rights))
        for event in case:
            if isinstance(event, tuple):
                peer, number, arguments = event
                broker.receive(peer, Packet(Type(number), b"\0".join(arguments)), 0.0)
            elif isinstance(event, bytes) and not broker.peers[ASKER].is_closed:
                _say(broker, event)
        if not broker.peers[ASKER].is_closed:
            for command in ROWS:
                _check_table(broker, command, _answer(broker.receive(ASKER, Line(command), 0.0)))

    def close(self) -> None:
        pass


def _event(chance: Random) -> Any:
    if chance.random() < 0.5:
        type = chance.choice(
            [Type.CAN_DO, Type.SUBMIT_JOB_BG, Type.SET_CLIENT_ID, Type.SUBMIT_JOB, Type.CAN_DO_TIMEOUT]
        )
        names = octets.SHAPES[type].arguments
        return (chance.randint(2, PEERS), int(type), [_name(chance) for _ in names])
    if chance.random() < 0.02:
        return b" " * chance.choice([MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 1_000_000])
    line = b" ".join(
        chance.choice(WORDS) if chance.random() < 0.85 else _name(chance) for _ in range(chance.randint(1, 6))
    )
    return line.replace(b"\n", b"").lstrip(b"\0")


def _name(chance: Random) -> bytes:
    forged = [
        b"f\t9\t9\t9\n.",
        b"a\n.\nb",
        b"x\r\n",
        b"\x7f",
        "ü".encode(),
        b"a b",
        b" : f",
        b"OK\r",
        b"a\tb",
        b"::",
        b"\x85",
    ]
    return chance.choice(
        [chance.choice(forged), chance.choice(octets.ODD).replace(b"\0", b""), chance.randbytes(4), b"f"]
    )


def _say(broker: Broker, line: bytes) -> None:
    (message,) = Decoder(REQUEST).feed(line + b"\n")
    effects = broker.receive(ASKER, message, 0.0)
    if not isinstance(message, Line):
        assert len(line) > MAX_LINE_BYTES
        assert effects == [Close(ASKER)]
    elif is_http(message):
        assert effects == [Close(ASKER)]
    else:
        answer = _answer(effects)
        table = _table_of(message)
        if table is not None:
            _check_table(broker, table, answer)
        else:
            assert b"\n" not in answer
            assert answer.startswith((b"OK", b"ERR ")), answer


def _table_of(line: Line) -> bytes | None:
    """Which of the tables a line asks for."""
    command, rest = text.words(line)
    if command == b"show":
        command = b" ".join([command, *(word.lower() for word in rest)])
    return command if command in ROWS else None


def _answer(effects: list[Effect]) -> bytes:
    """The one line or table that a peer gets for its line."""
    (sent,) = (effect for effect in effects if isinstance(effect, Send) and effect.to == (ASKER,))
    assert all(isinstance(effect, Send | Stop) for effect in effects)
    assert isinstance(sent.message, Line)
    return sent.message.text


def _check_table(broker: Broker, command: bytes, answer: bytes) -> None:
    *rows, end = answer.split(b"\n")
    assert end == b"."
    assert b"." not in rows, "a line that ends the table before its end"
    kind = ROWS[command]
    if command == b"workers" and broker.options.legacy_names:
        assert len(rows) == len(broker.peers)  # spaces in names shift columns there, as the option says
        return
    if kind is None:
        assert rows == [
            b"\\x2e" if job.unique == text.END else text.printable(job.unique) for job in broker.jobs.values()
        ]
        return
    parsed: list[Any] = [kind.parse(row) for row in rows]
    if command == b"workers":
        assert [row.fd for row in parsed] == list(broker.peers)
    elif command == b"show jobs":
        assert [row.handle for row in parsed] == list(broker.jobs)
    else:
        assert [row.function for row in parsed] == [text.printable(name) for name in broker.functions]
