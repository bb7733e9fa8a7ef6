"""What `deploy/` has can be used: units that systemd takes, an image that can be built, settings that g-core takes."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from mariadb_stage import MariaDb, program

from abraxas_py import cli as abraxas_cli
from gearbox.job import NewJob
from gearbox.settings import Settings
from gearbox.steps import life
from gearbox.store import Moment, open_store
from gearbox.store.address import MysqlAddress
from gearbox.work.config import read

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
DOCUMENT = ROOT / "docs" / "deployment.md"
BIN = Path(sys.executable).parent
INSTRUCTIONS = {
    "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "CMD",
}  # fmt: skip


def commands() -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return {
        line.split("=")[0].strip() for line in config["options.entry_points"]["console_scripts"].split("\n") if line
    }


def compose() -> dict[str, Any]:
    text = (DEPLOY / "docker" / "compose.yaml").read_text()
    value: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+):\?[^}]*\}", r"secret-\1", text))
    return value


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    systemd = shutil.which("systemd-analyze")
    if systemd is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing (Debian: systemd)")
        pytest.skip("systemd-analyze is missing (Debian: systemd)")
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/gearbox/bin", str(BIN)).replace("User=gearbox", "User=root"))
    checked = subprocess.run(
        [systemd, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60, check=False
    )
    of_ours = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert (checked.returncode, of_ours) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_unit_starts_a_command_of_ours_and_starts_it_again(unit: Path) -> None:
    text = unit.read_text()
    (command,) = re.findall(r"^ExecStart=.*?/opt/gearbox/bin/(\S+)", text, re.MULTILINE)
    assert command in commands()
    assert "Restart=on-failure" in text
    assert "NoNewPrivileges=yes" in text
    if command == "abraxas":
        (line,) = re.findall(r"^ExecStart=\S+ (.*)", text, re.MULTILINE)
        assert abraxas_cli.parse([word for word in line.split() if not word.startswith("$")])  # a variable's words


def test_the_image_is_made_of_what_is_there_and_does_not_run_as_root() -> None:
    text = (DEPLOY / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert {word for word, _ in steps} == INSTRUCTIONS
    for word, rest in steps:
        if word == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources), rest
    kinds = [word for word, _ in steps]
    assert kinds[-1] == "CMD"
    assert dict(steps)["CMD"] == '["g-core"]'
    assert kinds.index("USER") > max(place for place, word in enumerate(kinds) if word == "RUN")
    assert not any(rest.split()[0] == "root" for word, rest in steps if word == "USER")


def test_the_large_layout_has_its_parts_and_g_core_takes_its_settings() -> None:
    services = compose()["services"]
    assert services.keys() == {"mariadb", "gearmand-1", "gearmand-2", "core-1", "core-2", "core-3", "worker"}
    servers = ("gearmand-1:4730", "gearmand-2:4730")
    for name in ("core-1", "core-2", "core-3"):
        settings = Settings.from_environment(services[name]["environment"])
        assert settings.servers == servers
        assert isinstance(settings.database, MysqlAddress)
        assert settings.database.host == "mariadb"
        assert services[name]["depends_on"]["mariadb"] == {"condition": "service_healthy"}
    assert services["worker"]["environment"] == {"GEARMAN_SERVER": ",".join(servers)}
    for service in services.values():
        assert "image" in service or "build" in service
        assert service["restart"] in ("on-failure", "unless-stopped")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    mariadb = services["mariadb"]["environment"]
    core = services["core-1"]["environment"]
    assert (mariadb["MARIADB_USER"], mariadb["MARIADB_PASSWORD"]) == (core["MYSQL_USER"], core["MYSQL_PASSWORD"])
    assert set(services["mariadb"]["command"]) >= {"--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"}
    for path in (ROOT / "deploy" / "docker" / service["build"]["context"] for service in [services["core-1"]]):
        assert (path / services["core-1"]["build"]["dockerfile"]).exists()


@pytest.mark.gearmand
def test_gearmand_knows_the_flags(tmp_path: Path) -> None:
    gearmand = shutil.which("gearmand") or shutil.which("gearmand", path="/usr/sbin")
    if gearmand is None:
        if os.environ.get("CI"):
            pytest.fail("gearmand is missing (Debian: gearman-job-server)")
        pytest.skip("gearmand is missing (Debian: gearman-job-server)")
    shown = subprocess.run([gearmand, "--help"], capture_output=True, text=True, timeout=60, check=False)
    command = compose()["services"]["gearmand-1"]["command"]
    assert command[0] == "gearmand"
    for flag in command[1:]:
        assert flag.partition("=")[0] in shown.stdout + shown.stderr


def test_the_workers_methods_are_sound() -> None:
    config = read([str(DEPLOY / "docker" / "methods.toml")])
    assert config.methods
    assert not config.remarks


@pytest.mark.mariadb
def test_the_dump_of_the_documentation_can_be_restored(mariadb: MariaDb, tmp_path: Path) -> None:
    (dump,) = re.findall(r"^mysqldump (.*) gearbox > backup.sql$", DOCUMENT.read_text(), re.MULTILINE)
    me = ["--no-defaults", "--user=root", f"--socket={mariadb.socket}"]
    moment = Moment(1_800_000_000.0, "core", 0.0, {"a::b": 1})
    queue = partial(life.queue, NewJob("a::b"))
    with mariadb.database() as place, mariadb.database() as empty:
        store = open_store(place)
        ids = [store.run_batch([queue], moment).outcomes[0].value for _ in range(20)]
        with open(tmp_path / "backup.sql", "wb") as backup:
            command = [program("mariadb-dump"), *me, *dump.split(), place.database]
            subprocess.run(command, stdout=backup, timeout=60, check=True)
        store.close()
        mariadb.load(empty.database, tmp_path / "backup.sql")
        restored = open_store(empty)
        assert [id for (id,) in mariadb.sql("SELECT id FROM gearbox_jobs ORDER BY id", empty.database)] == ids
        assert mariadb.sql("SHOW TRIGGERS", empty.database)
        assert restored.run_batch([queue], moment).outcomes[0].value > ids[-1]
        restored.close()


def test_the_backup_of_the_documentation_is_whole_while_jobs_are_queued(tmp_path: Path) -> None:
    (code,) = re.findall(r"python3 -c '(import sqlite3.*?)' gearbox.db backup.db", DOCUMENT.read_text(), re.DOTALL)
    store = open_store(str(tmp_path / "gearbox.db"))
    moment = Moment(1_800_000_000.0, "core", 0.0, {"a::b": 1})

    def queue() -> int:
        (outcome,) = store.run_batch([partial(life.queue, NewJob("a::b"))], moment).outcomes
        assert not isinstance(outcome, Exception)
        return int(outcome.value)

    acknowledged = [queue() for _ in range(20)]
    subprocess.run([sys.executable, "-c", code, "gearbox.db", "backup.db"], cwd=tmp_path, timeout=60, check=True)
    queue()
    store.close()
    backup = sqlite3.connect(tmp_path / "backup.db")
    assert backup.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert [id for (id,) in backup.execute("SELECT id FROM gearbox_jobs ORDER BY id")] == acknowledged
    backup.close()
    restored = open_store(str(tmp_path / "backup.db"))
    restored.close()
