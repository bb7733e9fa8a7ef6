"""A script without async: submits words to the function upper and prints what comes back.

python examples/upper_worker.py &
python examples/blocking_script.py red green blue
"""

import os
import sys

from abraxas_py import AbraxasError, blocking


def main(words: list[str]) -> int:
    server = os.environ.get("GEARMAN_SERVER", "127.0.0.1:4730")
    with blocking.open_client(server, encoding="utf-8", submit_timeout=10, response_timeout=60) as client:
        tasks = [client.submit("upper", word) for word in words]  # all at once; they run side by side
        try:
            for task in tasks:
                print(task.result())
        except AbraxasError as error:
            print(f"blocking_script: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
