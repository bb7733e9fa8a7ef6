"""Who of the programs that are simulated may know the time, chance and the machine; all others are told.

Where one of these is a default that the simulation replaces (clocks, the thread of the store), or what nothing is
decided by (names for people, ids), it stands here. `random` alone is seeded as a whole.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LOADED = """
import sys, tests.simulation.world
for name, module in sorted(sys.modules.items()):
    if name.partition(".")[0] in ("abraxas_py", "gearbox"):
        print(name, module.__file__)
"""
WORLD = {"time", "random", "uuid", "secrets", "os", "socket", "threading", "subprocess", "selectors"}
ALLOWED = {
    "abraxas_py.inode": {"os"},
    "abraxas_py.journal.gearmand": {"os"},
    "abraxas_py.lifelines": {"random"},  # the jitter of pauses
    "abraxas_py.link": {"socket"},
    "abraxas_py.poller": {"selectors"},  # of the server, which nobody gives a socket here
    "abraxas_py.patience": {"os", "time"},  # its clock can be given; nothing lingers in a simulation
    "abraxas_py.payload": {"uuid"},  # the name of a function for one stream
    "abraxas_py.door": {"os", "socket"},  # attached peers do not come by it
    "abraxas_py.server": {"os", "socket", "time"},  # its clock can be given
    "abraxas_py.transport": {"os", "socket"},  # a dialer can be given
    "gearbox.client": {"uuid"},  # ids of calls, tokens
    "gearbox.core": {"time"},  # its clock can be given
    "gearbox.engine": {"random", "time"},  # jitter; its clock can be given, how long a commit took is for people
    "gearbox.cores": {"os", "socket"},  # a name for people
    "gearbox.daemon": {"os", "uuid"},
    "gearbox.store.apart": {"os", "time"},
    "gearbox.store.clock": {"time"},  # stores and `cores.keep` can be given another
    "gearbox.store.sql": {"uuid"},  # a dedupe that nobody named
    "gearbox.store.sqlite": {"os", "secrets", "time"},
    "gearbox.vitals": {"os", "time"},
    "gearbox.work.crew": {"os", "socket"},  # a name for people
}
ORDERED = {"str", "bytes", "int", "tuple[int, int]", "Status"}  # what has the same hash in every run
UNREAD = {"abraxas_py.lifeline", "gearbox.store.foresight"}  # their sets are only asked whether something is in them


def test_nobody_else_reads_the_clock_chance_or_the_machine() -> None:
    for name, path in simulated():
        assert imported(path) & WORLD <= ALLOWED.get(name, set()), name


def test_no_set_is_ordered_by_where_its_objects_lie_in_memory() -> None:
    for name, path in simulated():
        if name not in UNREAD:
            assert elements_of_sets(path) <= ORDERED, name


def simulated() -> list[tuple[str, Path]]:
    """The modules of the project that take part in a simulation, with their files."""
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert len(files) > 50
    return [(name, Path(path)) for name, path in files]


def elements_of_sets(path: Path) -> set[str]:
    """What the annotations of a file say that is in its sets."""
    return {
        ast.unparse(node.slice)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "set"
        if not isinstance(node.slice, ast.Constant)  # a dictionary of that name
    }


def imported(path: Path) -> set[str]:
    """The modules that a file imports anywhere, by their first names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found
