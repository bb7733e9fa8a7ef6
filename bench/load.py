"""Load on a server: `load.c`, compiled on the spot; without a compiler `load_python.py`, which is slower."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.figures import Sample

__all__ = ["Load", "drive"]

HERE = Path(__file__).parent
TIMEOUT = 300.0  # s


@dataclass(frozen=True, slots=True)
class Load:
    """What `load.c` takes; its head says what it means."""

    kind: str  # echo, bg, fg or drain
    clients: int = 0
    depth: int = 1
    workers: int = 0
    seconds: float = 1.0
    jobs: int = 0
    data_bytes: int = 64


def drive(load: Load, port: int) -> Sample:
    """Put a load on a server and measure: rate (a second), p50 and p99 (ms), cpu (share of a processor)."""
    words = (port, load.kind, load.clients, load.depth, load.workers, load.seconds, load.jobs, load.data_bytes)
    done = subprocess.run(
        [*_generator(), *map(str, words)], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"the load generator ended with {done.returncode}")
    sample: dict[str, float] = json.loads(done.stdout)
    return sample


@cache
def _generator() -> list[str]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return [sys.executable, str(HERE / "load_python.py")]
    built = Path(tempfile.mkdtemp(prefix="load-")) / "load"
    subprocess.run([compiler, "-O2", "-o", str(built), str(HERE / "load.c")], check=True)
    return [str(built)]
