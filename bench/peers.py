"""Other schedulers and job queues, as far as they are on this machine, with the same load as the scheduler's bench.

A peer's job does nothing but write one byte to a file: by its size the caller knows how many have run. Jobs are queued
one after the other by one caller (BullMQ: by 64 that take turns, as its authors do), while one worker runs them; then
some one at a time. Each peer is set up to keep a job until it has run, as ours does. How durable it is stands in its
name: `everysec` is Redis' usual way, which may lose a second's jobs with the power; `always` syncs each write.

They are looked for in a virtual environment named by `BENCH_PEERS` (`pip install celery[redis] packaging
dramatiq[redis] huey procrastinate psycopg[binary]`) and in a folder named by `BENCH_NODE` (`npm install bullmq
ioredis`); `redis-server` on the path, PostgreSQL where Debian puts it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path

from bench.figures import Effort, Run, Sample
from bench.machine import free_port, running, wait_for_port

__all__ = ["peers"]

JOBS = 5_000  # some seconds of those that do 300 to 2,000 a second
MANY = 20_000  # and of those that do several thousand
SINGLE = 200  # jobs one at a time
TIMEOUT = 120  # s for one run
FSYNCS = ("everysec", "always")

BYTE = """
import os
done = os.open(os.environ["DONE"], os.O_WRONLY | os.O_APPEND)
"""
CELERY = """
from celery import Celery
app = Celery("jobs", broker=os.environ["BROKER"])
app.conf.update(task_ignore_result=True, task_acks_late=True)
@app.task
def nothing():
    os.write(done, b".")
queue = nothing.delay
"""
DRAMATIQ = """
import dramatiq
from dramatiq.brokers.redis import RedisBroker
dramatiq.set_broker(RedisBroker(url=os.environ["BROKER"]))
@dramatiq.actor
def nothing():
    os.write(done, b".")
queue = nothing.send
"""
HUEY = """
from huey import SqliteHuey
huey = SqliteHuey(filename=os.environ["BROKER"], fsync=True, results=False)
@huey.task()
def nothing():
    os.write(done, b".")
queue = nothing
"""
PROCRASTINATE = """
from functools import cache
from procrastinate import App, PsycopgConnector
app = App(connector=PsycopgConnector(conninfo=os.environ["BROKER"]))
@app.task
def nothing():
    os.write(done, b".")
@cache
def opened():
    return app.open()
def queue():
    opened()
    nothing.defer()
"""
CALLER = """
import os, statistics, sys, time
from jobs import queue
jobs, single = int(sys.argv[1]), int(sys.argv[2])
def wait(count):
    while os.stat(os.environ["DONE"]).st_size < count:
        time.sleep(0.0002)
queue()
wait(1)
began = time.perf_counter()
for _ in range(jobs):
    queue()
queued = time.perf_counter() - began
wait(1 + jobs)
complete = time.perf_counter() - began
took = []
for n in range(single):
    began = time.perf_counter()
    queue()
    wait(2 + jobs + n)
    took.append(1000 * (time.perf_counter() - began))
quantiles = statistics.quantiles(took, n=100)
print(jobs / complete, jobs / queued, quantiles[49], quantiles[98])
"""
BULLMQ_WORKER = """
const fs = require('fs'), {Worker} = require('bullmq');
const done = fs.openSync(process.env.DONE, 'a'), connection = {port: +process.env.PORT, maxRetriesPerRequest: null};
new Worker('jobs', async () => { fs.writeSync(done, '.'); }, {connection, concurrency: 50});
"""
BULLMQ_CALLER = """
const fs = require('fs'), {Queue} = require('bullmq');
const [jobs, single] = process.argv.slice(-2).map(Number);
const queue = new Queue('jobs', {connection: {port: +process.env.PORT}});
const pause = () => new Promise(setImmediate), now = () => performance.now();
const wait = async count => { while (fs.statSync(process.env.DONE).size < count) await pause(); };
(async () => {
  await queue.add('nothing', {}); await wait(1);
  let left = jobs, began = now();
  const caller = async () => { while (left-- > 0) await queue.add('nothing', {}); };
  await Promise.all(Array.from({length: 64}, caller));
  const queued = now() - began; await wait(1 + jobs);
  const complete = now() - began, took = [];
  for (let n = 0; n < single; n++) {
    began = now(); await queue.add('nothing', {}); await wait(2 + jobs + n); took.push(now() - began);
  }
  took.sort((a, b) => a - b);
  console.log(1000 * jobs / complete, 1000 * jobs / queued, took[single >> 1], took[Math.floor(single * 0.99)]);
  process.exit(0);
})();
"""


@cache
def peers() -> Mapping[str, Run]:
    """Those that are here, by name."""
    return dict([*_pythons(), *_nodes()])


def _pythons() -> Iterator[tuple[str, Run]]:
    folder = os.environ.get("BENCH_PEERS")
    if not folder:
        return
    python = f"{folder}/bin/python"
    if _has(python, "celery", "redis") and shutil.which("redis-server"):
        worker = ["-m", "celery", "-A", "jobs", "worker", "--loglevel=CRITICAL", "--without-gossip", "--without-mingle"]
        for fsync in FSYNCS:
            yield f"Celery, prefork 2 (Redis {fsync})", partial(_python, python, CELERY, [*worker, "-c2"], fsync)
    if _has(python, "dramatiq", "redis") and shutil.which("redis-server"):
        worker = ["-m", "dramatiq", "jobs", "--processes=1", "--threads=8"]
        for fsync in FSYNCS:
            yield f"Dramatiq, 8 threads (Redis {fsync})", partial(_python, python, DRAMATIQ, worker, fsync)
    if _has(python, "huey"):
        worker = ["-m", "huey.bin.huey_consumer", "jobs.huey", "-w4", "-k", "thread", "-d0.001", "-m0.01", "-q"]
        yield "Huey, 4 threads (SQLite FULL)", partial(_python, python, HUEY, worker, "")
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if _has(python, "procrastinate", "psycopg") and postgres:
        yield "Procrastinate, 8 at once (PostgreSQL)", partial(_procrastinate, python, postgres[-1])


def _nodes() -> Iterator[tuple[str, Run]]:
    folder = os.environ.get("BENCH_NODE")
    if (
        folder
        and Path(folder, "node_modules/bullmq").is_dir()
        and shutil.which("node")
        and shutil.which("redis-server")
    ):
        for fsync in FSYNCS:
            yield f"BullMQ, 50 at once (Redis {fsync})", partial(_node, folder, fsync)


def _has(python: str, *modules: str) -> bool:
    return subprocess.run([python, "-c", f"import {', '.join(modules)}"], capture_output=True).returncode == 0


def _python(python: str, jobs: str, worker: list[str], fsync: str, effort: Effort) -> Sample:
    with _stage(fsync) as (folder, environment):
        Path(folder, "jobs.py").write_text(BYTE + jobs)
        with running([python, *worker], environment, folder=folder):
            return _call([python, "-c", CALLER], environment, folder, effort)


def _procrastinate(python: str, postgres: Path, effort: Effort) -> Sample:
    with _stage("") as (folder, environment), _postgres(postgres) as environment["BROKER"]:
        Path(folder, "jobs.py").write_text(BYTE + PROCRASTINATE)
        command = [python, "-m", "procrastinate", "--app=jobs.app"]
        subprocess.run([*command, "schema", "--apply"], env=os.environ | environment, check=True, capture_output=True)
        with running([*command, "worker", "--concurrency=8", "-p0.1"], environment, folder=folder):
            return _call([python, "-c", CALLER], environment, folder, effort)


@contextmanager
def _postgres(programs: Path) -> Iterator[str]:
    """A PostgreSQL as it comes, which syncs each commit, and how to reach it. It does not run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user)
        make: list[str | Path] = [programs / "initdb", "--pgdata=data", "--auth=trust", "--username=postgres"]
        subprocess.run(make, cwd=folder, user=user, check=True, capture_output=True)
        serve: list[str | Path] = [programs / "postgres", "-D", "data", "-h", "", "-k", folder]
        server = subprocess.Popen(serve, cwd=folder, user=user, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + TIMEOUT
            while not Path(folder, ".s.PGSQL.5432").exists() and time.monotonic() < until:
                time.sleep(0.05)
            yield f"host={folder} user=postgres"
        finally:
            server.send_signal(signal.SIGINT)  # which asks its clients to leave; TERM would wait for them
            server.wait()


def _node(modules: str, fsync: str, effort: Effort) -> Sample:
    with _stage(fsync) as (folder, environment):
        environment["NODE_PATH"] = f"{modules}/node_modules"
        with running(["node", "-e", BULLMQ_WORKER], environment, folder=folder):
            return _call(["node", "-e", BULLMQ_CALLER, "--"], environment, folder, effort, MANY)


@contextmanager
def _stage(fsync: str) -> Iterator[tuple[str, dict[str, str]]]:
    """An empty folder, and a Redis in it that syncs so; without, a place for a file."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        Path(folder, "done").touch()
        environment = {"DONE": f"{folder}/done", "BROKER": f"{folder}/queue.db", "PYTHONPATH": folder}
        if fsync:
            port = free_port()
            flags = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
            redis = ["redis-server", *flags, "--appendonly", "yes", "--appendfsync", fsync]
            stack.enter_context(running(redis))
            wait_for_port(port)
            environment |= {"BROKER": f"redis://127.0.0.1:{port}/0", "PORT": str(port)}
        yield folder, environment


def _call(command: list[str], environment: Mapping[str, str], folder: str, effort: Effort, jobs: int = JOBS) -> Sample:
    said = subprocess.run(
        [*command, str(effort.count(jobs)), str(SINGLE)],
        env=os.environ | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if said.returncode:
        raise RuntimeError(said.stderr[-2000:])
    return dict(zip(("complete", "queued", "p50", "p99"), map(float, said.stdout.split()), strict=True))
