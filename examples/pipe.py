"""stdin | a job | stdout, of any length and in little memory, through an Abraxas server in streaming mode.

python examples/pipe.py --work &                            # a worker for the function upper-stream
head -c 2G /dev/zero | python examples/pipe.py upper-stream | wc -c
"""

import os
import sys
from collections.abc import AsyncIterator

import trio

from abraxas_py import Assigned, Worker, open_client

SERVER = os.environ.get("GEARMAN_SERVER", "127.0.0.1:4730")


async def upper(job: Assigned) -> AsyncIterator[bytes]:
    async for piece in job.payload:
        yield piece.upper()


async def work() -> None:
    worker = Worker(SERVER, streaming=True)
    worker.add("upper-stream", upper, stream=True)
    await worker.run()


async def pipe(function: str) -> None:
    stdin, stdout = trio.lowlevel.FdStream(os.dup(0)), trio.lowlevel.FdStream(os.dup(1))
    async with open_client(SERVER, streaming=True) as client:
        task = client.submit(function, stdin)
        async for piece in task.output:
            await stdout.send_all(piece)


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        trio.run(work)
    else:
        trio.run(pipe, sys.argv[1])
