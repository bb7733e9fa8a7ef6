"""An application with a Gearman server of its own: no daemon, no sockets, yet anybody may connect as well.

python examples/self_contained.py
"""

import trio

import abraxas_py
from abraxas_py import Assigned


async def thumbnail(job: Assigned) -> bytes:
    for step in range(4):
        await trio.sleep(0.01)
        job.status(step + 1, 4)
    return b"thumbnail of " + job.data


async def main() -> None:
    async with (
        abraxas_py.serve("127.0.0.1:0") as server,  # leave the address out, and nobody else can connect
        abraxas_py.open_client(server.dial, max_jobs=2) as client,
    ):
        client.worker.add("thumbnail", thumbnail)
        task = client.submit("thumbnail", b"cat.jpg")
        async for event in task:
            if isinstance(event, abraxas_py.Status):
                print(f"{event.fraction:.0%}")
        print((await task).decode())


if __name__ == "__main__":
    trio.run(main)
