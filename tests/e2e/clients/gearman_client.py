"""python-gearman 2's API, as `pygearman` keeps it alive: the client."""

import sys

import gearman

client = gearman.GearmanClient([sys.argv[1]])
wait = {"poll_timeout": 10.0}  # without a time limit it does not wait
print("reverse", client.submit_job("reverse", "abc", **wait).result)
print("high", client.submit_job("reverse", "hig", priority=gearman.PRIORITY_HIGH, **wait).result)
request = client.submit_job("chatty", "", unique="u-1", **wait)
print("chatty", request.state, request.result)
print("fail", client.submit_job("fail", "", **wait).state)
request = client.submit_job("nobody", "x", background=True, wait_until_complete=False)
request = client.wait_until_jobs_accepted([request])[0]
print("background", request.state)
status = client.get_job_status(request).status
print("status known", status["known"], "running", status["running"])
admin = gearman.GearmanAdminClient([sys.argv[1]])
print("version", admin.get_version())
print("admin", [row["queued"] for row in admin.get_status() if row["task"] in ("nobody", b"nobody")])
