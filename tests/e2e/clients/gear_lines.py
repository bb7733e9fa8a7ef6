"""OpenStack's `gear`, the client: has each line reversed, and tries again while the server is away."""

import sys
import time

import gear

host, port = sys.argv[1].split(":")
client = gear.Client("gear-client")
client.addServer(host, int(port))
client.waitForServer()
for line in sys.stdin:
    for _ in range(100):
        job = gear.Job(b"reverse", line.strip().encode())
        try:
            client.submitJob(job, timeout=5)
        except (gear.GearmanError, OSError):
            client.waitForServer()
            continue
        while not job.complete:
            time.sleep(0.02)
        if not job.failure:
            print(b"".join(job.data).decode(), flush=True)
            break
