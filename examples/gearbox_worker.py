"""A Gearbox worker in Python: `python examples/gearbox_worker.py`, then `g-client run text::upper hello`."""

import os
import time

from gearbox.errors import RpcError
from gearbox.worker import Worker, current_job

worker = Worker([os.environ.get("GEARMAN_SERVER", "127.0.0.1:4730")])


@worker.method("text::upper", concurrency=4)
async def upper(*words: str) -> list[str]:
    """Runs in the worker's trio run: four jobs at once, as long as they wait for something now and then."""
    if not words:
        raise RpcError(422, "nothing to do")  # what the job's watchers get
    return [word.upper() for word in words]


@worker.method("text::slowly")
def slowly(*words: str) -> int:
    """Runs in a thread, and reports progress: watch it with `g-client run text::slowly a b c`."""
    job = current_job()
    for number, _ in enumerate(words, 1):
        time.sleep(0.2)
        job.progress(100 * number / len(words))
    return len(words)


@worker.method("text::join")
def join() -> str:
    """A job behind a pool: it gets the results of all jobs that it waited for."""
    return " ".join(word for one in current_job().pool for word in one["result"])


worker.run()
