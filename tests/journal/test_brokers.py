"""Several `abraxas` processes on one table: killed and stopped under load, and what their peers see of it.

For as many deaths as a night has time for, some of them stops that are longer than the lease:
`GEARBOX_TEST_KILLS=300 GEARBOX_TEST_STOPS=10 pytest tests/journal/test_brokers.py`.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest
from abraxas_stage import Peer, begin, end, port_of, serving, submission, work_off
from journal_stage import Clock, mysql, place_on
from mariadb_stage import MariaDb
from queue_ledger_stage import Ledger, submit, until_lost, work

from abraxas_py.journal.leases import LEASE
from abraxas_py.journal.mysql_link import MysqlPlace
from abraxas_py.protocol.packets import Packet, Type

KILLS = int(os.environ.get("GEARBOX_TEST_KILLS", "3"))
STOPS = int(os.environ.get("GEARBOX_TEST_STOPS", "0"))
SEED = int(os.environ.get("GEARBOX_TEST_SEED", "1"))
BROKERS = 2
TAKEN_OVER = 10.0  # s after the death of a server until another one must have its jobs
SUBMITTERS = 2

pytestmark = pytest.mark.mariadb


@pytest.fixture
def place(mariadb: MariaDb) -> Iterator[MysqlPlace]:
    with place_on(mariadb) as place:
        yield place


class Weather:
    """How many deaths there are still to be."""

    def __init__(self) -> None:
        self.chance = random.Random(SEED)
        self.faults = ["stop"] * STOPS + ["kill"] * KILLS
        self.chance.shuffle(self.faults)
        self.errors: list[BaseException] = []

    def next(self) -> str:
        return self.faults.pop() if self.faults and not self.errors else ""


def live(place: MysqlPlace, ledger: Ledger, weather: Weather, seed: int) -> None:
    """One of the brokers, from life to life, under the load of its own peers."""
    chance = random.Random(seed)
    try:
        while fault := weather.next():
            process = begin(place)
            try:
                port = port_of(process)
                peers = [
                    threading.Thread(target=until_lost, args=(act, ledger, port, chance.randrange(10**9)))
                    for act in [*[submit] * SUBMITTERS, work]
                ]
                for peer in peers:
                    peer.start()
                time.sleep(chance.uniform(0.0, 2.0))
                if fault == "stop":
                    process.send_signal(SIGSTOP)
                    time.sleep(LEASE + chance.uniform(2.0, 8.0))
                    process.send_signal(SIGCONT)
                    peers.append(threading.Thread(target=until_lost, args=(work, ledger, port, 1)))
                    peers[-1].start()
                    time.sleep(chance.uniform(0.0, 4.0))
            finally:
                end(process)
            for peer in peers:
                peer.join()
    except BaseException as error:
        weather.errors.append(error)


def test_deaths_at_random_moments_under_load(place: MysqlPlace) -> None:
    ledger, weather = Ledger(), Weather()
    brokers = [threading.Thread(target=live, args=(place, ledger, weather, SEED * 10 + n)) for n in range(BROKERS)]
    for broker in brokers:
        broker.start()
    for broker in brokers:
        broker.join()
    if weather.errors:
        raise weather.errors[0]
    assert not ledger.late, "ran after its end was acknowledged"
    with serving(place) as (_, port), Peer(port) as peer:
        rest = work_off(peer)
    assert len(rest) == len(set(rest))
    assert not set(rest) & ledger.ended, "there although its end was acknowledged"
    lost = ledger.acknowledged - ledger.ran - set(rest)
    assert not lost, f"{len(lost)} acknowledged jobs are lost, of {len(ledger.acknowledged)}"
    assert ledger.ended, "nothing was shown of ends"
    print(f"{len(ledger.acknowledged)} acknowledged, {len(ledger.ended)} ends, {len(rest)} left")


def known(peer: Peer, handle: bytes) -> bool:
    """What GET_STATUS says."""
    return peer.ask(Packet(Type.GET_STATUS, handle))[0].split()[1] == b"1"


def told(port: int, command: bytes) -> bytes:
    """The answer to an admin command of several lines."""
    with Peer(port) as peer:
        peer.socket.sendall(command + b"\n")
        answer = b""
        while not answer.endswith(b".\n"):
            answer += peer.socket.recv(4096)
        return answer


def test_all_kinds_of_jobs_go_from_a_dead_server_to_the_other_with_their_handles(
    place: MysqlPlace, tmp_path: Path
) -> None:
    policies = tmp_path / "policies.toml"
    policies.write_text("[functions.bad]\nretries = 0\n")
    flags = (f"--policies={policies}",)
    with serving(place, *flags) as (_, survivor), serving(place, *flags) as (dying, port):
        with Peer(port) as peer:
            soon = b"%d" % (time.time() + 3)
            handles = [
                answer.body
                for answer in peer.ask(
                    submission(b"plain", unique=b"u"),
                    Packet.of(Type.SUBMIT_JOB_EPOCH, b"f", b"", soon, b"soon"),
                    Packet.of(Type.SUBMIT_JOB_SCHED, b"g", b"", *[b"*"] * 5, b"each minute"),
                    submission(b"dead", function=b"bad"),
                )
            ]
            peer.say(Packet(Type.CAN_DO, b"bad"), Packet(Type.GRAB_JOB))
            (given,) = peer.hear()
            peer.say(Packet(Type.WORK_FAIL, given.split()[0]))
            peer.ask(Packet(Type.ECHO_REQ, b""))
        end(dying)
        with Peer(survivor) as peer:
            until = time.monotonic() + TAKEN_OVER
            while not known(peer, handles[0]):
                assert time.monotonic() < until, "nobody takes over"
                time.sleep(0.1)
            assert [known(peer, handle) for handle in handles] == [True, True, True, False]
            assert peer.ask(submission(b"", unique=b"u"))[0].body == handles[0]
            done: list[bytes] = []
            while len(done) < 2:
                assert time.monotonic() < until
                done += work_off(peer)
            assert done == [b"plain", b"soon"]
            assert not known(peer, handles[0])
            assert told(survivor, b"dead list").split()[:2] == [handles[3], b"bad"]
            assert told(survivor, b"show jobs").split()[0] == handles[2]
    with serving(place, *flags) as (_, port), Peer(port) as peer:
        assert [known(peer, handle) for handle in handles] == [False, False, True, False]


def test_a_server_that_was_stopped_too_long_goes_on_as_another_one(place: MysqlPlace) -> None:
    """The others' lease passes at once, for their clock is set."""
    clock = Clock()
    other = mysql(place, clock)
    other.open()
    with serving(place) as (process, port), Peer(port) as client, Peer(port) as worker, Peer(port) as plain:
        first, second = [answer.body for answer in client.ask(submission(b"1"), submission(b"2"))]
        worker.say(Packet(Type.CAN_DO, b"f"))
        worker.ask(Packet(Type.GRAB_JOB))
        plain.ask(Packet.of(Type.SUBMIT_JOB, b"fg", b"", b"fg"))
        process.send_signal(SIGSTOP)
        other.watch()
        clock.now += LEASE
        assert other.watch() is True
        assert [record.handle for piece in other.records() for record in piece] == [first, second]
        worker.say(Packet.of(Type.WORK_COMPLETE, first, b""), Packet(Type.ECHO_REQ, b""))
        client.say(submission(b"3"))
        process.send_signal(SIGCONT)
        with pytest.raises(ConnectionError):  # never an ECHO_RES: the end is not durable
            worker.hear()
        (answer,) = client.hear()
        assert answer.type is Type.ERROR
        assert answer.split()[0] == b"QUEUE_ERROR"
        with Peer(port) as again:
            again.say(Packet(Type.CAN_DO, b"fg"))
            handle, _, data = again.ask(Packet(Type.GRAB_JOB))[0].split()
            assert data == b"fg"
            again.say(Packet.of(Type.WORK_COMPLETE, handle, b"r"))
            assert plain.hear()[0].type is Type.WORK_COMPLETE
            until = time.monotonic() + TAKEN_OVER
            while (answer := client.ask(submission(b"4"))[0]).type is Type.ERROR:
                assert time.monotonic() < until, "it does not begin anew"
            assert not known(again, first)
            assert work_off(again) == [b"4"]
        other.close()  # in order: what it has goes to the server
        with Peer(port) as again:
            until = time.monotonic() + TAKEN_OVER
            while not known(again, first):
                assert time.monotonic() < until, "nobody takes over"
                time.sleep(0.1)
            assert work_off(again) == [b"1", b"2"]


def test_a_database_that_is_away_for_a_while_costs_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="abraxas", dir="/dev/shm") as folder:
        server = MariaDb(Path(folder), ("--innodb-flush-log-at-trx-commit=1",))
        server.install()
        server.start()
        server.sql("CREATE DATABASE queue")
        place = MysqlPlace(server.socket, "root", "queue")
        with serving(place) as (_, port), Peer(port) as client, Peer(port) as worker:
            acknowledged = [submission(b"%d" % n) for n in range(50)]
            assert {answer.type for answer in client.ask(*acknowledged)} == {Type.JOB_CREATED}
            worker.say(Packet(Type.CAN_DO, b"f"))
            handle, _, _ = worker.ask(Packet(Type.GRAB_JOB))[0].split()
            server.stop()
            worker.say(Packet.of(Type.WORK_COMPLETE, handle, b""), Packet(Type.ECHO_REQ, b""))
            (answer,) = client.ask(submission(b"while it is away"))
            assert answer.split()[0] == b"QUEUE_ERROR"
            assert b"out of reach" in answer.split()[1]
            server.start()
            assert worker.hear()[0].type is Type.ECHO_RES
            assert client.ask(submission(b"after"))[0].type is Type.JOB_CREATED
            assert work_off(worker) == [*[b"%d" % n for n in range(1, 50)], b"after"]
        server.stop()
