"""A worker that resizes images with Pillow (pip install pillow), each in a thread, up to four at once.

python examples/resize_worker.py &
gearman -f resize < photo.jpg > thumbnail.jpg
"""

import io
import os

import trio
from PIL import Image

from abraxas_py import Assigned, Worker

MAX_SIZE = (320, 320)  # pixels; the sides keep their ratio


def shrink(data: bytes) -> bytes:
    """A smaller image in the format of the original."""
    with Image.open(io.BytesIO(data)) as image:
        smaller = image.copy()
        smaller.thumbnail(MAX_SIZE)
        out = io.BytesIO()
        smaller.save(out, format=image.format)
        return out.getvalue()


async def resize(job: Assigned) -> bytes:
    job.status(0, 1)
    # A plain call would hold up the other jobs; what it raises becomes the job's exception.
    return await trio.to_thread.run_sync(shrink, job.data)


async def main() -> None:
    worker = Worker(os.environ.get("GEARMAN_SERVER", "127.0.0.1:4730"), max_jobs=4)
    worker.add("resize", resize)
    await worker.run()


if __name__ == "__main__":
    trio.run(main)
