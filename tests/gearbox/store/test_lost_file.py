"""A database that is removed under its store: what is written to it then would be gone with the process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from store_stage import moment, queue

from gearbox.errors import StoreBroken
from gearbox.store.sqlite import SqliteStore


def remove(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def replace(path: Path) -> None:
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    backup.replace(path)


def remove_all(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("lose", [remove, move, replace, remove_all])
def test_nothing_is_acknowledged_that_goes_into_a_lost_file(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    path = tmp_path / "home" / "jobs.db"
    store = SqliteStore(str(path))
    queue(store)
    lose(path)
    with pytest.raises(StoreBroken, match="was removed or replaced while it was in use: put it back, or start again"):
        queue(store)
    store.is_broken = False
    store.close()


def test_where_it_cannot_be_told_the_store_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(str(tmp_path / "jobs.db"))

    def refuse(path: object) -> None:
        raise PermissionError("no search permission")

    monkeypatch.setattr("os.stat", refuse)
    assert queue(store).value == 1
    assert store.run_batch([], moment()).outcomes == []
    monkeypatch.undo()
    store.close()
