"""A headless browser over its own debugging protocol: open a page, wait for text, read it, keep a picture."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_S = 60


def executable() -> str | None:
    """The browser of this machine, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        self._ask("Page.enable")
        self._ask("Runtime.enable")

    def open(self, address: str) -> None:
        """Go there; what is waited for says when it has arrived."""
        self._ask("Page.navigate", url=address)

    def wait_for(self, text: str) -> None:
        """Until `text` is to be read on the page. Raises AssertionError with what is there instead."""
        script = f"""new Promise(done => {{
            const give_up = Date.now() + {_PATIENCE_S * 1000};
            const look = () => (document.body?.innerText ?? "").includes({json.dumps(text)}) ? done(true)
                : Date.now() > give_up ? done(false) : setTimeout(look, 100);
            look();
        }})"""
        assert self._value(script), f"{text!r} did not appear; the page says: {self.text[:1500]!r}"

    def value(self, script: str) -> Any:
        """What a piece of JavaScript comes to."""
        return self._value(script)

    @property
    def text(self) -> str:
        """All that can be read."""
        return str(self._value("document.body?.innerText ?? ''"))

    def picture(self, path: Path) -> Path:
        """Keep what is seen as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"]))
        return path

    def dress(self, width: int, dark: bool, paper: bool = False) -> None:
        """As on a screen of that width, in light or in dark, or as it is printed."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])

    def whole_picture(self, path: Path) -> Path:
        """Keep all of the page as PNG, not only what is seen."""
        path.parent.mkdir(parents=True, exist_ok=True)
        height = int(self._value("document.documentElement.scrollHeight"))
        width = int(self._value("document.documentElement.clientWidth"))
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, 16_000), "scale": 1}
        shot = self._ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def _value(self, script: str) -> Any:
        for _ in range(20):  # a navigation ends the script with the page it ran in
            said = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
            if said is not None and "result" in said:
                return said["result"].get("value")
        raise AssertionError("the page kept leaving before it could be read")

    def _ask(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._connection.recv(timeout=_PATIENCE_S + 30))
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(said["params"]["exceptionDetails"])[:500])
            if said.get("id") == number:
                return said.get("result")


@contextmanager
def page(home: Path, width: int = 1500, height: int = 1000) -> Iterator[Page]:
    """A tab of a browser that knows nothing yet; both are gone afterwards."""
    # Under LANG=C the formatter of dates throws, and Dagster's page stays white.
    env = {**os.environ, "LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8", "HOME": str(home)}
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    size = [f"--window-size={width},{height}", "--hide-scrollbars", "--lang=en-US"]
    place = [f"--user-data-dir={home / 'profile'}", "--remote-debugging-port=0", "about:blank"]
    command = [str(executable()), *words, *size, *place]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    try:
        with process.stderr:
            port = next(line for line in process.stderr if "DevTools listening on" in line).split(":")[2].split("/")[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                tab = next(one for one in json.load(answer) if one["type"] == "page")
            with connect(tab["webSocketDebuggerUrl"], max_size=None, proxy=None) as connection:
                yield Page(connection)
            process.terminate()
            process.wait(30)
    finally:
        process.kill()
        process.wait()
