"""The stage on which stores are tested."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mariadb_stage import MariaDb

from gearbox.store import Store, open_store
from gearbox.store.address import MysqlAddress

# Tests are imported by path, not as a package, so what they share must be found like this.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def mysql(mariadb: MariaDb) -> Iterator[MysqlAddress]:
    """A database with empty tables, which tests leave empty."""
    with mariadb.database() as address:
        open_store(address).close()
        yield address


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mariadb)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | MysqlAddress]:
    """Where a store of each kind may be opened; no jobs are there yet."""
    if request.param == "sqlite":
        yield str(tmp_path / "jobs.db")
        return
    address = request.getfixturevalue("mysql")
    yield address
    server: MariaDb = request.getfixturevalue("mariadb")
    server.reset(address.database)


@pytest.fixture
def store(place: str | MysqlAddress) -> Iterator[Store]:
    """A new store of each kind."""
    store = open_store(place)
    yield store
    store.close()
