"""A real browser, driven over its DevTools protocol by a pipe: no driver program, no socket, no library."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TIMEOUT = 30.0  # s for whatever is waited for
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update",
    "--disable-extensions", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--mute-audio",
)  # fmt: skip


class Navigated(Exception):
    """The page went elsewhere while it was asked."""


class Browser:
    """One Chromium process."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        # The protocol is spoken on the descriptors 3 and 4, whatever numbers ours have here.
        script = f'exec "$0" "$@" 3<&{there} 4>&{back}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(there, back),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there)
        os.close(back)
        self._data = bytearray()
        self._last = 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._read)
        os.close(self._write)

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Call a method of the protocol; events that come meanwhile are kept."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + TIMEOUT
        while True:
            answer = self._next(deadline)
            if answer.get("id") == message["id"]:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise Navigated(method)
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def look(self) -> None:
        """Take the events that have come."""
        while self._message() is not None or select.select([self._read], [], [], 0)[0]:
            self._next(time.monotonic() + TIMEOUT)

    def wait(self, deadline: float) -> None:
        """Wait for one more message."""
        self._next(deadline)

    def _message(self) -> int | None:
        end = self._data.find(b"\0")
        return None if end < 0 else end

    def _next(self, deadline: float) -> dict[str, Any]:
        while (end := self._message()) is None:
            ready, _, _ = select.select([self._read], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError(f"Chromium said nothing for {TIMEOUT:.0f} s")
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium has ended"
            self._data += part
        text = bytes(self._data[:end])
        del self._data[: end + 1]
        found: dict[str, Any] = json.loads(text)
        if "id" not in found:
            self.events.append(found)
        return found

    @contextmanager
    def tab(
        self, width: int = 1280, height: int = 900, *, has_scripts: bool = True, is_dark: bool = False
    ) -> Iterator[Tab]:
        """A tab with cookies of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.resize(width, height)
        tab.call("Emulation.setScriptExecutionDisabled", value=not has_scripts)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        tab.call("Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}])
        try:
            yield tab
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)


class Tab:
    """A page in the browser, what it complained about, and what it asked for."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **params: Any) -> Any:
        return self._browser.call(method, self._session, **params)

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        before = self._count("Page.loadEventFired")
        error = self.call("Page.navigate", url=url).get("errorText")
        assert not error, f"{url}: {error}"
        self._until(lambda: self._count("Page.loadEventFired") > before)

    def click(self, selector: str) -> None:
        """Click on an element that leads to another page, as a person does, and wait for that page."""
        before = self._count("Page.loadEventFired")
        self.tap(selector)
        self._until(lambda: self._count("Page.loadEventFired") > before)

    def tap(self, selector: str) -> None:
        """Click on an element of this page."""
        x, y = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list, by its value or text; also without scripts."""
        for node in self._nodes(f"{selector} option"):
            html = self.call("DOM.getOuterHTML", nodeId=node)["outerHTML"]
            if f'value="{value}"' in html or f">{value}<" in html:
                self.call("DOM.setAttributeValue", nodeId=node, name="selected", value="")
                return
        raise AssertionError(f"{selector} has no {value}")

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of an element that can be seen, scrolled to."""
        node = self._node(selector)
        self.call("DOM.scrollIntoViewIfNeeded", nodeId=node)
        quads = self.call("DOM.getContentQuads", nodeId=node)["quads"]
        assert quads, f"{selector} cannot be seen"
        quad = quads[0]
        return sum(quad[0::2]) / 4, sum(quad[1::2]) / 4

    def _node(self, selector: str) -> int:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = int(self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"])
        assert node, f"there is no {selector}"
        return node

    def _nodes(self, selector: str) -> list[int]:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        nodes: list[int] = self.call("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"]
        return nodes

    def has(self, selector: str) -> bool:
        """Whether there is such an element; also without scripts."""
        return bool(self._nodes(selector))

    def type(self, selector: str, text: str) -> None:
        self.call("DOM.focus", nodeId=self._node(selector))
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        text = key if len(key) == 1 else "\r" if key == "Enter" else ""
        code = {"Enter": 13, "Tab": 9}.get(key, ord(key[0].upper()))
        for kind in ("keyDown", "keyUp"):
            given = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **given)

    def evaluate(self, expression: str) -> Any:
        """The value of a script's expression; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self) -> str:
        """What stands on the page; also without scripts."""
        node = self._node("main")
        html = self.call("DOM.getOuterHTML", nodeId=node)["outerHTML"]
        return str(html)

    def until(self, expression: str, timeout: float = TIMEOUT) -> float:
        """Wait until an expression is true; how long that took."""
        began = time.monotonic()
        while True:
            with suppress(Navigated):
                if self.evaluate(expression):
                    break
            assert time.monotonic() < began + timeout, f"{expression} did not become true"
            time.sleep(0.02)
        return time.monotonic() - began

    def screenshot(self, path: Path, *, is_whole: bool = True) -> None:
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def requests(self) -> list[str]:
        """The addresses of all that was asked for."""
        self._browser.look()
        sent = self._events("Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def posts(self) -> list[str]:
        """The addresses to which forms were sent."""
        self._browser.look()
        sent = (event["params"]["request"] for event in self._events("Network.requestWillBeSent"))
        return [request["url"] for request in sent if request["method"] == "POST"]

    def complaints(self) -> list[str]:
        """Errors and warnings of scripts, of the content policy, of loading."""
        self._browser.look()
        found = [str(event["params"]["exceptionDetails"]) for event in self._events("Runtime.exceptionThrown")]
        for event in self._events("Log.entryAdded"):
            entry = event["params"]["entry"]
            if entry["level"] != "info":  # such as that something was typed before the page put its cursor somewhere
                found.append(f"{entry['level']}: {entry['text']}")
        for event in self._events("Runtime.consoleAPICalled"):
            found.append(f"console.{event['params']['type']}: {event['params']['args']}")
        return found

    def _events(self, method: str) -> list[dict[str, Any]]:
        mine = [event for event in self._browser.events if event.get("sessionId") == self._session]
        return [event for event in mine if event["method"] == method]

    def _count(self, method: str) -> int:
        self._browser.look()
        return len(self._events(method))

    def _until(self, is_so: Any) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not is_so():
            self._browser.wait(deadline)
