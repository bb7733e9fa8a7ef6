"""Tables on a server as a core may find them at its start."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from doctor_stage import examined
from mariadb_stage import DUMPS, MariaDb
from store_stage import REFUSALS, queue, raw
from structlog.testing import capture_logs

from gearbox.errors import StoreError
from gearbox.store import open_store
from gearbox.store.address import MysqlAddress
from gearbox.store.mysql import schema

pytestmark = pytest.mark.mariadb

SUPER = "no trigger is seen to guard the audit: it takes SUPER, or log_bin_trust_function_creators=1 on the server"
TRIGGER = "no trigger is seen to guard the audit: it takes the TRIGGER privilege"
UNGUARDED = {"audit: it may be rewritten; what a trigger takes has just been logged": "warn"}


@pytest.fixture(scope="module")
def logging(mariadb: MariaDb) -> Iterator[MariaDb]:
    """A server with a binary log, as a primary is."""
    with tempfile.TemporaryDirectory(prefix="gearbox", dir=mariadb.folder.parent) as folder:
        server = MariaDb(Path(folder), ("--log-bin=log", "--sync-binlog=1"))
        server.install(like=mariadb)
        server.start()
        server.sql("CREATE USER me@localhost")
        yield server
        server.stop()


@pytest.fixture
def mine(logging: MariaDb) -> Iterator[MysqlAddress]:
    """An empty database of an ordinary user's."""
    with logging.database() as address:
        logging.sql(f"GRANT ALL ON {address.database}.* TO me@localhost")
        yield attrs.evolve(address, user="me")
    logging.sql("SET GLOBAL log_bin_trust_function_creators = 0")


def warned(address: MysqlAddress) -> list[str]:
    """What a core warns of at its start."""
    with capture_logs() as lines:
        open_store(address).close()
    return [line["event"] for line in lines]


def levels(address: MysqlAddress) -> dict[str, str]:
    """What `g-core --check` says of the audit."""
    given = MariaDb.environment(address) | {"GEARBOX_LISTEN": "127.0.0.1:0", "GEARBOX_HTTP": "off"}
    return {finding.text: finding.level for finding in examined(given) if "audit" in finding.text}


def test_an_audit_without_its_trigger_is_told_of_at_each_start_until_it_can_be_made(
    logging: MariaDb, mine: MysqlAddress
) -> None:
    assert warned(mine) == warned(mine) == [SUPER]
    assert levels(mine) == UNGUARDED
    logging.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    assert warned(mine) == []
    assert levels(mine) == {"audit: a trigger keeps it from being rewritten": "ok"}
    store = open_store(mine)
    queue(store)
    store.close()
    with raw(mine) as sql, pytest.raises(REFUSALS, match="append-only"):
        sql("UPDATE gearbox_events SET why = 'nothing'")
    logging.sql("SET GLOBAL log_bin_trust_function_creators = 0")
    assert warned(mine) == []


def test_to_look_whether_the_audit_is_guarded_makes_no_trigger(logging: MariaDb, mine: MysqlAddress) -> None:
    assert warned(mine) == [SUPER]
    logging.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    assert not schema.is_guarded(mine)
    assert not schema.is_guarded(mine)


def test_a_trigger_that_an_administrator_made_does(logging: MariaDb, mine: MysqlAddress) -> None:
    logging.sql(f"REVOKE TRIGGER ON {mine.database}.* FROM me@localhost")
    logging.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    assert warned(mine) == [TRIGGER]
    assert levels(mine) == UNGUARDED
    assert warned(attrs.evolve(mine, user="root")) == []
    assert warned(mine) == []


def test_a_trigger_is_made_for_each_table_of_jobs(logging: MariaDb, mine: MysqlAddress) -> None:
    logging.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    for table in ("gearbox_jobs", "jobs"):
        assert warned(attrs.evolve(mine, table=table)) == []
    with raw(mine) as sql:
        made = sql("SELECT trigger_name, event_object_table FROM information_schema.triggers ORDER BY 1")
    assert made == [("gearbox_events_are_final", "gearbox_events"), ("jobs_events_are_final", "jobs_events")]


def test_cores_that_work_are_not_held_up_while_a_trigger_cannot_be_made(
    logging: MariaDb, mine: MysqlAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert warned(mine) == [SUPER]
    logging.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    monkeypatch.setattr(schema, "TABLE_WAIT", 1)
    with logging.connect(mine.database) as dump, dump.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM gearbox_events")
        (late,) = warned(mine)
    assert "Lock wait timeout" in late
    assert warned(mine) == []


def test_cores_that_start_at_once_make_one_trigger(logging: MariaDb, mine: MysqlAddress) -> None:
    assert warned(mine) == [SUPER]
    logging.sql("SET GLOBAL log_bin_trust_function_creators = 1")
    with capture_logs() as lines:
        threads = [threading.Thread(target=lambda: open_store(mine).close()) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert lines == []
    with raw(mine) as sql:
        assert sql("SELECT trigger_name FROM information_schema.triggers") == [("gearbox_events_are_final",)]


@pytest.mark.parametrize("next", ["controls", "ids", "methods", "schedules", "writers"])
def test_a_backup_that_was_restored_in_part_is_refused_and_left_as_it_is(
    mariadb: MariaDb, tmp_path: Path, next: str
) -> None:
    whole = (DUMPS / "mysql_2.sql").read_bytes()
    part = tmp_path / "part.sql"
    part.write_bytes(whole[: whole.index(f"CREATE TABLE `gearbox_{next}`".encode())])
    with mariadb.database() as address:
        mariadb.load(address.database, part)
        before = mariadb.sql("SHOW TABLES", address.database)
        with pytest.raises(StoreError, match="half restored: restore the whole backup into an empty database"):
            open_store(address)
        assert mariadb.sql("SHOW TABLES", address.database) == before
