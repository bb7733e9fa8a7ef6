"""OpenStack's `gear`: client and worker."""

import sys
import threading
import time

import gear

host, port = sys.argv[1].split(":")


def work(worker):
    while True:
        try:
            job = worker.getJob()
        except gear.InterruptedError:
            return
        if job.name == "gear:reverse":
            job.sendWorkStatus(1, 2)
            job.sendWorkData(b"piece ")
            job.sendWorkComplete(job.arguments[::-1])
        elif job.name == "gear:boom":
            job.sendWorkException(b"boom")
        else:
            job.sendWorkFail()


worker = gear.Worker("gear-worker")
worker.addServer(host, int(port))
worker.waitForServer()
for name in ("gear:reverse", "gear:fail", "gear:boom"):
    worker.registerFunction(name)
threading.Thread(target=work, args=[worker], daemon=True).start()

client = gear.Client("gear-client")
client.addServer(host, int(port))
client.waitForServer()


def run(name, arguments=b"", **how):
    job = gear.Job(name, arguments, unique=how.pop("unique", None))
    client.submitJob(job, **how)
    for _ in range(500):
        if job.complete:
            break
        time.sleep(0.02)
    return job


for name in (b"gear:reverse", b"reverse"):
    job = run(name, b"abc")
    print(name.decode(), b"".join(job.data).decode(), "failed" if job.failure else "ok")
print("high", b"".join(run(b"reverse", b"hig", precedence=gear.PRECEDENCE_HIGH).data).decode())
for name in (b"gear:fail", b"fail", b"gear:boom", b"boom"):
    job = run(name)
    print(name.decode(), "failed" if job.failure else "ok", job.exception)
job = gear.Job(b"nobody", b"x", unique=b"bg")
client.submitJob(job, background=True)
print("background", bool(job.handle))
worker.stopWaitingForJobs()
connection = client.getConnection()
request = gear.StatusAdminRequest()
connection.sendAdminRequest(request)
print("admin", b"nobody\t1\t0\t0" in request.response)
