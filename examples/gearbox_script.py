"""A script that has a pool of jobs done, for the worker in gearbox_worker.py; no trio needed."""

import os
import sys

from gearbox.blocking import connect
from gearbox.shapes import JobSpec

with connect([os.environ.get("GEARMAN_SERVER", "127.0.0.1:4730")], who=sys.argv[0]) as gearbox:
    words = sys.argv[1:] or ["these", "words", "run", "at", "once"]
    jobs: list[JobSpec] = [{"name": "text::upper", "args": [word], "before_ref": "end"} for word in words]
    *ids, end = gearbox.queue_many([*jobs, {"name": "text::join", "ref": "end", "timeout": 60}])
    print(gearbox.watch(end))
    for event in gearbox.history(end)["events"]:
        print(event["at"], event["to"], event["why"], file=sys.stderr)
