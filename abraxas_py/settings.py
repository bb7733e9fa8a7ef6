"""How a connection to a server is to be, for all servers of a client or worker (`Settings`), or for one (`Target`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from abraxas_py.backoff import MAX_DELAY
from abraxas_py.dump import PacketDump, TrafficDump
from abraxas_py.errors import LocalProtocolError
from abraxas_py.protocol.wire import MAX_RESPONSE_BYTES
from abraxas_py.transport import Dialer, Endpoint

__all__ = ["Settings", "Target"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a connection is to be; what `open_client`, `Worker` and `Target` take by the same names.

    Raises LocalProtocolError for a client id that cannot be sent.
    """

    client_id: str = ""  # what the admin command `workers` shows
    streaming: bool = False  # ask for Abraxas' streaming mode; a server without it is not used
    reconnect_delay: float = MAX_DELAY  # seconds between attempts to connect, at most
    max_packet_bytes: int = MAX_RESPONSE_BYTES  # a larger packet of a server ends the connection
    debug: bool = False  # tell standard error of connections, errors, and what was not expected
    traffic_dump: bool | TrafficDump = False  # see `dump`
    packet_dump: bool | PacketDump = False

    def __post_init__(self) -> None:
        try:
            self.client_id.encode()
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"a client id is text, not {self.client_id!r}") from error


@dataclass(frozen=True, slots=True)
class Target:
    """A server with settings of its own, where they differ from those of its client or worker (None: they do not).

    open_client("127.0.0.1:4730", Target("tls://queue.example.com", packet_dump=True))
    """

    server: str | Endpoint | Dialer
    client_id: str | None = None
    streaming: bool | None = None
    reconnect_delay: float | None = None
    max_packet_bytes: int | None = None
    debug: bool | None = None
    traffic_dump: bool | TrafficDump | None = None
    packet_dump: bool | PacketDump | None = None

    def over(self, settings: Settings) -> Settings:
        """The settings, with this target's own laid over them."""
        own = {name: getattr(self, name) for name in Settings.__slots__}
        return replace(settings, **{name: value for name, value in own.items() if value is not None})
