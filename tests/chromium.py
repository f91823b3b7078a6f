"""A headless Chromium for tests, driven by its DevTools protocol over a pair of pipes."""

import base64
import fcntl
import io
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
TIMEOUT = 60.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Page:
    """One open page."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self._unread = b""

    def open(self, url: str, width: int = 1000, height: int = 900) -> None:
        if not self._session:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = {"sessionId": attached["sessionId"]}
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + TIMEOUT
        while self.evaluate("location.href + ' ' + document.readyState") != f"{url} complete":
            assert time.monotonic() < deadline, f"{url} was not loaded"
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever the script says
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the mouse."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def swipe(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With a finger."""
        for kind, points in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
            touches = [{"x": x, "y": y} for x, y in points]
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=touches)

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self) -> Image.Image:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next_answer()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next_answer(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], TIMEOUT)
            assert ready, "Chromium does not answer"
            data = os.read(self._answers, 2**16)
            assert data, "Chromium has ended"
            self._unread += data
        answer, self._unread = self._unread.split(b"\0", 1)
        return json.loads(answer)


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """Start it with this folder for its profile, which is all that it writes."""
    assert PROGRAM is not None
    commands_in, commands = os.pipe()
    answers, answers_out = os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (commands_in, answers_out)]
    process = subprocess.Popen(
        [PROGRAM, *_FLAGS, f"--user-data-dir={profile}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=lambda: [os.dup2(fd, place) for place, fd in enumerate(high, start=3)],
    )
    for fd in (commands_in, answers_out, *high):
        os.close(fd)
    try:
        yield Page(commands, answers)
    finally:
        process.terminate()
        process.wait(TIMEOUT)
        os.close(commands)
        os.close(answers)
