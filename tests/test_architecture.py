"""Who may import whom: the layers of the design as data, held against the code.

Dependencies point one way: `gearbox` uses `abraxas_py`, never the reverse; what decides knows nothing of clocks,
sockets, threads or chance. A new file must be entered here, which is the moment to think about where it belongs.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Modules of the standard library that a pure file must not know: time, chance, the outside world.
IMPURE = {
    "asyncio", "fcntl", "logging", "os", "pathlib", "random", "resource", "secrets", "select", "selectors", "signal",
    "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "trio", "uuid",
}  # fmt: skip

PURE = "pure"  # may import none of IMPURE, and no third party but those named

# file -> (pure?, what of ours and of others it may import; a package stands for all in it)
ABRAXAS = {
    "errors": (PURE, set()),
    "protocol/__init__": (PURE, set()),
    "protocol/packets": (PURE, {"errors"}),
    "protocol/wire": (PURE, {"errors", "protocol.packets"}),
    "protocol/text": (PURE, {"errors", "protocol.wire"}),
    "protocol/exchange": (PURE, {"errors", "protocol.packets"}),
    "protocol/pull": (PURE, {"errors", "protocol.packets"}),
    "broker/*": (PURE, {"errors", "protocol", "broker"}),
    "backoff": (PURE, set()),
    "nursery": ("", {"trio"}),
    "transport": ("", {"errors", "trio"}),
    "link": ("", {"errors", "protocol", "transport", "trio"}),
    "access": (PURE, {"broker", "errors"}),
    "policies": ("", {"broker", "errors"}),
    "journal/__init__": (PURE, {"broker"}),
    "journal/leases": (PURE, set()),
    "journal/gearmand": ("", {"broker", "errors", "journal", "pymysql"}),
    "journal/mysql_codes": ("", {"pymysql"}),
    "journal/mysql_connection": ("", {"pymysql"}),
    "journal/mysql_link": (
        "",
        {"errors", "journal.leases", "journal.mysql_codes", "journal.mysql_connection", "pymysql"},
    ),
    "journal/mysql": ("", {"broker", "errors", "journal", "protocol.packets", "pymysql"}),
    "journal/sqlite": ("", {"broker", "errors", "inode", "journal"}),
    "journal/writer": ("", {"broker", "errors", "hang", "journal", "nursery", "trio"}),
    "hang": ("", {"trio"}),
    "inode": ("", set()),
    "poller": ("", set()),
    "patience": ("", set()),
    "door": ("", {"errors", "poller", "protocol", "transport"}),
    "server": (
        "",
        {"access", "broker", "door", "errors", "journal", "link", "nursery", "patience", "poller", "protocol", "trio"},
    ),
    "connection": ("", {"errors", "protocol", "trio"}),
    "dump": ("", {"errors", "protocol", "trio"}),
    "settings": ("", {"backoff", "dump", "errors", "protocol", "transport"}),
    "call": ("", {"errors", "protocol", "lifeline", "trio"}),  # `lifeline` for its types alone
    "lifeline": ("", {"call", "connection", "errors", "protocol", "settings", "transport", "trio"}),
    "lifelines": (
        "",
        {
            "backoff",
            "broker.timers",
            "call",
            "connection",
            "dump",
            "errors",
            "lifeline",
            "nursery",
            "protocol",
            "settings",
            "transport",
            "trio",
        },
    ),
    "task": ("", {"call", "errors", "protocol", "lifeline", "payload", "trio", "typing_extensions"}),  # types
    "jobstatus": ("", {"protocol", "task"}),
    "intake": ("", {"call", "errors", "lifeline", "protocol", "task", "trio"}),
    "assigned": ("", {"errors", "intake", "protocol", "lifeline", "engagement", "trio"}),  # two for their types
    "engagement": ("", {"assigned", "errors", "lifeline", "protocol"}),
    "handler": ("", {"assigned", "errors", "trio"}),
    "process": ("", {"errors", "logs", "server", "trio"}),
    "spool": ("", set()),
    "logs": ("", {"spool"}),
    "stdio": ("", {"spool"}),
    "cli": (
        "",
        {
            "abraxas_py",
            "access",
            "broker",
            "errors",
            "journal",
            "nursery",
            "policies",
            "process",
            "server",
            "stdio",
            "transport",
            "docopt",
            "trio",
        },
    ),
    "__main__": ("", {"cli"}),
    "admin": ("", {"connection", "errors", "protocol", "settings", "transport", "trio"}),
    "worker": (
        "",
        {
            "admin",
            "assigned",
            "backoff",
            "call",
            "engagement",
            "errors",
            "handler",
            "lifeline",
            "lifelines",
            "nursery",
            "protocol",
            "settings",
            "transport",
            "trio",
        },
    ),
    "payload": ("", {"admin", "assigned", "errors", "protocol", "settings", "transport", "worker", "trio"}),
    "client": (
        "",
        {
            "admin",
            "assigned",
            "backoff",
            "call",
            "dump",
            "errors",
            "jobstatus",
            "lifeline",
            "lifelines",
            "nursery",
            "payload",
            "protocol",
            "settings",
            "task",
            "transport",
            "typing_extensions",
            "trio",
            "worker",
        },
    ),
    "portal": ("", {"errors", "nursery", "trio"}),
    "blocking": ("", {"*"}),
    "testing": ("", {"broker", "client", "nursery", "server", "worker", "trio"}),
    "pytest_plugin": ("", {"testing", "pytest"}),
    "__init__": ("", {"*"}),
}
GEARBOX = {
    "errors": (PURE, set()),
    "job": (PURE, {"attrs"}),
    "trace": (PURE, set()),
    "rpc": (PURE, {"errors", "attrs"}),
    "rules/answers": (PURE, {"errors", "job", "rpc"}),
    "rules/attempts": (PURE, {"rules.answers", "errors", "job", "rpc"}),
    "rules/__init__": (PURE, {"rules.answers", "rules.attempts", "errors", "job", "rpc"}),
    "rules/inputs": (PURE, {"rules.answers", "job"}),
    "rules/why": (PURE, {"rules.answers", "rules.attempts", "job", "store.rows", "attrs"}),
    "rules/leases": (PURE, {"store"}),
    "rules/bundle": (PURE, {"errors", "job", "attrs"}),
    "rules/query": (PURE, {"errors", "job", "attrs"}),
    "rules/recurrence": (PURE, {"attrs", "cronsim"}),
    "steps/*": (
        PURE,
        {
            "rules.answers",
            "rules.attempts",
            "rules.bundle",
            "errors",
            "rules.inputs",
            "job",
            "rules.query",
            "rules.recurrence",
            "rpc",
            "rules",
            "steps",
            "store",
            "rules.why",
            "attrs",
        },
    ),
    "store/__init__": (PURE, {"job", "rules.query", "rules.recurrence", "store", "attrs"}),
    "store/address": (PURE, {"attrs"}),
    "store/clock": ("", {"job", "store", "attrs"}),
    "store/foresight": (PURE, {"job", "attrs"}),
    "store/rollups": (PURE, {"job", "attrs"}),
    "store/rows": (PURE, {"job", "attrs"}),
    "store/changes": (PURE, {"job", "attrs"}),
    "store/writing": (PURE, {"errors", "job", "store", "attrs"}),
    "store/reading": (PURE, {"job", "store"}),
    "store/controls": (PURE, {"job", "store"}),
    "store/cores": (PURE, {"job", "store"}),
    "store/recurring": (PURE, {"job", "rules.recurrence", "store", "attrs"}),
    "store/pruning": (PURE, {"job", "store"}),
    "store/searching": (PURE, {"job", "rules.query", "store", "attrs"}),
    "store/operators": (PURE, {"job", "store"}),
    "store/sql": ("", {"errors", "job", "store", "attrs"}),
    "store/running": (PURE, {"errors", "store"}),
    "store/sqlite": ("", {"abraxas_py.inode", "errors", "job", "store"}),
    "store/apart": ("", {"errors", "store", "attrs"}),
    "store/mysql/words": (PURE, {"store.address"}),
    "store/mysql/server": (PURE, set()),
    "store/mysql/link": ("", {"errors", "store.address", "abraxas_py", "pymysql"}),
    "store/mysql/journal": ("", {"errors", "store.address", "store.mysql", "abraxas_py"}),
    "store/mysql/session": ("", {"errors", "store.address", "store.clock", "store.mysql", "pymysql"}),
    "store/mysql/schema": ("", {"errors", "store.address", "store.mysql", "pymysql", "structlog"}),
    "store/mysql/adoption": (PURE, {"errors", "job", "rules.answers", "store.mysql", "store.rows"}),
    "store/mysql/tx": ("", {"errors", "job", "rules.recurrence", "store"}),
    "store/mysql/__init__": ("", {"errors", "job", "store", "pymysql", "structlog"}),
    "gearman": ("", {"errors", "job", "rpc", "trace", "abraxas_py", "attrs", "structlog", "trio"}),
    "cores": ("", {"core", "errors", "rules.leases", "steps", "store", "abraxas_py", "structlog", "trio"}),
    "vitals": ("", {"store", "attrs", "trio"}),
    "core": ("", {"engine", "errors", "gearman", "job", "steps", "store", "structlog", "trio"}),
    "engine": (
        "",
        {"abraxas_py.hang", "errors", "gearman", "job", "steps", "store", "vitals", "attrs", "structlog", "trio"},
    ),
    "methods/params": (PURE, {"errors", "job", "rules.recurrence", "rpc", "steps", "attrs", "cattrs"}),
    "methods/objects": (
        PURE,
        {"gearman", "rules.answers", "job", "rules.recurrence", "rpc", "steps", "store", "vitals"},  # two for types
    ),
    "methods/surface": (PURE, {"methods.params", "attrs"}),
    "methods/__init__": (
        "",
        {
            "rules.answers",
            "rules.bundle",
            "core",
            "errors",
            "gearman",
            "job",
            "methods.objects",
            "methods.params",
            "rules.query",
            "rules.recurrence",
            "rpc",
            "steps",
            "store",
            "trace",
            "vitals",
            "abraxas_py",
            "attrs",
            "structlog",
            "trio",
        },
    ),
    "batches": ("", {"errors", "rpc", "abraxas_py", "trio"}),
    "client": ("", {"batches", "errors", "rpc", "shapes", "trace", "abraxas_py", "trio"}),
    "settings": ("", {"errors", "job", "store.address", "web.access", "abraxas_py", "attrs"}),
    "web/__init__": (PURE, set()),
    "web/access": (PURE, {"attrs"}),
    "web/forecast": (PURE, {"attrs"}),
    "web/words": (PURE, {"web.forecast", "markupsafe"}),
    "web/series": ("", {"errors", "attrs", "trio"}),
    "web/charts": (PURE, {"web.series", "web.words", "attrs", "markupsafe"}),
    "web/graph": (PURE, {"attrs", "markupsafe"}),
    "web/openapi": (PURE, {"methods.params", "methods.surface", "abraxas_py", "attrs"}),
    "web/*": (
        "",
        {
            "core",
            "errors",
            "job",
            "methods",
            "rpc",
            "trace",
            "web",
            "abraxas_py",
            "attrs",
            "hypercorn",
            "jinja2",
            "markupsafe",
            "prometheus_client",
            "starlette",
            "structlog",
            "trio",
        },
    ),
    "work/config": ("", {"errors", "work.runner", "work.toml", "abraxas_py", "attrs"}),
    "daemon": (
        "",
        {
            "client",
            "core",
            "cores",
            "errors",
            "gearman",
            "methods",
            "settings",
            "steps",
            "store",
            "web.server",  # where it is installed
            "abraxas_py",
            "attrs",
            "structlog",
            "trio",
        },
    ),
    "demo": ("", {"client", "errors", "shapes", "abraxas_py", "rich", "trio"}),
    "work/runner": ("", {"errors", "job", "rpc", "attrs"}),
    "work/child": ("", {"errors", "work.runner", "trio"}),
    "work/guard": ("", {"trio"}),
    "shapes": (PURE, set()),
    "blocking": ("", {"client", "errors", "trio"}),
    "work/teller": ("", set()),
    "work/lease": ("", {"client", "errors", "abraxas_py", "trio"}),
    "work/assignment": ("", {"rpc", "work.lease", "attrs", "trio"}),
    "work/attendants": ("", {"client", "errors", "work.assignment", "work.lease", "abraxas_py", "trio"}),
    "work/reporter": ("", {"client", "errors", "work.runner", "work.teller", "abraxas_py", "trio"}),
    "work/handler": (
        "",
        {
            "client",
            "errors",
            "job",
            "work.assignment",
            "work.attendants",
            "work.reporter",
            "rpc",
            "work.runner",
            "work.teller",
            "abraxas_py",
            "attrs",
            "trio",
        },
    ),
    "work/crew": ("", {"client", "work.handler", "work.reporter", "work.teller", "abraxas_py", "attrs", "trio"}),
    "worker": (
        "",
        {
            "client",
            "work.crew",
            "errors",
            "work.assignment",
            "job",
            "rpc",
            "trace",
            "work.runner",
            "work.teller",
            "abraxas_py",
            "attrs",
            "trio",
        },
    ),
    "work/toml": (PURE, {"attrs", "tomlkit"}),
    "work/__init__": (PURE, set()),
    "cli/arguments": (PURE, {"rpc", "errors"}),
    "cli/output": (PURE, {"rpc", "errors"}),
    "cli/*": ("", {"*"}),
    "__init__": ("", {"*"}),
}
PACKAGES = {"abraxas_py": ABRAXAS, "gearbox": GEARBOX}
STANDARD = sys.stdlib_module_names


def files() -> list[tuple[str, str]]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            found.append((package, path.relative_to(ROOT / package).with_suffix("").as_posix()))
    return found


def imports_of(package: str, file: str) -> set[str]:
    """The modules that a file imports anywhere, absolute; not those for type checkers alone."""
    tree = ast.parse((ROOT / package / f"{file}.py").read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{package}/{file}.py imports relatively"
            assert node.module
            for alias in node.names:
                path = ROOT / node.module.replace(".", "/") / alias.name
                is_module = path.with_suffix(".py").exists() or path.is_dir()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


def rule_of(package: str, file: str) -> tuple[str, set[str]]:
    table = PACKAGES[package]
    rule = table.get(file) or table.get(f"{Path(file).parent.as_posix()}/*")
    assert rule is not None, f"{package}/{file}.py is in no layer: enter it in this test"
    return rule


@pytest.mark.parametrize(("package", "file"), files())
def test_imports_keep_to_the_layers(package: str, file: str) -> None:
    kind, allowed = rule_of(package, file)
    for module in sorted(imports_of(package, file) - {"__future__"}):
        top = module.partition(".")[0]
        if top in STANDARD:
            assert not (kind == PURE and top in IMPURE), f"{package}/{file}.py is pure, and imports {module}"
        elif "*" in allowed:
            assert not (package == "abraxas_py" and top == "gearbox"), f"{package}/{file}.py imports {module}"
        else:
            name = module.removeprefix(f"{package}.")
            is_allowed = any(name == one or name.startswith(f"{one}.") for one in allowed)
            assert is_allowed, f"{package}/{file}.py may not import {module}"


@pytest.mark.parametrize(("package", "file"), files())
def test_nothing_but_json_is_deserialised(package: str, file: str) -> None:
    """What makes objects, or runs code, of bytes that somebody sent has no place here. Those in `apart` nobody sent."""
    ours = {"pickle"} if (package, file) == ("gearbox", "store/apart") else set()
    assert imports_of(package, file) & {"dill", "jsonpickle", "marshal", "pickle", "shelve", "yaml"} == ours
    calls = {
        node.func.id
        for node in ast.walk(ast.parse((ROOT / package / f"{file}.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"eval", "exec"}


def test_the_table_names_no_file_that_is_gone() -> None:
    there = set(files())
    for package, table in PACKAGES.items():
        for file in table:
            assert file.endswith("/*") or (package, file) in there, f"{package}/{file}.py"


def test_what_tests_share_has_names_of_its_own() -> None:
    """Stages are found by their names alone, so of two that have one name the first to be imported hides the other."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*_stage.py"))
    assert [name for name, count in names.items() if count > 1] == []
