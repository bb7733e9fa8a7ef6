"""Two servers in one program, a worker and a client on both; one server goes away, and nobody minds.

python examples/several_servers.py
"""

import trio

import abraxas_py


async def main() -> None:
    async with abraxas_py.serve("127.0.0.1:0") as first, trio.open_nursery() as nursery:
        second = abraxas_py.Server()
        endpoints = [first.endpoints[0], *await nursery.start(second.serve, ["127.0.0.1:0"])]
        async with abraxas_py.open_client(*endpoints, encoding="utf-8", max_jobs=4) as client:
            client.on_connect = lambda server: print("connected")
            client.on_disconnect = lambda server: print("disconnected")
            client.worker.add("reverse", lambda job: job.text[::-1])
            print(await client.submit("reverse", "desserts"))

            second.stop()
            for word in ("level", "drawer", "live"):
                try:
                    print(await client.submit("reverse", word))
                except abraxas_py.ConnectionLost:
                    print(word, "was on its way to the server that left; whether it was run, nobody knows")
            for row in await client.admin.status():
                print(row.function.decode(), "has", row.workers, "worker")


if __name__ == "__main__":
    trio.run(main)
