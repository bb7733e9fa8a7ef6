"""A client of the worker in examples/php_worker.php: what it tells on the way, and its result.

php examples/php_worker.php &
python examples/ask_php.py hello
"""

import os
import sys

import trio

from abraxas_py import Data, Status, open_client


async def main(word: str) -> None:
    async with open_client(os.environ.get("GEARMAN_SERVER", "127.0.0.1:4730"), encoding="utf-8") as client:
        task = client.submit("php-shout", word)
        async for event in task:
            match event:
                case Status():
                    print(f"{event.fraction:.0%} done")
                case Data(data):
                    print(data, end="")
        print(await task)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
