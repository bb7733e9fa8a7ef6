"""Make the pictures of docs/dashboard.md: `python docs/screenshots.py [FOLDER]`, with a real browser and real jobs.

Needs Chromium, and what the tests need.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "web"))

from chromium_stage import Browser  # noqa: E402
from shop_stage import shop  # noqa: E402

PICTURES = (
    ("overview", "/", 1280, 860, False),
    ("overview-dark", "/", 1280, 860, True),
    ("job", "/jobs/{failed}", 1280, 1000, False),
    ("pool", "/pools/{sum}", 1440, 860, False),
    ("method", "/method?name=report::count", 1280, 860, False),
    ("jobs-narrow", "/jobs", 400, 860, False),
)


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, shop(Path(home)) as it:
        browser = Browser(Path(home) / "profile")
        try:
            time.sleep(20)  # for the charts to have something to show
            for name, page, width, height, is_dark in PICTURES:
                with browser.tab(width, height, is_dark=is_dark) as tab:
                    tab.open(it.url + page.format(**it.jobs))
                    tab.screenshot(folder / f"{name}.png", is_whole=False)
                    print(folder / f"{name}.png")
        finally:
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images")
