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

__all__ = ["Load", "compiled", "drive"]

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
    """Put a load on a server and measure: rate (a second), p50 and p99 (ms), took (s), cpu (share of a processor)."""
    words = (port, load.kind, load.clients, load.depth, load.workers, load.seconds, load.jobs, load.data_bytes)
    done = subprocess.run(
        [*_generator(), *map(str, words)], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"the load generator ended with {done.returncode}")
    sample: dict[str, float] = json.loads(done.stdout)
    return sample


def _generator() -> list[str]:
    built = compiled("load.c")
    return [sys.executable, str(HERE / "load_python.py")] if built is None else [built]


@cache
def compiled(source: str, *flags: str) -> str | None:
    """The path of what a file of this folder becomes; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    built = Path(tempfile.mkdtemp(prefix="load-")) / source.partition(".")[0]
    subprocess.run([compiler, "-O2", *flags, "-o", str(built), str(HERE / source)], check=True)
    return str(built)
