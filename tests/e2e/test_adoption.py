"""A real `g-core` is started on a table of the original Gearbox: it answers for every row, and what waited goes on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from mariadb_stage import MariaDb

from gearbox.client import open_gearbox
from gearbox.errors import RpcError
from gearbox.store.address import MysqlAddress

pytestmark = pytest.mark.mariadb

ENDED = ("complete", "errored", "invalid", "duplicate")


def test_status_and_watch_answer_for_every_row(gearbox: Any, mariadb: MariaDb, mysql: MysqlAddress) -> None:
    mariadb.load_original(mysql.database, "legacy")
    ids = [id for (id,) in mariadb.sql("SELECT id FROM legacy ORDER BY id", mysql.database)]
    gearbox.use(MariaDb.environment(mysql) | {"DB_TABLE_JOBS": "legacy"})
    gearbox.core()
    gearbox.worker("-q", "-I", "append", "test::echo", "echo")
    trio.run(ask, gearbox.address, ids)
    # whoever reads the table as before finds it as before
    (row,) = mariadb.sql("SELECT status, completed, result_data FROM legacy WHERE id = 48", mysql.database)
    assert (row[0], row[2]) == ("complete", '"member\\n"')
    assert row[1].microsecond == 0


async def ask(address: str, ids: list[int]) -> None:
    answers: dict[int, Any] = {}
    async with open_gearbox([address], connect_timeout=10) as g:

        async def watch(id: int) -> None:
            try:
                answers[id] = await g.watch(id)
            except RpcError as error:
                answers[id] = error.code

        with trio.fail_after(30):
            assert await g.call("gearbox\\core::noopgo", 63) is True
            assert [row["id"] for row in await g.status(ids)] == ids
            async with trio.open_nursery() as nursery:
                for row in await g.status(ids):
                    if row["status"] in ENDED or (row["method_name"] == "test::echo" and row["id"] != 41):
                        nursery.start_soon(watch, row["id"])
        left = {row["id"] for row in await g.status(ids) if row["status"] not in ENDED}
    assert left == {41, 60, 61, 62, 64, 65}  # a date far away; and workers that may bring a result yet
    assert answers.keys() == set(ids) - left
    assert {id: answers[id] for id in (1, 5, 23, 31, 34, 40, 42, 43, 44, 45, 46, 47, 63)} == {
        1: {"a": [1, 2], "b": None},
        5: 5,
        23: -28404,
        31: 5,
        34: -28000,
        40: "ready\n",
        42: "past\n",
        43: "retry\n",
        44: "child\n",
        45: -28523,
        46: "double\n",
        47: "target\n",
        63: None,
    }
