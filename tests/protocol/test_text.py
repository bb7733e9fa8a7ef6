"""The admin grammar, both directions."""

from __future__ import annotations

import pytest

from abraxas_py.errors import RemoteProtocolError, ServerError
from abraxas_py.protocol import text
from abraxas_py.protocol.text import ConnectionStatus, DeadRow, FunctionStatus, JobRow, PriorityStatus
from abraxas_py.protocol.wire import Line


@pytest.mark.parametrize(
    "row",
    [
        FunctionStatus(b"f", 3, 1, 2),
        PriorityStatus(b"f", 1, 2, 3, 4),
        ConnectionStatus(7, "::1", b"id", (b"g", b"f")),
        ConnectionStatus(7, "127.0.0.1", b"-", ()),
        JobRow(b"H:1", 2, True, False),
    ],
)
def test_rows_survive_the_wire(row: FunctionStatus | PriorityStatus | ConnectionStatus | JobRow) -> None:
    assert type(row).parse(row.format()) == row


def test_a_foreign_server_may_list_a_function_with_a_tab() -> None:
    assert FunctionStatus.parse(b"a\tb\t1\t2\t3") == FunctionStatus(b"a\tb", 1, 2, 3)


@pytest.mark.parametrize("line", [b"", b"f\t1\t2", b"f\tx\t1\t2"])
def test_what_is_no_row_is_the_servers_fault(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        FunctionStatus.parse(line)


LONG = b"9" * 5_000  # more than Python makes a number of


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (FunctionStatus, b"f\t%b\t1\t2"),
        (PriorityStatus, b"f\t1\t%b\t2\t3"),
        (ConnectionStatus, b"%b ::1 - :"),
        (JobRow, b"H:1\t%b\t0\t0"),
        (DeadRow, b"H:1\tf\t%b\tu"),
    ],
)
def test_a_number_that_is_none_is_the_servers_fault(row: type[FunctionStatus], line: bytes) -> None:
    assert row.parse(line % b"7")
    for word in (LONG, b"-1", b"x", b""):
        with pytest.raises(RemoteProtocolError):
            row.parse(line % word)


def test_answers() -> None:
    assert text.parse_answer(Line(b"OK 1.1.20")) == b"1.1.20"
    assert text.parse_answer(Line(b"OK")) == b""
    assert text.parse_answer(Line(b"1.13")) == b"1.13"
    with pytest.raises(ServerError, match="UNKNOWN_COMMAND: Unknown server command"):
        text.parse_answer(Line(b"ERR UNKNOWN_COMMAND Unknown+server+command"))
