"""The examples for Gearbox do what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"


def start(gearbox: Any, argv: list[Any], method: str) -> subprocess.Popen[bytes]:
    environment = {**gearbox.environment, "GEARMAN_SERVER": gearbox.address}
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    gearbox.processes.append(process)
    gearbox.wait_for(lambda: any(row[0] == method and row[3] != "0" for row in gearbox.functions()))
    return process


def test_the_python_examples(gearbox: Any) -> None:
    gearbox.core()
    worker = start(gearbox, [sys.executable, EXAMPLES / "gearbox_worker.py"], "text::join")
    script = subprocess.run(
        [sys.executable, EXAMPLES / "gearbox_script.py", "many", "words"],
        env={**os.environ, "GEARMAN_SERVER": gearbox.address},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert script.stdout == "MANY WORDS\n"
    assert "its pool is not done" in script.stderr
    assert gearbox.client("run", "-q", "-O", "json", "text::upper", "hello").stdout == '["HELLO"]\n'
    assert gearbox.client("run", "-q", "text::upper").stderr == "code: 422\nmessage: nothing to do\n"
    assert gearbox.client("run", "-q", "text::slowly", "a", "b", "c").stdout == "3\n"
    last = gearbox.client("queue-many", "-q", str(EXAMPLES / "gearbox_pool.json")).stdout.split()[-1]
    assert gearbox.client("watch", "-q", "-O", "json", last).stdout == '["AFTER THE POOL"]\n'
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_the_multiworkers_example(gearbox: Any) -> None:
    gearbox.core()
    start(gearbox, [Path(sys.executable).parent / "g-multiworker", EXAMPLES / "gearbox.toml"], "Test::steps")
    assert gearbox.client("run", "-q", "Test/Foo::echo", "a b").stdout == "test a b\n\n"
    assert gearbox.client("run", "-q", "Test::steps").stdout == "null\n"
    assert gearbox.client("run", "-q", "Test::sleep", "0").stdout == "null\n"
