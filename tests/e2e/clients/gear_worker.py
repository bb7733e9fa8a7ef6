"""OpenStack's `gear`: the worker."""

import sys
import time

import gear

host, port = sys.argv[1].split(":")
worker = gear.Worker("gear")
worker.addServer(host, int(port))
worker.waitForServer()
worker.registerFunction(b"reverse")
worker.registerFunction(b"slow", b"300")  # it sends what it is given
while True:
    try:
        job = worker.getJob()
    except gear.InterruptedError:
        continue
    if job.name == "slow":
        time.sleep(1)
        job.sendWorkComplete(b"late")
    else:
        job.sendWorkComplete(job.arguments[::-1])
