"""Headless Chromium through chromedriver's HTTP interface, with the standard library only."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
]  # fmt: skip


def chromium() -> str | None:
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


class Browser:
    """A WebDriver session. ``errors`` are console messages of level SEVERE since it was last asked."""

    def __init__(self, port: int, profile: str) -> None:
        self.base = f"http://127.0.0.1:{port}"
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": chromium()}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        session = self.post("/session", {"capabilities": wanted})["sessionId"]
        self.base += f"/session/{session}"

    def post(self, path: str, body: dict[str, Any]) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:800]) from error

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.base + path, timeout=60) as answer:
            return json.load(answer)["value"]

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self.post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, page: Path) -> None:
        self.post("/url", {"url": page.resolve().as_uri()})

    def script(self, text: str, *arguments: Any) -> Any:
        return self.post("/execute/sync", {"script": text, "args": list(arguments)})

    def wait(self, condition: str, seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not self.script(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"{condition} did not come true; console: {self.errors()}"
            time.sleep(0.05)

    def press(self, *keys: str) -> None:
        """Press and release keys at the focused element (WebDriver's code points for special keys)."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def downloads(self, folder: Path) -> None:
        """Let downloads go into a folder."""
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def upload(self, selector: str, file: Path) -> None:
        """Choose a file in an input."""
        found = self.post("/element", {"using": "css selector", "value": selector})
        self.post(f"/element/{next(iter(found.values()))}/value", {"text": str(file.resolve())})

    def errors(self) -> list[str]:
        return [e["message"] for e in self.post("/se/log", {"type": "browser"}) if e["level"] == "SEVERE"]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    driver = shutil.which("chromedriver")
    if driver is None or chromium() is None:
        pytest.skip("needs chromium and chromedriver")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    process = subprocess.Popen(
        [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        with tempfile.TemporaryDirectory() as profile:
            session = _connect(port, profile)
            yield session
            urllib.request.urlopen(urllib.request.Request(session.base, method="DELETE"), timeout=30).close()
    finally:
        process.terminate()
        process.wait(timeout=30)


def _connect(port: int, profile: str) -> Browser:
    for _ in range(100):
        try:
            return Browser(port, profile)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("chromedriver did not answer")
