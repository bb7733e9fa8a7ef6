"""The dashboard as people have it: a real Chromium on a real g-core opens every page, and does what can be done."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium_stage import CHROMIUM, Browser, Tab
from shop_stage import MEMBERS, Shop, shop

from gearbox.errors import RpcError

pytestmark = pytest.mark.chromium

PAGES = (
    "/", "/jobs", "/jobs?q=status:failed", "/jobs/{done}", "/jobs/{failed}", "/jobs/{running}", "/jobs/{later}",
    "/pools", "/pools/{sum}", "/methods", "/method?name=report::count", "/scheduled", "/failed", "/gearman",
    "/workers", "/audit", "/system", "/nothing",
)  # fmt: skip
NARROW = 400
LIVE = 0.5  # s within which a page shows a change
SEVERE = ("serious", "critical")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: apt-get install chromium")
        pytest.skip("Chromium is missing: apt-get install chromium")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop")) as one:
        yield one


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, which finds what keeps people out."""
    for folder in os.environ.get("NODE_PATH", "").split(os.pathsep):
        path = Path(folder) / "axe-core" / "axe.min.js"
        if folder and path.exists():
            return path.read_text()
    if os.environ.get("CI"):
        pytest.fail("axe-core is missing: npm install axe-core, and name its folder in NODE_PATH")
    pytest.skip("axe-core is missing: npm install axe-core, and name its folder in NODE_PATH")


def is_clean(tab: Tab, it: Shop, but: tuple[str, ...] = ()) -> None:
    """Nobody complained, and nobody but our server was asked."""
    complaints = [one for one in tab.complaints() if not any(word in one for word in but)]
    assert complaints == []
    host = it.url.rpartition("/")[0]
    assert [url for url in tab.requests() if not url.startswith((host, "about:"))] == []


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_every_page_in_both_themes(browser: Browser, it: Shop, axe: str, is_dark: bool) -> None:
    with browser.tab(is_dark=is_dark) as tab:
        faults: dict[str, list[tuple[str, str]]] = {}
        for page in PAGES:
            tab.open(it.url + page.format(**it.jobs))
            tab.evaluate(axe)
            found = tab.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
            for one in found:
                if one["impact"] in SEVERE:
                    faults.setdefault(page, []).append((one["id"], one["nodes"][0]["html"]))
            ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(18, 22, 28)") is is_dark, page
        assert faults == {}
        is_clean(tab, it, but=("404",))


def test_every_page_fits_a_telephone(browser: Browser, it: Shop) -> None:
    with browser.tab(NARROW, 800) as tab:
        widths = {}
        for page in PAGES:
            tab.open(it.url + page.format(**it.jobs))
            widths[page] = tab.evaluate("document.documentElement.scrollWidth")
        assert {page: width for page, width in widths.items() if width > NARROW} == {}
        is_clean(tab, it, but=("404",))


def test_every_page_is_there_without_scripts(browser: Browser, it: Shop) -> None:
    with browser.tab(has_scripts=False) as tab:
        for page in PAGES:
            tab.open(it.url + page.format(**it.jobs))
            assert "<h1" in tab.text(), page
        is_clean(tab, it, but=("404",))


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no-scripts"])
def test_everything_can_be_done_by_clicking(browser: Browser, it: Shop, has_scripts: bool) -> None:
    def queue(**given: Any) -> int:
        id: int = it.call("queue", name="report::count", after_date="2098-01-01T00:00:00Z", **given)
        return id

    with browser.tab(1280, 1400, has_scripts=has_scripts) as tab:

        def do(path: str, *selectors: str, said: str) -> None:
            tab.open(f"{it.url}{path}")
            for selector in selectors:
                if selector.startswith("type:"):
                    _, box, text = selector.split(":", 2)
                    tab.type(box, text)
                elif selector == "summary":
                    x, y = tab.place("main section summary, main details.sheet > summary")
                    for kind in ("mousePressed", "mouseReleased"):
                        tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
                else:
                    tab.click(selector)
            assert said in tab.text(), tab.text()[:600]

        id = queue()
        cancel = ("summary", "type:#reason:a mistake", 'form[action$="/cancel"] button')
        do(f"/jobs/{id}", *cancel, said=f"Job {id} is cancelled.")
        assert "cancelled: a mistake" in tab.text()
        do(f"/jobs/{id}", 'form[action$="/retry"] button', said=f"Job {id} is queued again")
        id = queue(args=["/etc/hostname"])
        do(f"/jobs/{id}", "summary", 'form[action$="/reprioritise"] button', said="has started, or has that priority")
        do(f"/jobs/{id}", 'form[action$="/run_now"] button', said="waits for no date any more")
        wait: int = it.call("queue", name="gearbox\\core::noopwait")
        do(f"/jobs/{wait}", 'form[action$="/release"] button', said=f"Job {wait} goes on.")
        name = "nobody::here" if has_scripts else "report::broken"
        method = f"/method?name={name}"
        do(method, "type:#why:a rest", 'form[action$="/pause"] button', said=f"{name} is paused.")
        do(method, 'form[action$="/resume"] button', said=f"{name} goes on.")
        do(method, "type:#places:3", 'form[action$="/limit"] button', said=f"{name} is limited to 3.")
        do("/scheduled", 'form[action$="/run_now"] button', said="nightly runs now")
        ids = [queue(dedupe=f"many {has_scripts}") for _ in range(3)]
        search = f"/jobs?q=dedupe:%22many%20{has_scripts}%22%20status:waiting"
        tab.open(f"{it.url}{search}")
        tab.call("DOM.setAttributeValue", nodeId=tab._node('option[value="cancel"]'), name="selected", value="")
        x, y = tab.place("details.sheet > summary")
        for kind in ("mousePressed", "mouseReleased"):
            tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        tab.click('form[action$="/act"] button')
        assert "Cancel 3 jobs?" in tab.text()
        tab.click('form[action$="/act"] button.danger')
        assert "cancel: 3 of 3 jobs." in tab.text()
        assert {row["status"] for row in it.call("search", query=" ".join(map(str, ids)))["jobs"]} == {"invalid"}
        do("/system", 'button[value="dark"]', said="Settings")
        do("/audit", said="a mistake")
        is_clean(tab, it)


def test_a_page_changes_by_itself(browser: Browser, it: Shop) -> None:
    later = "2098-01-01T00:00:00Z"
    job: int = it.call("queue", name="report::count", after_date=later)
    pool: list[int] = [it.call("queue", name="report::count", after_date=later, before_id=job) for _ in range(3)]
    for page, chip in (
        (f"/jobs/{pool[0]}", "[data-part=head] .chip"),
        ("/jobs", f'tr[data-job="{pool[1]}"] .chip'),
    ):
        target = pool[page == "/jobs"]
        with browser.tab() as tab:
            tab.open(it.url + page)
            tab.until(f"document.querySelector('{chip}').dataset.status === 'waiting'")
            time.sleep(0.5)  # the stream opens
            it.call("cancel", id=target, reason="<b>live</b>")
            took = tab.until(f"document.querySelector('{chip}').dataset.status === 'invalid'", timeout=10)
            assert took < LIVE * (4 if os.environ.get("CI") else 2), f"{page}: {took:.2f} s"
            if page != "/jobs":
                tab.until("document.querySelector('[data-part=audit]').textContent.includes('<b>live</b>')")
            is_clean(tab, it)
    with browser.tab() as tab:
        tab.open(f"{it.url}/pools/{job}")
        node = f'.node[data-job="{job}"]'
        tab.until(f"document.querySelector('{node}') !== null")
        time.sleep(0.5)
        it.call("cancel", id=job)
        tab.until(f"document.querySelector('{node}').dataset.status === 'invalid'", timeout=10)
    with browser.tab() as tab:
        tab.open(it.url + "/")
        shown = "document.querySelector('.tile[data-status=waiting] .number').textContent"
        before = tab.evaluate(shown)
        it.call("queue", name="report::count", after_date=later)
        tab.until(f"{shown} !== {before!r}", timeout=10)
        is_clean(tab, it)


def test_progress_moves_on_an_open_page(browser: Browser, it: Shop) -> None:
    id: int = it.call("queue", name="report::slow")
    with browser.tab() as tab:
        tab.open(f"{it.url}/jobs/{id}")
        tab.until("document.querySelector('[data-part=why] progress')?.value === 60")
        is_clean(tab, it)
    it.call("cancel", id=id)


def test_a_pool_of_hundreds_can_be_read(browser: Browser, it: Shop) -> None:
    with browser.tab(1440, 900) as tab:
        tab.open(f"{it.url}/pools/{it.jobs['sum']}")
        assert tab.evaluate("document.querySelectorAll('.graph .node').length") == MEMBERS + 2
        size = tab.evaluate("(b => [b.width, b.height])(document.querySelector('.graph').getBoundingClientRect())")
        assert size[0] < 1600, size
        assert size[1] < 900, size
        overlaps = """(() => {
            const boxes = [...document.querySelectorAll('.graph .node rect')].map(r => r.getBoundingClientRect());
            let found = 0;
            for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
                const [a, b] = [boxes[i], boxes[j]];
                if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) found++;
            }
            return found;
        })()"""
        assert tab.evaluate(overlaps) == 0
        tab.click(f'.node[data-job="{it.jobs["sum"]}"]')
        assert tab.evaluate("location.pathname").endswith(f"/jobs/{it.jobs['sum']}")


def test_the_keyboard_goes_everywhere(browser: Browser, it: Shop) -> None:
    with browser.tab() as tab:
        tab.open(it.url + "/jobs")
        tab.press("/")
        assert tab.evaluate("document.activeElement.id") == "q"
        tab.call("Input.insertText", text="status:failed")
        tab.press("Enter")
        tab.until("location.search.includes('failed') && document.readyState === 'complete'")
        tab.press("j")
        first = tab.evaluate("document.activeElement.textContent")
        tab.press("j")
        assert tab.evaluate("document.activeElement.textContent") not in (first, "")
        tab.press("k")
        assert tab.evaluate("document.activeElement.textContent") == first
        tab.press("g")
        tab.press("m")
        tab.until("location.pathname.endsWith('/methods')")
        tab.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"


def test_markup_in_jobs_stays_text_in_a_browser(browser: Browser, it: Shop) -> None:
    texts = ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "'\"><svg onload=alert(1)>", "</pre><b>x</b>"]
    ids: list[int] = [
        it.call("queue", name=text.replace(" ", "_"), args=[text, {text: text}], dedupe=text, after_date="2098-01-01")
        for text in texts
    ]
    with browser.tab() as tab:
        for page in (
            "/jobs",
            "/methods",
            "/failed",
            *(f"/jobs/{id}" for id in ids),
            "/jobs?q=<script>alert(1)</script>",
        ):
            tab.open(it.url + page)
            assert tab.evaluate("document.querySelectorAll('main img, main script, main b').length") == 0
        is_clean(tab, it)
        dialogs = [one for one in browser.events if one["method"] == "Page.javascriptDialogOpening"]
        assert dialogs == []
    for id in ids:
        try:
            it.call("cancel", id=id)
        except RpcError:
            raise AssertionError(f"job {id} is not there") from None
