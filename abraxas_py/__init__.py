"""Gearman in pure Python on trio: server, client, worker and administrator.

    async with abraxas_py.serve("127.0.0.1:4730"):              # a server, in any trio program
        async with abraxas_py.open_client("127.0.0.1:4730") as client:
            result = await client.submit("reverse", b"abc")     # someone's worker answers b"cba"

The architecture, from the inside out; each layer knows only those before it:

    errors        who did wrong, as exceptions
    protocol/     bytes <-> messages (`wire`), packets and their arguments (`packets`), admin lines and tables (`text`),
                  and which answer belongs to which question (`exchange`). Pure.
    broker/       one synchronous state machine, `(peer, messages, now) -> effects`: jobs, queues, sleepers. Pure, too:
                  it never reads a clock, and what is to be sent goes, encoded, to the `send` that came with the peer.
    journal/      where background jobs are kept, in a file or a table, and how they are written in batches
    transport     endpoints, connecting and listening
    link, server  the trio shell around the broker: one task, one `poller`, one pass over all that is readable, one send
                  for each peer that got something; `door` lets peers in, `access` says who may do what, by certificate
    cli, process  the command `abraxas`: a server alone, with gearmand's flags
    connection    messages over a stream
    lifeline(s)   the connections to all servers, kept, lost and made again; calls on their way
    client, task  `open_client`, `submit() -> Task`; `payload` writes one as a stream
    worker        `Worker.add`, `Worker.run`; `engagement` asks for jobs, `handler` does them, `assigned` is one
    admin         `open_admin`
    blocking      the same without async; `testing`: the same in memory

Nothing in here knows the scheduler (`gearbox`); it uses this package as any program can, over `Server.attach`.
"""

from abraxas_py.access import Rule, parse_rule
from abraxas_py.admin import (
    Admin,
    ConnectionStatus,
    DeadRow,
    FunctionStatus,
    JobRow,
    PriorityStatus,
    WorkerRow,
    open_admin,
)
from abraxas_py.assigned import Assigned
from abraxas_py.broker import Options, Policy, Right
from abraxas_py.client import Client, JobStatus, open_client
from abraxas_py.connection import Connection
from abraxas_py.errors import (
    AbraxasError,
    ConnectionLost,
    InvalidEndpoint,
    JobError,
    JobFailed,
    JobRaised,
    JournalBroken,
    JournalError,
    JournalRefused,
    ListenError,
    LocalProtocolError,
    PayloadError,
    ProtocolError,
    RemoteProtocolError,
    ResponseTimeout,
    ServerError,
    TlsUnusable,
    Unavailable,
)
from abraxas_py.journal.sqlite import SqliteJournal
from abraxas_py.protocol.packets import Packet, Priority, Type
from abraxas_py.protocol.wire import Line
from abraxas_py.server import Counters, Keepalive, Limits, Server, serve
from abraxas_py.settings import Settings, Target
from abraxas_py.task import Data, Event, Status, Task, Warning
from abraxas_py.transport import Dialer, Endpoint, connect, parse_endpoint
from abraxas_py.worker import Registration, Worker

__version__ = "0.1.0"

__all__ = [
    "AbraxasError",
    "Admin",
    "Assigned",
    "Client",
    "Connection",
    "ConnectionLost",
    "ConnectionStatus",
    "Counters",
    "Data",
    "DeadRow",
    "Dialer",
    "Endpoint",
    "Event",
    "FunctionStatus",
    "InvalidEndpoint",
    "JobError",
    "JobFailed",
    "JobRaised",
    "JobRow",
    "JobStatus",
    "JournalBroken",
    "JournalError",
    "JournalRefused",
    "Keepalive",
    "Limits",
    "Line",
    "ListenError",
    "LocalProtocolError",
    "Options",
    "Packet",
    "PayloadError",
    "Policy",
    "Priority",
    "PriorityStatus",
    "ProtocolError",
    "Registration",
    "RemoteProtocolError",
    "ResponseTimeout",
    "Right",
    "Rule",
    "Server",
    "ServerError",
    "Settings",
    "SqliteJournal",
    "Status",
    "Target",
    "Task",
    "TlsUnusable",
    "Type",
    "Unavailable",
    "Warning",
    "Worker",
    "WorkerRow",
    "connect",
    "open_admin",
    "open_client",
    "parse_endpoint",
    "parse_rule",
    "serve",
]
