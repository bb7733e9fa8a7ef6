"""A short storm in every run; the long one is a command (`storm`)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import trio
from mariadb_stage import program
from storm import cluster, storm

SECONDS = float(os.environ.get("GEARBOX_TEST_STORM", "20"))
SEED = int(os.environ.get("GEARBOX_TEST_SEED", "1"))


@pytest.mark.gearmand
@pytest.mark.mariadb
def test_a_short_storm_loses_nothing_and_runs_nothing_twice_at_once(tmp_path: Path) -> None:
    gearmand = shutil.which("gearmand", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
    if gearmand is None or not _has_mariadb():
        message = "gearmand or mariadbd is missing (Debian: gearman-job-server, mariadb-server)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with cluster(tmp_path, gearmand, workers=4) as it:
        verdict = trio.run(storm, it, tmp_path, 500, 2.0, SEED, print, SECONDS)
    print(verdict.figures)
    assert verdict.faults == []


def _has_mariadb() -> bool:
    try:
        program("mariadbd")
    except FileNotFoundError:
        return False
    return True
