"""A real Chromium, driven over the WebDriver protocol with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "needs chromium and chromedriver" if CHROMIUM is None or DRIVER is None else ""
_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1200,900",
)  # fmt: skip
ARROW_LEFT, ARROW_UP, ARROW_RIGHT, ARROW_DOWN, ESCAPE = "\ue012", "\ue013", "\ue014", "\ue015", "\ue00c"


@dataclass(frozen=True)
class Browser:
    """One window."""

    session: str

    def open(self, page: Path) -> None:
        self._call("url", {"url": page.as_uri()})
        self._wait_for_focus()

    def evaluate(self, expression: str) -> Any:
        return self._call("execute/sync", {"script": f"return {expression}", "args": []})

    def press(self, *keys: str) -> None:
        """Keys one after another, each after the page has drawn what the one before did."""
        for key in keys:
            strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
            self._call("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})
            self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def wait_until(self, expression: str, expected: Any) -> Any:
        """What an expression gives, as soon as it is what is expected, or after ten seconds."""
        for _ in range(500):
            if (value := self.evaluate(expression)) == expected:
                return value
            self.evaluate("new Promise(done => setTimeout(done, 20))")
        return value

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self._call("screenshot")))

    def requested(self) -> list[str]:
        """Every address that pages from files asked for since the last call, but for what their policy stopped."""
        entries = [json.loads(entry["message"])["message"] for entry in self._call("se/log", {"type": "performance"})]
        stopped = {e["params"]["requestId"] for e in entries if e["params"].get("blockedReason") == "csp"}
        sent = [e["params"] for e in entries if e["method"] == "Network.requestWillBeSent"]
        wanted = [e for e in sent if e["documentURL"].startswith("file:") and e["requestId"] not in stopped]
        return [e["request"]["url"] for e in wanted if not e["request"]["url"].startswith("data:")]

    def complaints(self) -> list[str]:
        """What stands in the console: refused scripts and styles, errors."""
        return [entry["message"] for entry in self._call("se/log", {"type": "browser"})]

    def save_to(self, folder: Path) -> None:
        """Let downloads go into a folder."""
        self._cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=False)

    def wait_for(self, file: Path) -> None:
        """Until a download has its name, which it gets when it is whole; DevTools say nothing of it to WebDriver."""
        for _ in range(500):
            if file.exists():
                return
            self.evaluate("new Promise(done => setTimeout(done, 20))")
        raise AssertionError(f"no download {file.name}; there are {sorted(one.name for one in file.parent.iterdir())}")

    def click(self, selector: str) -> None:
        """A real click, at the middle of an element."""
        found = self._call("element", {"using": "css selector", "value": selector})
        self._call(f"element/{next(iter(found.values()))}/click", {})

    def reload(self) -> None:
        self._call("refresh", {})
        self._wait_for_focus()

    def keep_focus(self) -> None:
        """Let pages of this window have the focus, whatever the other windows of the machine do."""
        self._cdp("Emulation.setFocusEmulationEnabled", enabled=True)

    def prefer(self, scheme: str) -> None:
        """Let the reader like `light` or `dark`."""
        self._cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def _wait_for_focus(self) -> None:
        """Keys reach a page only when it is loaded and has the focus."""
        assert self.wait_until("document.readyState === 'complete' && document.hasFocus()", True)

    def _cdp(self, command: str, **parameters: Any) -> Any:
        return self._call("goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, what: str, body: dict[str, Any] | None = None) -> Any:
        return _request(f"{self.session}/{what}", body)


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, gone when the block ends."""
    driver = subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        options = {"binary": CHROMIUM, "args": [*_ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}
        root = f"http://127.0.0.1:{port}/session"
        made = _request(root, {"capabilities": {"alwaysMatch": wanted}})
        session = f"{root}/{made['sessionId']}"
        try:
            window = Browser(session)
            window.keep_focus()
            yield window
        finally:
            _request(session, method="DELETE")
    finally:
        driver.terminate()
        driver.wait()


def _request(url: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - our own driver
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.load(answer)["value"]
