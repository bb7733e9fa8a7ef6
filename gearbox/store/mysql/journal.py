"""The broker's durable queue in the same database: shared with the brokers of the other cores."""

from __future__ import annotations

import ssl
from functools import partial

from abraxas_py.journal.mysql import MysqlJournal
from abraxas_py.journal.mysql_link import MysqlPlace
from gearbox.errors import StoreError
from gearbox.store.address import MysqlAddress
from gearbox.store.mysql.link import tls_context
from gearbox.store.mysql.words import renamed

__all__ = ["journal_beside"]


def journal_beside(address: MysqlAddress) -> MysqlJournal:
    """For the plain background jobs of a broker whose core keeps its jobs at `address`."""
    return MysqlJournal(
        MysqlPlace(
            address.unix_socket or address.host,
            address.user,
            address.database,
            address.password,
            address.port,
            renamed("gearbox_queue", address.table),
            partial(_tls, address),
        )
    )


def _tls(address: MysqlAddress) -> ssl.SSLContext | None:
    try:
        return tls_context(address)
    except StoreError as error:
        raise OSError(str(error)) from error
