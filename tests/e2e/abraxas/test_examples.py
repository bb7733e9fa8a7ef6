"""Every program in examples/, run as its first lines say."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gearman_servers
import pytest
import trio

from abraxas_py import blocking

EXAMPLES = Path(__file__).parents[3] / "examples"
TIMEOUT = 60  # s


class Place:
    """A server of ours, and programs that use it."""

    def __init__(self) -> None:
        self.port = gearman_servers.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.environment = os.environ | {"GEARMAN_SERVER": self.address}
        self.processes: list[subprocess.Popen[bytes]] = [gearman_servers.abraxas(self.port)]
        trio.run(gearman_servers.answers, self.address)

    def start(self, *argv: str, function: str) -> subprocess.Popen[bytes]:
        """Start a worker and wait until its function is offered."""
        process = subprocess.Popen([*argv], env=self.environment)
        self.processes.append(process)
        with blocking.open_admin(self.address) as admin:
            for _ in range(2000):
                if any(row.function == function.encode() and row.workers for row in admin.status()):
                    return process
                assert process.poll() is None, "the worker has ended"
                trio.run(trio.sleep, 0.01)
        raise AssertionError("the worker does not come")

    def run(self, *argv: str, input: bytes = b"") -> bytes:
        """Run a program to its end; what it printed."""
        done = subprocess.run(
            [*argv], env=self.environment, input=input, stdout=subprocess.PIPE, timeout=TIMEOUT, check=True
        )
        return done.stdout

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


def example(name: str) -> tuple[str, str]:
    return sys.executable, str(EXAMPLES / name)


def test_no_example_is_forgotten() -> None:
    tests = Path(__file__).read_text() + (Path(__file__).parents[1] / "test_tools_examples.py").read_text()
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".php", ".toml", ".json"):
            assert f'"{path.name}"' in tests, f"examples/{path.name} is not run by any test"


def test_the_upper_worker_and_the_blocking_script(place: Place) -> None:
    place.start(*example("upper_worker.py"), function="upper")
    assert place.run(*example("blocking_script.py"), "red", "grün") == "RED\nGRÜN\n".encode()


@pytest.mark.gearman_tools
def test_the_upper_worker_serves_the_gearman_tool(place: Place, program: Callable[[str, str], str]) -> None:
    gearman = program("gearman", "gearman-tools")
    place.start(*example("upper_worker.py"), function="upper")
    assert place.run(gearman, "-h", "127.0.0.1", "-p", str(place.port), "-f", "upper", input=b"hello") == b"HELLO"


def test_the_pipe(place: Place) -> None:
    place.start(*example("pipe.py"), "--work", function="upper-stream")
    text = b"streams of text, " * 300_000  # 5 MB: far more than one piece
    assert place.run(*example("pipe.py"), "upper-stream", input=text) == text.upper()
    assert place.run(*example("pipe.py"), "upper-stream", input=b"short") == b"SHORT"


def test_several_servers(place: Place) -> None:
    lines = place.run(*example("several_servers.py")).decode().splitlines()
    assert lines[:2].count("connected") >= 1
    assert "stressed" in lines
    assert "disconnected" in lines
    assert "reverse has 1 worker" in lines


def test_the_self_contained_application(place: Place) -> None:
    assert place.run(*example("self_contained.py")) == b"25%\n50%\n75%\n100%\nthumbnail of cat.jpg\n"


def test_the_resize_worker(place: Place) -> None:
    if importlib.util.find_spec("PIL") is None:
        message = "Pillow is missing (pip install pillow)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from PIL import Image

    place.start(*example("resize_worker.py"), function="resize")
    file = io.BytesIO()
    Image.new("RGB", (1200, 600), "red").save(file, format="PNG")
    with blocking.open_client(place.address) as client:
        small = client.submit("resize", file.getvalue()).result(timeout=TIMEOUT)
        with pytest.raises(Exception, match="cannot identify image"):
            client.submit("resize", b"no image").result(timeout=TIMEOUT)
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == ("PNG", (320, 160))


def test_a_worker_in_php(place: Place, program: Callable[[str, str], str]) -> None:
    php = program("php", "php-cli")
    if b"gearman" not in subprocess.run([php, "-m"], stdout=subprocess.PIPE, timeout=TIMEOUT, check=True).stdout:
        message = "PHP's gearman extension is missing (Debian: php-gearman)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    place.start(php, str(EXAMPLES / "php_worker.php"), function="php-shout")
    said = place.run(*example("ask_php.py"), "hello").decode()
    assert said.startswith("50% done\nPHP ")
    assert said.endswith(" says: HELLO!\n")
