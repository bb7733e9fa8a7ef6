"""python-gearman 2's API: the worker."""

import sys
import time

import gearman

worker = gearman.GearmanWorker([sys.argv[1]])


def fail(worker, job):
    raise ValueError("boom")


def status(worker, job):
    worker.send_job_status(job, 1, 2)
    return b"done"


worker.set_client_id(b"python-gearman")
worker.register_task(b"reverse", lambda worker, job: job.data[::-1])
worker.register_task(b"empty", lambda worker, job: b"")
worker.register_task(b"boom", fail)
worker.register_task(b"status", status)
print("ready", flush=True)
while True:
    try:
        worker.work()
    except gearman.errors.ServerUnavailable:
        time.sleep(0.1)
