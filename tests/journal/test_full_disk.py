"""A disk that is full, and then is not: nothing refused is kept or run, nothing acknowledged lost, without a restart.

The disk is filled to every number of free pages in turn; CI goes over the same range in larger steps than
`GEARBOX_TEST_STEPS=200 pytest tests/journal/test_full_disk.py`, whose step is one page of 4 KiB.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from abraxas_stage import Peer, serving, submission, work_off
from small_disk_stage import small_disk

from abraxas_py.protocol.packets import Packet, Type

PAGES = 200
STEPS = int(os.environ.get("GEARBOX_TEST_STEPS", "10"))
JOBS = 60  # of 3 KB in each step: 45 pages, and their log
PADDING = b"." * 3000


class Ledger:
    """What clients were told, and what ran."""

    def __init__(self) -> None:
        self.acknowledged: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.ran: list[bytes] = []
        self.numbers = count()

    def submit(self, peer: Peer, jobs: int) -> None:
        payloads = [b"%d" % next(self.numbers) + PADDING for _ in range(jobs)]
        for data, answer in zip(payloads, peer.ask(*map(submission, payloads)), strict=True):
            if answer.type is Type.JOB_CREATED:
                self.acknowledged.add(data)
            else:
                assert answer.split()[0] == b"QUEUE_ERROR"
                assert b"No room left" in answer.split()[1]
                self.refused.add(data)

    def check(self) -> None:
        assert len(self.ran) == len(set(self.ran)), "something ran twice"
        assert not self.refused & set(self.ran), "refused, and stored"
        assert self.acknowledged == set(self.ran), "acknowledged, and lost"


def test_a_disk_that_is_full_and_then_is_not(tmp_path: Path) -> None:
    ledger = Ledger()
    with small_disk(tmp_path, "16m") as disk:
        with serving(tmp_path / "queue", within=disk.within) as (_, port), Peer(port) as peer:
            for step in range(STEPS):
                disk.fill(step * PAGES // STEPS)
                ledger.submit(peer, JOBS)
                disk.free()
                before = len(ledger.refused)
                ledger.submit(peer, 1)
                assert len(ledger.refused) == before, "there is room again"
                if step % 4 == 3:
                    ledger.ran += work_off(peer)
        assert ledger.refused, "the disk never was full"
        with serving(tmp_path / "queue", within=disk.within) as (_, port), Peer(port) as peer:
            ledger.ran += work_off(peer)
    ledger.check()


def test_jobs_run_while_the_disk_is_full_and_do_not_run_again(tmp_path: Path) -> None:
    ledger = Ledger()
    with small_disk(tmp_path, "16m") as disk:
        with serving(tmp_path / "queue", within=disk.within) as (_, port), Peer(port) as peer:
            ledger.submit(peer, JOBS)
            disk.fill(0)
            with Peer(port) as other:
                while not ledger.refused:
                    ledger.submit(other, JOBS)
                peer.say(Packet(Type.CAN_DO, b"f"))
                for _ in range(JOBS):
                    handle, _, data = peer.ask(Packet(Type.GRAB_JOB))[0].split()
                    peer.say(Packet.of(Type.WORK_COMPLETE, handle, b""))
                    ledger.ran.append(data)
                disk.free()
                peer.ask(Packet(Type.ECHO_REQ, b""))  # the ends are durable
        with serving(tmp_path / "queue", within=disk.within) as (_, port), Peer(port) as peer:
            ledger.ran += work_off(peer)
    ledger.check()
