"""The admin protocol's client: typed rows for `status`, `workers` and the like."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from abraxas_py.connection import Connection
from abraxas_py.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from abraxas_py.protocol import text
from abraxas_py.protocol.text import ConnectionStatus, FunctionStatus, JobRow, PriorityStatus
from abraxas_py.protocol.wire import Line
from abraxas_py.transport import Dialer, Endpoint, dialer

__all__ = ["Admin", "ConnectionStatus", "FunctionStatus", "JobRow", "PriorityStatus", "open_admin"]


class Admin:
    """Asks one server; made by `open_admin`. Safe to use from several tasks: one command at a time is on its way.

    It connects with the first command, and again with the next one after a loss. Every method raises ConnectionLost
    (also when the server cannot be reached), ServerError (the server refused) or RemoteProtocolError (it is no Gearman
    server).
    """

    def __init__(self, server: str | Endpoint | Dialer) -> None:
        self._name, self._dial = dialer(server)
        self._connection: Connection | None = None
        self._asking = trio.Lock()

    async def status(self) -> list[FunctionStatus]:
        """All functions with their jobs and workers."""
        return [FunctionStatus.parse(row) for row in await self._table("status")]

    async def priority_status(self) -> list[PriorityStatus]:
        """All functions with the jobs that wait, by priority."""
        return [PriorityStatus.parse(row) for row in await self._table("prioritystatus")]

    async def workers(self) -> list[ConnectionStatus]:
        """All connections, this one too."""
        return [ConnectionStatus.parse(row) for row in await self._table("workers")]

    async def jobs(self) -> list[JobRow]:
        """All jobs (`show jobs`)."""
        return [JobRow.parse(row) for row in await self._table("show jobs")]

    async def unique_jobs(self) -> list[bytes]:
        """The uniques of all jobs (`show unique jobs`)."""
        return await self._table("show unique jobs")

    async def version(self) -> str:
        """The server's version."""
        return (await self._word("version")).decode(errors="replace")

    async def verbose(self) -> str:
        """The server's log level."""
        return (await self._word("verbose")).decode(errors="replace")

    async def getpid(self) -> int:
        """The server's process id."""
        return int(await self._word("getpid"))

    async def cancel_job(self, handle: bytes) -> None:
        """End a job in whatever state; its clients get WORK_FAIL."""
        await self._word("cancel job", handle)

    async def create_function(self, function: bytes) -> None:
        """Make a function known."""
        await self._word("create function", function)

    async def drop_function(self, function: bytes) -> None:
        """Make a function unknown that has neither workers nor jobs."""
        await self._word("drop function", function)

    async def max_queue(self, function: bytes, *sizes: int) -> None:
        """Limit a function's jobs: one size for all priorities, three for high, normal, low, or none for no limit."""
        await self._word("maxqueue", function, *(b"%d" % size for size in sizes))

    async def shutdown(self, *, graceful: bool = False) -> None:
        """Stop the server; `graceful`: when the jobs that run have ended."""
        await self._word("shutdown graceful" if graceful else "shutdown")

    async def _word(self, command: str, *arguments: bytes) -> bytes:
        return text.parse_answer((await self._ask(command, arguments, is_table=False))[0])

    async def _table(self, command: str) -> list[bytes]:
        return [line.text for line in await self._ask(command, (), is_table=True)]

    async def _ask(self, command: str, arguments: tuple[bytes, ...], *, is_table: bool) -> list[Line]:
        if any(not argument or set(argument) & set(b"\0\r\n ") for argument in arguments):
            raise LocalProtocolError(f"an argument of {command} is empty or holds a space, a line end or NUL")
        async with self._asking:
            try:
                if self._connection is None:
                    self._connection = Connection(await self._dial(), name=self._name)
                await self._connection.send(Line(b" ".join((command.encode(), *arguments))))
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
        raise ConnectionLost(f"{self._name} closed the connection")

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()


@asynccontextmanager
async def open_admin(server: str | Endpoint | Dialer) -> AsyncIterator[Admin]:
    """An administrator for the time of a block. Raises InvalidEndpoint."""
    admin = Admin(server)
    try:
        yield admin
    finally:
        await admin.aclose()
