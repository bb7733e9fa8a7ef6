"""Clients and a worker under whom servers die, and the ledgers that they keep, outside of any server.

What clients were told of their submissions, what a worker was given, and of which ends it was told by ECHO_RES that
they are durable.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from abraxas_stage import Peer, submission

from abraxas_py.protocol.packets import Packet, Type

WAITING = 1000  # jobs


class Ledger:
    """Written by the threads of clients and workers."""

    def __init__(self) -> None:
        self.numbers = count()
        self.acknowledged: set[bytes] = set()
        self.ran: set[bytes] = set()
        self.ended: set[bytes] = set()  # durably, as its worker was told
        self.late: list[bytes] = []  # what ran after that


def submit(ledger: Ledger, port: int, chance: random.Random) -> None:
    """Submit as many at a time as comes to mind, while not too many more wait than at first."""
    most = len(ledger.acknowledged) - len(ledger.ran) + WAITING
    with Peer(port) as peer:
        while True:
            while len(ledger.acknowledged) > len(ledger.ran) + most:
                time.sleep(0.002)
                peer.ask(Packet(Type.ECHO_REQ, b""))  # so that the server's end is found out about
            padding = b"." * chance.randrange(200)
            payloads = [b"%d" % next(ledger.numbers) + padding for _ in range(chance.randrange(1, 30))]
            peer.say(*map(submission, payloads))
            for data in payloads:
                if peer.hear()[0].type is Type.JOB_CREATED:
                    ledger.acknowledged.add(data)


def work(ledger: Ledger, port: int, chance: random.Random) -> None:
    """Run jobs, and now and then ask whether their ends are durable."""
    with Peer(port) as peer:
        peer.say(Packet(Type.CAN_DO, b"f"))
        done: list[bytes] = []
        while True:
            (answer,) = peer.ask(Packet(Type.GRAB_JOB))
            if answer.type is Type.NO_JOB:
                time.sleep(0.002)
                continue
            handle, _, data = answer.split()
            if data in ledger.ended:
                ledger.late.append(data)
            ledger.ran.add(data)
            peer.say(Packet.of(Type.WORK_COMPLETE, handle, b""))
            done.append(data)
            if chance.random() < 0.1:
                peer.ask(Packet(Type.ECHO_REQ, b""))
                ledger.ended.update(done)
                done.clear()


def until_lost(act: Callable[[Ledger, int, random.Random], None], ledger: Ledger, port: int, seed: int) -> None:
    """Act until the server is gone."""
    with suppress(OSError):
        act(ledger, port, random.Random(seed))
