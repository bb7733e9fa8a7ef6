"""Tables on a server as a core may find them at its start."""

from __future__ import annotations

from pathlib import Path

import pytest
from mariadb_stage import DUMPS, MariaDb

from gearbox.errors import StoreError
from gearbox.store import open_store

pytestmark = pytest.mark.mariadb


@pytest.mark.parametrize("last", ["gearbox_attempts", "gearbox_events"])
def test_a_backup_that_was_restored_in_part_is_refused_and_left_as_it_is(
    mariadb: MariaDb, tmp_path: Path, last: str
) -> None:
    whole = (DUMPS / "mysql_2.sql").read_bytes()
    end = whole.index(b"INSERT", whole.index(f"CREATE TABLE `{last}`".encode()))
    part = tmp_path / "part.sql"
    part.write_bytes(whole[: whole.index(b"\n", end)])
    with mariadb.database() as address:
        mariadb.load(address.database, part)
        before = mariadb.sql("SHOW TABLES", address.database)
        with pytest.raises(StoreError, match="half restored: restore the whole backup into an empty database"):
            open_store(address)
        assert mariadb.sql("SHOW TABLES", address.database) == before
