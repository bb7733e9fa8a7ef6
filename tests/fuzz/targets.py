"""The fuzz targets by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fuzz_arguments import Arguments
from fuzz_campaign import Target
from fuzz_dates import Dates
from fuzz_environment import Environment
from fuzz_gearmand import AgainstGearmand
from fuzz_http import Requests
from fuzz_lines import Lines
from fuzz_packets import Packets
from fuzz_payloads import Payloads
from fuzz_rpc import Rpc
from fuzz_servers import Servers
from fuzz_store import StoreOnMariadb, StoreOnSqlite
from fuzz_streams import Streams
from fuzz_toml import Toml

__all__ = ["TARGETS"]

TARGETS: Mapping[str, Callable[[], Target]] = {
    target.name: target
    for target in (
        Packets,
        Streams,
        AgainstGearmand,
        Lines,
        Toml,
        Dates,
        Environment,
        Arguments,
        Rpc,
        Payloads,
        Servers,
        Requests,
        StoreOnSqlite,
        StoreOnMariadb,
    )
}
