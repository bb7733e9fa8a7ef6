"""The admin protocol's client: typed rows for `status`, `workers` and the like, over all servers merged."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from types import TracebackType
from typing import NamedTuple, TypeVar

import trio

from abraxas_py.connection import Connection
from abraxas_py.errors import AbraxasError, ConnectionLost, LocalProtocolError, RemoteProtocolError, ServerError
from abraxas_py.protocol import text
from abraxas_py.protocol.text import ConnectionStatus, DeadRow, FunctionStatus, JobRow, PriorityStatus
from abraxas_py.protocol.wire import Line
from abraxas_py.settings import Target
from abraxas_py.transport import Dialer, Endpoint, dialer

__all__ = [
    "Admin",
    "ConnectionStatus",
    "DeadRow",
    "FunctionStatus",
    "JobRow",
    "PriorityStatus",
    "WorkerRow",
    "open_admin",
]

log = logging.getLogger("abraxas.admin")

T = TypeVar("T")
Row = TypeVar("Row", FunctionStatus, PriorityStatus)


class WorkerRow(NamedTuple):
    """A row of `workers`, and the server that it is from."""

    server: str
    fd: int
    address: str
    client_id: bytes  # `-` where none was set
    functions: tuple[bytes, ...]


class Admin:
    """Asks one or several servers; made by `open_admin`. Safe to use from several tasks: each server is asked one
    command at a time.

    It connects with the first command, and again with the next one after a loss. Tables are those of all servers that
    can be reached, merged; commands go to all of them. `servers` are the same for each server alone.

    Every method raises ConnectionLost (no server can be reached; of a command: any), ServerError (a server refused) or
    RemoteProtocolError (it is no Gearman server).
    """

    def __init__(self, *servers: str | Endpoint | Dialer | Target) -> None:
        if not servers:
            raise LocalProtocolError("an administrator needs at least one server")
        self._desks = [_Desk(server.server if isinstance(server, Target) else server) for server in servers]

    @property
    def name(self) -> str:
        """The servers' names."""
        return ", ".join(desk.name for desk in self._desks)

    @property
    def servers(self) -> tuple[Admin, ...]:
        """An administrator for each server alone, over the same connections."""
        return tuple(Admin._at(desk) for desk in self._desks)

    @classmethod
    def _at(cls, desk: _Desk) -> Admin:
        admin = cls.__new__(cls)
        admin._desks = [desk]
        return admin

    # Tables

    async def status(self) -> list[FunctionStatus]:
        """All functions with their jobs and workers; numbers of several servers are added up."""
        return _merged(await self._tables("status", _function_status))

    async def priority_status(self) -> list[PriorityStatus]:
        """All functions with the jobs that wait, by priority; numbers of several servers are added up."""
        return _merged(await self._tables("prioritystatus", PriorityStatus.parse))

    async def workers(self) -> list[WorkerRow]:
        """All connections of all servers, this one too."""
        tables = await self._tables("workers", ConnectionStatus.parse)
        return [WorkerRow(server, *row) for server, rows in tables for row in rows]

    async def jobs(self) -> list[JobRow]:
        """All jobs (`show jobs`)."""
        return [row for _, rows in await self._tables("show jobs", JobRow.parse) for row in rows]

    async def unique_jobs(self) -> list[bytes]:
        """The uniques of all jobs (`show unique jobs`)."""
        return [row for _, rows in await self._tables("show unique jobs", bytes) for row in rows]

    async def dead(self) -> list[DeadRow]:
        """The jobs that failed for good under a policy (`dead list`, which gearmand does not know)."""
        return [row for _, rows in await self._tables("dead list", DeadRow.parse) for row in rows]

    # Words; of several servers, ask `servers` one by one

    async def version(self) -> str:
        """The server's version."""
        return (await self._the_desk.word("version")).decode(errors="replace")

    async def verbose(self) -> str:
        """The server's log level."""
        return (await self._the_desk.word("verbose")).decode(errors="replace")

    async def getpid(self) -> int:
        """The server's process id."""
        return text.number(await self._the_desk.word("getpid"))

    # Commands

    async def cancel_job(self, handle: bytes) -> None:
        """End a job in whatever state, on the server that knows it; its clients get WORK_FAIL."""
        await self._command("cancel job", handle, by_any=True)

    async def retry_dead(self, name: bytes | str) -> None:
        """Have the dead job of a handle, or all of a function, run anew, on the servers that know any."""
        await self._command("dead retry", _name(name), by_any=True)

    async def drop_dead(self, name: bytes | str) -> None:
        """Forget the dead job of a handle, or all of a function."""
        await self._command("dead drop", _name(name), by_any=True)

    async def create_function(self, function: bytes | str) -> None:
        """Make a function known."""
        await self._command("create function", _name(function))

    async def drop_function(self, function: bytes | str) -> None:
        """Make a function unknown that has neither workers nor jobs, wherever it is known."""
        await self._command("drop function", _name(function), by_any=True)

    async def max_queue(self, function: bytes | str, *sizes: int) -> None:
        """Limit a function's jobs: one size for all priorities, three for high, normal, low, or none for no limit."""
        await self._command("maxqueue", _name(function), *(b"%d" % size for size in sizes))

    async def shutdown(self, *, graceful: bool = False) -> None:
        """Stop the servers; `graceful`: each when the jobs that run have ended."""
        await self._command("shutdown graceful" if graceful else "shutdown")

    # All at once

    @property
    def _the_desk(self) -> _Desk:
        if len(self._desks) > 1:
            raise LocalProtocolError(f"several servers have several answers: ask one of Admin.servers ({self.name})")
        return self._desks[0]

    async def _tables(self, command: str, parse: Callable[[bytes], T]) -> list[tuple[str, list[T]]]:
        """The tables of those that can be reached, if any can."""
        answers, errors = await self._each(lambda desk: desk.table(command))
        for error in errors:
            if not answers or not isinstance(error, ConnectionLost):
                raise error
            log.warning("a server is missing from the answer error=%s", error)
        return [(desk.name, [parse(row) for row in rows]) for desk, rows in answers]

    async def _command(self, command: str, *arguments: bytes, by_any: bool = False) -> None:
        """Have all servers do it; `by_any`: it is enough that one did."""
        answers, errors = await self._each(lambda desk: desk.word(command, *arguments))
        if errors and not (by_any and answers):
            # What a server said is worth more than that another one could not be reached.
            raise next((error for error in errors if isinstance(error, ServerError)), errors[0])

    async def _each(self, ask: Callable[[_Desk], Awaitable[T]]) -> tuple[list[tuple[_Desk, T]], list[AbraxasError]]:
        """Ask all at once; the answers in the order of the servers, and what went wrong."""
        answers: dict[_Desk, T] = {}
        errors: dict[_Desk, AbraxasError] = {}

        async def ask_one(desk: _Desk) -> None:
            try:
                answers[desk] = await ask(desk)
            except AbraxasError as error:
                errors[desk] = error

        if len(self._desks) == 1:
            await ask_one(self._desks[0])
        else:
            async with trio.open_nursery() as nursery:
                for desk in self._desks:
                    nursery.start_soon(ask_one, desk)
        in_order: Sequence[_Desk] = self._desks
        return (
            [(desk, answers[desk]) for desk in in_order if desk in answers],
            [errors[desk] for desk in in_order if desk in errors],
        )

    async def aclose(self) -> None:
        """Close the connections, if there are any."""
        for desk in self._desks:
            await desk.aclose()

    async def __aenter__(self) -> Admin:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _Desk:
    """One server's answers."""

    def __init__(self, server: str | Endpoint | Dialer) -> None:
        self.name, self._dial = dialer(server)
        self._connection: Connection | None = None
        self._asking = trio.Lock()

    async def word(self, command: str, *arguments: bytes) -> bytes:
        """What follows OK in the answer of one line."""
        return text.parse_answer((await self._ask(command, arguments, is_table=False))[0])

    async def table(self, command: str) -> list[bytes]:
        """The rows of an answer of several lines."""
        return [line.text for line in await self._ask(command, (), is_table=True)]

    async def _ask(self, command: str, arguments: tuple[bytes, ...], *, is_table: bool) -> list[Line]:
        if any(not argument or set(argument) & set(b"\0\r\n ") for argument in arguments):
            raise LocalProtocolError(f"an argument of {command} is empty or holds a space, a line end or NUL")
        async with self._asking:
            try:
                if self._connection is None:
                    self._connection = Connection(await self._dial(), name=self.name)
                # With CR, for gearmand cuts the last character off a name that ends in LF alone.
                await self._connection.send(Line(b" ".join((command.encode(), *arguments)) + b"\r"))
                return await self._answer(self._connection, is_table)
            except BaseException:
                # A half-read answer would be taken for the next one's.
                await self.aclose()
                raise

    async def _answer(self, connection: Connection, is_table: bool) -> list[Line]:
        lines: list[Line] = []
        while batch := await connection.receive():
            for line in batch:
                if not isinstance(line, Line):
                    raise RemoteProtocolError("UNEXPECTED_PACKET", "a packet came in place of text", is_fatal=True)
                if is_table and line.text == text.END:
                    return lines
                if line.text.startswith(b"ERR "):
                    text.parse_answer(line)
                lines.append(line)
                if not is_table:
                    return lines
        raise ConnectionLost(f"{self.name} closed the connection")

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()


@asynccontextmanager
async def open_admin(*servers: str | Endpoint | Dialer | Target) -> AsyncIterator[Admin]:
    """An administrator of one or several servers for the time of a block. Raises InvalidEndpoint."""
    admin = Admin(*servers)
    try:
        yield admin
    finally:
        await admin.aclose()


@lru_cache(maxsize=4096)
def _function_status(line: bytes) -> FunctionStatus:
    """A scheduler asks again and again, and few rows have changed."""
    return FunctionStatus.parse(line)


def _merged(tables: list[tuple[str, list[Row]]]) -> list[Row]:
    """One row for each function, with the sums of its numbers."""
    merged: dict[bytes, Row] = {}
    for _, rows in tables:
        for row in rows:
            known = merged.get(row.function)
            merged[row.function] = row if known is None else _sum(row, known)
    return list(merged.values())


def _sum(one: Row, other: Row) -> Row:
    return type(one)(one.function, *(a + b for a, b in zip(one[1:], other[1:], strict=True)))


def _name(function: bytes | str) -> bytes:
    return function.encode() if isinstance(function, str) else function
