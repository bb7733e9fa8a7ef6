"""The rows of the cores that share a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gearbox.job import TERMINAL
from gearbox.store import CoreRow, Lock
from gearbox.store.reading import Reading
from gearbox.store.rows import listed, micros
from gearbox.store.writing import PUT_META

__all__ = ["Cores"]

INSERT_CORE = """
INSERT INTO gearbox_cores (core_id, name, state, beats, began_at, beat_at)
VALUES (:id, :name, 'alive', 0, :now, :now)
ON CONFLICT (core_id) DO UPDATE SET beat_at = excluded.beat_at
"""
SELECT_IS_ALIVE = "SELECT 1 FROM gearbox_cores WHERE core_id = :id AND state = 'alive'"
BEAT = "UPDATE gearbox_cores SET beats = beats + 1, beat_at = :now WHERE core_id = :id AND state = 'alive'"
SELECT_CORES = "SELECT core_id, name, state, beats, began_at, beat_at FROM gearbox_cores ORDER BY began_at, core_id"
BURY = """
UPDATE gearbox_cores SET state = 'dead', beat_at = :now WHERE core_id = :id AND beats = :beats AND state = 'alive'
"""
FORGET = "DELETE FROM gearbox_cores WHERE state = 'dead' AND beat_at < :before"
SELECT_ENDED = f"SELECT id FROM gearbox_jobs WHERE id IN (%s) AND status IN ({listed(TERMINAL)})"
IDS_LIMIT = 500  # in one statement


class Cores(Reading):
    """The part of `store.Tx` that is about other cores."""

    def add_core(self, id: str, name: str, now: float) -> None:
        self._change(INSERT_CORE, {"id": id, "name": name, "now": micros(now)})

    def is_alive(self, id: str) -> bool:
        return self._execute(SELECT_IS_ALIVE + self.LOCKS[Lock.SHARED], {"id": id}).fetchone() is not None

    def beat(self, id: str, now: float) -> None:
        self._change(BEAT, {"id": id, "now": micros(now)})

    def cores(self) -> list[CoreRow]:
        rows = self._execute(SELECT_CORES, {}).fetchall()
        return [
            CoreRow(id, name, state == "alive", beats, began_at / 1e6, beat_at / 1e6)
            for id, name, state, beats, began_at, beat_at in rows
        ]

    def bury(self, id: str, beats: int, now: float) -> bool:
        return bool(self._change(BURY, {"id": id, "beats": beats, "now": micros(now)}).rowcount)

    def forget_cores(self, before: float) -> None:
        self._change(FORGET, {"before": micros(before)})

    PROOF: ClassVar = 1 << 16  # characters: a file that has room for a word may have none for a job

    def prove(self, now: float) -> None:
        self._change(PUT_META, {"name": "proof", "value": str(micros(now)).ljust(self.PROOF, ".")})

    def ended(self, ids: Sequence[int]) -> list[int]:
        found: list[int] = []
        for start in range(0, len(ids), IDS_LIMIT):
            part = {f"id{n}": id for n, id in enumerate(ids[start : start + IDS_LIMIT])}
            statement = SELECT_ENDED % ", ".join(f":{name}" for name in part)
            found += [id for (id,) in self._execute(statement, part).fetchall()]
        return found
