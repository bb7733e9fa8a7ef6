"""The demonstration on a server that is not its own alone."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from abraxas_py import Worker
from gearbox import demo

ANSWERS = {
    "queue": lambda params: 1,
    "queue_many": lambda params: [2, 3, 4, 5, 6],
    "watch": lambda params: "done",
}


async def test_workers_of_others_may_offer_what_is_no_text(
    open_gearman: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "WORKERS", {})  # they take seconds to start, and there is nothing for them here
    async with open_gearman(ANSWERS) as gearman, trio.open_nursery() as nursery:
        worker = Worker(gearman.address)
        worker.add(b"\xff", lambda job: None)
        await nursery.start(worker.run)
        await demo.demonstrate(gearman.address)
        nursery.cancel_scope.cancel()
    assert "=== 17 jobs done in" in capsys.readouterr().err
