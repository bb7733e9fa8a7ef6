"""python-gearman 2's API, the client: has each line reversed, and tries again while the server is away."""

import sys
import time

import gearman

client = gearman.GearmanClient([sys.argv[1]])
for line in sys.stdin:
    line = line.strip()
    if line == "timeout":
        print("timed out", client.submit_job("nobody", line, poll_timeout=0.3).timed_out, flush=True)
        continue
    for _ in range(100):
        try:
            request = client.submit_job("reverse", line, poll_timeout=10.0)
        except gearman.errors.GearmanError:
            request = None
        if request is not None and request.state == "COMPLETE":
            print(request.result.decode(), flush=True)
            break
        time.sleep(0.1)
