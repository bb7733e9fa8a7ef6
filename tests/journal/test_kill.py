"""`kill -9` of `abraxas` at random moments under load: nothing acknowledged is lost, nothing runs after its end was.

The ledgers are outside of the server: what clients were told of their submissions, what a worker was given, and of
which ends it was told by ECHO_RES that they are durable. More kills than CI has time for:
`GEARBOX_TEST_KILLS=1000 GEARBOX_TEST_QUEUED=100000 pytest tests/journal/test_kill.py`.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest
from abraxas_stage import Peer, serving, submission, work_off
from queue_ledger_stage import Ledger, submit, until_lost, work

from abraxas_py.protocol.packets import Packet, Type

KILLS = int(os.environ.get("GEARBOX_TEST_KILLS", "3"))
SEED = int(os.environ.get("GEARBOX_TEST_SEED", "1"))
QUEUED = int(os.environ.get("GEARBOX_TEST_QUEUED", "2000"))  # jobs that nobody runs meanwhile
RESUME_TIMEOUT = 10.0  # s from the start of a server, on a busy machine, to the first job that it acknowledges
SUBMITTERS = 3
SUBMITTED = 1000  # at a time


def test_kill_at_random_moments_under_load(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    ledger = Ledger()
    resumed = []
    with serving(tmp_path / "queue") as (_, port), Peer(port) as peer:
        for first in range(0, QUEUED, SUBMITTED):
            peer.ask(*[submission(b"%d" % n, b"held") for n in range(first, min(first + SUBMITTED, QUEUED))])
    for round in range(KILLS):
        began = time.monotonic()
        with serving(tmp_path / "queue") as (process, port):
            with Peer(port) as peer:
                (answer,) = peer.ask(submission(b"first %d" % round))
            assert answer.type is Type.JOB_CREATED
            resumed.append(time.monotonic() - began)
            ledger.acknowledged.add(b"first %d" % round)
            acts = [*[submit] * SUBMITTERS, work]
            threads = [
                threading.Thread(target=until_lost, args=(act, ledger, port, round * 10 + n))
                for n, act in enumerate(acts)
            ]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.0, 0.6))
            process.kill()
            for thread in threads:
                thread.join()
        assert not ledger.late, f"round {round}: ran after its end was acknowledged"
    with serving(tmp_path / "queue") as (_, port), Peer(port) as peer:
        rest = work_off(peer)
    assert len(rest) == len(set(rest))
    assert not set(rest) & ledger.ended, "there although its end was acknowledged"
    lost = ledger.acknowledged - ledger.ran - set(rest)
    assert not lost, f"{len(lost)} acknowledged jobs are lost, of {len(ledger.acknowledged)}"
    assert ledger.ended, "nothing was shown of ends"
    with serving(tmp_path / "queue") as (_, port), Peer(port) as peer:
        assert work_off(peer) == []
        assert work_off(peer, b"held") == [b"%d" % n for n in range(QUEUED)]
    assert max(resumed) < RESUME_TIMEOUT
    print(
        f"{KILLS} kills, seed {SEED}, {QUEUED} jobs queued: {len(ledger.acknowledged)} more acknowledged, none lost, "
        f"none run after its end; to the first after a start: median {median(resumed):.2f} s, "
        f"at most {max(resumed):.2f} s"
    )


def test_handles_mean_the_same_job_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path / "queue") as (_, port), Peer(port) as peer:
        first, second = [answer.body for answer in peer.ask(submission(b"x"), submission(b"y"))]
    with serving(tmp_path / "queue") as (_, port), Peer(port) as peer:
        (third,) = [answer.body for answer in peer.ask(submission(b"z"))]
        statuses = peer.ask(*[Packet(Type.GET_STATUS, handle) for handle in (first, second, third)])
        assert [status.split()[1] for status in statuses] == [b"1"] * 3
        assert len({first, second, third}) == 3
        assert work_off(peer) == [b"x", b"y", b"z"]
        (status,) = peer.ask(Packet(Type.GET_STATUS, first))
        assert status.split()[1] == b"0"


def need_strace() -> None:
    """Skip, or fail on CI, where no system call can be made to fail."""
    if shutil.which("strace") is None:
        message = "strace is missing (Debian: strace)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def test_a_disk_that_fails_ends_the_server_without_an_answer(tmp_path: Path) -> None:
    strace = ["strace", "-f", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=12+"]
    need_strace()
    answered = 0
    with serving(tmp_path / "queue", within=strace) as (process, port), Peer(port) as peer:
        with suppress(OSError):
            for n in range(100):
                peer.ask(submission(b"%d" % n))
                answered += 1
        assert process.wait(30) == 74
    assert 0 < answered < 100
    with serving(tmp_path / "queue") as (_, port), Peer(port) as peer:
        assert work_off(peer)[:answered] == [b"%d" % n for n in range(answered)]
