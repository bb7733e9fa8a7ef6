"""Plant each fault in a copy of the project, and see after how many seeds it is found.

python -m tests.simulation.mutants [NAME ...] [--seeds N] [--jobs N]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.simulation.mutants.catalogue import CATALOGUE, Mutant

ROOT = Path(__file__).parent.parent.parent.parent
COPIED = ("abraxas_py", "gearbox", "tests", "setup.cfg")
TEST_TIMEOUT = 600.0  # s for the tests of one mutant
SEED_TIMEOUT = 60.0  # s for a seed, on the average


def main() -> None:
    """Exits with 1 if one was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="those alone")
    parser.add_argument("--seeds", type=int, default=40, help="at most so many for each")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    given = parser.parse_args()
    chosen = [mutant for mutant in CATALOGUE if not given.names or mutant.name in given.names]
    with ThreadPoolExecutor(given.jobs) as pool:
        found = list(pool.map(lambda mutant: _hunt(mutant, given.seeds), chosen))
    print(f"{sum(found)} of {len(chosen)} planted faults were found")
    sys.exit(not all(found))


def plant(mutant: Mutant, folder: Path) -> None:
    """A copy of the project with one fault."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    path = folder / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, (
        f"{mutant.name}: its text stands {text.count(mutant.old)} times in {mutant.file}"
    )
    path.write_text(text.replace(mutant.old, mutant.new))


def _hunt(mutant: Mutant, seeds: int) -> bool:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plant(mutant, folder)
        how = _by_tests(mutant, folder) if mutant.tests else _by_seeds(folder, seeds)
    print(f"{mutant.name}: {mutant.what}: {how or 'NOT FOUND'} ({time.monotonic() - began:.0f} s)", flush=True)
    return how is not None


def _by_seeds(folder: Path, seeds: int) -> str | None:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", f"1-{seeds}", "--until-failure"]
    try:
        done = _run(command, folder, SEED_TIMEOUT * seeds)
    except subprocess.TimeoutExpired:  # of a slow machine: a run that turns in circles ends by itself
        return None
    found = re.search(r"^seed (\d+):\n  (.*?):", done.stdout, re.MULTILINE)
    if found is not None:
        return f"by seed {found[1]}: {found[2]}"
    return f"by a crash: {_last_error(done.stderr)}" if done.returncode else None


def _last_error(said: str) -> str:
    """Of a traceback, or of a group of them, whose last line is a frame."""
    errors = re.findall(r"^[ |]*(\w+(?:Error|Exception)\b.*)$", said, re.MULTILINE)
    return errors[-1] if errors else said.strip().splitlines()[-1]


def _by_tests(mutant: Mutant, folder: Path) -> str | None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests.split()]
    done = _run(command, folder, TEST_TIMEOUT)
    failed = re.search(r"^(?:FAILED|ERROR) (.*?)( -|$)", done.stdout, re.MULTILINE)
    return f"by {failed[1]}" if done.returncode and failed else None


def _run(command: list[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)


main()
