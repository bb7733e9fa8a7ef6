"""A worker: turns text into upper case.

python examples/upper_worker.py &
printf 'hello' | gearman -f upper
"""

import os

import trio

from abraxas_py import Assigned, Worker


async def upper(job: Assigned) -> str:
    return job.text.upper()


async def main() -> None:
    worker = Worker(os.environ.get("GEARMAN_SERVER", "127.0.0.1:4730"), client_id="upper-example", max_jobs=10)
    worker.add("upper", upper)
    await worker.run()


if __name__ == "__main__":
    trio.run(main)
