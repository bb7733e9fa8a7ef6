"""Make the pictures of docs/dashboard.md: `python docs/screenshots.py [FOLDER]`, with a real browser and real jobs.

Needs Chromium, and what the tests need.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "web"))

from chromium_stage import Browser  # noqa: E402
from shop_stage import FILE, Shop, shop  # noqa: E402

PICTURES = (  # name, page, width, height, whether it is dark
    ("overview", "/", 1200, 800, False),
    ("overview-dark", "/", 1200, 800, True),
    ("job", "/jobs/{failed}", 1200, 1020, False),
    ("pool", "/pools/{sum}", 1280, 900, False),
    ("method-dark", "/method?name=report::count", 1200, 800, True),
    ("jobs-narrow", "/jobs?q=status:failed", 400, 700, False),
)
CHARTED = 60  # s of jobs for the charts


def keep_busy(it: Shop) -> None:
    """Some jobs a second, now more and now less, a few of which fail."""
    chance = random.Random(7)
    until = time.monotonic() + CHARTED
    while time.monotonic() < until:
        jobs = [{"name": "report::count", "args": [FILE]}] * chance.randint(2, 20)
        if chance.random() < 0.15:
            jobs.append({"name": "report::broken", "args": ["paper"]})
        it.call("queue_many", jobs=jobs)
        time.sleep(0.7)


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, shop(Path(home)) as it:
        it.fill()
        keep_busy(it)
        browser = Browser(Path(home) / "profile")
        try:
            for name, page, width, height, is_dark in PICTURES:
                with browser.tab(width, height, is_dark=is_dark) as tab:
                    tab.open(it.url + page.format(**it.jobs))
                    tab.screenshot(folder / f"{name}.png", is_whole=False)
                    print(folder / f"{name}.png")
        finally:
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images")
